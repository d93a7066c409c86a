"""Apply a plan under lock and journal; undo it when it did not heal; finish what was killed."""

from __future__ import annotations

import contextlib
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmedic.context import Context
from modelmedic.errors import ModelmedicError, RecoveryFailed, RecoveryRefused
from modelmedic.healing import journal as journals
from modelmedic.healing import lock
from modelmedic.healing.journal import Journal
from modelmedic.operations import aside, kinds
from modelmedic.operations.base import RISKS, Cost, Operation, Workshop
from modelmedic.operations.tree import Tree
from modelmedic.text import printable


@dataclass(slots=True)
class Plan:
    """What one recovery would do for one check: operations in their order.

    The last four are what earlier repairs here showed: how long it took (None: unknown) and how
    that was measured, how often it worked, in words, and the 90 % interval of its success rate.
    """

    recovery: str
    check: str
    nodeid: str
    declared_risk: str = "safe"
    operations: list[Operation] = field(default_factory=list)
    measured_seconds: float | None = None
    time_source: str = ""
    worked: str = ""
    rate_interval: tuple[float, float] | None = None

    @property
    def cost(self) -> Cost:
        """Return the sum over all operations."""
        return sum((operation.cost() for operation in self.operations), Cost())

    @property
    def risk(self) -> str:
        """Return the gravest of the declared class and those that cost and time imply."""
        measured = Cost(seconds=self.measured_seconds).risk
        return max(self.declared_risk, self.cost.risk, measured, key=RISKS.index)

    @property
    def seconds(self) -> float | None:
        """Return how long it takes: as measured, else as the operations say; None: unknown."""
        return self.cost.seconds if self.measured_seconds is None else self.measured_seconds

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        cost = self.cost
        return {
            "recovery": self.recovery,
            "check": self.check,
            "nodeid": self.nodeid,
            "risk": self.risk,
            "fetch_bytes": cost.fetch_bytes,
            "disk_bytes": cost.disk_bytes,
            "seconds": self.seconds,
            "time_source": self.time_source,
            "worked": self.worked,
            "rate_interval": self.rate_interval,
            "operations": [
                {**operation.to_json(), "text": operation.describe()}
                for operation in self.operations
            ],
        }


