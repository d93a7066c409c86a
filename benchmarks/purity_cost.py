"""What holding checks to their promises costs: processor time of many trivial checks, both ways.

    python benchmarks/purity_cost.py [CHECKS] [RUNS]

Measured, each over RUNS runs (9), in turn, on CHECKS (2,000) checks that do nothing, so that what
is added to each weighs most:

- the run as a person starts it: each check is watched by the audit hook;
- the peer, in the same run: the same with ``-p no:modelmedic:purity``, which is never installed.

Bar: at most 1.05 times the peer's processor time. Source: the project's own requirement, "a few
percent"; real checks do more each, so they pay less.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measuring import CHECKOUT, PYTEST, RUNS, Cost, cost_of, line, own_environment

CHECKS = 2_000
BAR_RATIO = 1.05
ROOM = """
import pytest

@pytest.mark.check("cost.nothing", area="system")
@pytest.mark.parametrize("number", range({checks}))
def test_nothing(number):
    '''It holds.'''
"""


def main() -> int:
    """Print the figures; return 1 when the bar is missed."""
    given = [int(text) for text in sys.argv[1:]]
    checks, runs = (*given, *(CHECKS, RUNS)[len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        room = place / "test_cost.py"
        room.write_text(ROOM.format(checks=checks), encoding="utf-8")
        start = [
            *PYTEST, "-q", "-c", str(CHECKOUT / "pyproject.toml"), f"--rootdir={place}",
            "-pmodelmedic.entry", str(room), "--profile=wan2.2-ti2v-5b", "--stage=preflight",
            "--offline", f"--report-dir={place / 'report'}",
        ]  # fmt: skip
        ways = {"watched": start, "peer": [*start, "-p", "no:modelmedic:purity"]}
        for argv in ways.values():
            _run(argv, place, checks)  # warm
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(runs):
            for name, argv in ways.items():
                costs[name].append(_run(argv, place, checks).cpu_seconds)
    ratio = min(costs["watched"]) / min(costs["peer"])
    print(f"Python {sys.version.split()[0]}, {checks} trivial checks, {runs} runs each")
    print(line("watched, processor time", costs["watched"]))
    print(line("peer: nobody watches, processor time", costs["peer"]))
    verdict = "met" if ratio <= BAR_RATIO else "MISSED"
    print(f"ratio: {ratio:.3f}  bar {BAR_RATIO}: {verdict}")
    return 0 if ratio <= BAR_RATIO else 1


def _run(argv: list[str], place: Path, checks: int) -> Cost:
    cost = cost_of(argv, env=own_environment(place / "home"), cwd=place)
    if cost.code != 0 or f"{checks} passed" not in cost.output:
        raise SystemExit(f"The measured run ended with {cost.code}:\n{cost.output[-2000:]}")
    return cost


if __name__ == "__main__":
    raise SystemExit(main())
