"""What our plugins cost a run of other tests: 10,000 trivial ones, with us and without.

    python benchmarks/run_cost.py [--runs N] [--tests N] [--json]

A trivial test is a plain ``def test_0001(): pass`` in a folder that is not ours: what is added to
each weighs most on it. pytest is started in that folder with an ini file of its own, no cache, and
the plugins that an installed modelmedic brings (html, metadata, timeout, xdist). Two pairs, each
over N runs (5), in turn, so that a busy minute falls on all of them:

- *healing alone*: ``-p modelmedic.entry --heal`` without recording (``-p no:modelmedic:recording``)
  against plain pytest; html and junit off on both sides. Options, facts, order, the protocol that
  offers a failing check its recoveries, and the watch over promises are all there.
- *recording*: the same with ``report.json``, ``report.html`` and ``junit.xml`` as we write them
  against plain pytest with ``--html`` and ``--junitxml``.

Bars: at most 1.05 times the peer's processor time (user + system), and at most 15 MB more resident
memory at the peak. Source: the project's own requirement; who has our plugins beside a large suite
of their own must not feel them. The least of the runs decides, start of the process included.

For information, without a bar: both over as many trivial *checks* of ours (``@pytest.mark.check``),
each of which is judged, recorded and held to its promise, against the same peers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measuring import PYTEST, Cost, cost_of, line, own_environment, plain_ini

RUNS = 5
TESTS = 10_000
TESTS_A_FILE = 100
BAR_RATIO = 1.05
BAR_BYTES = 15_000_000
NOTHING_CHECKED = 5  # our exit code where none of the tests was a check of ours
CHECK = '@pytest.mark.check("cost.nothing-{number}", area="system")\n'


@dataclass(frozen=True, slots=True)
class Pair:
    """A run with us and its peer without, by their names; ``is_held``: the bars are for it."""

    name: str
    ours: str
    peer: str
    is_held: bool


PAIRS = (
    Pair("healing alone", "heal", "plain", is_held=True),
    Pair("recording", "record", "written", is_held=True),
    Pair("healing alone, checks of ours", "heal checks", "plain", is_held=False),
    Pair("recording, checks of ours", "record checks", "written", is_held=False),
)


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--tests", type=int, default=TESTS, help="rounded up to whole files of 100")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tests = _fill(place / "tests", options.tests, "")
        _fill(place / "checks", options.tests, CHECK)
        ways = _ways(place)
        for name, argv in ways.items():
            _run(name, argv, place, tests)  # warm: compiled files are there
        costs: dict[str, list[Cost]] = {name: [] for name in ways}
        for _ in range(options.runs):
            for name, argv in ways.items():
                costs[name].append(_run(name, argv, place, tests))
    figures = [_figures(pair, costs) for pair in PAIRS]
    if options.json:
        print(json.dumps({"tests": tests, "runs": options.runs, "pairs": figures}, indent=1))
    else:
        _print(figures, tests, options.runs)
    return 0 if all(figure["is_met"] is not False for figure in figures) else 1


def _fill(room: Path, tests: int, head: str) -> int:
    """Make files of 100 tests that do nothing, ``head`` over each; return how many tests."""
    room.mkdir()
    files = -(-tests // TESTS_A_FILE)
    for file in range(files):
        numbers = range(file * TESTS_A_FILE, (file + 1) * TESTS_A_FILE)
        texts = [f"{head.format(number=n)}def test_{n:05}():\n    pass\n" for n in numbers]
        start = "import pytest\n\n\n" if head else ""
        text = start + "\n\n".join(texts)
        (room / f"test_{file:03}.py").write_text(text, encoding="utf-8")
    return files * TESTS_A_FILE


def _ways(place: Path) -> dict[str, list[str]]:
    """Return the command line of each way to run the tests."""
    start = [
        *PYTEST, "-p", "no:cacheprovider", "-q", "-c", str(plain_ini(place)), f"--rootdir={place}",
    ]  # fmt: skip
    us = [
        "-p", "modelmedic.entry", "--heal", "--profile=wan2.2-ti2v-5b", "--stage=preflight",
        "--offline", f"--report-dir={place / 'report'}",
    ]  # fmt: skip
    alone = [*us, "-p", "no:html", "-p", "no:modelmedic:recording"]
    files = [f"--html={place / 'plain.html'}", f"--junitxml={place / 'plain.xml'}"]
    tests, checks = str(place / "tests"), str(place / "checks")
    return {
        "plain": [*start, "-p", "no:html", tests],
        "heal": [*start, *alone, tests],
        "heal checks": [*start, *alone, checks],
        "written": [*start, *files, tests],
        "record": [*start, *us, tests],
        "record checks": [*start, *us, checks],
    }


def _run(name: str, argv: list[str], place: Path, tests: int) -> Cost:
    cost = cost_of(argv, env=own_environment(place / "home"), cwd=place)
    expected = NOTHING_CHECKED if name == "record" else 0
    if cost.code != expected or f"{tests} passed" not in cost.output:
        raise SystemExit(f"{' '.join(argv)} ended with {cost.code}:\n{cost.output[-2000:]}")
    return cost


def _figures(pair: Pair, costs: dict[str, list[Cost]]) -> dict:
    """Return what is printed of a pair; ``is_met`` is None where there is no bar."""
    ours, peer = ([cost.cpu_seconds for cost in costs[name]] for name in (pair.ours, pair.peer))
    ratio = min(ours) / min(peer)
    peaks = [min(cost.peak_bytes for cost in costs[name]) for name in (pair.ours, pair.peer)]
    grown = peaks[0] - peaks[1]
    return {
        "name": pair.name,
        "cpu_seconds": ours,
        "peer_cpu_seconds": peer,
        "ratio": ratio,
        "ratio_of_medians": statistics.median(ours) / statistics.median(peer),
        "peak_bytes": peaks[0],
        "peer_peak_bytes": peaks[1],
        "added_bytes": grown,
        "is_met": (ratio <= BAR_RATIO and grown <= BAR_BYTES) if pair.is_held else None,
    }


def _print(figures: list[dict], tests: int, runs: int) -> None:
    print(f"Python {sys.version.split()[0]}, {tests} trivial tests, {runs} runs each")
    for figure in figures:
        print(line(f"{figure['name']}, processor time", figure["cpu_seconds"]))
        print(line("  its peer, processor time", figure["peer_cpu_seconds"]))
        is_held = figure["is_met"] is not None
        ratio, grown = figure["ratio"], figure["added_bytes"]
        print(f"  ratio {ratio:.3f}{_verdict(is_held, ratio, BAR_RATIO, BAR_RATIO)}")
        print(
            f"  memory {figure['peak_bytes'] / 1e6:.1f} MB, {grown / 1e6:+.1f} MB"
            f"{_verdict(is_held, grown, BAR_BYTES, f'{BAR_BYTES / 1e6:+.0f} MB')}"
        )


def _verdict(is_held: bool, value: float, bar: float, text: object) -> str:
    if not is_held:
        return " (no bar)"
    return f"  bar {text}: {'met' if value <= bar else 'MISSED'}"


if __name__ == "__main__":
    raise SystemExit(main())
