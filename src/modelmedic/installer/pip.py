"""Run pip for one target Python: resolve, fetch wheels, lay out a stage. No target is changed.

Every child is isolated (``-I -B``): no PYTHON* variable, no current folder, no ``__pycache__``
left in what is examined. pip's own settings stay in force: its index, its proxy, its authorities.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.facts.interpreter_fault import child_environment
from modelmedic.installer import report, words
from modelmedic.installer.report import Pinned, Resolution
from modelmedic.installer.words import InstallerRefused
from modelmedic.limits import TimeoutManager
from modelmedic.text import printable

_ASKED_AGAIN = frozenset({"network", "hash"})
_TRIES = 2
_RETRIES = 2  # of pip, for each connection; its own five take 8 s where nothing listens
_LISTING_SECONDS = 60.0
_REPORT_BYTES = 32 << 20  # metadata of 150 packages with their descriptions is about 5 MB
_SHARE = 0.9  # of the limit: our own message comes before that of whoever waits
# Variables and settings of pip that would send an install elsewhere, or switch a proof off.
_STEERING = (
    "TARGET", "PREFIX", "ROOT", "USER", "PYTHON", "REPORT", "DRY_RUN", "REQUIRE_HASHES", "NO_DEPS",
    "IGNORE_INSTALLED", "FORCE_REINSTALL", "UPGRADE", "UPGRADE_STRATEGY", "NO_BINARY",
    "ONLY_BINARY", "BREAK_SYSTEM_PACKAGES", "REQUIREMENT", "EDITABLE", "QUIET", "VERBOSE", "LOG",
    "PLATFORM", "PYTHON_VERSION", "IMPLEMENTATION", "ABI", "DEST", "SRC", "COMPILE", "PRE",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Installer:
    """pip, run for one target.

    Args:
        python: The target interpreter.
        host: The interpreter whose pip does the work; the target itself, or ours for a target
            without pip.
        index: A package index in place of the configured ones; "" leaves pip's own settings.
        find_links: Folders of wheels to look into as well.
        is_offline: Look into ``find_links`` only, no index.
        settings: A file of pip's settings that counts as well: that of an environment which is
            about to be made anew; "" for none.
    """

    python: Path
    host: Path
    index: str = ""
    find_links: tuple[str, ...] = ()
    is_offline: bool = False
    settings: str = ""

    @classmethod
    def of(cls, python: Path, *, has_pip: bool = True) -> Installer:
        """Return the installer of a target; without pip there, our own pip works for it."""
        return cls(python, python if has_pip else Path(sys.executable))

    def resolve(
        self,
        requirements: Sequence[str],
        *,
        constraints: Sequence[str] = (),
        alone: bool = False,
        upgrade: bool = False,
        fresh: bool = False,
        deadline_seconds: float | None = None,
    ) -> Resolution:
        """Return what pip would install to meet the requirements; nothing is installed.

        Installed versions that fit stay. Wheels only: nothing is compiled, no code of a package
        runs.

        Args:
            requirements: PEP 508 lines.
            constraints: More lines that have to hold, of packages that are wanted anyway.
            alone: Without dependencies, and whatever is installed: to install the same again.
            upgrade: Take the newest versions that fit, of what is required.
            fresh: As for an empty environment: what is installed does not count.
            deadline_seconds: None: the limit of "dependency_install".

        Raises:
            InstallerRefused: It would not; says why, in kinds.
            CannotTell: pip could not be run or its answer not be read.
        """
        options = ["--dry-run", "--report", "-", "--only-binary=:all:"]
        options += ["--ignore-installed", "--no-deps"] if alone else []
        options += ["--upgrade"] if upgrade else []
        options += ["--ignore-installed"] if fresh and not alone else []
        lines = [*dict.fromkeys([*requirements, *constraints])]
        done = _ask(self, ["install", *options, *_places(self), "--", *lines], deadline_seconds)
        try:
            found = report.parse(done.stdout)
        except CannotTell as error:
            raise _unreadable(done, error) from error
        return replace(found, items=tuple(map(_with_hash, found.items)))

    def download(self, items: Iterable[Pinned], folder: Path) -> None:
        """Fetch the wheel of each item into a folder that exists, proven by its SHA-256.

        Raises:
            InstallerRefused: A wheel could not be had, or has other bytes.
            CannotTell: pip could not be run or did not end in time.
        """
        limit = TimeoutManager().get_timeout("model_download")
        for item in items:
            options = ["--no-deps", "--only-binary=:all:", "--quiet", "--dest", str(folder)]
            with _pins([item]) as pins:
                _ask(self, ["download", *options, *_places(self), "-r", pins], limit)

    def stage(self, items: Sequence[Pinned], wheels: Sequence[Path], folder: Path) -> None:
        """Lay items out below ``folder`` as pip would below the target's own prefix.

        pip itself makes the programs, which start the target, and the RECORDs. Without a network:
        the wheels are looked up in ``wheels``, folders, and proven again.

        Raises:
            InstallerRefused: pip would not.
            CannotTell: It could not be run or did not end in time.
        """
        local = replace(self, index="", find_links=tuple(map(str, wheels)), is_offline=True)
        options = ["--no-deps", "--no-compile", "--ignore-installed", "--only-binary=:all:"]
        options += ["--quiet", "--no-warn-script-location", f"--prefix={folder}"]
        with _pins(items) as pins:
            _ask(local, ["install", *options, *_places(local), "-r", pins])

    def check(self) -> str:
        """Return what ``pip check`` finds wrong in the target; "" when nothing is."""
        done = _run(self, ["check"], TimeoutManager().get_timeout("interpreter_probe"))
        return "" if done.returncode == 0 else printable(done.stdout.strip())


def _ask(
    installer: Installer, arguments: list[str], deadline_seconds: float | None = None
) -> commands.Completed:
    """Run pip; once more where the network or a proxy may have been to blame.

    Raises:
        InstallerRefused: It failed.
        CannotTell: It could not be run or did not end in time.
    """
    limit = TimeoutManager().get_timeout("dependency_install") * _SHARE
    for tries in range(1, _TRIES + 1):
        done = _run(installer, arguments, deadline_seconds or limit)
        if done.returncode == 0:
            return done
        told = words.refusal(f"{done.stdout}\n{done.stderr}", str(installer.python))
        if told.kind not in _ASKED_AGAIN or installer.is_offline or tries == _TRIES:
            break
    raise _better(installer, told, arguments)


def _better(installer: Installer, told: InstallerRefused, arguments: list[str]) -> InstallerRefused:
    """Return a refusal that says so where the index has the source of a package only."""
    is_open = told.kind == "no-match" and bool(told.subject) and not told.why
    if not is_open or installer.is_offline or arguments[0] != "install":
        return told
    index = [f"--index-url={installer.index}"] if installer.index else []
    listing = _run(installer, ["index", "versions", told.subject, *index], _LISTING_SECONDS)
    return words.source_only(told.subject) if listing.returncode == 0 else told


def _places(installer: Installer) -> list[str]:
    places = [f"--index-url={installer.index}"] if installer.index else []
    places += ["--no-index"] if installer.is_offline else []
    return places + [f"--find-links={folder}" for folder in installer.find_links]


def _run(installer: Installer, arguments: list[str], deadline_seconds: float) -> commands.Completed:
    argv = [str(installer.host), "-I", "-B", "-m", "pip", "--disable-pip-version-check"]
    # Not from pip's cache: a wheel that was cut short once is served from there again.
    argv += ["--no-input", "--no-cache-dir", f"--retries={_RETRIES}"]
    argv += [] if installer.host == installer.python else ["--python", str(installer.python)]
    env = environment(is_alone=bool(installer.index) or installer.is_offline)
    if installer.settings:
        env.setdefault("PIP_CONFIG_FILE", installer.settings)
    return commands.run(
        [*argv, *arguments],
        deadline_seconds=deadline_seconds,
        env=env,
        keep_bytes=_REPORT_BYTES,
    )


def environment(*, is_alone: bool = False) -> dict[str, str]:
    """Return the environment of pip: the person's settings, without what would send it elsewhere.

    Args:
        is_alone: Without further places for packages than those that are named.
    """
    dropped = {f"PIP_{name}" for name in _STEERING}
    if is_alone:
        dropped |= {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"}
    env = {name: value for name, value in child_environment().items() if name not in dropped}
    if "PATH" in env:
        env["PATH"] = os.pathsep.join(filter(_is_quiet, env["PATH"].split(os.pathsep)))
    return env | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}


def _is_quiet(folder: str) -> bool:
    """Return whether a folder of programs is not rustup's.

    pip asks rustc for its version, to tell the index; that of rustup writes into the home folder.
    Source: pip, network/session.py, user_agent.
    """
    return not any(Path(folder, name).exists() for name in ("rustup", "rustup.exe"))


class _pins:  # noqa: N801 - a context manager, used as a function is
    """A requirements file that pins items by version and SHA-256, gone after use."""

    def __init__(self, items: Iterable[Pinned]) -> None:
        lines = [f"{i.pin} --hash=sha256:{i.sha256}" if i.sha256 else i.pin for i in items]
        self.text = "\n".join(lines) + "\n"

    def __enter__(self) -> str:
        self.folder = tempfile.TemporaryDirectory(prefix="modelmedic-")
        path = Path(self.folder.name, "pins.txt")
        path.write_text(self.text, encoding="utf-8")
        return str(path)

    def __exit__(self, *_: object) -> None:
        self.folder.cleanup()


def _with_hash(item: Pinned) -> Pinned:
    """Return an item with the SHA-256 of its wheel, where that lies on this machine.

    pip itself tells it from 23.1 on: "archive_info.hashes" of a file it was pointed to. Of what
    cannot be read the item stays as it is, and is refused later.
    """
    address = urlsplit(item.url)
    if item.sha256 or address.scheme != "file":
        return item
    digest = hashlib.sha256()
    try:
        with Path(url2pathname(address.path)).open("rb") as stream:
            while data := stream.read(1 << 20):
                digest.update(data)
    except OSError:
        return item
    return replace(item, sha256=digest.hexdigest())


def _unreadable(done: commands.Completed, error: CannotTell) -> CannotTell:
    """Return that an answer cannot be read, with what pip said besides."""
    said = words.refusal(done.stderr, done.argv[0]) if done.stderr.strip() else None
    return CannotTell(error.what, f"{error.why} {said.why if said else ''}".strip())
