"""Counts and durations of protected calls: exact under threads, and nearly free while all is well.

Each thread counts in a shard of its own, a plain list of numbers that no other thread writes; a
query adds the shards up. What a thread has counted stays when it ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

LEVELS = ("minimal", "standard", "full")
# How a call ended; each call ends in one of them, so they add up to the calls.
OUTCOMES = ("success", "degraded", "optional", "failure", "cancelled", "rejected")
SUCCESS, DEGRADED, OPTIONAL, FAILURE, CANCELLED, REJECTED = range(len(OUTCOMES))
RETRIED, TIMED, NANOSECONDS, SHED, LEFT, WINDOW_END = range(6, 12)
FIRST_BUCKET = 12
# Eight buckets to each doubling: a percentile is off by a sixteenth at most. The last one takes
# all from 2 ** 44 ns, five hours, upwards.
_STEP_BITS = 3
_TOP_BITS = 44
BUCKETS = ((_TOP_BITS - _STEP_BITS - 1) << _STEP_BITS) + (2 << _STEP_BITS)
SAMPLES_PER_SECOND = 10_000.0  # of each operation in each thread; a percentile needs no more
MOST_OPERATIONS = 2000  # names come from code; whoever puts file names into them is held here
OTHERS = "(others)"
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class OperationMetrics:
    """What was counted of one operation of one component, or of several together.

    Args:
        component: Its name; empty when several are added up.
        operation: The method; empty when several are added up.
        successes: Calls that returned, also after being tried again.
        degraded: Calls that returned after a repair, or through a stand-in for a missing method.
        optional: Calls that failed and gave None, as their declaration allows.
        failures: Calls whose exception left.
        cancelled: Calls ended by KeyboardInterrupt, CancelledError, GeneratorExit and the like.
        rejected: Calls that the circuit breaker turned away; they never began.
        retried: How often a call was made again; no call of its own.
        timed: Finished calls in ``seconds``; none on level "minimal".
        seconds: Their sum.
        shed: Successes that are counted and in ``seconds``, but in no histogram, ring or event:
            there were more in a second than samples are taken.
        histogram: Number of calls by bucket of their duration; see `percentile_seconds`.
        since: When counting began, in seconds since the epoch.
        until: When this was read, likewise.
    """

    component: str = ""
    operation: str = ""
    successes: int = 0
    degraded: int = 0
    optional: int = 0
    failures: int = 0
    cancelled: int = 0
    rejected: int = 0
    retried: int = 0
    timed: int = 0
    seconds: float = 0.0
    shed: int = 0
    histogram: Mapping[int, int] = field(default_factory=dict)
    since: float = 0.0
    until: float = 0.0

    @property
    def calls(self) -> int:
        """Return how many calls there were, the rejected ones included."""
        return self.judged + self.cancelled + self.rejected

    @property
    def judged(self) -> int:
        """Return how many calls say something about the component."""
        return self.successes + self.degraded + self.optional + self.failures

    @property
    def failure_ratio(self) -> float:
        """Return failed and optional calls by judged ones, 0 to 1; NaN without any."""
        return (self.failures + self.optional) / self.judged if self.judged else float("nan")

    @property
    def success_ratio(self) -> float:
        """Return successful and degraded calls by judged ones, 0 to 1; NaN without any."""
        return (self.successes + self.degraded) / self.judged if self.judged else float("nan")

    @property
    def calls_per_second(self) -> float:
        """Return the rate from ``since`` to ``until``; NaN when no time lies between."""
        span = self.until - self.since
        return self.calls / span if span > 0 else float("nan")

    @property
    def mean_seconds(self) -> float:
        """Return the mean duration of a finished call; NaN without any."""
        return self.seconds / self.timed if self.timed else float("nan")

    @property
    def p50_seconds(self) -> float:
        """Return the median duration, within a sixteenth; NaN without any."""
        return self.percentile_seconds(0.5)

    @property
    def p95_seconds(self) -> float:
        """Return what 95 of 100 calls stay within, to a sixteenth; NaN without any."""
        return self.percentile_seconds(0.95)

    @property
    def p99_seconds(self) -> float:
        """Return what 99 of 100 calls stay within, to a sixteenth; NaN without any."""
        return self.percentile_seconds(0.99)

    def percentile_seconds(self, ratio: float) -> float:
        """Return the duration that this part (0 to 1) of the sampled calls stays within.

        The middle of its bucket; a bucket is an eighth of a power of two of nanoseconds wide, so
        it is off by a sixteenth at most. NaN when nothing was sampled.
        """
        wanted = ratio * sum(self.histogram.values())
        seen = 0
        for bucket in sorted(self.histogram):
            seen += self.histogram[bucket]
            if seen >= wanted:
                return middle_ns(bucket) / _SECOND_NS
        return float("nan")

    def plus(self, other: OperationMetrics) -> OperationMetrics:
        """Return both added up; names that differ become empty."""
        return _combined(self, other, 1)

    def minus(self, earlier: OperationMetrics) -> OperationMetrics:
        """Return what was added since an earlier reading of the same operation."""
        return replace(
            _combined(self, earlier, -1), since=earlier.until or self.since, until=self.until
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """One reading of all counts.

    Args:
        operations: By component and operation.
        observer_errors: How often an observer raised.
    """

    operations: Mapping[tuple[str, str], OperationMetrics] = field(default_factory=dict)
    observer_errors: int = 0

    @property
    def total(self) -> OperationMetrics:
        """Return all operations added up."""
        total = OperationMetrics()
        for entry in self.operations.values():
            total = total.plus(entry)
        return total

    def minus(self, earlier: Metrics) -> Metrics:
        """Return what was added since an earlier reading."""
        nothing = OperationMetrics()
        return Metrics(
            {
                key: entry.minus(earlier.operations.get(key, nothing))
                for key, entry in self.operations.items()
            },
            self.observer_errors - earlier.observer_errors,
        )


_SUMS = (
    "successes", "degraded", "optional", "failures", "cancelled", "rejected",
    "retried", "timed", "seconds", "shed",
)  # fmt: skip


def _combined(one: OperationMetrics, other: OperationMetrics, sign: int) -> OperationMetrics:
    sums = {name: getattr(one, name) + sign * getattr(other, name) for name in _SUMS}
    histogram = dict(one.histogram)
    for bucket, count in other.histogram.items():
        histogram[bucket] = histogram.get(bucket, 0) + sign * count
    begun = [moment for moment in (one.since, other.since) if moment]
    is_first = not one.until  # nothing was added to it yet
    return OperationMetrics(
        component=other.component if is_first else _common(one.component, other.component),
        operation=other.operation if is_first else _common(one.operation, other.operation),
        histogram={bucket: count for bucket, count in sorted(histogram.items()) if count},
        since=min(begun, default=0.0),
        until=max(one.until, other.until),
        **sums,
    )


def _common(one: str, other: str) -> str:
    return one if one == other or not other else ""


def bucket_of(took_ns: int) -> int:
    """Return the bucket of a duration in nanoseconds."""
    shift = took_ns.bit_length() - _STEP_BITS - 1
    bucket = (shift << _STEP_BITS) + (took_ns >> shift) if shift > 0 else max(took_ns, 0)
    return min(bucket, BUCKETS - 1)


def middle_ns(bucket: int) -> float:
    """Return the duration in the middle of a bucket, in nanoseconds."""
    shift = max((bucket >> _STEP_BITS) - 1, 0)
    return float(((bucket - (shift << _STEP_BITS)) << shift) + ((1 << shift) - 1) / 2)


class Shards:
    """The shards of all threads for one operation."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._base = [0] * length
        self._live: dict[int, list[int]] = {}
        self._ended: list[list[int]] = []
        self._lock = threading.RLock()  # a finaliser may call into the same operation

    def join(self) -> tuple[list[int], object]:
        """Return a new shard, and what must be dropped when its thread ends."""
        shard = [0] * self._length
        with self._lock:
            self._fold()
            self._live[id(shard)] = shard
        return shard, _Farewell(self._ended, shard)

    def total(self) -> list[int]:
        """Return the sum of all shards, those of ended threads included."""
        with self._lock:
            self._fold()
            return [sum(column) for column in zip(self._base, *self._live.values(), strict=True)]

    def _fold(self) -> None:
        """Add the shards of ended threads to the base, so that threads may come and go."""
        while self._ended:
            shard = self._ended.pop()
            del self._live[id(shard)]
            self._base = [one + other for one, other in zip(self._base, shard, strict=True)]


