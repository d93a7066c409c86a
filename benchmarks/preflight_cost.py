"""What looking at a machine costs: processor time of the default preflight, and of ``--co``.

    python benchmarks/preflight_cost.py [RUNS]

Measured, each over RUNS runs (9), warm (compiled files and the disk cache are there):

- ``pytest checks/ --offline``: user + system time of pytest and every child it started. Bar: at
  most 1.5 s. Source: the project's own requirement (a preflight runs on a machine that is at
  work, before anything is downloaded, and must not be felt).
- ``pytest checks/ --co``: processor time. Bar: at most 0.45 s. Source: the same requirement;
  editors collect again at every save.
- the peer, in the same run: ``pytest --co`` over as many empty tests, with the same plugins. What
  it takes is pytest's own start; the ratio says what our rooms add to it, and does not depend on
  how fast or busy the machine is.

The environment is the one a user gets: plugins that come with the development tools only
(hypothesis) are off in all runs.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from measuring import CHECKOUT, PYTEST, RUNS, Cost, cost_of, line, own_environment, plain_ini

PREFLIGHT_BAR_SECONDS = 1.5
COLLECT_BAR_SECONDS = 0.45


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        preflight, collect = _ours(place, "--offline"), _ours(place, "--co", "-q")
        first = _run(collect, place)
        count = _collected(first)
        peer = _peer(place, count)
        _run(preflight, place, expected={0, 1}), _run(peer, place)  # warm
        costs: dict[str, list[Cost]] = {"preflight": [], "collect": [], "peer": []}
        for _ in range(runs):  # in turn, so that a busy minute falls on all of them
            costs["preflight"].append(_run(preflight, place, expected={0, 1}))
            costs["collect"].append(_run(collect, place))
            costs["peer"].append(_run(peer, place))
    return _print(costs, count, runs)


def _ours(place: Path, *options: str) -> list[str]:
    return [
        *PYTEST,
        "-c", str(CHECKOUT / "pyproject.toml"),
        f"--rootdir={CHECKOUT}",
        str(CHECKOUT / "checks"),
        f"--report-dir={place / 'report'}",
        *options,
    ]  # fmt: skip


def _peer(place: Path, count: int) -> list[str]:
    """Return ``pytest --co`` over ``count`` empty tests in as many files as our checks have."""
    room = place / "peer"
    room.mkdir()
    files = len(list((CHECKOUT / "checks").glob("test_*.py")))
    for number in range(files):
        tests = range(number, count, files)
        text = "\n".join(f"def test_{test}():\n    pass\n" for test in tests)
        (room / f"test_{number}.py").write_text(text, encoding="utf-8")
    return [*PYTEST, "-c", str(plain_ini(place)), f"--rootdir={room}", str(room), "--co", "-q"]


def _run(argv: list[str], place: Path, expected: set[int] | None = None) -> Cost:
    work = place / "work"
    work.mkdir(exist_ok=True)
    cost = cost_of(argv, env=own_environment(place / "home"), cwd=work)
    if cost.code not in (expected or {0}):
        raise SystemExit(f"{' '.join(argv)} ended with {cost.code}:\n{cost.output}")
    return cost


def _collected(cost: Cost) -> int:
    found = re.search(r"^(\d+) tests collected", cost.output, re.MULTILINE)
    if found is None:
        raise SystemExit(f"pytest did not say how many checks it collected:\n{cost.output}")
    return int(found[1])


def _print(costs: dict[str, list[Cost]], count: int, runs: int) -> int:
    cpu = {name: [cost.cpu_seconds for cost in done] for name, done in costs.items()}
    wall = {name: [cost.wall_seconds for cost in done] for name, done in costs.items()}
    print(f"Python {sys.version.split()[0]}, {count} checks, {runs} runs each")
    print(line("preflight, --offline, processor time", cpu["preflight"], PREFLIGHT_BAR_SECONDS))
    print(line("preflight, --offline, wall time", wall["preflight"]))
    print(line("--co, processor time", cpu["collect"], COLLECT_BAR_SECONDS))
    print(line("--co, wall time", wall["collect"]))
    print(line(f"peer: --co over {count} empty tests, processor time", cpu["peer"]))
    print(line("peer, wall time", wall["peer"]))
    print(f"ratio of --co to the peer: {min(cpu['collect']) / min(cpu['peer']):.2f}")
    is_met = (
        min(cpu["preflight"]) <= PREFLIGHT_BAR_SECONDS
        and min(cpu["collect"]) <= COLLECT_BAR_SECONDS
    )
    return 0 if is_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
