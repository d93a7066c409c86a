"""The log of judged repairs in the state folder: append-only, bounded, read as a stranger's."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from modelmedic.errors import message
from modelmedic.healing import trouble
from modelmedic.healing.lock import file_lock
from modelmedic.operations.durable import make_private_folders
from modelmedic.text import printable, size

NAME = "effectiveness.jsonl"
VERDICTS = ("healed", "not healed", "failed")  # all others say nothing about a repair
VERSION = 1
MOST_BYTES = 256 * 1024  # about 800 lines; above it the older ones become counts
KEPT = 300  # newest lines that stay whole: months of repairs on one machine
_READ_BYTES = 4 * 1024 * 1024  # we never write a larger one; whoever did is not believed
_MOST_TALLIES = 1000  # recoveries x categories x platforms is far below
_MOST_LETTERS = 200  # of any name in a line
_LOCK_SECONDS = 5.0  # others hold it for milliseconds
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

# What of a line is text, and what is a number up to which bound.
_TEXTS = ("recovery", "family", "category", "system", "machine")
_MORE_TEXTS = ("repair", "check", "state")
_NUMBERS = {"at": 1e11, "seconds": 1e8, "fetched_bytes": 1e16}
_MOST_COUNT = 1_000_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One judged repair. No path is in it: of a check, the id without its parameter.

    Args:
        repair: Its number in the journal; a later line of the same number replaces an earlier.
        at: When it was judged, seconds since the epoch.
        recovery: Its name.
        family: Family of the recovery.
        category: Error category of the check's failure; empty when it had none.
        system: `platform.system()`.
        machine: `platform.machine()`.
        check: Id of the check.
        verdict: One of `VERDICTS`.
        seconds: How long its operations took; 0 when they did not all end.
        fetched_bytes: What went over the wire.
        state: Hash of the state it was tried in.
        is_lasting: Whether the verdict would be the same in the same state.
    """

    repair: str
    at: float
    recovery: str
    family: str
    category: str
    system: str
    machine: str
    check: str
    verdict: str
    seconds: float
    fetched_bytes: int
    state: str
    is_lasting: bool


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a recovery's older attempts ended with one verdict."""

    recovery: str
    family: str
    category: str
    system: str
    machine: str
    verdict: str


@dataclass(slots=True)
class History:
    """What the log says: whole entries, the oldest first, and counts of still older ones."""

    entries: list[Entry]
    tallies: Counter[Tally]

    def counts(self, wanted: Callable[[Entry | Tally], bool]) -> Counter[str]:
        """Return the number of attempts by verdict, of those that are ``wanted``."""
        found = Counter(entry.verdict for entry in self.entries if wanted(entry))
        for tally, count in self.tallies.items():
            if wanted(tally):
                found[tally.verdict] += count
        return found