@dataclass(slots=True)
class Applied:
    """An applied plan that waits for its verdict."""

    number: str
    plan: Plan
    steps: list[tuple[int, Operation, dict[str, Any]]] = field(default_factory=list)
    fetched_bytes: int = 0
    seconds: float = 0.0  # of the operations alone


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend; None is unlimited."""

    count: int | None = None
    seconds: float | None = None
    fetch_bytes: int | None = None


class Engine:
    """Applies plans on one install for one run.

    Args:
        context: What is under repair; the tree is ``context.place``.
        budget: What the whole run may spend.
        progress: Told what is fetched: path, bytes done, bytes in all (0: unknown).
        extras: Handed to operations: ``tokens`` by origin.
    """

    def __init__(
        self,
        context: Context,
        *,
        budget: Budget | None = None,
        progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
        extras: dict[str, Any] | None = None,
    ) -> None:
        self.context = context
        self.budget = budget or Budget()
        folder = journals.folder(context.state_dir, context.place)
        self.journal = Journal(folder / f"{context.run_id}.jsonl")
        self.shop = Workshop(
            Tree(context.place), context.run_id, progress=progress, extras=extras or {}
        )
        self._started = time.monotonic()

    def generation(self) -> int:
        """Return a number that grows with every change any worker of this run makes."""
        return self.journal.size_bytes()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the install's lock; see `modelmedic.healing.lock.held`."""
        with lock.held(self.context.state_dir, self.context.place):
            yield

    def apply(self, plan: Plan, *, is_again: bool = False) -> Applied:
        """Apply a plan, each operation journaled before it runs. Call it under the lock.

        Args:
            plan: What to do.
            is_again: It was done in this run and undone only to look: no budget counts.

        Raises:
            RecoveryRefused: A precondition or the budget does not hold; nothing is changed.
            RecoveryFailed: An operation failed; what had been done was put back.
        """
        _refuse_as_root(self.context.place)
        if not is_again:
            self._refuse_over_budget(plan)
        self.shop.budget_bytes = None if is_again else self._left_bytes()
        if not self.journal.head():
            self._open()
        applied = Applied(uuid.uuid4().hex[:12], plan)
        self.journal.add(
            "repair",
            repair=applied.number,
            recovery=plan.recovery,
            check=plan.check,
            nodeid=plan.nodeid,
        )
        before = self.shop.fetched_bytes
        started = time.monotonic()
        try:
            for seq, operation in enumerate(plan.operations):
                self._apply_one(applied, seq, operation)
            self._meter(applied, before, started)
        except BaseException as error:
            try:
                with contextlib.suppress(OSError, ModelmedicError):  # the disk may be full
                    self._meter(applied, before, started)
            finally:
                self._give_up(applied, error)
            raise
        return applied

    def refuse(self, plan: Plan) -> None:
        """Refuse what could not be applied now: ask this before asking a person.

        Raises:
            RecoveryRefused: The budget is used up, or root would work in another's folder.
        """
        _refuse_as_root(self.context.place)
        self._refuse_over_budget(plan)

    def keep(self, applied: Applied) -> None:
        """Record that the check passed: the repair stays."""
        self.journal.add("verdict", repair=applied.number, verdict="kept")

    def undo(self, applied: Applied) -> None:
        """Put back everything in reverse order.

        Raises:
            RecoveryRefused: Something was changed by others since; the rest was put back.
        """
        undo_steps(self.journal, applied.number, list(reversed(applied.steps)), self.shop)

    def finish_interrupted(self) -> list[str]:
        """Undo the repairs a killed run left without a verdict; return a sentence for each.

        Call it under the lock: then nobody is at work on them.
        """
        told = []
        for journal, repair in journals.pending(self.context.state_dir, self.context.place):
            try:
                told.append(undo_repair(journal, repair, self.shop))
            except RecoveryRefused as error:
                told.append(f"{repair.recovery} for {repair.check} was interrupted: {error}")
                journal.add("verdict", repair=repair.number, verdict="left")
        return told

    def expire(self) -> int:
        """Delete kept files beyond the cap in bytes and age; return the freed bytes."""
        with self.locked():
            return aside.expire(self.shop, now_seconds=time.time())

    def _apply_one(self, applied: Applied, seq: int, operation: Operation) -> None:
        seat = f"{applied.number}-{seq}"
        note = operation.prepare(self.shop, seat)
        self.journal.add(
            "before", repair=applied.number, seq=seq, operation=operation.to_json(), note=note
        )
        applied.steps.append((seq, operation, note))
        self.shop.record = lambda told: self.journal.add(
            "noted", repair=applied.number, seq=seq, note=told
        )
        operation.apply(self.shop, note)
        self.journal.add("after", repair=applied.number, seq=seq, note=note)

    def _give_up(self, applied: Applied, error: BaseException) -> None:
        try:
            self.undo(applied)
        except ModelmedicError as undo_error:
            raise RecoveryFailed(
                f"{error} And not everything could be put back: {undo_error}"
            ) from error

    def _open(self) -> None:
        self.journal.add(
            "open",
            run=self.context.run_id,
            install=str(self.context.place),
            profile=self.context.profile.name,
            started_at=time.time(),
        )

    def _meter(self, applied: Applied, before: int, started: float) -> None:
        """Note what a repair took; in the journal, because all workers share one budget."""
        applied.seconds = time.monotonic() - started
        applied.fetched_bytes = self.shop.fetched_bytes - before
        self.journal.add("spent", repair=applied.number, fetched_bytes=applied.fetched_bytes)

    def _left_bytes(self) -> int | None:
        """Return up to which own count of bytes this process may fetch; None is unlimited."""
        if self.budget.fetch_bytes is None:
            return None
        _count, by_all = self.journal.spent()
        return max(0, self.budget.fetch_bytes - by_all) + self.shop.fetched_bytes

    def _refuse_over_budget(self, plan: Plan) -> None:
        took = time.monotonic() - self._started
        count, fetched = self.journal.spent()
        most = self.budget
        reasons = [
            ("count", most.count is not None and count >= most.count),
            ("seconds", most.seconds is not None and took >= most.seconds),
            (
                "bytes",
                most.fetch_bytes is not None and plan.cost.fetch_bytes > most.fetch_bytes - fetched,
            ),
        ]
        for name, is_over in reasons:
            if is_over:
                raise RecoveryRefused(
                    f"The healing budget in {name} does not cover {plan.recovery}; "
                    "nothing was touched.",
                    "",
                    f"Start again with a larger --heal-budget-{name}.",
                )


