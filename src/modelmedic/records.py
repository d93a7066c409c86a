"""The run record: everything about one run as versioned JSON, written as it happens."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelmedic import __version__, changes, inventory, summary
from modelmedic.errors import ModelmedicError
from modelmedic.examination import Examination
from modelmedic.findings import Finding, Outcome

if TYPE_CHECKING:
    from modelmedic.healing.journal import Repair

SCHEMA = 1
NAME = "report.json"
JOURNAL_NAME = "findings.jsonl"  # grows as checks end; removed once the record is whole
BESIDE = (
    "report.html",
    "junit.xml",
    "support.txt",
)  # what else a run writes; an older run's would mislead

_CAUSES = frozenset(outcome.value for outcome in Outcome if outcome.is_cause_of_exit_1)
# Undecodable bytes of hostile file names arrive as surrogates, which strict JSON readers refuse.
_SURROGATES = re.compile("[\ud800-\udfff]")


class Recorder:
    """Writes one run's record into its report folder. Everything is masked before it is written.

    Every method that writes raises `OSError` when the folder cannot take it.
    """

    def __init__(self, found: Examination) -> None:
        from modelmedic.masking import Masker

        self._found = found
        self._folder = found.report_dir
        self._mask = Masker.of_this_machine().mask
        self._masked: dict[int, tuple[Finding, dict[str, Any]]] = {}
        self._inventory: dict[str, Any] | None = None

    def begin(self) -> None:
        """Create the report folder and the record of a run that has not ended."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in BESIDE:
            (self._folder / name).unlink(missing_ok=True)
        (self._folder / JOURNAL_NAME).write_text("", encoding="utf-8")
        self._write(None)

    def add(self, finding: Finding) -> None:
        """Append one finding; a killed run keeps it."""
        line = json.dumps(self._finding(finding), ensure_ascii=False)
        with (self._folder / JOURNAL_NAME).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def finish(self, exit_code: int) -> dict[str, Any]:
        """Write the whole record, drop the growing file, and return the record as written."""
        self._inventory = self._inventory or inventory.read(self._found.facts)
        record = self._write(exit_code)
        (self._folder / JOURNAL_NAME).unlink(missing_ok=True)
        return record

    def mask(self, text: str) -> str:
        """Return ``text`` without secrets and names."""
        return self._mask(text)

    def _write(self, exit_code: int | None) -> dict[str, Any]:
        found = self._found
        repairs = _repairs(found)
        findings = [self._finding(finding, repairs) for finding in found.findings]
        top = _top(found, exit_code)
        rest = {
            "root_causes": root_causes(findings),
            "findings": findings,
            "environment": self._environment(),
        }
        record = {**_clean(top, self._mask), **rest, **_resources(found)}
        write_json(self._folder / NAME, record, is_private=False)
        return record

    def _environment(self) -> dict[str, Any]:
        found: dict[str, Any] = _clean(environment(self._found), self._mask)
        if self._inventory is not None:
            found["inventory"] = inventory.hashed(_clean(self._inventory, self._mask))
        return found

    def _finding(self, finding: Finding, repairs: Iterable[Repair] = ()) -> dict[str, Any]:
        """Return a finding masked, once; kept beside it, since a live object keeps its id.

        With what the journal knows of its repairs, where there were any: that changes until the
        run ends.
        """
        if finding.attempts and repairs:
            return dict(_clean(changes.with_evidence(finding.to_json(), repairs), self._mask))
        known = self._masked.get(id(finding))
        if known is None:
            known = (finding, _clean(finding.to_json(), self._mask))
            self._masked[id(finding)] = known
        return known[1]


def run_record(found: Examination, *, exit_code: int | None) -> dict[str, Any]:
    """Return the record of a run, unmasked and without what its journal knows.

    ``exit_code`` None: it has not ended.
    """
    findings = [finding.to_json() for finding in found.findings]
    return {
        **_top(found, exit_code),
        "root_causes": root_causes(findings),
        "findings": findings,
        "environment": environment(found),
        **_resources(found),
    }