class EvidenceLog:
    """The log of one state folder. It is never worth a failed run: `trouble` says what is wrong.

    Args:
        folder: The state folder; it and the file are created on the first write, private.
        most_bytes: From this size on, older lines become counts.
        kept: How many of the newest lines stay whole then.
    """

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES, kept: int = KEPT) -> None:
        self.path = folder / NAME
        self.trouble = ""
        self._lock_path = folder / "locks" / "effectiveness.lock"
        self._most_bytes = most_bytes
        self._kept = kept
        self._unwritten: dict[str, Entry] = {}  # by repair; still true in this run

    def read(self) -> History:
        """Return what is known; empty when nothing was ever repaired, or the file is not ours."""
        data = self._tried(self._read_bytes, b"")
        history = parsed(data.splitlines())
        known = [entry for entry in history.entries if entry.repair not in self._unwritten]
        return History([*known, *self._unwritten.values()], history.tallies)

    def add(self, entry: Entry) -> None:
        """Append one entry and flush it to the disk."""
        if not self._tried(lambda: self._append(_line(dataclasses.asdict(entry))), False):
            self._unwritten[entry.repair] = entry

    def revise(self, repair: str, verdict: str, *, is_lasting: bool) -> None:
        """Append a later verdict on a repair, by its number; nothing for an unknown one."""
        for entry in self.read().entries:
            if entry.repair == repair and entry.verdict != verdict:
                self.add(dataclasses.replace(entry, verdict=verdict, is_lasting=is_lasting))

    def _tried(self, work: Callable[[], T], otherwise: T) -> T:
        try:
            return work()
        except OSError as error:  # a lock's timeout is one
            reason = printable(getattr(error, "strerror", None) or error).rstrip(".")
            self.trouble = message(
                f"The record of repairs {printable(self.path)} was not used: {reason}.",
                "Repairs were made without what earlier ones showed.",
                _next_step(error),
            )
        return otherwise

    def _append(self, line: bytes) -> bool:
        """Write one line by one call; appenders and the one who compacts hold the same lock."""
        with self._locked():
            handle = self._open(os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            try:
                # The line before may be torn by a kill: ours begins on one of its own.
                if os.write(handle, b"\n" + line) != len(line) + 1:
                    raise OSError("the disk took only a part of a line")
                os.fsync(handle)
                is_long = os.fstat(handle).st_size > self._most_bytes
            finally:
                os.close(handle)
            if is_long:
                with contextlib.suppress(OSError):  # Windows, while somebody reads: next time
                    self._compact()
        return True

    def _compact(self) -> None:
        history = parsed(self._read_bytes().splitlines())
        cut = max(0, len(history.entries) - self._kept)
        for entry in history.entries[:cut]:
            history.tallies[_tally(entry)] += 1
        lines = [
            _line({**dataclasses.asdict(tally), "count": count})
            for tally, count in history.tallies.most_common(_MOST_TALLIES)
        ]
        lines += [_line(dataclasses.asdict(entry)) for entry in history.entries[cut:]]
        private = self.path.with_suffix(".new")
        private.unlink(missing_ok=True)  # left by a kill; ours alone, under the lock
        handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(lines)
            stream.flush()
            os.fsync(handle)
        private.replace(self.path)

    def _read_bytes(self) -> bytes:
        try:
            handle = self._open(os.O_RDONLY)
        except FileNotFoundError:
            return b""
        with os.fdopen(handle, "rb") as stream:
            # Not more than there is: Python takes the memory for all that is asked for.
            return stream.read(min(os.fstat(handle).st_size, _READ_BYTES))

    def _open(self, flags: int) -> int:
        """Open the file without following a link or waiting for a pipe.

        Raises:
            OSError: It is not a file of ours, that only we can read and write.
        """
        handle = os.open(self.path, flags | _FLAGS, 0o600)
        try:
            _refuse_foreign(os.fstat(handle))
        except OSError:
            os.close(handle)
            raise
        return handle

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        make_private_folders(self._lock_path.parent)
        with file_lock(self._lock_path).acquire(timeout=_LOCK_SECONDS):
            yield


def _next_step(error: OSError) -> str:
    if error.errno == errno.ENOSYS:
        return "Choose a state folder on a local disk with MODELMEDIC_STATE_DIR."
    if error.errno or isinstance(error, TimeoutError):
        return trouble.next_step(error)
    return "Move the file away; a new one is begun."


def parsed(lines: Iterable[bytes]) -> History:
    """Return what the lines say; torn, foreign and impossible ones are passed over."""
    entries: dict[str, Entry] = {}
    tallies: Counter[Tally] = Counter()
    for line in lines:
        value = _values(line)
        if not value or not _is_sound(value):
            continue
        if "count" in value:
            tally = _tally_of(value)
            tallies[tally] = min(_MOST_COUNT, tallies[tally] + value["count"])
        else:
            fields = {field.name: value[field.name] for field in dataclasses.fields(Entry)}
            entries.pop(value["repair"], None)
            entries[value["repair"]] = Entry(**fields)
    return History(list(entries.values()), tallies)


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps({"version": VERSION, **values}, ensure_ascii=True).encode() + b"\n"


def _values(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and value.get("version") == VERSION else {}


def _is_sound(value: dict[str, Any]) -> bool:
    """Return whether every field is there, of its type and within its bounds."""
    is_count = "count" in value
    texts = [value.get(name) for name in (*_TEXTS, *(() if is_count else _MORE_TEXTS))]
    numbers = {"count": _MOST_COUNT} if is_count else _NUMBERS
    return (
        value.get("verdict") in VERDICTS
        and all(isinstance(text, str) and len(text) <= _MOST_LETTERS for text in texts)
        and all(_is_number(value.get(name), most) for name, most in numbers.items())
        and (is_count or isinstance(value.get("is_lasting"), bool))
        and isinstance(value.get("count" if is_count else "fetched_bytes"), int)
    )


def _is_number(value: object, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= most and (isinstance(value, int) or math.isfinite(value))


def _tally(entry: Entry) -> Tally:
    return _tally_of(dataclasses.asdict(entry))


def _tally_of(value: dict[str, Any]) -> Tally:
    return Tally(**{field.name: value[field.name] for field in dataclasses.fields(Tally)})


def _refuse_foreign(found: os.stat_result) -> None:
    """Raise `OSError` for what somebody else could have written, or what is no log."""
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is no regular file")
    if found.st_size > _READ_BYTES:
        raise OSError(f"it has {size(found.st_size)}, far more than is ever written")
    # Windows: the state folder lies in the user's own profile.
    if hasattr(os, "getuid") and (
        found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise OSError("it belongs to another user, or others may read or write it")
