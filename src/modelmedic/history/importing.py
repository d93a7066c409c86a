"""Run records of other machines, and of earlier times, taken into the history.

Every file is a stranger's: it is bounded, judged by the schema, and can overwrite nothing.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelmedic.errors import ModelmedicError
from modelmedic.history import reading, rows
from modelmedic.history.reading import Read
from modelmedic.records import NAME

if TYPE_CHECKING:
    from modelmedic.history.store import History

# Runs and findings stored at once: others wait a tenth of a second for the lock, and what is read
# ahead stays small, whatever a stranger's record holds.
_BATCH, _MOST_FINDINGS = 32, 8_000
# How much is written beside the file before it goes into it; each time waits for the disk.
_PAGES_AT_ONCE, _PAGES_USUALLY = 16_384, 1000
_MOST_FILES = 200_000
_MOST_DEPTH = 8
_ZIP = b"PK\x03\x04"

BundleReader = Callable[[Path], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that was not taken, and why, in words."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import came to: runs that are new, runs that were known, files that were refused.

    ``others`` counts JSON files in folders that are no run records.
    """

    stored: int = 0
    known: int = 0
    refused: tuple[Refused, ...] = ()
    others: int = 0


@dataclass(slots=True)
class _Count:
    stored: int = 0
    known: int = 0
    others: int = 0


def import_paths(
    history: History, paths: Iterable[Path], *, read_bundle: BundleReader | None = None
) -> Imported:
    """Store the run records that the paths name; what is refused is named and stops nothing.

    Raises:
        sqlite3.Error: The history cannot take them. What came before is stored.
    """
    refused: list[Refused] = []
    count = _Count()
    history.connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_AT_ONCE}")
    try:
        with _without_collector():
            _import(history, _files(paths, refused), read_bundle, count, refused)
    finally:
        history.connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_USUALLY}")
    return Imported(count.stored, count.known, tuple(refused), count.others)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python from looking for cycles: a record has none, and the looks take a sixth of all."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _import(
    history: History,
    files: Iterable[tuple[Path, bool]],
    read_bundle: BundleReader | None,
    count: _Count,
    refused: list[Refused],
) -> None:
    batch: list[Read] = []
    for path, is_named, found in _each(files, read_bundle):
        if not isinstance(found, ModelmedicError):
            batch += found
        elif is_named or path.name == NAME:
            refused.append(Refused(path, str(found)))
        else:
            count.others += 1
        if len(batch) >= _BATCH or _findings(batch) >= _MOST_FINDINGS:
            _store(history, batch, count, refused)
            batch = []
    _store(history, batch, count, refused)


def _findings(batch: list[Read]) -> int:
    return sum(len(each.rows.findings) for each in batch)


def _store(history: History, batch: list[Read], count: _Count, refused: list[Refused]) -> None:
    if not batch:
        return
    with history.writing():
        for each in batch:
            try:
                is_new = history.store_rows(each.rows, each.sha256)
            except ModelmedicError as error:
                refused.append(Refused(each.path, str(error)))
                continue
            count.stored += is_new
            count.known += not is_new


def _each(
    files: Iterable[tuple[Path, bool]], read_bundle: BundleReader | None
) -> Iterator[tuple[Path, bool, list[Read] | ModelmedicError]]:
    """Yield each file with what it holds, or why it is refused; bundles come last."""
    waiting: deque[tuple[Path, bool]] = deque()
    bundles: list[tuple[Path, bool]] = []

    def records() -> Iterator[Path]:
        for path, is_named in files:
            if read_bundle is not None and _is_zip(path):
                bundles.append((path, is_named))
            else:
                waiting.append((path, is_named))
                yield path

    for found in reading.read_all(records()):
        yield *waiting.popleft(), found if isinstance(found, ModelmedicError) else [found]
    for path, is_named in bundles:
        assert read_bundle is not None
        yield path, is_named, _of_bundle(path, read_bundle)


def _of_bundle(path: Path, read_bundle: BundleReader) -> list[Read] | ModelmedicError:
    try:
        return [
            Read(path, rows.of(record), rows.content_hash(record)) for record in read_bundle(path)
        ]
    except ModelmedicError as error:
        return error


def _is_zip(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as stream:
            return stream.read(len(_ZIP)) == _ZIP
    except OSError:
        return False


def _files(paths: Iterable[Path], refused: list[Refused]) -> Iterator[tuple[Path, bool]]:
    """Yield each file to read, and whether a person named it."""
    for path in paths:
        if not path.is_dir():
            yield path, True
            continue
        found = 0
        for file in _below(path, 0):
            found += 1
            if found > _MOST_FILES:
                refused.append(Refused(path, f"It holds more than {_MOST_FILES:,} records."))
                break
            yield file, False
        if not found:
            refused.append(Refused(path, "There is no run record in it."))


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the records below a folder by name, which is by time; links are not followed.

    A report folder has one, whatever else lies in it; another folder may hold any number.
    """
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return
    files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
    reports = [entry for entry in files if entry.name == NAME]
    wanted = reports or [entry for entry in files if entry.name.endswith((".json", ".zip"))]
    yield from (Path(entry.path) for entry in wanted)
    if depth < _MOST_DEPTH:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(Path(entry.path), depth + 1)
