"""Processes that have certain files open or mapped, or run them; of folders, what lies in them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

MAX_SECONDS = 8.0  # as long as the search of processes.py; who was not seen by then is not claimed
OPEN, MAPPED, RUNS = "has it open", "has it mapped", "runs it"
STANDS = "stands in it"
# Of a folder: what lies in it is opened, mapped or run.
_IN_FOLDER = {
    OPEN: "has a file of it open",
    MAPPED: "has a file of it mapped",
    RUNS: "runs from it",
    STANDS: "has it as its current folder",
}
# Programs whose first argument is the program; of others (editors, pagers) it is just a file.
_INTERPRETERS = ("python", "pypy", "bash", "sh", "dash", "zsh")
_PATH_FIELD = 6  # man 5 proc_pid_maps: address, perms, offset, device, inode, path


_Held = Iterator[tuple[str, str, Callable[[], int]]]


@dataclass(frozen=True, slots=True)
class FileUser:
    """One process that uses one of the files. ``way`` says how, as a clause."""

    pid: int
    program: str
    way: str
    subject: str


@dataclass(frozen=True, slots=True)
class _Files:
    """What is looked for: subject by real path, and by name with inode.

    A container sees the same file under another path, but with the same name and inode.
    """

    by_path: dict[str, str]
    by_inode: dict[tuple[str, int], str]
    by_folder: dict[str, str]  # those that are folders; the path ends with a separator

    def folder_of(self, path: str) -> str | None:
        """Return which of the folders a path lies in, or is."""
        name = path + os.sep
        return next((s for folder, s in self.by_folder.items() if name.startswith(folder)), None)

    def subject_of(self, path: str, inode: Callable[[], int]) -> str | None:
        """Return which of the files this is; the inode is asked for only if the name fits."""
        if path in self.by_path:
            return self.by_path[path]
        name = os.path.basename(path)  # noqa: PTH119 - hundreds of thousands of them
        if all(name != known for known, _inode in self.by_inode):
            return None
        return self.by_inode.get((name, inode()))


def read_users(install: Path, subjects: Sequence[str]) -> list[FileUser]:
    """Return who uses one of the files now, each process once; our own and its children left out.

    Processes into which this user may not look (those of others) and other machines are not seen,
    nor is anybody after `MAX_SECONDS`: an empty list is no proof that nobody does.

    Args:
        install: The install folder.
        subjects: Paths of existing files and folders, relative to it.
    """
    if not subjects:
        return []
    import psutil

    files = _files(install, subjects)
    ours = _ours()
    users = []
    ends_at = time.monotonic() + MAX_SECONDS
    for process in psutil.process_iter(["name", "exe", "cmdline", "cwd"]):
        if time.monotonic() > ends_at:
            break
        if process.pid in ours:
            continue
        found = _use_of(process, files)
        if found is not None:
            way, subject = found
            users.append(FileUser(process.pid, process.info["name"] or "", way, subject))
    return users


def read_started(program: Path) -> list[FileUser]:
    """Return the processes that were started by this path; our own and its children left out.

    For the Python of an environment, which most often is a link: what a process runs is then the
    file behind it, and only its command line tells the environment.
    """
    import psutil

    wanted, ours = os.path.normpath(program), _ours()
    users = []
    for process in psutil.process_iter(["name", "cmdline", "cwd"]):
        first = next(iter(process.info["cmdline"] or ()), "")
        path = os.path.normpath(Path(process.info["cwd"] or "", first)) if os.sep in first else ""
        if path == wanted and process.pid not in ours:
            users.append(FileUser(process.pid, process.info["name"] or "", RUNS, path))
    return users


def _files(install: Path, subjects: Iterable[str]) -> _Files:
    by_path, by_inode, by_folder = {}, {}, {}
    folder = os.path.realpath(install)
    for subject in subjects:
        path = os.path.normpath(Path(folder, *subject.split("/")))
        for each in {path, os.path.realpath(path)}:  # a link's readers hold what it leads to
            by_path[each] = subject
            if os.path.isdir(each):  # noqa: PTH112
                by_folder[each + os.sep] = subject
            try:
                inode = os.stat(each, follow_symlinks=False).st_ino  # noqa: PTH116
            except OSError:
                continue
            by_inode[os.path.basename(each), inode] = subject  # noqa: PTH119
    return _Files(by_path, by_inode, by_folder)


def _use_of(process: psutil.Process, files: _Files) -> tuple[str, str] | None:
    """Return how a process uses one of the files, and which; None when it does not."""
    import psutil

    try:
        for way, path, inode in _uses(process):
            if (subject := files.folder_of(path)) is not None:
                return _IN_FOLDER[way], subject
            found = files.subject_of(path, inode) if way != STANDS else None
            if found is not None:
                return way, found
    except psutil.Error:
        return None  # gone, or not ours to see
    return None


def _uses(process: psutil.Process) -> _Held:
    """Give how, path and inode of all that a process uses."""
    for path in _programs(process):
        yield RUNS, path, lambda: -1
    yield STANDS, process.info["cwd"] or os.sep, lambda: -1
    yield from _held(process)


def _programs(process: psutil.Process) -> Iterator[str]:
    """Give the program of a process, the name it was started by, and an interpreter's script.

    A Python of an environment is a link on POSIX: only the name it was started by tells of it, or
    where that is a bare one, the variable that activating the environment sets.
    """
    exe, command = process.info["exe"] or "", process.info["cmdline"] or []
    yield exe
    if not command:
        return
    here = process.info["cwd"] or ""
    is_interpreter = Path(exe or command[0]).name.startswith(_INTERPRETERS)
    if os.path.basename(command[0]) != command[0]:  # noqa: PTH119
        yield os.path.normpath(Path(here, command[0]))
    elif is_interpreter and (active := _active_environment(process)):
        yield os.path.normpath(Path(active, command[0]))
    if len(command) > 1 and is_interpreter and not command[1].startswith("-"):
        yield os.path.normpath(Path(here, command[1]))


def _active_environment(process: psutil.Process) -> str:
    import psutil

    try:
        return process.environ().get("VIRTUAL_ENV", "")
    except (psutil.Error, OSError):
        return ""


def _linux_held(process: psutil.Process) -> _Held:
    """Give how, path and inode of what a process holds; weights are mapped, then closed."""
    import psutil

    folder = f"/proc/{process.pid}"
    try:
        with os.scandir(f"{folder}/fd") as entries:
            for entry in entries:
                try:
                    path = os.readlink(entry.path)  # noqa: PTH115 - hundreds of them
                except OSError:
                    continue  # closed in between
                yield OPEN, path, lambda number=entry.name: _open_inode(folder, number)  # type: ignore[misc]
        with Path(folder, "maps").open("rb") as maps:
            for line in maps:
                fields = line.split(maxsplit=_PATH_FIELD - 1)
                if len(fields) == _PATH_FIELD:
                    path = os.fsdecode(fields[5].rstrip(b"\n"))
                    yield MAPPED, path, lambda inode=fields[4]: int(inode)  # type: ignore[misc]
    except PermissionError as error:
        raise psutil.AccessDenied(process.pid) from error
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(process.pid) from error


def _open_inode(folder: str, number: str) -> int:
    """Return the inode of an open file from fdinfo; -1 before Linux 5.14, which does not say.

    Not by ``stat``: of a file on a server that is gone it never returns.
    """
    try:
        text = Path(folder, "fdinfo", number).read_text(encoding="ascii", errors="replace")
    except OSError:
        return -1
    value = text.partition("\nino:")[2].split("\n", 1)[0].strip()
    return int(value) if value.isdecimal() else -1


def _other_held(process: psutil.Process) -> _Held:
    for file in process.open_files():
        yield OPEN, file.path, lambda: -1


_held: Callable[[psutil.Process], _Held] = _linux_held if sys.platform == "linux" else _other_held


def _ours() -> frozenset[int]:
    """Return this process and all it started; not those that started us, which may run the app."""
    import psutil

    me = psutil.Process()
    # A worker of pytest-xdist: its controller, and the other workers, are the same run.
    root = (me.parent() or me) if os.environ.get("PYTEST_XDIST_WORKER") else me
    return frozenset({root.pid, *(child.pid for child in root.children(recursive=True))})
