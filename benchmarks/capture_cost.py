"""What the context of an error costs: the first of a process, the others, and a line of the log.

``python benchmarks/capture_cost.py [RUNS] [--json]``. Each first capture is that of a new process
whose path has a folder with 300 installed packages. Their peer, in the same process, is a plain
`traceback.format_exc` of the same error.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
FIRST_BAR_SECONDS, MEDIAN_BAR_SECONDS = 0.3, 0.02
PACKAGES = 300
CAPTURES = 400
LEVELS = ("minimal", "standard", "full")


def main() -> int:
    """Print the figures of each level; return 1 when a bar is missed."""
    arguments = [word for word in sys.argv[1:] if word != "--json"]
    if arguments[:1] == ["--one"]:
        print(json.dumps(_one(arguments[1], Path(arguments[2]))))
        return 0
    runs = int(arguments[0]) if arguments else 5
    with tempfile.TemporaryDirectory() as folder:
        packages = _packages(Path(folder) / "packages")
        found = {
            level: [_child(level, Path(folder), packages) for _ in range(runs)] for level in LEVELS
        }
    figures = {level: _summed(entries) for level, entries in found.items()}
    if "--json" in sys.argv:
        print(json.dumps(figures))
    else:
        _print(figures)
    standard = figures["standard"]
    is_met = (
        standard["first_seconds"] <= FIRST_BAR_SECONDS
        and standard["median_seconds"] <= MEDIAN_BAR_SECONDS
    )
    return 0 if is_met else 1


def _packages(folder: Path) -> Path:
    """Make the metadata of 300 packages, as pip leaves it."""
    for number in range(PACKAGES):
        place = folder / f"package_{number}-1.{number}.0.dist-info"
        place.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: package-{number}\nVersion: 1.{number}.0\n"
        place.joinpath("METADATA").write_text(text + "Requires-Dist: x\n" * 30, encoding="utf-8")
        place.joinpath("RECORD").write_text("x,,\n" * 50, encoding="utf-8")
    return folder


def _child(level: str, state: Path, packages: Path) -> dict[str, float]:
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), str(packages)]),
        "MODELMEDIC_STATE_DIR": str(state / "state"),
    }
    argv = [sys.executable, str(Path(__file__)), "--one", level, str(state / "state" / level)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _one(level: str, state: Path) -> dict[str, float]:
    """Return the figures of this process: nothing of a capture is imported yet."""
    from modelmedic.reliability.capture import ErrorCapture
    from modelmedic.reliability.error_log import ErrorLog

    made, capture = _timed(lambda: ErrorCapture(level=level))
    error = _error()
    before = time.process_time()
    first, context = _timed(lambda: _capture(capture, error))
    first_cpu = time.process_time() - before
    others = sorted(_timed(lambda: _capture(capture, error))[0] for _ in range(CAPTURES))
    log = ErrorLog(state)
    appends = sorted(_timed(lambda: log.add(context))[0] for _ in range(50))
    size = log.path.stat().st_size
    log.add(context)
    return {
        "create_seconds": made,
        "first_seconds": first,
        "first_cpu_seconds": first_cpu,
        "median_seconds": statistics.median(others),
        "p99_seconds": others[int(len(others) * 0.99)],
        "append_seconds": statistics.median(appends),
        "line_bytes": log.path.stat().st_size - size,
        "traceback_seconds": _traceback_seconds(error),
    }


def _capture(capture: object, error: BaseException) -> object:
    return capture.capture(  # type: ignore[attr-defined]
        error, component="Downloader", method="fetch", args=(1, "x"), kwargs={"token": "hf_secret"}
    )


def _error() -> BaseException:
    def fetch(depth: int) -> None:
        if depth:
            return fetch(depth - 1)
        try:
            {}["missing"]
        except KeyError as cause:
            raise ValueError("nobody knows what kind of error this is") from cause

    try:
        fetch(10)
    except ValueError as error:
        return error
    raise AssertionError


def _traceback_seconds(error: BaseException) -> float:
    import traceback

    return min(_timed(lambda: traceback.format_exception(error))[0] for _ in range(50))


def _timed(call: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def _summed(entries: list[dict[str, float]]) -> dict[str, float]:
    """Return the least of the runs: a busy machine only adds."""
    return {name: min(entry[name] for entry in entries) for name in entries[0]}


def _print(figures: dict[str, dict[str, float]]) -> None:
    print(f"Python {sys.version.split()[0]}, {PACKAGES} packages, error of no known category")
    for level, found in figures.items():
        words = ", ".join(
            f"{name.removesuffix('_seconds').replace('_', ' ')} {value * 1000:.2f} ms"
            for name, value in found.items()
            if name.endswith("_seconds")
        )
        print(f"{level:<9}{words}; a line has {found['line_bytes']:.0f} bytes")
    standard = figures["standard"]
    for name, bar in (("first", FIRST_BAR_SECONDS), ("median", MEDIAN_BAR_SECONDS)):
        seconds = standard[f"{name}_seconds"]
        met = "met" if seconds <= bar else "MISSED"
        print(f"bar for the {name} capture: {bar * 1000:g} ms; {seconds * 1000:.1f} ms: {met}")


if __name__ == "__main__":
    raise SystemExit(main())
