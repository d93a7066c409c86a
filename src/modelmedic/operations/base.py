"""What every operation is: a frozen value with cost, apply, inspect and undo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from modelmedic.operations.tree import Identity, Tree
from modelmedic.patience import Turns
from modelmedic.text import printable, size

COSTLY_BYTES = 1_000_000_000  # design: more than 1 GB is costly
COSTLY_SECONDS = 600.0  # design: more than 10 minutes is costly
RISKS = ("safe", "costly", "destructive")  # from mildest to gravest


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation takes. ``seconds`` None: unknown."""

    fetch_bytes: int = 0
    disk_bytes: int = 0  # more disk used at the peak than before
    seconds: float | None = 0.0

    @property
    def risk(self) -> str:
        """Return "costly" above the limits of the design, else "safe"."""
        slow = self.seconds is not None and self.seconds > COSTLY_SECONDS
        return "costly" if slow or self.fetch_bytes > COSTLY_BYTES else "safe"

    def __add__(self, other: Cost) -> Cost:
        known = self.seconds is not None and other.seconds is not None
        return Cost(
            self.fetch_bytes + other.fetch_bytes,
            self.disk_bytes + other.disk_bytes,
            (self.seconds or 0) + (other.seconds or 0) if known else None,
        )


@dataclass(slots=True)
class Workshop:
    """What an operation works with: the tree, private folders, and who hears of progress."""

    tree: Tree
    run_id: str
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None
    record: Callable[[dict[str, Any]], None] = lambda _note: None  # puts a note in the journal
    fetched_bytes: int = 0
    budget_bytes: int | None = None
    ends_at: float | None = None  # on the monotonic clock: when the run's healing budget is over
    extras: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.extras.setdefault("turns", Turns())  # one server, one pause, for all that is fetched

    def fetching(self, what: str, done: int, total: int) -> None:
        """Tell how far a fetch is, and stop it before the disk is full.

        Args:
            what: The file.
            done: Bytes that are there.
            total: Bytes in all; 0 when that is not known.

        Raises:
            DiskFilling: ``extras["disk_watch"]`` says that the rest does not fit any more.
        """
        self.progress(what, done, total)
        watch = self.extras.get("disk_watch")
        if watch is not None:
            left = max(0, total - done) if total else None
            rest = "" if left is None else f" ({size(left)} of {size(total)} left)"
            watch.check(left, f"Fetching {printable(what)}{rest}")


@dataclass(frozen=True, slots=True)
class Operation(ABC):
    """One serialisable change of the install with its undo.

    ``prepare`` looks at the world, refuses when the precondition does not hold, and returns the
    note that the journal keeps *before* ``apply`` runs. ``undo`` works from that note alone, in
    this or any later process, whatever part of ``apply`` had happened, and twice if asked twice.
    """

    kind: ClassVar[str]
    # False: nothing of it outlives its run, so a later process has nothing to put back.
    is_lasting: ClassVar[bool] = True
    is_for_this_run: ClassVar[bool] = False  # a cure that holds while its run goes on, no longer

    @abstractmethod
    def describe(self) -> str:
        """Return one sentence for a plan: verb, path, size."""

    @abstractmethod
    def cost(self) -> Cost:
        """Return what it takes."""

    @abstractmethod
    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Check the precondition and return the undo note.

        Args:
            shop: The workshop.
            seat: A name unique in this run, for what is set aside.

        Raises:
            RecoveryRefused: The precondition does not hold; nothing was touched.
        """

    @abstractmethod
    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Make the change."""

    @abstractmethod
    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return "before", "after", "between" or "drifted"; reads only."""

    @abstractmethod
    def undo(self, shop: Workshop, note: dict[str, Any]) -> str | None:
        """Put back what was there.

        Returns:
            A sentence about what was kept on purpose; None or "" when there is nothing to say.

        Raises:
            RecoveryRefused: Someone changed it since; names the drifted file.
        """

    def lasting(self) -> str:
        """Return how a person makes a cure for this run last, as a next step; "" otherwise."""
        return ""

    def space_bytes(self, tree: Tree) -> int:
        """Return the disk that what it fetches still takes; 0 when it fetches nothing."""
        return self.cost().disk_bytes if self.cost().fetch_bytes else 0

    def changes(self) -> tuple[str, ...]:
        """Return the files, relative to the install, whose readers the change would hurt."""
        path = getattr(self, "path", None)
        return (path,) if path else ()

    def touched(self, tree: Tree) -> tuple[str, ...]:
        """Return the same, where only a look at the install can tell."""
        return self.changes()

    def to_json(self) -> dict[str, Any]:
        """Return kind and fields as plain values."""
        values = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {"kind": self.kind, **values}


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def identity_json(identity: Identity | None) -> dict[str, int] | None:
    """Return an identity for a note."""
    if identity is None:
        return None
    return {
        "size_bytes": identity.size_bytes,
        "mtime_ns": identity.mtime_ns,
        "inode": identity.inode,
        "mode": identity.mode,
    }


def is_same(identity: Identity | None, noted: dict[str, int] | None) -> bool:
    """Return whether a file is still the one that was noted."""
    return identity_json(identity) == noted
