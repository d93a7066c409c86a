"""Checks and plans change nothing but what they declare: an audit hook stops what they do not.

Only work that runs inside `watching` is watched, together with the threads it starts; a run of
checks watches its checks, probes and recoveries that plan. What no audit event tells of is named
in `modelmedic.deeds`; a raw ``_thread.start_new_thread`` is not followed either.
"""

from __future__ import annotations

import atexit
import contextlib
import fnmatch
import functools
import os
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from modelmedic import deeds
from modelmedic.errors import ModelmedicError
from modelmedic.text import printable

OWN_PYTHON, TARGET_PYTHON, SCRATCH = "own python", "target python", "scratch"

_MARK = "_modelmedic_watch"  # on a thread that watched work started
_NULL = os.path.realpath(os.devnull)
_OWN_FILES = frozenset({__file__, deeds.__file__})
_PACKAGE = str(Path(__file__).resolve().parent) + os.sep
_STDLIB = str(Path(os.__file__).resolve().parent) + os.sep
_LIBRARIES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class BrokenPromise(ModelmedicError):  # noqa: N818 - named for what happened, as its siblings
    """A check, probe or plan was about to change something it did not declare; it was stopped."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a probe does beside reading; by default nothing.

    Args:
        writes: "scratch": inside the run's scratch folder. "temporary": it lets the standard
            library look for the temporary folder, which tries a file in each candidate.
        connects: "loopback": to or at this machine. "network": anywhere.
        spawns: Programs it starts through `modelmedic.commands`: `OWN_PYTHON`, `TARGET_PYTHON`,
            `SCRATCH` (a program it wrote there), or patterns of file names such as "python3*".
    """

    writes: Literal["", "scratch", "temporary"] = ""
    connects: Literal["", "loopback", "network"] = ""
    spawns: tuple[str, ...] = ()


@dataclass(slots=True)
class Watch:
    """Somebody at work who promised something.

    Args:
        who: The offender's name, should there be one: "the probe gpu.read_gpus".
        promise: What is declared.
        scratch_name: Name of the run's scratch folder.
        target_python: The target interpreter; None when there is none.
        broken: What was stopped, in its order.
    """

    who: str
    promise: Promise = field(default_factory=Promise)
    scratch_name: str = ""
    target_python: Path | None = None
    broken: list[BrokenPromise] = field(default_factory=list)


_UNKNOWN = Watch("a thread that was not asked yet")


class _Own(threading.local):
    """What holds for one thread."""

    watch: Watch | None = _UNKNOWN
    program: str | None = None  # that `modelmedic.commands` starts right now
    base: str | None = None  # what names in "open" events are relative to
    is_judging = False


_own = _Own()
_broken: list[BrokenPromise] = []
_folders: dict[str, bool] = {}  # real path: whether it is a run's own
_listened: set[str] = set()  # events; empty until installed and after exit


def install(*, own: Iterable[Path], examined: Path) -> None:
    """Begin to enforce promises in this process; what is installed stays until its end.

    Args:
        own: The run's own folders, in which it may write: report and state.
        examined: The folder under test. Of nested folders the innermost decides.
    """
    with contextlib.suppress(OSError):
        tempfile.gettempdir()  # found now, so that no probe has to try for one
    _folders.update({_normal(folder): True for folder in own})
    _folders[_normal(examined)] = False  # last: a report folder that is the install frees nothing
    if not _listened:
        _follow_threads()
        sys.addaudithook(_hook)
        atexit.register(_listened.clear)  # the interpreter takes our names away before the hook
    _listened.update(deeds.EVENTS)


def broken() -> tuple[BrokenPromise, ...]:
    """Return what was stopped in this process so far, also what its offender swallowed."""
    return tuple(_broken)


class watching:  # noqa: N801 - a context manager, used as its siblings are
    """Hold this thread, and those it starts, to a promise.

    A class, not a generator: it is entered three times for each check.

    Raises:
        BrokenPromise: It was broken inside, even if whoever broke it caught that.
    """

    __slots__ = ("_before", "_watch")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._before: Watch | None = None

    def __enter__(self) -> None:
        self._before, _own.watch = _current(), self._watch

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        _own.watch = self._before
        broken = self._watch.broken
        if broken and not isinstance(error, BrokenPromise | KeyboardInterrupt | SystemExit):
            raise broken[0] from None


@contextlib.contextmanager
def lifted() -> Iterator[None]:
    """Let this thread change things: a repair is applied here, journaled and under its lock."""
    before, _own.watch = _current(), None
    try:
        yield
    finally:
        _own.watch = before


@contextlib.contextmanager
def child(program: str) -> Iterator[None]:
    """Let this thread start ``program`` and hold its output in unnamed temporary files.

    For `modelmedic.commands` alone.

    Raises:
        BrokenPromise: This thread is watched and did not declare the program.
    """
    watch = _current()
    if watch is not None and not _may_start(watch, program):
        raise _caught(watch, deeds.Deed("spawn", "start", program))
    before, _own.program = _own.program, program
    try:
        yield
    finally:
        _own.program = before


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """State that relative names are opened relative to ``folder``: no event tells ``dir_fd``."""
    before, _own.base = _own.base, str(folder)
    try:
        yield
    finally:
        _own.base = before