class _Farewell:
    """Lies in the locals of a thread: it is dropped when the thread ends."""

    __slots__ = ("_ended", "_shard")

    def __init__(self, ended: list[list[int]], shard: list[int]) -> None:
        self._ended = ended
        self._shard = shard

    def __del__(self) -> None:
        self._ended.append(self._shard)  # no lock: this may run anywhere, also inside `_fold`


class _Local(threading.local):
    """The shard of the thread that asks."""

    def __init__(self, shards: Shards) -> None:
        self.shard, self._farewell = shards.join()


class Recorder:
    """Counts the calls of one operation of one component.

    Args:
        component: Its name.
        operation: The method.
        level: One of `LEVELS`.
        samples_per_second: Of the histogram, for each thread; more are shed and counted.
    """

    def __init__(
        self,
        component: str,
        operation: str,
        level: str = "standard",
        samples_per_second: float = SAMPLES_PER_SECOND,
    ) -> None:
        self.component = component
        self.operation = operation
        self.is_timed = level != "minimal"
        self.samples_per_second = samples_per_second
        self._shards = Shards(FIRST_BUCKET + BUCKETS if self.is_timed else FIRST_BUCKET)
        self.local = _Local(self._shards)
        self._since = time.time()
        self._lock = threading.RLock()
        self._streak = (0, 0)  # failures in a row, and the successes there were before them

    def count(self, outcome: int, took_ns: int | None = None) -> None:
        """Count one call; ``took_ns`` is None when it never began."""
        shard = self.local.shard
        shard[outcome] += 1
        if outcome in {FAILURE, OPTIONAL}:
            with self._lock:
                self._streak = self.streak() + 1, self.successes()
        if not self.is_timed:
            return
        # Successes are timed nearly always, and not counted for that on the fast path.
        shard[TIMED] += (took_ns is not None) - (outcome == SUCCESS)
        if took_ns is not None:
            shard[NANOSECONDS] += took_ns
            shard[FIRST_BUCKET + bucket_of(took_ns)] += 1

    def count_retry(self) -> None:
        """Count one more try of a call."""
        self.local.shard[RETRIED] += 1

    def has_room(self, shard: list[int], now_ns: int) -> bool:
        """Return whether a sample may be taken, once the budget of a thread's window is used up.

        Counts the sample as shed when it may not.
        """
        if now_ns < shard[WINDOW_END]:
            shard[SHED] += 1
            return False
        shard[WINDOW_END] = now_ns + _SECOND_NS
        shard[LEFT] = int(min(self.samples_per_second, 1e15)) - 1
        return True

    def streak(self) -> int:
        """Return how many calls have failed since the last one that returned."""
        failures, before = self._streak
        return failures if failures and before == self.successes() else 0

    def successes(self) -> int:
        """Return how many calls have returned so far."""
        total = self._shards.total()
        return total[SUCCESS] + total[DEGRADED]

    def read(self) -> OperationMetrics:
        """Return what was counted so far."""
        total = self._shards.total()
        return OperationMetrics(
            component=self.component,
            operation=self.operation,
            successes=total[SUCCESS],
            degraded=total[DEGRADED],
            optional=total[OPTIONAL],
            failures=total[FAILURE],
            cancelled=total[CANCELLED],
            rejected=total[REJECTED],
            retried=total[RETRIED],
            timed=total[TIMED] + total[SUCCESS] if self.is_timed else 0,
            seconds=total[NANOSECONDS] / _SECOND_NS,
            shed=total[SHED],
            histogram=dict(_filled(total)),
            since=self._since,
            until=time.time(),
        )


def _filled(total: list[int]) -> Iterator[tuple[int, int]]:
    for bucket, count in enumerate(total[FIRST_BUCKET:]):
        if count:
            yield bucket, count
