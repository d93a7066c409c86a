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
    """What one recovery would do for one check: operations in their order."""

    recovery: str
    check: str
    nodeid: str
    declared_risk: str = "safe"
    operations: list[Operation] = field(default_factory=list)

    @property
    def cost(self) -> Cost:
        """Return the sum over all operations."""
        return sum((operation.cost() for operation in self.operations), Cost())

    @property
    def risk(self) -> str:
        """Return the graver of the declared class and the one the cost implies."""
        return max(self.declared_risk, self.cost.risk, key=RISKS.index)

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
            "seconds": cost.seconds,
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


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend; None is unlimited."""

    count: int | None = None
    seconds: float | None = None
    fetch_bytes: int | None = None


class Unnoted(RecoveryRefused):
    """Everything was put back, and only the journal could not be told."""


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
        self._count = 0
        self._started = time.monotonic()

    @property
    def _where(self) -> tuple[Path, Path]:
        return self.context.state_dir, self.context.place

    def generation(self) -> int:
        """Return a number that grows with every change that any run makes to this install."""
        try:
            return sum(journal.size_bytes() for journal in journals.all_of(*self._where))
        except ModelmedicError:
            return self.journal.size_bytes()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the install's lock; see `modelmedic.healing.lock.held`."""
        with lock.held(self.context.state_dir, self.context.place):
            yield

    def apply(self, plan: Plan) -> Applied:
        """Apply a plan, each operation journaled before it runs. Call it under the lock.

        Raises:
            RecoveryRefused: A precondition or the budget does not hold; nothing is changed.
            RecoveryFailed: An operation failed; what had been done was put back.
        """
        _refuse_as_root(self.context.place)
        self._refuse_over_budget(plan)
        self.shop.budget_bytes = self.budget.fetch_bytes
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
        try:
            for seq, operation in enumerate(plan.operations):
                self._apply_one(applied, seq, operation)
        except BaseException as error:
            applied.fetched_bytes = self.shop.fetched_bytes - before
            self._give_up(applied, error)
            raise
        applied.fetched_bytes = self.shop.fetched_bytes - before
        self._count += 1
        return applied

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
        left = journals.pending(*self._where)
        if left:
            _refuse_as_root(self.context.place)
        for journal, repair in left:
            try:
                told.append(undo_repair(journal, repair, self.shop))
            except RecoveryRefused as error:
                told.append(f"{repair.recovery} for {repair.check} was interrupted: {error}")
                journal.add("verdict", repair=repair.number, verdict="left")
        return told

    def expire(self) -> int:
        """Delete files of earlier runs beyond the cap in bytes and age; return the freed bytes.

        Raises:
            RecoveryRefused: One could not be deleted, or the install not be locked.
        """
        with self.locked():
            try:
                return aside.expire(self.shop, now_seconds=time.time())
            except OSError as error:
                raise RecoveryRefused(f"Old kept files could not be deleted: {error}.") from error

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
        try:
            operation.apply(self.shop, note)
        except OSError as error:
            raise RecoveryFailed(
                f"{operation.describe()}: {error.strerror or error}.",
                "Most often a full disk, or a folder that may not be written.",
            ) from error
        self.journal.add("after", repair=applied.number, seq=seq, note=note)

    def _give_up(self, applied: Applied, error: BaseException) -> None:
        try:
            self.undo(applied)
        except Unnoted:
            return  # the next run undoes it once more, which does no harm
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

    def _refuse_over_budget(self, plan: Plan) -> None:
        spent = time.monotonic() - self._started
        left = None
        if self.budget.fetch_bytes is not None:
            left = self.budget.fetch_bytes - self.shop.fetched_bytes
        reasons = [
            ("count", self.budget.count is not None and self._count >= self.budget.count),
            ("seconds", self.budget.seconds is not None and spent >= self.budget.seconds),
            ("bytes", left is not None and plan.cost.fetch_bytes > left),
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
    unwritten: list[ModelmedicError] = []
    for seq, operation, note in steps:
        try:
            operation.undo(shop, note)
        except RecoveryRefused as error:
            refused.append(error)
        except OSError as error:
            refused.append(RecoveryRefused(f"{operation.describe()}: undo failed: {error}."))
        else:
            _note(unwritten, journal, "undid", repair=number, seq=seq)
    if refused:
        raise RecoveryRefused(" ".join(str(error) for error in refused))
    _note(unwritten, journal, "verdict", repair=number, verdict="undone")
    if unwritten:
        raise Unnoted(
            f"Everything was put back, but that could not be written down: {unwritten[0]}",
            "Undoing twice does no harm.",
        )


def _note(unwritten: list[ModelmedicError], journal: Journal, event: str, **values: Any) -> None:
    """Journal what was undone; a journal that cannot be written keeps no file from its place."""
    try:
        journal.add(event, **values)
    except RecoveryRefused as error:
        unwritten.append(error)


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
                _refuse_as_root(install)
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