def undo_repair(journal: Journal, repair: journals.Repair, shop: Workshop) -> str:
    """Undo one journaled repair of any run and return a sentence that says so.

    Raises:
        RecoveryRefused: Something was changed by others since; names it.
    """
    steps = [
        (step.seq, kinds.from_json(step.operation), step.note)
        for step in reversed(repair.steps)
        if not step.is_undone
    ]
    own = Workshop(shop.tree, journal.run_id)
    undo_steps(journal, repair.number, steps, own)
    return f"{repair.recovery} for {repair.check} (run {journal.run_id}) was undone."


def undo_steps(
    journal: Journal,
    number: str,
    steps: list[tuple[int, Operation, dict[str, Any]]],
    shop: Workshop,
) -> None:
    """Undo steps in the order given; goes on after one that cannot be, then says which.

    Raises:
        RecoveryRefused: At least one step could not be undone.
    """
    refused: list[ModelmedicError] = []
    for seq, operation, note in steps:
        try:
            operation.undo(shop, note)
        except RecoveryRefused as error:
            refused.append(error)
        except OSError as error:
            refused.append(RecoveryRefused(f"{operation.describe()}: undo failed: {error}."))
        else:
            journal.add("undid", repair=number, seq=seq)
    if refused:
        raise RecoveryRefused(" ".join(str(error) for error in refused))
    journal.add("verdict", repair=number, verdict="undone")


def undo_run(state_dir: Path, install: Path, run_id: str | None = None) -> list[str]:
    """Undo the repairs of a run (None: the newest that changed something), newest first.

    Returns:
        One sentence per repair; empty when there is nothing to undo.

    Raises:
        RecoveryRefused: Nothing of that name, or something changed since.
    """
    runs = [j for j in journals.all_of(state_dir, install) if run_id in {None, j.run_id}]
    if run_id is not None and not runs:
        raise RecoveryRefused(f"No repair of this install was made in a run named {run_id}.")
    shop = Workshop(Tree(install), run_id or "undo")
    with lock.held(state_dir, install):
        for journal in reversed(runs):
            open_repairs = [r for r in journal.repairs() if r.verdict != "undone" and r.steps]
            if open_repairs:
                return _undo_all(journal, open_repairs, shop)
    return []


def _undo_all(journal: Journal, repairs: list[journals.Repair], shop: Workshop) -> list[str]:
    """Undo repairs newest first; one that cannot be undone does not keep the others.

    Raises:
        RecoveryRefused: At least one could not be; says which, and what was undone.
    """
    told: list[str] = []
    refused: list[str] = []
    for repair in reversed(repairs):
        try:
            told.append(undo_repair(journal, repair, shop))
        except RecoveryRefused as error:
            refused.append(str(error))
    if refused:
        raise RecoveryRefused(" ".join([*refused, *told]))
    return told


def _refuse_as_root(install: Path) -> None:
    """Refuse to work as root in a folder of another user: what we write would not be theirs."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    folder = install if install.is_dir() else install.parent
    found = folder.stat()
    others_may_write = stat.S_IMODE(found.st_mode) & 0o022 and not found.st_mode & stat.S_ISVTX
    if found.st_uid != 0 or others_may_write:
        raise RecoveryRefused(
            f"{printable(folder)} belongs to another user, or others can write it; as root, "
            "nothing was touched.",
            "What root writes there its owner could not use, and a link planted there could "
            "lead root elsewhere.",
            "Start again as the user the install belongs to.",
        )
