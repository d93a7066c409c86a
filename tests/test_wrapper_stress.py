"""Many threads, many failures: nothing is lost, nothing happens twice, nothing is left behind."""

from __future__ import annotations

import importlib.util

import pytest
from support import CHECKOUT

from modelmedic import BreakerSettings

SEED = 20261128


@pytest.fixture(scope="module")
def benchmark():
    """Return the benchmark itself: the test has its shape because it is the same code."""
    import sys

    path = CHECKOUT / "benchmarks" / "wrapper_stress.py"
    spec = importlib.util.spec_from_file_location("wrapper_stress", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["wrapper_stress"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["wrapper_stress"]


@pytest.mark.parametrize(
    ("calls", "failing", "breaker"),
    [
        (10_000, 0.05, None),
        (10_000, 0.05, BreakerSettings(failures=2, seconds=0.01)),
        (1_000, 1.0, None),
    ],
    ids=["5 percent", "with a breaker", "100 percent"],
)
def test_counts_are_exact_and_nothing_is_lost_doubled_or_left(
    benchmark, tmp_path, calls, failing, breaker
):
    print(f"seed {SEED}")  # noqa: T201 - pytest shows it when the test fails
    outcome = benchmark.with_leaks(calls, failing, SEED, tmp_path, breaker)
    assert outcome.problems == []
    assert sum(outcome.seen.values()) == calls
    assert outcome.seen["wrong"] == 0
    assert all(outcome.seen[kind] for kind in ("success", "failure", "optional", "cancelled"))
    assert bool(outcome.seen["rejected"]) == (breaker is not None)
