"""What was done to an install, on disk before it is done, so that any process can undo it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmedic.errors import CannotTell, RecoveryRefused
from modelmedic.healing.trouble import next_step, reason  # not lazily: see Engine.locked
from modelmedic.operations.durable import make_private_folders, sync_folder, write_all
from modelmedic.text import printable


class CannotWrite(RecoveryRefused):
    """The journal takes no line: full disk, read-only, no permission. It is as it was before."""


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

    Only the holder of the install's lock adds to it.

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
        """Append one event and flush it to disk, whole or not at all.

        Raises:
            CannotWrite: It could not be written; what was there before still is.
            RecoveryRefused: The file belongs to someone else or others can write it.
        """
        # The line before may be torn by a kill: ours begins on one of its own.
        line = "\n" + json.dumps({"event": event, **values}, ensure_ascii=True) + "\n"
        try:
            handle = self._opened()
            try:
                _refuse_foreign(self.path, os.fstat(handle))
                _append(handle, line.encode())
            finally:
                os.close(handle)
        except OSError as error:
            raise CannotWrite(
                f"The journal {printable(self.path)} could not be written: {reason(error)}.",
                "A change is made only after it was written down there, so that it can be undone.",
                next_step(error),
            ) from error

    def _opened(self) -> int:
        """Open it for appending; a new one is on the disk, with its folders, before any line."""
        flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        try:
            return os.open(self.path, flags)
        except FileNotFoundError:
            make_private_folders(self.path.parent)
            handle = os.open(self.path, flags | os.O_CREAT, 0o600)
        try:
            sync_folder(self.path.parent)
        except OSError:
            os.close(handle)
            raise
        return handle

    def repairs(self) -> list[Repair]:
        """Return what the file says, in its order; a torn last line (a kill) is passed over."""
        found: dict[str, Repair] = {}
        for entry in self._events():
            _replay(found, entry)
        return list(found.values())

    def spent(self) -> tuple[int, int]:
        """Return how many repairs this run began and how many bytes they fetched, all workers."""
        spent = [
            entry.get("fetched_bytes") for entry in self._events() if entry["event"] == "spent"
        ]
        return len(spent), sum(count for count in spent if isinstance(count, int))

    def head(self) -> dict[str, Any]:
        """Return the opening event (install, profile, started_at); empty when there is none."""
        return next((e for e in self._events() if e["event"] == "open"), {})

    @property
    def host(self) -> str:
        """Return the name of the machine that wrote it, for words only; "" when unknown."""
        return str(self.head().get("host", ""))

    def _events(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open("rb") as stream:
                _refuse_foreign(self.path, os.fstat(stream.fileno()))
                lines = stream.read().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise RecoveryRefused(
                f"The journal {printable(self.path)} cannot be read: {reason(error)}.",
                "It says what a repair changed, so nothing can be put back without it.",
                next_step(error),
            ) from error
        for line in lines:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict) and isinstance(entry.get("event"), str):
                yield entry


def _append(handle: int, data: bytes) -> None:
    """Append and flush; after an error the file ends where it ended before.

    Raises:
        OSError: The disk does not take it.
    """
    before = os.fstat(handle).st_size
    try:
        write_all(handle, data)
        os.fsync(handle)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, before)
            os.fsync(handle)
        raise


def _replay(found: dict[str, Repair], entry: dict[str, Any]) -> None:
    """Take one event in. What does not have its form was written by another version, or by hand.

    A step that cannot be read is kept as an empty one: undoing it is refused, with words, which
    passing over it would not be.
    """
    event, number = entry["event"], str(entry.get("repair", ""))
    if event == "repair":
        recovery, check = (str(entry.get(name) or "unknown") for name in ("recovery", "check"))
        found.setdefault(number, Repair(number, recovery, check))
        return
    repair = found.get(number)
    if repair is None:
        return
    if event == "verdict":
        verdict = entry.get("verdict")
        repair.verdict = verdict if isinstance(verdict, str) else repair.verdict
        return
    seq, note = entry.get("seq"), entry.get("note")
    if event == "before":
        operation = entry.get("operation")
        if isinstance(operation, dict) and isinstance(note, dict) and isinstance(seq, int):
            repair.steps.append(Step(seq, operation, note))
        else:
            repair.steps.append(Step(-1 - len(repair.steps), {}, {}))
        return
    step = next((step for step in repair.steps if step.seq == seq), None)
    if event not in {"noted", "after", "undid"} or step is None:
        return  # its first line was lost to a full disk: it had not been applied
    step.note = note if isinstance(note, dict) else step.note
    step.is_undone = event == "undid"


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


def host_key() -> str:
    """Return the part of a journal's place that tells one machine from another.

    A home directory may be shared: a run at work on another machine must not look killed here.
    The name without its domain, which changes with the network on some systems.
    """
    name = platform.node().partition(".")[0].lower()
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def install_folder(state_dir: Path, install: Path) -> Path:
    """Return the folder of an install's journals of all machines (not created)."""
    key = hashlib.sha256(os.fsencode(os.path.realpath(install))).hexdigest()[:16]
    return state_dir / "journals" / key


def folder(state_dir: Path, install: Path) -> Path:
    """Return the folder of an install's journals of this machine (not created)."""
    return install_folder(state_dir, install) / host_key()


def all_of(state_dir: Path, install: Path) -> list[Journal]:
    """Return this machine's journals of an install, oldest run first; empty when there are none.

    Raises:
        CannotTell: The folder is there but cannot be read.
    """
    return _listed(folder(state_dir, install))


def of_other_hosts(state_dir: Path, install: Path) -> list[Journal]:
    """Return what other machines that share the state folder did to an install of that path.

    Raises:
        CannotTell: A folder is there but cannot be read.
    """
    hosts = _names(install_folder(state_dir, install))
    return [journal for host in hosts if host.name != host_key() for journal in _listed(host)]


def generation(state_dir: Path, install: Path) -> int:
    """Return a number that grows with every change that anybody with this state folder makes.

    The lengths of all journals of the install together: they only grow. 0 when there are none,
    or when they cannot be read; a repair is refused then.
    """
    try:
        journals = all_of(state_dir, install) + of_other_hosts(state_dir, install)
    except CannotTell:
        return 0
    return sum(journal.size_bytes() for journal in journals)


def _listed(folder: Path) -> list[Journal]:
    return [Journal(path) for path in _names(folder) if path.suffix == ".jsonl"]


def _names(folder: Path) -> list[Path]:
    """Return what lies in a folder, by name; not ``glob``, to which a denied folder is empty."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CannotTell(
            f"The journals in {printable(folder)} cannot be read: {reason(error)}.",
            "They say what was repaired here, and what a killed run left half done.",
            next_step(error),
        ) from error


def pending(state_dir: Path, install: Path) -> list[tuple[Journal, Repair]]:
    """Return the repairs that began and have no verdict: a run was killed, or is at work.

    Raises:
        CannotTell: The journals cannot be listed.
        RecoveryRefused: One of them cannot be read, or is not this user's.
    """
    return [
        (journal, repair)
        for journal in all_of(state_dir, install)
        for repair in journal.repairs()
        if not repair.verdict
    ]
