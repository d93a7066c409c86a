"""Run records as rows, read by a process beside us where there are many.

To parse and judge a record takes twice as long as to store it; on two processors neither waits for
the other. What the helper does not answer, because it died or could not be started, is read here.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from modelmedic import commands, runs
from modelmedic.errors import CannotTell, ModelmedicError
from modelmedic.history import rows
from modelmedic.history.rows import Rows, Snapshot

_FEWEST = 64  # files; a helper takes as long to start as fifty of them take to read
_AHEAD = 16  # questions that wait in the helper's input, which takes 64 KiB without a reader
_MOST_QUESTION_BYTES = 4096 - 64  # so that as many always fit; longer paths are read here
_WAITING = 64  # answers that wait for the database, at 100 KB each
_NAMES = tuple(field.name for field in fields(Rows))
_PROGRAM = (
    "import sys; sys.path[:0] = sys.argv[1:]; from modelmedic.history.reading import serve; serve()"
)


@dataclass(frozen=True, slots=True)
class Read:
    """A record that was read: its rows, and what tells it from another one."""

    path: Path
    rows: Rows
    sha256: str


def read(path: Path) -> Read:
    """Return a run record as rows.

    Raises:
        CannotTell: There is none, or it is no run record of this version.
    """
    record, sha256 = runs.read_hashed(path)
    return Read(path, rows.of(record), sha256)


def read_all(paths: Iterable[Path]) -> Iterator[Read | ModelmedicError]:
    """Yield what each path holds, or why it could not be read, in their order."""
    paths = iter(paths)
    first = list(islice(paths, _FEWEST))
    if len(first) < _FEWEST:
        yield from map(_tried, first)
        return
    with_rest = _chained(first, paths)
    try:
        helper = _Helper()
    except CannotTell:
        yield from map(_tried, with_rest)
        return
    try:
        yield from helper.read(with_rest)
    finally:
        helper.close()


def _chained(first: list[Path], rest: Iterator[Path]) -> Iterator[Path]:
    yield from first
    yield from rest


def _tried(path: Path) -> Read | ModelmedicError:
    try:
        return read(path)
    except ModelmedicError as error:
        return error


class _Helper:
    """A process that reads records, and a thread that takes its answers as they come.

    Raises:
        CannotTell: It cannot be started.
    """

    def __init__(self) -> None:
        package = str(Path(__file__).resolve().parents[2])
        self._process = commands.begin([sys.executable, "-I", "-c", _PROGRAM, package])
        self._answers: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def read(self, paths: Iterator[Path]) -> Iterator[Read | ModelmedicError]:
        """Yield what each path holds; from its death on they are read here."""
        asked: deque[tuple[Path, bool]] = deque()
        is_alive = True
        for path in paths:
            asked.append((path, is_alive and self._ask(path)))
            if len(asked) > _AHEAD:
                first, is_asked = asked.popleft()
                found = self._next(first) if is_asked else None
                is_alive &= found is not None or not is_asked
                yield found or _tried(first)
        for path, is_asked in asked:
            yield (self._next(path) if is_asked else None) or _tried(path)

    def close(self) -> None:
        """End the process and the thread."""
        self._is_closed.set()
        commands.end(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # what was not read by the dead is lost with it
        self._thread.join()

    def _ask(self, path: Path) -> bool:
        question = json.dumps(str(path)).encode() + b"\n"
        if len(question) > _MOST_QUESTION_BYTES or self._process.stdin is None:
            return False
        try:
            self._process.stdin.write(question)
            self._process.stdin.flush()
        except OSError:
            return False
        return True

    def _next(self, path: Path) -> Read | ModelmedicError | None:
        """Return the answer about a path; None when there is none and none will come."""
        line = self._answers.get()
        if not line.endswith(b"\n"):
            return None
        answer: dict[str, Any] = json.loads(line)
        if "what" in answer:
            return CannotTell(answer["what"], answer["why"], answer["next"])
        return Read(path, _rows(answer["rows"]), answer["sha256"])

    def _take(self) -> None:
        """Put each line of the process into the queue; once it is dead, empty ones."""
        assert self._process.stdout is not None
        line = b"\n"
        while line and not self._is_closed.is_set():
            try:
                line = self._process.stdout.readline()
            except (OSError, ValueError):
                line = b""
            self._put(line)
        while not self._is_closed.is_set():
            self._put(b"")

    def _put(self, line: bytes) -> None:
        while not self._is_closed.is_set():
            try:
                self._answers.put(line, timeout=0.2)
            except queue.Full:
                continue
            return


def serve() -> None:
    """Answer the paths on standard input, a line each, until it ends: the helper's own loop."""
    import gc

    gc.disable()  # a record has no cycles, and looking for them takes a sixth of the time
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(_answer(_tried(Path(json.loads(line)))))
        sys.stdout.buffer.flush()


def _answer(found: Read | ModelmedicError) -> bytes:
    if isinstance(found, ModelmedicError):
        told = {"what": found.what, "why": found.why, "next": found.next_step}
        return json.dumps(told).encode() + b"\n"
    values = {name: getattr(found.rows, name) for name in _NAMES}
    snapshot = found.rows.snapshot
    values["snapshot"] = (
        [getattr(snapshot, field.name) for field in fields(Snapshot)] if snapshot else None
    )
    text = json.dumps({"rows": values, "sha256": found.sha256}, separators=(",", ":"))
    return text.encode() + b"\n"


def _rows(values: dict[str, Any]) -> Rows:
    snapshot = Snapshot(*values["snapshot"]) if values["snapshot"] else None
    rest = {
        "findings": tuple(map(tuple, values["findings"])),
        "heals": tuple(map(tuple, values["heals"])),
        "snapshot": snapshot,
    }
    return Rows(**{**values, **rest})
