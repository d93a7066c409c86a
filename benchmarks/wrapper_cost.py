"""What a wrapped call adds to the bare one while all is well, beside the peers in one run.

    python benchmarks/wrapper_cost.py [ROUNDS] [--json]

Printed for each: the least, p50 and p99 of the time of one call, over rounds of 1,000 calls each.
Ours on each level, with the breaker off and on, with every sample taken (nothing is shed); peers:
the bare call, `wrapt.FunctionWrapper`, tenacity and stamina, which decide on trying again too.

Bar: ours adds 2 microseconds at most to the bare call (the least of the rounds: a busy machine only
ever adds). Source: the project's own requirement.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import stamina
import tenacity
import wrapt

from modelmedic import ReliabilityManager

ROUNDS = 300
CALLS = 1_000
BAR_NS = 2_000
LEVELS = ("minimal", "standard", "full")


class Component:
    def method(self, number: int, *, flag: bool = False) -> int:
        return number


def _passing(wrapped: Callable, _instance: object, args: tuple, kwargs: dict) -> object:
    return wrapped(*args, **kwargs)


class Wrapped(Component):
    method = wrapt.FunctionWrapper(Component.method, _passing)


def main() -> int:
    """Print the figures; return 1 when ours adds more than the bar."""
    given = [word for word in sys.argv[1:] if word != "--json"]
    rounds = int(given[0]) if given else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        figures = _figures(_candidates(Path(folder)), rounds)
    if "--json" in sys.argv:
        print(json.dumps(figures))
    bare = figures["bare call"][0]
    missed = 0
    print(f"Python {sys.version.split()[0]}, {rounds} rounds of {CALLS} calls, ns a call")
    print(f"{'':<32}{'least':>8}{'p50':>8}{'p99':>8}{'added':>8}")
    for name, (least, middle, most) in figures.items():
        verdict = ""
        if name.startswith("ours"):
            verdict = "  met" if least - bare <= BAR_NS else "  MISSED"
            missed += "MISSED" in verdict
        print(f"{name:<32}{least:8.0f}{middle:8.0f}{most:8.0f}{least - bare:8.0f}{verdict}")
    print(f"bar: {BAR_NS} ns added by ours")
    return 1 if missed else 0


def _candidates(state_dir: Path) -> dict[str, object]:
    """Return objects with ``method``, by name; each call looks it up anew, as callers do."""
    bare = Component()
    found: dict[str, object] = {"bare call": bare}
    for level in LEVELS:
        for breaker in (None, True):
            manager = ReliabilityManager(
                level=level, breaker=breaker, state_dir=state_dir, samples_per_second=float("inf")
            )
            name = f"ours, {level}, breaker {'on' if breaker else 'off'}"
            found[name] = manager.wrap_component(Component(), "component")
    shedding = ReliabilityManager(state_dir=state_dir)
    found["ours, standard, shedding"] = shedding.wrap_component(Component(), "component")
    found["wrapt.FunctionWrapper"] = Wrapped()
    found["tenacity"] = _Holder(tenacity.retry(reraise=True)(bare.method))
    found["stamina"] = _Holder(stamina.retry(on=OSError)(bare.method))
    return found


class _Holder:
    def __init__(self, method: Callable[..., int]) -> None:
        self.method = method


def _figures(candidates: dict[str, object], rounds: int) -> dict[str, tuple[float, float, float]]:
    """Measure all in turn in each round, so that a busy moment hits them alike."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for _round in range(rounds):
        for name, candidate in candidates.items():
            taken[name].append(_round_ns(candidate))
    return {name: _summary(sorted(values)) for name, values in taken.items()}


def _round_ns(candidate: object) -> float:
    numbers = range(CALLS)
    begun = time.perf_counter_ns()
    for number in numbers:
        candidate.method(number, flag=True)
    return (time.perf_counter_ns() - begun) / CALLS


def _summary(ordered: list[float]) -> tuple[float, float, float]:
    return (
        ordered[0],
        ordered[len(ordered) // 2],
        ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)],
    )


if __name__ == "__main__":
    raise SystemExit(main())
