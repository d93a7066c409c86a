"""One line for a test module: a test for each promise, and how long they took."""

from __future__ import annotations

import functools
import importlib
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from modelmedic.healing.registry import Recovery
from modelmedic.testing.conformance.case import DEMO, Case
from modelmedic.testing.conformance.desk import hub
from modelmedic.testing.conformance.promises import FULL, PROMISES, Broken, Promise
from modelmedic.testing.conformance.story import Bench, Story

_PROPERTY = "conformance"
_PLUGIN = "modelmedic:conformance-seconds"
CI_SECONDS = 15  # what the promises of one recovery may take together; the full ones are extra


def conformance(case: Case, *, full: bool = False) -> Callable[..., None]:
    """Return a test function, parametrized by promise, to be given a name that begins with test.

    Args:
        case: The recovery and the fault it repairs.
        full: Only what takes longer: a kill after every journaled event, and two workers. Give
            it a marker of your own, so that it can be left out.
    """
    # By name, as the modelmedic command does: the library has no pytest of its own.
    pytest: Any = importlib.import_module("pytest")
    promises = {promise.name: promise for promise in (FULL if full else PROMISES)}

    def test(promise: str, tmp_path_factory: Any, request: Any) -> None:
        __tracebackhide__ = True
        print_seconds(request.config)
        kept = promises[promise]
        if kept.needs_posix and sys.platform == "win32":
            pytest.skip("A link needs a privilege on Windows.")
        started = time.monotonic()
        problem = _broken(kept, case, tmp_path_factory.getbasetemp())
        seconds = time.monotonic() - started
        name = f"{case.recovery}{' in full' if full else ''}"
        request.node.user_properties.append((_PROPERTY, f"{name}:{promise}:{seconds:.2f}"))
        if problem:
            pytest.fail(problem, pytrace=False)

    test.__doc__ = f"The recovery {case.recovery} keeps its promise."
    parametrized: Callable[..., None] = pytest.mark.parametrize("promise", promises)(test)
    return parametrized


def missing(modules: Iterable[object], cases: Iterable[Case]) -> list[str]:
    """Return the names of the recoveries in ``modules`` without a case; empty when all have one.

    Each module is one with functions made by ``@recovery``.
    """
    names = {
        entry.name
        for module in modules
        for value in vars(module).values()
        if isinstance(entry := getattr(value, "recovery", None), Recovery)
    }
    return sorted(names - {case.recovery for case in cases})


def print_seconds(config: Any) -> None:
    """Let pytest print at its end how long each recovery's promises took.

    A test of the kit asks for it by itself; under pytest-xdist the conftest has to, in its
    ``pytest_configure``.
    """
    if not config.pluginmanager.has_plugin(_PLUGIN):
        config.pluginmanager.register(_Seconds(), _PLUGIN)


class _Seconds:
    """A pytest plugin that adds up the seconds of the reports."""

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print one line a recovery, the slowest promises last in it."""
        stats = terminalreporter.stats
        lines = list(_table([*stats.get("passed", ()), *stats.get("failed", ())]))
        if lines:
            title = f"conformance: seconds a recovery (aim: {CI_SECONDS})"
            terminalreporter.section(title, sep="-")
            for line in lines:
                terminalreporter.write_line(line)


def _table(reports: Iterable[Any]) -> Iterable[str]:
    spent: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for report in reports:
        for key, value in getattr(report, "user_properties", ()):
            if key == _PROPERTY:
                name, promise, seconds = value.split(":")
                spent[name][promise] += float(seconds)
    for name, promises in sorted(spent.items()):
        each = ", ".join(f"{promise} {seconds:.1f}" for promise, seconds in promises.items())
        yield f"{sum(promises.values()):6.1f} s  {name} ({each})"


@functools.cache
def _bench(root: Path) -> Bench:
    folder = root / "conformance"
    folder.mkdir()
    return Bench(folder)


@functools.cache
def _story(case: Case, root: Path) -> Story:
    return Story(case, _bench(root))


def _broken(promise: Promise, case: Case, root: Path) -> str:
    """Try a promise; return "" when it is kept, else what is wrong, in words."""
    story = _story(case, root)
    try:
        if case.profile == DEMO:
            with hub():
                promise.keep(story)
        else:
            promise.keep(story)
    except Broken as error:
        return (
            f"{case.recovery} does not keep the promise {promise.name}: {promise.sentence}.\n"
            f"{error}\nThe folders of its runs are kept in {story.bench.root}."
        )
    return ""
