"""Which Python of this machine can make the app's environment; none is ever downloaded."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.interpreter_fault import child_environment
from modelmedic.facts.packages import in_range
from modelmedic.limits import TimeoutManager

_LIMIT = "interpreter_probe"
_SHARE = 0.9  # of the limit: what was found by then counts
_CANDIDATE_SECONDS = 3.0
_MOST = 40  # interpreters that are asked
_NAMES = ("python3", "python", *(f"python3.{minor}" for minor in range(14, 7, -1)))
# The Python itself, not the environment that it may run in. Debian's venv module is there without
# ensurepip, and that is enough: pip comes as a wheel.
_ASK = (
    "import json, os, sys, venv, platform; "
    "base = getattr(sys, '_base_executable', '') or sys.executable; "
    "print(json.dumps([os.path.realpath(base), platform.python_version(), "
    "sys.implementation.name]))"
)


@dataclass(frozen=True, slots=True)
class Maker:
    """A Python that can make environments."""

    path: Path  # of the real program, links followed
    version: str

    @property
    def minor(self) -> str:
        """Return "3.12" of "3.12.1"."""
        return minor_of(self.version)


def minor_of(version: str) -> str:
    """Return "3.12" of "3.12.1"; only compared for equality."""
    return ".".join(version.split(".")[:2])


@probe(_LIMIT, spawns=("python*",))
def read_maker(_facts: FactBook, requires: str, preferred: str, besides: str) -> Maker | None:
    """Return a Python that makes environments and lies in a version range; None if there is none.

    Args:
        requires: A PEP 440 range, "" for any version.
        preferred: A minor version, "3.12", that comes first; "" for none.
        besides: A folder whose own interpreters do not count; "" for none.
    """
    ends_at = time.monotonic() + TimeoutManager().get_timeout(_LIMIT) * _SHARE
    found: list[Maker] = []
    for python in _candidates(preferred):
        if time.monotonic() > ends_at:
            break
        maker = ask(python)
        if maker is None or _is_below(maker.path, besides) or not _fits(maker.version, requires):
            continue
        if not preferred or maker.minor == preferred:
            return maker
        found.append(maker)
    return found[0] if found else None


def ask(python: Path) -> Maker | None:
    """Return what makes environments behind an interpreter; None when nothing does."""
    argv: list[str | Path] = [python, "-I", "-B", "-c", _ASK]
    try:
        done = commands.run(argv, deadline_seconds=_CANDIDATE_SECONDS, env=child_environment())
        path, version, implementation = json.loads(done.stdout)
    except (CannotTell, ValueError, TypeError):
        return None
    return Maker(Path(path), version) if implementation == "cpython" else None


def _candidates(preferred: str) -> Iterator[Path]:
    """Give interpreters: on PATH, then those that uv and pyenv keep, then ours; each file once."""
    names = (f"python{preferred}", *_NAMES) if preferred else _NAMES
    on_path = (Path(found) for name in names if (found := shutil.which(name)))
    ours = Path(getattr(sys, "_base_executable", "") or sys.executable)
    seen: set[str] = set()
    for python in (*on_path, *_kept(preferred), ours):
        key = os.path.normcase(os.path.realpath(python)) + python.name
        if key not in seen and len(seen) < _MOST:
            seen.add(key)
            yield python


def _kept(preferred: str) -> list[Path]:
    """Return the interpreters below uv's and pyenv's folders, the preferred minor version first.

    Source: uv documentation, "Storage"; pyenv README, PYENV_ROOT.
    """
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    if sys.platform == "win32":
        data = Path(os.environ.get("APPDATA") or Path.home())
    folders = (
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python"),
        Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions",
    )
    name = "python.exe" if sys.platform == "win32" else "bin/python3"
    found: list[Path] = []
    for folder in folders:
        try:
            entries = sorted(folder.iterdir(), reverse=True)
        except OSError:
            continue
        found += [entry / name for entry in entries]
    wanted = f"{preferred}." if preferred else ""
    is_other = {python: wanted not in str(python) for python in found}
    return sorted((p for p in found if p.exists()), key=lambda python: is_other[python])


def _is_below(path: Path, folder: str) -> bool:
    return bool(folder) and path.is_relative_to(os.path.realpath(folder))


def _fits(version: str, requires: str) -> bool:
    try:
        return in_range(version, requires)
    except CannotTell:
        return False
