"""What each operation of a repair found and left, in words, from the journal of its run."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelmedic.healing.journal import Repair, Step

_STAYED = frozenset({"healed"})
_TRIED = frozenset({"not healed", "failed", "interrupted"})  # what was changed has to be undone


def with_evidence(finding: Mapping[str, Any], repairs: Iterable[Repair]) -> dict[str, Any]:
    """Return a finding whose attempts tell what they changed.

    Each operation of an attempt that healed gets ``before`` and ``after``; an attempt that did not
    gets ``put_back``: whether all it had changed is as it was, None when it had changed nothing.

    Args:
        finding: A finding as JSON, unmasked.
        repairs: Of the same run, in the order of the journal.
    """
    own = [repair for repair in repairs if repair.check == finding["check"] and repair.steps]
    attempts = [
        _told(attempt, [repair for repair in own if repair.recovery == attempt["recovery"]])
        for attempt in finding["attempts"]
    ]
    return {**finding, "attempts": attempts}


def _told(attempt: Mapping[str, Any], repairs: list[Repair]) -> dict[str, Any]:
    if attempt["verdict"] in _TRIED:
        is_back = all(repair.verdict == "undone" for repair in repairs) if repairs else None
        return {**attempt, "put_back": is_back}
    kept = [repair for repair in repairs if repair.verdict == "kept"]
    if attempt["verdict"] not in _STAYED or not kept:
        return dict(attempt)
    steps = kept[-1].steps
    if len(steps) != len(attempt["operations"]):
        return dict(attempt)  # a journal of another version: nothing is better than a wrong pair
    told = zip(attempt["operations"], steps, strict=True)
    operations = [{**operation, **evidence(step)} for operation, step in told]
    return {**attempt, "operations": operations}


def evidence(step: Step) -> dict[str, str]:
    """Return ``before`` and ``after`` of one applied operation; empty when its note is unreadable.

    Times are UTC. A SHA-256 is one that the bytes were compared with before they were put in
    place, or that of the text that was written.
    """
    try:
        return {"before": _before(step), "after": _after(step.operation, step.note)}
    except (LookupError, TypeError, ValueError, AttributeError, OSError, OverflowError):
        return {}


def _before(step: Step) -> str:
    if step.operation["kind"] == "set_distributions":
        return _packages_before(step)
    old = step.note.get("old")
    if old is None:
        return f"nothing at {step.operation['path']}"
    kept = step.note.get("aside")
    if step.operation["kind"] == "recreate_environment":
        return f"{step.operation['path']}: {len(step.operation['held'])} packages; kept as {kept}"
    what = "replaced bytes kept" if step.operation["kind"] == "write_blocks" else "kept"
    where = f"; {what} as {kept}" if kept else ""
    return f"{step.operation['path']}: {_size(old)}, written {_moment(old)}{where}"


def _after(operation: Mapping[str, Any], note: Mapping[str, Any]) -> str:
    path = operation["path"]
    match operation["kind"]:
        case "make_dir":
            return f"{path}: a folder"
        case "rename":
            return f"{operation['target']}: the same file, {_size(note['old'])}"
        case "set_aside":
            return f"nothing at {path}"
        case "recreate_environment":
            held = ", ".join(note["holds"])
            return f"{path}: Python {operation['version']} with {held}, each proven by its sha256"
        case "set_distributions":
            names = [f"{item[0]} {item[1]}, sha256 {item[3]}" for item in operation["install"]]
            return f"{path}: {'; '.join(names) or 'without them'}"
    return ", ".join([f"{path}: {_size(note['new'])}", *_proof(operation)])


def _packages_before(step: Step) -> str:
    old = [str(row[0]).rpartition(".")[0] for row in step.operation["remove"]]
    kept = f"; kept in {step.note['aside']}" if old else ""
    return f"{step.operation['path']}: {', '.join(old) or 'without them'}{kept}"


def _proof(operation: Mapping[str, Any]) -> Iterator[str]:
    if "content" in operation:
        yield f"sha256 {hashlib.sha256(operation['content'].encode()).hexdigest()}"
    elif operation.get("sha256"):
        yield f"proven by sha256 {operation['sha256']}"
    elif operation.get("git_blob"):
        yield f"proven by git blob id {operation['git_blob']}"


def _size(identity: Mapping[str, int]) -> str:
    count = int(identity["size_bytes"])
    return f"{count:,} byte{'' if count == 1 else 's'}"


def _moment(identity: Mapping[str, int]) -> str:
    seconds = int(identity["mtime_ns"]) / 1e9
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