# -- the hook --------------------------------------------------------------------------------------


def _hook(event: str, args: tuple[Any, ...], listened: set[str] = _listened) -> None:
    """Judge one audit event. Python calls this for every one, so most leave at the first line."""
    if event not in listened or (event == "open" and not deeds.is_for_writing(args)):
        return
    watch = _current()
    if watch is None or _own.is_judging:
        return
    _own.is_judging = True
    try:
        deed = deeds.of(event, args, _own.base)
        if deed is None or _is_allowed(watch, deed):
            return
        error = _caught(watch, deed)
    finally:
        _own.is_judging = False
    raise error


def _current() -> Watch | None:
    if _own.watch is _UNKNOWN:
        _own.watch = vars(threading.current_thread()).get(_MARK)
    return _own.watch


def _follow_threads() -> None:
    """Hold a thread to the promise of the one that starts it; no event told of that before 3.12."""
    original = threading.Thread.start

    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        watch = _current()
        if watch is not None:
            vars(self)[_MARK] = watch
        original(self)

    threading.Thread.start = start  # type: ignore[method-assign]


def _is_allowed(watch: Watch, deed: deeds.Deed) -> bool:
    if deed.kind == "write":
        return all(_may_write(watch, path) for path in deed.paths)
    if deed.kind == "connect":
        declared = watch.promise.connects
        return declared == "network" or (declared == "loopback" and deed.is_local)
    return deed.kind in {"spawn", "signal"} and _own.program is not None


def _may_write(watch: Watch, path: str | None) -> bool:
    declared = watch.promise.writes
    if path is None:  # a system that does not tell where its descriptors lead
        return declared != ""
    if path == _NULL or _is_bytecode(path) or _is_of_the_run(path):
        return True
    if declared == "scratch" and watch.scratch_name in Path(path).parts:
        return True
    if _own.program is not None and _is_in_temporary(path):
        return True
    may_look = declared == "temporary" or _own.program is not None
    return may_look and _actor().f_code.co_name == "_get_default_tempdir"


def _is_bytecode(path: str) -> bool:
    """Return whether importing a module writes this, or makes the folder for it."""
    place = Path(path)
    if place.name == "__pycache__":
        return True
    if place.parent.name == "__pycache__" and ".pyc" in place.name:
        return True
    prefix = sys.pycache_prefix
    return prefix is not None and path.startswith(os.path.realpath(prefix) + os.sep)


def _is_of_the_run(path: str) -> bool:
    """Return whether the innermost known folder around a path is the run's own."""
    inside = [f for f in _folders if (os.path.normcase(path) + os.sep).startswith(f)]
    return bool(inside) and _folders[max(inside, key=len)]


def _normal(folder: Path) -> str:
    return os.path.normcase(os.path.realpath(folder)).rstrip(os.sep) + os.sep


def _is_in_temporary(path: str) -> bool:
    folder = tempfile.tempdir  # None while it is looked for
    if folder is None:
        return False
    return os.path.realpath(os.fsdecode(folder)) in {path, str(Path(path).parent)}


def _may_start(watch: Watch, program: str) -> bool:
    declared = watch.promise.spawns
    path = Path(program)
    known = {OWN_PYTHON: Path(sys.executable), TARGET_PYTHON: watch.target_python}
    if any(known.get(word) == path for word in declared):
        return True
    if SCRATCH in declared and path.parent.name == watch.scratch_name:
        return True
    name = path.name.lower().removesuffix(".exe")
    return any(fnmatch.fnmatchcase(name, word) for word in declared)


# -- the offender ----------------------------------------------------------------------------------


def _caught(watch: Watch, deed: deeds.Deed) -> BrokenPromise:
    """Record a broken promise and return it."""
    error = BrokenPromise(
        f"{watch.who[:1].upper()}{watch.who[1:]} broke its promise: it was about to {deed.verb} "
        f"{printable(deed.subject)} ({_where()}).",
        "Checks, probes and plans change nothing but what they declare, and this was not declared; "
        "it was stopped. It is our own fault and says nothing about the install.",
        "Report it with this run's report.json.",
    )
    if error.what not in {known.what for known in watch.broken}:
        watch.broken.append(error)
        _broken.append(error)
    return error


def _actor() -> FrameType:
    """Return the innermost frame that is not ours: who calls what is judged."""
    frame = sys._getframe()  # noqa: SLF001 - the documented way to one's caller
    while frame.f_code.co_filename in _OWN_FILES and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _where() -> str:
    """Return file and line of the offender: the innermost that is neither Python's nor a library's.

    The one wrapper for children is never it.
    """
    first = frame = _actor()
    while not _is_authored(frame.f_code.co_filename):
        if frame.f_back is None:
            frame = first
            break
        frame = frame.f_back
    return f"{printable(frame.f_code.co_filename)}:{frame.f_lineno}"


def _is_authored(file: str) -> bool:
    if file.startswith(_PACKAGE):
        return not file.endswith(f"{os.sep}commands.py")
    is_library = file.startswith(("<", _STDLIB)) or any(part in file for part in _LIBRARIES)
    return not is_library