def _repairs(found: Examination) -> list[Repair]:
    """Return what the journal of this run says was changed; empty when it cannot be read."""
    try:
        return found.engine.journal.repairs()
    except ModelmedicError:
        return []  # the notes of the run name it


def _top(found: Examination, exit_code: int | None) -> dict[str, Any]:
    context = found.context
    return {
        "schema": SCHEMA,
        "run_id": context.run_id,
        "modelmedic": __version__,
        "profile": context.profile.name,
        "install_dir": str(context.install_dir) if context.install_dir else None,
        "target_python": str(context.target_python) if context.target_python else None,
        "mode": found.mode,
        "stage": context.stage,
        "started_at": _iso(found.started_at),
        "duration_seconds": round(max(0.0, time.time() - found.started_at), 3),
        "counts": counts(finding.outcome for finding in found.findings),
        "exit_code": exit_code,
    }


def _resources(found: Examination) -> dict[str, Any]:
    return {"resources": dict(found.resources)} if found.resources else {}


def counts(outcomes: Iterable[str]) -> dict[str, int]:
    """Return how often each of the seven outcomes occurs, in their order."""
    counted = Counter(outcomes)
    return {outcome.value: counted[outcome.value] for outcome in Outcome}


def root_causes(findings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the failed and unknown checks with the number of checks that wait on each.

    Most waited-for first; empty when everything holds.
    """
    findings = list(findings)
    waiting = Counter(finding["blocked_by"] for finding in findings if finding["blocked_by"])
    causes = [
        {
            "check": finding["check"],
            "title": finding["title"],
            "outcome": finding["outcome"],
            "what": finding["what"],
            "next": finding["next"],
            "blocks": waiting[finding["check"]],
        }
        for finding in findings
        if finding["outcome"] in _CAUSES
    ]
    return sorted(causes, key=lambda cause: -int(cause["blocks"]))


def environment(found: Examination) -> dict[str, Any]:
    """Return what support asks first: systems, versions, how the run was started."""
    import platform
    import sys

    context = found.context
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "python": sys.version.split()[0],
        "command": context.command,
        "next_command": summary.next_command(found),
        "undo_command": summary.undo_command(found),
        "undo_until": summary.undo_until(found),
        "notes": list(found.notes),
        "install_reason": context.install_reason,
        "target_reason": context.target_reason,
        "stage_reason": context.stage_reason,
        "is_deep": context.deep,
        "is_offline": context.offline,
        "is_partial": found.is_partial,
        "machine_id": inventory.machine_name(context.state_dir),
    }


def write_json(path: Path, value: Any, *, is_private: bool = True) -> None:
    """Write JSON so that ``path`` is either the old file or the whole new one.

    Args:
        path: The file.
        value: A JSON value; surrogates in it are written as JSON's own escapes.
        is_private: Only this user may read it (0600); else the umask decides.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_text(path, text, is_private=is_private)


def write_text(path: Path, text: str, *, is_private: bool = True) -> None:
    """Write text so that ``path`` is either the old file or the whole new one."""
    data = text.encode("utf-8", errors="backslashreplace")
    write_parts(path, (data,), is_private=is_private)


def write_parts(
    path: Path, parts: Iterable[bytes | memoryview], *, is_private: bool = True
) -> None:
    """Write bytes that come in parts so that ``path`` is either the old file or the whole new one.

    Args:
        path: The file.
        parts: In their order.
        is_private: Only this user may read it (0600); else the umask decides.
    """
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    handle = os.open(
        part,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0),
        0o600 if is_private else 0o666,
    )
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(parts)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _clean(value: Any, mask: Callable[[str], str]) -> Any:
    """Return a JSON value masked, keys included, and fit for every JSON reader.

    A key that names a secret or a prompt masks its value, whatever that looks like.
    """
    if isinstance(value, str):
        return _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", mask(value))
    if isinstance(value, dict):
        from modelmedic.masking.masker import told_by_key as by_key

        return {
            _clean(str(key), mask): _clean(
                part if (told := by_key(key, part)) is None else told, mask
            )
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_clean(part, mask) for part in value]
    return value


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
