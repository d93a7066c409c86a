"""A run record as rows of the history: what is kept of it, each text cut to a bound."""

from __future__ import annotations

import calendar
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN_MACHINE = "machine:unknown"  # of records from before machines had a stand-in
MACHINE = re.compile(r"machine:[0-9a-f]{10}")
_NAME_LETTERS = 500  # of an id or a path; no file system has longer names
_TEXT_LETTERS = 4000  # of what a check found; a page of it is enough to know it again
_MOST_CAUSES = 200
_MOST_GPUS = 64
_MOST_ENTRIES = 10_000  # packages or files; a large environment has 500
_LAST_MOMENT = 32_503_680_000  # begin of the year 3000; Source: localtime of Microsoft's C library
_MOST_BYTES = (1 << 63) - 1  # what SQLite can hold
_SILENT = frozenset({"passed", "skipped"})  # what they found is not worth the room
_HALVES = re.compile("[\ud800-\udfff]")
_JUDGED = ("healed", "not healed", "failed")  # verdicts that say something about a recovery

Text = str | None
Finding = tuple[str, str, str, str, str, Text, Text, float | None, Text, Text, Text]
Heal = tuple[str, str, str, str, str, float, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an inventory comes to: one row of the table "environment"."""

    hash: str
    system: str
    python: str
    driver: str
    gpus: str
    memory_bytes: int | None
    packages: str
    files: str


@dataclass(frozen=True, slots=True)
class Rows:
    """One run, ready to be stored.

    ``findings``: check, title, area, outcome, severity, category, failure id, seconds, what, why,
    blocked by. ``heals``: number, recovery, category, check, verdict, seconds, fetched bytes.
    """

    machine: str
    run_id: str
    started_at: float
    seconds: float
    folder: str
    profile: str
    mode: str
    stage: str
    exit_code: int | None
    modelmedic: str
    is_partial: bool
    counts: str
    root_causes: str
    system: str
    processor: str
    snapshot: Snapshot | None
    findings: tuple[Finding, ...]
    heals: tuple[Heal, ...]


def of(record: Mapping[str, Any]) -> Rows:
    """Return the rows of a run record that fits the schema of run records."""
    rows = _rows(record)
    try:
        # Without the seconds all of a row is text.
        "".join(
            [text for row in rows.findings for text in row if text and type(text) is str]
        ).encode()
        f"{rows.folder}{rows.profile}{rows.modelmedic}{rows.system}{rows.processor}".encode()
        "".join(part for heal in rows.heals for part in heal[:5]).encode()
    except UnicodeEncodeError:  # half a character, which no database takes; we write none
        return _rows(json.loads(_HALVES.sub("?", json.dumps(record, ensure_ascii=False))))
    return rows


def _rows(record: Mapping[str, Any]) -> Rows:
    environment = record["environment"]
    return Rows(
        machine=_machine(environment.get("machine_id")),
        run_id=record["run_id"],
        started_at=_moment(record["started_at"]),
        seconds=float(record["duration_seconds"]),
        folder=_cut(record["install_dir"] or "", _NAME_LETTERS),
        profile=_cut(record["profile"], _NAME_LETTERS),
        mode=record["mode"],
        stage=record["stage"],
        exit_code=None if record["exit_code"] is None else int(record["exit_code"]),
        modelmedic=_cut(record["modelmedic"], _NAME_LETTERS),
        is_partial=bool(environment.get("is_partial")),
        counts=_json(record["counts"]),
        root_causes=_json([_cause(each) for each in record["root_causes"][:_MOST_CAUSES]]),
        system=_cut(environment["system"], _NAME_LETTERS),
        processor=_cut(environment["machine"], _NAME_LETTERS),
        snapshot=snapshot(environment.get("inventory")),
        findings=_findings(record["findings"]),
        heals=tuple(_heals(record["findings"])),
    )


def snapshot(inventory: Any) -> Snapshot | None:
    """Return the row of an inventory under a hash of our own; None when there is none.

    A stranger's word for the hash would let one record speak for another machine's.
    """
    if not isinstance(inventory, dict):
        return None
    memory = inventory.get("memory_bytes")
    values = (
        _cut(str(inventory.get("system", "")), _NAME_LETTERS),
        _cut(str(inventory.get("python", "")), _NAME_LETTERS),
        _cut(str(inventory.get("driver", "")), _NAME_LETTERS),
        _json(_names(inventory.get("gpus"))),
        memory if type(memory) is int and 0 <= memory <= _MOST_BYTES else None,
        _json(_versions(inventory.get("packages"))),
        _json(_sizes(inventory.get("files"))),
    )
    return Snapshot(hashlib.sha256(_json(values).encode()).hexdigest()[:32], *values)


def content_hash(record: Mapping[str, Any]) -> str:
    """Return the hash of a record that came from no file."""
    return hashlib.sha256(_json(record).encode()).hexdigest()


def _machine(named: Any) -> str:
    is_ours = isinstance(named, str) and MACHINE.fullmatch(named)
    return named if is_ours else UNKNOWN_MACHINE


def _moment(text: str) -> float:
    """Return seconds since the epoch; a day that no clock shows (the schema lets it) is the first.

    Nor one before the epoch or after 2999, which Windows cannot show.

    Without `time.strptime`, which takes a lock and ten times as long.
    """
    year, month, day, hour, minute, second = (int(part) for part in re.findall(r"\d+", text))
    try:
        moment = float(calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0)))
    except ValueError:
        return 0.0
    return moment if 0 <= moment < _LAST_MOMENT else 0.0


def _findings(findings: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """Return one row a check; of two with one name the last, which is the last word on it."""
    rows: dict[str, Finding] = {}
    for each in findings:
        is_silent = each["outcome"] in _SILENT
        row: Finding = (
            each["check"],
            each["title"],
            each["area"],
            each["outcome"],
            each["severity"],
            each["category"],
            each["failure_id"] or None,
            each.get("seconds"),
            None if is_silent else each["what"],
            None if is_silent else each["why"],
            each["blocked_by"] or None,
        )
        if not _is_short(row):
            row = _cut_row(row)
        rows[row[0]] = row
    return tuple(rows.values())


def _is_short(row: Finding) -> bool:
    """Return whether no text of a row can be too long: nearly always, and cheaper than a look."""
    check, title, area, _outcome, severity, _category, failure_id, _seconds, what, why, by = row
    letters = len(check) + len(title) + len(area) + len(severity) + len(failure_id or "")
    return letters + len(by or "") <= _NAME_LETTERS and len(what or "") + len(why or "") <= (
        _TEXT_LETTERS
    )


def _cut_row(row: Finding) -> Finding:
    check, title, area, outcome, severity, category, failure_id, seconds, what, why, by = row
    return (
        _cut(check, _NAME_LETTERS),
        _cut(title, _NAME_LETTERS),
        _cut(area, _NAME_LETTERS),
        outcome,
        _cut(severity, _NAME_LETTERS),
        category,
        failure_id and _cut(failure_id, _NAME_LETTERS),
        seconds,
        what and _cut(what, _TEXT_LETTERS),
        why and _cut(why, _TEXT_LETTERS),
        by and _cut(by, _NAME_LETTERS),
    )


def _heals(findings: Iterable[Mapping[str, Any]]) -> Iterable[Heal]:
    for each in findings:
        for number, attempt in enumerate(each["attempts"]):
            if attempt["verdict"] in _JUDGED:
                check = _cut(each["check"], _NAME_LETTERS)
                yield (
                    f"{check}/{number}",
                    _cut(attempt["recovery"], _NAME_LETTERS),
                    each["category"] or "",
                    check.partition("[")[0],
                    attempt["verdict"],
                    float(attempt["seconds"]),
                    int(attempt["bytes_fetched"]),
                )


def _cause(cause: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _cut(value, _TEXT_LETTERS) if isinstance(value, str) else value
        for name, value in cause.items()
    }


def _names(found: Any) -> list[str]:
    listed = found if isinstance(found, list) else []
    return [_cut(str(name), _NAME_LETTERS) for name in listed[:_MOST_GPUS]]


def _versions(found: Any) -> dict[str, str]:
    return {
        _cut(name, _NAME_LETTERS): _cut(value, _NAME_LETTERS)
        for name, value in _table(found)
        if isinstance(value, str)
    }


def _sizes(found: Any) -> dict[str, int]:
    return {
        _cut(name, _NAME_LETTERS): value
        for name, value in _table(found)
        if type(value) is int and 0 <= value <= _MOST_BYTES
    }


def _table(found: Any) -> list[tuple[str, Any]]:
    """Return the entries of a table by name, so that equal tables have equal rows."""
    return sorted(found.items())[:_MOST_ENTRIES] if isinstance(found, dict) else []


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
