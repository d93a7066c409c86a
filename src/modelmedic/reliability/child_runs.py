"""The shipped checks, run for an installer in a pytest of their own, and what they came to.

A process of its own: an installer has no pytest running, the checks load what it should not hold,
and what hangs there is ended here.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmedic import caller, commands, rooms
from modelmedic.errors import CannotTell
from modelmedic.limits import TimeoutManager

# The folder an installer works in may hold a json.py: "" leaves sys.path before the first import
# that could find it, and our own package comes first, also from a checkout that is not installed.
_START = (
    "import sys; sys.path[:] = [{package!r}] + [p for p in sys.path if p]; "
    "from modelmedic.cli import main; sys.exit(main(sys.argv[1:]))"
)
_STEERING = ("PYTEST_", "MODELMEDIC_")
_KEPT = (caller.PREFIX, "MODELMEDIC_STATE_DIR", "MODELMEDIC_DEMO_HUB")
_MOST_SAID = 400


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A finished run of the checks.

    Args:
        record: Its run record; None when it left none.
        problem: Why it has no verdict, as a sentence; empty when it has one.
        exit_code: See docs/exit-codes; None when it was ended.
        report: Path of its ``report.json``; None when it wrote none.
        seconds: How long it took.
    """

    record: dict[str, Any] | None
    problem: str = ""
    exit_code: int | None = None
    report: Path | None = None
    seconds: float = 0.0

    @property
    def findings(self) -> tuple[dict[str, Any], ...]:
        """Return its findings; none when it has no verdict."""
        return tuple(self.record["findings"]) if self.record and not self.problem else ()


@dataclass
class ChildRuns:
    """Starts runs on one install.

    Args:
        profile: Name or path of a profile; None for the default one.
        install_dir: The folder under test; None: as the checks find it from the current folder.
        target_python: The Python the app runs in; None: as the checks find it.
        allow: Risk classes that a repair may have besides safe: "costly", "destructive".
        offline: Whether nothing asks a network.
        state_dir: Where repairs are journaled; None: as everywhere.
        report_dir: Where report folders are made; None: in a private temporary folder, which goes
            with this object or at the end of the process.
        options: Further options of pytest and modelmedic for every run.
    """

    profile: str | os.PathLike[str] | None = None
    install_dir: str | os.PathLike[str] | None = None
    target_python: str | os.PathLike[str] | None = None
    allow: tuple[str, ...] = ()
    offline: bool = False
    state_dir: str | os.PathLike[str] | None = None
    report_dir: str | os.PathLike[str] | None = None
    options: tuple[str, ...] = ()
    _temporary: Path | None = field(default=None, repr=False)
    _count: int = field(default=0, repr=False)

    @property
    def state_path(self) -> Path | None:
        """Return the state folder that was given, absolute."""
        given = self.state_dir
        return None if given is None else Path(given).expanduser().absolute()

    def check(self, *options: str, environment: Mapping[str, str] | None = None) -> ChildRun:
        """Judge; nothing is changed."""
        seconds = TimeoutManager().get_timeout("validation")
        return self._run("check", options, seconds, environment or {})

    def heal(
        self,
        *options: str,
        allow: Sequence[str] | None = None,
        limit_seconds: int,
        environment: Mapping[str, str] | None = None,
    ) -> ChildRun:
        """Judge and repair, without ever asking anybody.

        Args:
            options: ``--checks=...``, ``--using=...`` and others.
            allow: Instead of the classes that this object allows.
            limit_seconds: How long the repairs may take; what judging takes is added. A run that
                is ended leaves what it had begun to its journal: the next one puts it back.
            environment: Variables that are set for this run.
        """
        classes = self.allow if allow is None else tuple(allow)
        allowed = [f"--allow={','.join(classes)}"] if classes else []
        judging = 2 * TimeoutManager().get_timeout("validation")  # the closing pass judges again
        given = environment or {}
        return self._run("heal", [*allowed, *options], limit_seconds + judging, given)

    def _run(
        self, command: str, options: Sequence[str], limit_seconds: int, more: Mapping[str, str]
    ) -> ChildRun:
        started = time.monotonic()
        try:
            folder = self._folder()
            done = commands.run(
                [*_python(), command, *self._options(folder), *options],
                deadline_seconds=limit_seconds,
                env=self._environment(more),
                cwd=Path.cwd(),
            )
        except (CannotTell, OSError) as error:
            told = f"The checks could not be run: {error}"
            return ChildRun(None, told, seconds=time.monotonic() - started)
        return _read(done, folder)

    def _folder(self) -> Path:
        self._count += 1
        if self.report_dir is not None:
            base = Path(self.report_dir).absolute()
            stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{self._count}"
            return base / stamp
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="modelmedic-"))
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        return self._temporary / str(self._count)

    def _options(self, folder: Path) -> list[str]:
        given = [
            ("--profile", self.profile),
            ("--install-dir", self.install_dir),
            ("--target-python", self.target_python),
        ]
        options = [f"{name}={os.fspath(value)}" for name, value in given if value is not None]
        options += ["--offline"] * self.offline
        return [*options, f"--report-dir={folder}", *self.options]

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        env = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_KEPT) or not name.startswith(_STEERING)
        }
        if self.state_path is not None:
            env["MODELMEDIC_STATE_DIR"] = str(self.state_path)
        return env | dict(more)


def _python() -> list[str]:
    if not sys.executable or getattr(sys, "frozen", False):
        raise CannotTell(
            "There is no Python to start: this program is one file with its own.",
            "The checks run in a process of their own.",
            "Install modelmedic into a Python, and run `modelmedic check` there.",
        )
    package = str(Path(rooms.__file__).resolve().parents[1])
    return [sys.executable, "-c", _START.format(package=package)]


def _read(done: commands.Completed, folder: Path) -> ChildRun:
    """Return what a run left; a record without its end is no verdict."""
    from modelmedic import runs  # only a failure needs what reads a record
    from modelmedic.records import NAME

    report = folder / NAME
    values: dict[str, Any] = {"exit_code": done.returncode, "seconds": done.seconds}
    try:
        record = runs.read(report)
    except CannotTell as error:
        return ChildRun(None, _no_verdict(done, error.what), **values)
    values["report"] = report
    if record["exit_code"] not in {0, 1} or done.returncode not in {0, 1}:
        return ChildRun(record, _no_verdict(done, ""), **values)
    return ChildRun(record, **values)


def _no_verdict(done: commands.Completed, why: str) -> str:
    """Return why there is no verdict: in pytest's own words, where it names an error."""
    said = " ".join(f"{done.stdout} {done.stderr}".split())
    _before, named, error = said.rpartition("ERROR: ")
    words = error[:_MOST_SAID] if named else said[-_MOST_SAID:]
    reason = f"The run of the checks ended with exit code {done.returncode}, without a verdict."
    return " ".join(part for part in (reason, f"It said: {words}" if words else why) if part)
