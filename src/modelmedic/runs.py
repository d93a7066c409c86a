"""Report folders of earlier runs: find one, read it as a stranger's, keep the newest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from modelmedic import jsonshape, rooms
from modelmedic.errors import CannotTell
from modelmedic.records import BESIDE, JOURNAL_NAME, NAME, SCHEMA, counts, root_causes
from modelmedic.text import printable, size

KEPT = 50  # run folders in the default place; at 100 KB to 1 MB each a month of daily runs
_MOST_BYTES = 64 * 1024 * 1024  # 10,000 findings take about 10 MB
_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
_OURS = frozenset({NAME, JOURNAL_NAME, *BESIDE, "plan.json", "groups.json", "closing"})


def new_id() -> str:
    """Return the id of a run that begins now; later ones sort behind it."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def folder(state_dir: Path) -> Path:
    """Return where runs are kept when no ``--report-dir`` is given; it may not exist."""
    base = rooms.room("reports") if rooms.is_checkout() else state_dir
    return base / "runs"


def find(run: str, state_dir: Path) -> Path:
    """Return the path that ``run`` names: a folder, a file, or the id of a kept run."""
    path = Path(run)
    kept = folder(state_dir) / run
    is_id = _RUN_ID.fullmatch(run) is not None
    return kept if is_id and not path.exists() and kept.is_dir() else path


def read(path: Path) -> dict[str, Any]:
    """Return a run record from a report folder or file; findings of a killed run are added.

    It may come from a stranger: it is bounded, and judged by the published schema. What can be
    counted from the findings is counted again.

    Raises:
        CannotTell: There is none, or it is no run record of this version.
    """
    return read_hashed(path)[0]


def read_hashed(path: Path) -> tuple[dict[str, Any], str]:
    """Return the same and what tells it from another record: the SHA-256 of its file.

    Of a killed run's, with its length: what is beside it grew until then.

    Raises:
        CannotTell: As `read`.
    """
    file = path / NAME if path.is_dir() else path
    data = _read_bytes(file)
    record, sha256 = judged(data, file), hashlib.sha256(data).hexdigest()
    if record["exit_code"] is None:
        _add_unfinished(record, file.with_name(JOURNAL_NAME), _schema())
        _count_again(record)
        sha256 += f"+{len(record['findings'])}"
    return record, sha256


def judged(data: bytes, file: Path) -> dict[str, Any]:
    """Return the run record that ``data`` is, judged as `read` does; ``file`` names it in words.

    Raises:
        CannotTell: It is no run record of this version.
    """
    record = _parsed(file, data)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        _refuse(file, f"it is no run record of schema {SCHEMA}")
    if not _judge()(record):
        _refuse(file, jsonshape.first_fault(record, _schema()) or "it breaks the schema")
    _count_again(record)
    return record


def _count_again(record: dict[str, Any]) -> None:
    record["counts"] = counts(finding["outcome"] for finding in record["findings"])
    record["root_causes"] = root_causes(record["findings"])


def prune(runs: Path, *, kept: int = KEPT) -> list[Path]:
    """Remove all but the newest run folders; return what was removed.

    Only a folder with a run's name, a record, and nothing that is not ours goes. What cannot be
    removed stays.
    """
    with contextlib.suppress(OSError):
        old = sorted((p for p in runs.iterdir() if _RUN_ID.fullmatch(p.name)), reverse=True)[kept:]
        return [path for path in old if _is_ours(path) and _remove(path)]
    return []


def _is_ours(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    return (NAME in names or not names) and names <= _OURS


def _remove(path: Path) -> bool:
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


@cache
def _judge() -> Callable[[Any], bool]:
    return jsonshape.compiled(_schema())


@cache
def _schema() -> dict[str, Any]:
    text = (rooms.room("reports") / "run-record.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _read_bytes(file: Path) -> bytes:
    """Return a regular file's bytes; a pipe or device is refused, not waited for."""
    try:
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as stream:
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode):
                _refuse(file, "it is no regular file")
            if info.st_size > _MOST_BYTES:
                _refuse(file, f"it has {size(info.st_size)}, more than {size(_MOST_BYTES)}")
            return stream.read(_MOST_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise CannotTell(
            f"There is no run record to read at {printable(file)}: {reason}.",
            next_step="Name the folder of a run: the one its last line calls the report's.",
        ) from error


def _parsed(file: Path, data: bytes) -> Any:
    try:
        return json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        _refuse(file, f"it is no JSON ({type(error).__name__})", error)


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _refuse(file: Path, why: str, error: BaseException | None = None) -> NoReturn:
    raise CannotTell(
        f"{printable(file)} cannot be read as a run record: {printable(why)}."
    ) from error


def _add_unfinished(record: dict[str, Any], journal: Path, schema: dict[str, Any]) -> None:
    """Add what a killed run left: its findings, the last word on each, and how far it came."""
    left = {finding["check"]: finding for finding in _left(journal, schema)}
    known = [finding for finding in record["findings"] if finding["check"] not in left]
    record["findings"] = [*known, *left.values()]
    with contextlib.suppress(OSError, ValueError):
        spent = _last_end(record["findings"]) or _written(record, journal)
        record["duration_seconds"] = max(record["duration_seconds"], round(spent, 3))


def _last_end(findings: Iterable[Mapping[str, Any]]) -> float:
    """Return when the last check ended, in seconds after the run began; 0: none says when."""
    ends = ((finding.get("started") or 0) + (finding.get("seconds") or 0) for finding in findings)
    return max(ends, default=0)


def _written(record: Mapping[str, Any], journal: Path) -> float:
    """Return when an older version wrote last; of a copied file it is when it was copied."""
    began = time.strptime(record["started_at"], "%Y-%m-%dT%H:%M:%SZ")
    return journal.stat().st_mtime - _seconds(began)


def _seconds(moment: time.struct_time) -> float:
    import calendar

    return calendar.timegm(moment)


def _left(journal: Path, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the findings of the growing file; a torn last line is passed over."""
    shape = {"$ref": "#/$defs/finding", "$defs": schema["$defs"]}
    try:
        lines = _read_bytes(journal).split(b"\n")
    except CannotTell:
        return  # the record alone is what there is
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            finding = json.loads(line, parse_constant=_no_number)
            if jsonshape.first_fault(finding, shape) is None:
                yield finding
