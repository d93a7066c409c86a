"""Programs that run from the install, stand in it, or hold its files open."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic.facts.book import FactBook, probe
from modelmedic.text import printable

if TYPE_CHECKING:
    import psutil

MAX_SECONDS = 8.0  # half the limit of the probe: then what was seen is told, with "cut"
_SHOWN_ARGUMENTS = 4
_WAYS = ("runs from it", "holds files open", "works in it")  # strongest first
# A terminal, editor or file manager may stand in the folder without running the app.
_SHELLS = {"bash", "zsh", "sh", "dash", "fish", "ksh", "tcsh", "login", "sshd", "screen", "tmux"}
_WINDOWS = {"powershell.exe", "pwsh.exe", "cmd.exe", "explorer.exe", "code.exe"}
_DESKTOP = {"nautilus", "dolphin", "thunar", "konsole", "code", "Finder", "Terminal", "pwsh"}
_BYSTANDERS = frozenset(_SHELLS | _WINDOWS | _DESKTOP)


@dataclass(frozen=True, slots=True)
class User:
    """One process that uses the install.

    ``ways`` says how, strongest first: "runs from it", "holds files open", "works in it".
    ``path`` is one path of the install that shows it.
    """

    pid: int
    program: str
    command: str
    ways: tuple[str, ...]
    path: str

    @property
    def is_bystander(self) -> bool:
        """Return whether it is a terminal or file manager that only stands in the folder."""
        return self.ways == ("works in it",) and self.program in _BYSTANDERS


@dataclass(frozen=True, slots=True)
class Running:
    """Who uses the install; our own processes left out.

    ``hidden`` counts processes of other users into which this user may not look. ``is_cut`` says
    that not all processes were looked at in time.
    """

    users: tuple[User, ...]
    hidden: int
    is_cut: bool = False


@probe("process_scan")
def read_running(facts: FactBook) -> Running:
    """Return the processes that use the install folder."""
    import psutil

    place = os.path.realpath(facts.context.place)
    ours, starters = _own_pids()
    users: list[User] = []
    hidden = 0
    ends_at = time.monotonic() + MAX_SECONDS
    for process in psutil.process_iter(["name", "exe", "cmdline", "cwd"]):
        if time.monotonic() > ends_at:
            return Running(tuple(users), hidden, is_cut=True)
        if process.pid in ours:
            continue
        ways = _ways_seen(process, place)
        try:
            held = next((p for p in _held_files(process) if _is_below(p, place)), None)
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            hidden, held = hidden + 1, None
        if held is not None:
            ways["holds files open"] = held
        if ways and not _is_started_by(process, starters):
            users.append(_user(process, ways))
    return Running(tuple(users), hidden)


def read_program_of(pid: int) -> str:
    """Return the name of a process's program; "" when it is gone or hidden."""
    import psutil

    try:
        name: str = psutil.Process(pid).name()
    except psutil.Error:
        return ""
    return name


def _ways_seen(process: psutil.Process, place: str) -> dict[str, str]:
    """Return how a process uses the install by what is seen without its open files."""
    found = process.info
    cwd = found["cwd"] or ""
    ways = {}
    for path in _started_from(found["exe"] or "", found["cmdline"] or [], cwd):
        if _is_below(path, place):
            ways["runs from it"] = path
    if _is_below(cwd, place):
        ways["works in it"] = cwd
    return ways


def _user(process: psutil.Process, ways: dict[str, str]) -> User:
    found = process.info
    return User(
        pid=process.pid,
        program=found["name"] or "",
        command=printable(" ".join((found["cmdline"] or [])[:_SHOWN_ARGUMENTS])),
        ways=tuple(way for way in _WAYS if way in ways),
        path=next(ways[way] for way in _WAYS if way in ways),
    )


def _started_from(exe: str, command: list[str], cwd: str) -> Iterator[str]:
    """Give the program, and the first two words of its command as paths."""
    yield exe
    # A venv's python is a link whose target lies elsewhere; a script is its first argument.
    for word in command[:2]:
        if word and not word.startswith("-"):
            yield os.path.normpath(Path(cwd) / word)


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip(os.sep) + os.sep)


def _linux_held_files(process: psutil.Process) -> Iterator[str]:
    """Give the files a process has open or mapped; safetensors are mapped, then closed."""
    import psutil

    folder = Path("/proc") / str(process.pid)
    try:
        with os.scandir(folder / "fd") as entries:
            for entry in entries:
                try:
                    yield os.readlink(entry.path)  # noqa: PTH115 - hundreds of them
                except OSError:
                    continue  # closed in between
        with (folder / "maps").open("rb") as maps:
            for line in maps:
                fields = line.split(maxsplit=5)
                if len(fields) == 6:  # noqa: PLR2004 - man 5 proc_pid_maps: the path is the sixth
                    yield os.fsdecode(fields[5].rstrip(b"\n"))
    except PermissionError as error:
        raise psutil.AccessDenied(process.pid) from error
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(process.pid) from error


def _other_held_files(process: psutil.Process) -> Iterator[str]:
    for file in process.open_files():
        yield file.path


_held_files: Callable[[psutil.Process], Iterator[str]] = (
    _linux_held_files if sys.platform == "linux" else _other_held_files
)


def _own_pids() -> tuple[frozenset[int], frozenset[int]]:
    """Return this run's processes, those that started us among them, and the run itself."""
    import psutil

    me = psutil.Process()
    # A worker of pytest-xdist: its controller is the run.
    root = (me.parent() or me) if os.environ.get("PYTEST_XDIST_WORKER") else me
    family = [root, *root.parents(), *root.children(recursive=True)]
    return frozenset(process.pid for process in family), frozenset({root.pid, me.pid})


def _is_started_by(process: psutil.Process, starters: frozenset[int]) -> bool:
    """Return whether a process is one of the run's: its probes start children all the time."""
    import psutil

    try:
        return any(parent.pid in starters for parent in process.parents())
    except psutil.NoSuchProcess:
        return True  # it has ended: nobody to wait for
    except psutil.AccessDenied:
        return False
