"""Apply a plan under lock and journal; undo it when it did not heal; finish what was killed."""

from __future__ import annotations

import contextlib
import importlib
import platform
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from modelmedic.context import Context
from modelmedic.errors import ModelmedicError, RecoveryFailed, RecoveryRefused
from modelmedic.healing import adoption, guards, kept, lock, trouble, undoing
from modelmedic.healing import journal as journals
from modelmedic.healing.journal import Journal
from modelmedic.healing.undoing import undo_repair, undo_run
from modelmedic.monitor.announced import announce
from modelmedic.operations.base import RISKS, Cost, Operation, Workshop
from modelmedic.operations.tree import Tree
from modelmedic.reliability.disk_watch import DiskWatch

_NEEDED = (
    *("healing.guards", "healing.kept", "healing.lock", "healing.holder", "healing.undoing"),
    *("operations.kinds", "operations.aside", "operations.expiry", "operations.durable"),
)

__all__ = ["Applied", "Budget", "Engine", "Plan", "undo_repair", "undo_run"]


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

    @property
    def is_for_this_run(self) -> bool:
        """Return whether what it cures is cured for this run only."""
        return any(operation.is_for_this_run for operation in self.operations)

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
            "rate_interval": list(self.rate_interval) if self.rate_interval else None,
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
        extras: Handed to operations: ``tokens`` by origin, ``bandwidth``, ``digests``.
        told: Hears sentences for the person while something takes long (who holds the lock). May
            be set later.
    """

    def __init__(
        self,
        context: Context,
        *,
        budget: Budget | None = None,
        progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
        extras: dict[str, Any] | None = None,
        told: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self.context = context
        self.told = told
        self.budget = budget or Budget()
        folder = journals.folder(context.state_dir, context.place)
        self.journal = Journal(folder / f"{context.run_id}.jsonl")
        self.shop = Workshop(
            Tree(context.place), context.run_id, progress=progress, extras=extras or {}
        )
        self.shop.extras.setdefault("disk_watch", DiskWatch(context.place))  # begins when asked
        self._started = time.monotonic()

    def generation(self) -> int:
        """Return a number that grows with every change that any run makes to this install."""
        return journals.generation(self.context.state_dir, self.context.place)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the install's lock; see `modelmedic.healing.lock.held`.

        What putting back needs is loaded before: later there may be no descriptor, or no disk, to
        read a module from.
        """
        try:
            for name in _NEEDED:
                importlib.import_module(f"modelmedic.{name}")
        except OSError as error:
            raise RecoveryRefused(
                f"Nothing was touched; modelmedic itself cannot be read: {trouble.reason(error)}.",
                "",
                trouble.next_step(error),
            ) from error
        with lock.held(self.context.state_dir, self.context.place, told=self.told):
            yield

    def apply(self, plan: Plan, *, is_again: bool = False) -> Applied:
        """Apply a plan, each operation journaled before it runs. Call it under the lock.

        Args:
            plan: What to do.
            is_again: It was done in this run and undone only to look: no budget counts.

        Raises:
            RecoveryRefused: A precondition or the budget does not hold, a process uses a file, or
                the journal cannot be written; nothing is changed.
            RecoveryFailed: An operation failed; what had been done was put back.
        """
        self._refuse(plan, is_again=is_again)
        self.shop.budget_bytes = None if is_again else self._left_bytes()
        if self.budget.seconds is not None:
            self.shop.ends_at = self._started + self.budget.seconds
        applied = Applied(uuid.uuid4().hex[:12], plan)
        before = self.shop.fetched_bytes
        started = time.monotonic()
        try:
            self._begin(applied)
            try:
                with self._announced(plan):
                    for seq, operation in enumerate(plan.operations):
                        self._apply_one(applied, seq, operation)
            finally:
                with contextlib.suppress(OSError, ModelmedicError):  # the disk may be full
                    self._meter(applied, before, started)
        except BaseException as error:
            self._give_up(applied, error)
            raise
        return applied

    def refuse(self, plan: Plan) -> None:
        """Refuse what could not be applied now: ask this before asking a person.

        Raises:
            RecoveryRefused: The budget is used up, a process uses a file, or root would work in
                another's folder.
        """
        self._refuse(plan, is_again=False)

    def keep(self, applied: Applied) -> None:
        """Record that the check passed: the repair stays.

        Raises:
            RecoveryRefused: It cannot be written down; undo the repair then, as the next run would.
        """
        self.journal.add("verdict", repair=applied.number, verdict="kept")

    def undo(self, applied: Applied) -> str:
        """Put back everything in reverse order.

        Returns:
            What is left to say, in sentences; "" when everything is as it was.

        Raises:
            RecoveryRefused: Something was changed by others since; the rest was put back.
            RecoveryFailed: The system did not let us put something back; it can be tried again.
        """
        steps = list(reversed(applied.steps))
        return " ".join(undoing.undo_steps(self.journal, applied.number, steps, self.shop))

    def finish_interrupted(self) -> list[str]:
        """Undo the repairs a killed run left without a verdict; return a sentence for each.

        Call it under the lock: then nobody is at work on them.

        Raises:
            CannotTell: The journals cannot be listed.
        """
        return undoing.finish_interrupted(self.context.state_dir, self.context.place, self.shop)

    def adopt(self) -> bool:
        """Take over what other processes of this run set for this run; see `adoption.adopt`."""
        return adoption.adopt(self.journal, self.shop, self.told)

    def expire(self, told: Callable[[str], None] | None = None) -> int:
        """Delete kept files beyond the cap in bytes and age; return the freed bytes.

        What the newest repairing run kept stays, and all that a repair without a verdict needs.

        Args:
            told: Hears what could not be done, and when one run alone keeps more than the cap;
                None: as the engine's own ``told``.
        """
        told = told or self.told
        try:
            with self.locked():
                return kept.expire(self.context, self.shop, told)
        except ModelmedicError as error:
            told(str(error))
            return 0

    def _refuse(self, plan: Plan, *, is_again: bool) -> None:
        place = self.context.place
        guards.refuse_as_root(place, plan.operations)
        if not is_again:
            self._refuse_over_budget(plan)
        try:
            guards.refuse_in_use(place, plan.operations)
            guards.refuse_without_space(place, plan.operations)
        except OSError as error:
            raise _refused(plan, error) from error

    def _begin(self, applied: Applied) -> None:
        if not self.journal.head():
            self.journal.add(
                "open",
                run=self.context.run_id,
                install=str(self.context.place),
                profile=self.context.profile.name,
                host=platform.node(),
                started_at=time.time(),
            )
        plan = applied.plan
        self.journal.add(
            "repair",
            repair=applied.number,
            recovery=plan.recovery,
            check=plan.check,
            nodeid=plan.nodeid,
        )

    def _apply_one(self, applied: Applied, seq: int, operation: Operation) -> None:
        try:
            note = operation.prepare(self.shop, f"{applied.number}-{seq}")
        except OSError as error:
            raise _refused(applied.plan, error) from error
        self.journal.add(
            "before", repair=applied.number, seq=seq, operation=operation.to_json(), note=note
        )
        applied.steps.append((seq, operation, note))
        self.shop.record = lambda told: self.journal.add(
            "noted", repair=applied.number, seq=seq, note=told
        )
        operation.apply(self.shop, note)
        self.journal.add("after", repair=applied.number, seq=seq, note=note)

    def _announced(self, plan: Plan) -> contextlib.AbstractContextManager[None]:
        """Tell a monitor of a download, so that it calls none of it a leak of the disk."""
        if not plan.cost.fetch_bytes:
            return contextlib.nullcontext()
        planned = max(plan.cost.fetch_bytes, plan.cost.disk_bytes)
        return announce(self.context.state_dir, plan.recovery, planned, self.context.place)

    def _give_up(self, applied: Applied, error: BaseException) -> None:
        """Put back what was done, and say it; what the system said becomes words.

        Raises:
            RecoveryRefused: The journal took nothing; nothing was touched.
            RecoveryFailed: Something had been done, and what became of it.
        """
        name = applied.plan.recovery
        try:
            said = self.undo(applied)
        except ModelmedicError as undo_error:
            raise RecoveryFailed(
                f"{_what(name, error)} And not everything could be put back: {undo_error}"
            ) from error
        if isinstance(error, journals.CannotWrite) and not applied.steps:
            what = error.what.rstrip(".")
            raise RecoveryRefused(
                f"{what}; nothing was touched.", error.why, error.next_step
            ) from error
        if isinstance(error, OSError | journals.CannotWrite):
            raise RecoveryFailed(
                f"{_what(name, error)} What had been done was put back. {said}",
                "",
                trouble.next_step(error) if isinstance(error, OSError) else error.next_step,
            ) from error

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


def _what(recovery: str, error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{recovery} did not succeed: {trouble.reason(error)}."
    if isinstance(error, journals.CannotWrite):
        return error.what
    return str(error)


def _refused(plan: Plan, error: OSError) -> RecoveryRefused:
    return RecoveryRefused(
        f"{plan.recovery} was not tried: {trouble.reason(error)}.", "", trouble.next_step(error)
    )
