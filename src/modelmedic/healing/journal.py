"""What was done to an install, on disk before it is done, so that any process can undo it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmedic.errors import CannotTell, RecoveryRefused
from modelmedic.operations.tree import write_all
from modelmedic.text import printable


@dataclass(slots=True)
class Step:
    """One journaled operation: what it is, its undo note, whether it was undone."""

    seq: int
    operation: dict[str, Any]
    note: dict[str, Any]
    is_undone: bool = False


@dataclass(slots=True)
class Repair:
    """One journaled repair.

    ``verdict``: "kept", "undone", "left" (could not be put back, and that was told), or "" while
    it is pending.
    """

    number: str
    recovery: str
    check: str
    steps: list[Step] = field(default_factory=list)
    verdict: str = ""


class Journal:
    """An append-only file of one run on one install; each line is flushed to disk at once.

    Args:
        path: The file; its folder is created, private to the user, on the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        """Return the run that wrote it."""
        return self.path.stem

    def size_bytes(self) -> int:
        """Return its length, a number that grows with every change; 0 when there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def add(self, event: str, **values: Any) -> None:
        """Append one event and flush it to disk.

        Raises:
            RecoveryRefused: It cannot be written whole (a full disk, no permission), belongs to
                someone else, or others can write it; the file is as it was.
        """
        # The line before may be torn by a kill: ours begins on one of its own.
        line = "\n" + json.dumps({"event": event, **values}, ensure_ascii=True) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            handle = os.open(self.path, flags | getattr(os, "O_BINARY", 0), 0o600)
            try:
                self._append(handle, line.encode())
            finally:
                os.close(handle)
        except OSError as error:
            raise RecoveryRefused(
                f"The journal {printable(self.path)} cannot be written: "
                f"{error.strerror or error}. So nothing more was touched.",
                "What is not written down first could not be undone.",
                "Make room on that disk, or name another folder with MODELMEDIC_STATE_DIR.",
            ) from error

    def _append(self, handle: int, data: bytes) -> None:
        before = os.fstat(handle)
        _refuse_foreign(self.path, before)
        try:
            write_all(handle, data)
            os.fsync(handle)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, before.st_size)  # no half of a line
            raise

    def repairs(self) -> list[Repair]:
        """Return what the file says, in its order; a torn last line (a kill) is passed over."""
        found: dict[str, Repair] = {}
        for entry in self._events():
            _replay(found, entry)
        return list(found.values())

    def head(self) -> dict[str, Any]:
        """Return the opening event (install, profile, started_at); empty when there is none."""
        return next((e for e in self._events() if e["event"] == "open"), {})

    def _events(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open("rb") as stream:
                _refuse_foreign(self.path, os.fstat(stream.fileno()))
                lines = stream.read().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise RecoveryRefused(
                f"The journal {printable(self.path)} cannot be read: {error.strerror or error}."
            ) from error
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and "event" in entry:
                yield entry


def _replay(found: dict[str, Repair], entry: dict[str, Any]) -> None:
    event, number = entry["event"], str(entry.get("repair", ""))
    with contextlib.suppress(KeyError, TypeError):  # a line of another version, or none of ours
        _take(found, event, number, entry)


def _take(found: dict[str, Repair], event: str, number: str, entry: dict[str, Any]) -> None:
    if event == "repair":
        found[number] = Repair(number, entry["recovery"], entry["check"])
        return
    repair = found.get(number)
    if repair is None:
        return
    steps = {step.seq: step for step in repair.steps}
    if event == "before":
        repair.steps.append(Step(entry["seq"], entry["operation"], entry["note"]))
    elif event in {"noted", "after", "undid"}:
        step = steps.get(entry["seq"])
        if step is None:
            return  # its line was lost to a full disk: it had not been applied
        step.note = entry.get("note", step.note)
        step.is_undone = event == "undid"
    elif event == "verdict":
        repair.verdict = entry["verdict"]


def _refuse_foreign(path: Path, found: os.stat_result) -> None:
    """Refuse a journal that someone else could have written: undo would do their bidding."""
    if not hasattr(os, "getuid"):
        return  # Windows: the state folder lies in the user's own profile
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise RecoveryRefused(
            f"The journal {printable(path)} was not used: it belongs to another user, or others "
            "may read or write it.",
            "A journal decides what is put back, so only its owner may hold it.",
        )


def folder(state_dir: Path, install: Path) -> Path:
    """Return the folder of an install's journals in the state folder (not created)."""
    key = hashlib.sha256(os.fsencode(os.path.realpath(install))).hexdigest()[:16]
    return state_dir / "journals" / key


def all_of(state_dir: Path, install: Path) -> list[Journal]:
    """Return the journals of an install, oldest run first; empty when nothing was ever done.

    Raises:
        CannotTell: The folder is there but cannot be read.
    """
    try:
        with os.scandir(folder(state_dir, install)) as entries:
            paths = sorted(Path(entry.path) for entry in entries if entry.name.endswith(".jsonl"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CannotTell(f"The journals of this install cannot be read: {error}.") from error
    return [Journal(path) for path in paths]


def pending(state_dir: Path, install: Path) -> list[tuple[Journal, Repair]]:
    """Return the repairs that began and have no verdict: a run was killed, or is at work."""
    return [
        (journal, repair)
        for journal in all_of(state_dir, install)
        for repair in journal.repairs()
        if not repair.verdict
    ]
