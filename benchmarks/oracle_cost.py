"""What the oracle costs: loading its table, judging each triple, and the least change.

    python benchmarks/oracle_cost.py [RUNS] [--json]

The triples are the hand-written ones of the tests (tests/oracle_triples.py), judged in this process
with RUNS runs (15) of each, and the stack of a real Wan 2.2 environment with what 150 packages
require. The least time of a triple counts; its first time, with nothing parsed before, is told too.
Bars: 50 ms for judging any triple after the table is loaded (issue 5). Loading and `nearest` have
none; the peer of loading is the parse of the same file by tomllib alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / "src")]
JUDGE_BAR_SECONDS = 0.05
RUNS = 15


def main() -> int:
    """Print the figures; return 1 when the bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="?", type=int, default=RUNS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.runs)
    if options.json:
        print(json.dumps(figures))
    else:
        _print(figures)
    return 0 if figures["judge_first_most_seconds"] <= JUDGE_BAR_SECONDS else 1


def measure(runs: int) -> dict[str, float]:
    """Return the figures by name, in seconds."""
    import_seconds, triples = _timed(_import)
    from modelmedic.compat import oracle, table

    load_seconds, _table = _timed(table.load)
    parse_seconds = min(_timed(_parse)[0] for _ in range(runs))
    firsts, leasts, nearest = [], [], []
    for triple in triples:
        given = (triple.machine, triple.stack, triple.requirements)
        firsts.append(_timed(lambda given=given: oracle.judge(*given))[0])
        leasts.append(min(_timed(lambda given=given: oracle.judge(*given))[0] for _ in range(runs)))
        nearest.append(_timed(lambda given=given: oracle.nearest(*given))[0])
    return {
        "triples": len(triples),
        "import_seconds": import_seconds,
        "load_seconds": load_seconds,
        "toml_parse_seconds": parse_seconds,
        "judge_first_most_seconds": max(firsts),
        "judge_least_median_seconds": statistics.median(leasts),
        "judge_least_most_seconds": max(leasts),
        "nearest_first_median_seconds": statistics.median(nearest),
        "nearest_first_most_seconds": max(nearest),
    }


def _import() -> list[Any]:
    from oracle_triples import CONTRADICTORY, DOUBTFUL, RIGHT, WAN

    from modelmedic.compat import oracle  # noqa: F401 - that it is imported is what is timed

    return [*RIGHT, *CONTRADICTORY, *DOUBTFUL, _large(CONTRADICTORY[0], WAN)]


def _large(pattern: Any, requirements: tuple[str, ...]) -> Any:
    """Return a triple as it is in an environment of 150 packages, each with its requirements."""
    versions = {f"package-{number}": "1.0" for number in range(135)}
    requires = {name: tuple(f"other-{n}>=1.{n}" for n in range(12)) for name in versions}
    extras = tuple(f"library-{n}>=1.{n} ; extra == 'all'" for n in range(600))
    versions |= pattern.versions | {
        "transformers": "4.51.3", "tokenizers": "0.21.4", "huggingface-hub": "1.2.0",
        "numpy": "1.26.4", "diffusers": "0.35.2", "peft": "0.17.1",
    }  # fmt: skip
    requires["transformers"] = ("huggingface-hub<1.0,>=0.30.0", "tokenizers<0.22,>=0.21", *extras)
    requires["diffusers"] = ("huggingface-hub>=0.34.0", *extras)
    return type(pattern)(
        "150 packages", pattern.machine, versions, (), requirements=requirements, requires=requires
    )


def _parse() -> object:
    from modelmedic.compat import table

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(table.FILE.read_text(encoding="utf-8"))


def _timed(call: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def _print(figures: dict[str, float]) -> None:
    print(f"Python {sys.version.split()[0]}, {figures['triples']:g} triples")
    for name, value in figures.items():
        if name.endswith("_seconds"):
            words = name.removesuffix("_seconds").replace("_", " ")
            print(f"{words:<28} {value * 1000:8.2f} ms")
    ratio = figures["load_seconds"] / figures["toml_parse_seconds"]
    print(f"loading the table takes {ratio:.1f} times the bare parse of its file")
    is_met = figures["judge_first_most_seconds"] <= JUDGE_BAR_SECONDS
    print(
        f"bar for judging, first time: {JUDGE_BAR_SECONDS * 1000:g} ms: "
        f"{'met' if is_met else 'MISSED'}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
