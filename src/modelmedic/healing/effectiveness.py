"""How well recoveries have worked here, measured by re-checks; see docs/healing."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from modelmedic import __version__
from modelmedic.context import Context
from modelmedic.errors import RecoveryRefused
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.findings import Outcome
from modelmedic.healing.classify import classify
from modelmedic.healing.engine import Plan
from modelmedic.healing.evidence_log import VERDICTS, Entry, EvidenceLog, Tally
from modelmedic.healing.posterior import Posterior
from modelmedic.healing.repair import Repair
from modelmedic.operations.base import RISKS
from modelmedic.text import size

RECENT_SECONDS = 7 * 86_400.0  # so long nobody waits for the same vain repair again
# Below this a fetch measures the server's answer time more than the line. Source: 1 MiB takes
# 0.1 s at 100 Mbit/s, as long as a round trip with TLS.
RATE_BYTES = 1 << 20
_NEWEST = 20  # measurements that speak for today's line and disk
# What can be another one an hour later although nothing that a plan names has changed.
_PASSING = frozenset({Category.NETWORK, Category.TIMEOUT, Category.RESOURCE_EXHAUSTION})
_NUMBERS = re.compile(r"\d+")


class TriedBefore(RecoveryRefused):
    """The same repair did not help in the same state; nothing was touched."""


@dataclass(frozen=True, slots=True)
class Expected:
    """How long a repair will take. ``seconds`` None: unknown; ``source`` names the measurement."""

    seconds: float | None = None
    source: str = ""


class Effectiveness:
    """What the re-checks of earlier repairs say about the next one.

    Args:
        context: Whose state folder holds the log.
        again: Repairs that did not help in the same state may be tried again.
        log: Another log than the state folder's.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        context: Context,
        *,
        again: bool = False,
        log: EvidenceLog | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.log = log or EvidenceLog(context.state_dir)
        self.again = again
        self._context = context
        self._clock = clock
        self._platform = (platform.system(), platform.machine())
        self._failed: set[str] = set()  # changes that could not be made in this run

    @property
    def trouble(self) -> str:
        """Return why the log could not be used; empty when it could."""
        return self.log.trouble

    def posterior(self, recovery: str) -> Posterior:
        """Return what is known about a recovery's success rate on this platform."""
        counts = self.log.read().counts(lambda each: self._is_of(each, recovery))
        return Posterior(counts["healed"], counts.total() - counts["healed"])

    def worked(self, recovery: str) -> str:
        """Return "worked 41 of 44 times here", or "no history yet"."""
        known = self.posterior(recovery)
        if not known.tries:
            return "no history yet"
        times = "time" if known.tries == 1 else "times"
        return f"worked {known.successes} of {known.tries} {times} here"

    def expected(self, recovery: str, fetch_bytes: int | None) -> Expected:
        """Return how long a repair will take by the median of earlier ones that ended.

        Args:
            recovery: Its name.
            fetch_bytes: What it will fetch; None when that is unknown, and so is the time. From
                `RATE_BYTES` on the rate of fetches at least as large counts, below it the time of
                repairs that fetched less.
        """
        if fetch_bytes is None:
            return Expected()
        is_fetch = fetch_bytes >= RATE_BYTES
        known = [
            entry
            for entry in self.log.read().entries
            if self._is_of(entry, recovery)
            and entry.seconds > 0
            and (entry.fetched_bytes >= RATE_BYTES) == is_fetch
        ][-_NEWEST:]
        if not known:
            return Expected()
        on = time.strftime("%Y-%m-%d", time.localtime(known[-1].at))
        if is_fetch:
            rate = statistics.median(entry.fetched_bytes / entry.seconds for entry in known)
            return Expected(fetch_bytes / rate, f"at the {size(rate)}/s measured here on {on}")
        seconds = statistics.median(entry.seconds for entry in known)
        return Expected(seconds, f"as measured here on {on}")

    def inform(self, plan: Plan) -> None:
        """Write into a plan what is known about its recovery here."""
        expected = self.expected(plan.recovery, _fetch_bytes(plan))
        plan.measured_seconds, plan.time_source = expected.seconds, expected.source
        known = self.posterior(plan.recovery)
        plan.worked = self.worked(plan.recovery)
        plan.rate_interval = known.interval() if known.tries else None

    def ranked(self, repairs: Iterable[Repair]) -> list[Repair]:
        """Return planned repairs in the order they are tried.

        By risk class, bytes to fetch, whether the cure lasts, measured success, declared order. So
        evidence decides only between repairs of one class that fetch equally much and last equally
        long. An unknown amount counts as the most.
        """

        def key(repair: Repair) -> tuple[int, float, bool, float]:
            plan = repair.plan
            amount = _fetch_bytes(plan)
            mean = self.posterior(plan.recovery).mean
            most = math.inf if amount is None else amount
            return RISKS.index(plan.risk), most, plan.is_for_this_run, -mean

        return sorted(repairs, key=key)

    def refuse_tried(self, repair: Repair, command: str) -> None:
        """Refuse what was already tried in vain in the same state.

        Args:
            repair: What would be done.
            command: What a person can type to try it all the same.

        Raises:
            TriedBefore: It did not help within `RECENT_SECONDS`, or in this run could not be
                made.
        """
        if self.again:
            return
        name = repair.recovery.name
        if _change(self._context, repair) in self._failed:
            raise TriedBefore(f"{name} was not tried again: the same changes failed in this run.")
        state = fingerprint(self._context, repair)
        now = self._clock()
        for entry in reversed(self.log.read().entries):
            is_recent = 0 <= now - entry.at < RECENT_SECONDS
            if is_recent and entry.state == state and entry.is_lasting:
                on = time.strftime("%Y-%m-%d at %H:%M", time.localtime(entry.at))
                raise TriedBefore(
                    f"{name} was not tried again: on {on} it was tried in this same state, did "
                    "not help, and was undone.",
                    "",
                    f"To try it all the same: {command}",
                )

    def record(
        self,
        repair: Repair,
        verdict: str,
        *,
        area: str = "",
        outcome: Outcome | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Append one judged repair to the log; other verdicts than `VERDICTS` are no evidence.

        Args:
            repair: What was tried.
            verdict: The attempt's verdict.
            area: Of the check.
            outcome: Of the check after the repair; None when it did not come to that.
            error: What the check raised after the repair.
        """
        if verdict not in VERDICTS or (repair.applied is None and verdict != "failed"):
            return
        category = classify(repair.error, area)
        if verdict == "failed" and _is_local(repair.plan):
            self._failed.add(_change(self._context, repair))
        has_looked = verdict == "not healed" and outcome is Outcome.FAILED
        system, machine = self._platform
        self.log.add(
            Entry(
                repair=repair.applied.number if repair.applied else os.urandom(6).hex(),
                at=round(self._clock(), 3),
                recovery=repair.recovery.name,
                family=repair.recovery.family,
                category=category.value if category else "",
                system=system,
                machine=machine,
                check=repair.plan.check.partition("[")[0],
                verdict=verdict,
                seconds=round(repair.applied.seconds, 6) if repair.applied else 0.0,
                fetched_bytes=repair.applied.fetched_bytes if repair.applied else 0,
                state=fingerprint(self._context, repair),
                is_lasting=has_looked and classify(error, area) not in _PASSING,
            )
        )

    def _is_of(self, each: Entry | Tally, recovery: str) -> bool:
        return each.recovery == recovery and (each.system, each.machine) == self._platform


def fingerprint(context: Context, repair: Repair) -> str:
    """Return a hash of the state a repair is tried in: equal states, equal hashes.

    It covers the install, our version, the check and its subject, what the check said (without
    numbers: free bytes and process ids differ from run to run), and every operation with what it
    expects to find.
    """
    words = _NUMBERS.sub("#", str(repair.error))
    failure = [type(repair.error).__name__, getattr(repair.error, "failure_id", None), words]
    return _hash(_change(context, repair), repair.plan.check, repair.subject, failure)


def _change(context: Context, repair: Repair) -> str:
    """Return a hash of what would be changed, whatever check asks for it."""
    operations = [operation.to_json() for operation in repair.plan.operations]
    install = os.path.realpath(context.place)
    return _hash(__version__, install, repair.recovery.name, operations)


def _hash(*values: object) -> str:
    text = json.dumps(values, ensure_ascii=True, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_local(plan: Plan) -> bool:
    """Return whether a plan asks no network: a failed fetch may do better a minute later."""
    return not plan.cost.fetch_bytes and plan.cost.seconds is not None


def _fetch_bytes(plan: Plan) -> int | None:
    """Return what a plan fetches; None when it fetches something whose size is not known."""
    cost = plan.cost
    return None if cost.seconds is None and not cost.fetch_bytes else cost.fetch_bytes
