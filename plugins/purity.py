"""Holds checks, probes and plans to what they declare; a broken promise ends the run with 3."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from modelmedic import endings, examination, purity
from modelmedic.examination import Examination
from modelmedic.findings import Finding, Outcome
from modelmedic.text import counted

_NOBODY = nullcontext()
_SENT = "modelmedic_broken"  # what a worker tells the controller when it ends


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch, if the checks are run."""
    found = examination.of(config)
    if found is None:
        return
    own = (found.report_dir, found.context.state_dir)
    purity.install(own=own, examined=found.context.place)
    found.facts.is_watched = True
    config.pluginmanager.register(Guard(found), "modelmedic:promises")
    if found.mode in {"plan", "ask", "apply"}:
        config.pluginmanager.register(Planners(found), "modelmedic:planners")
    if found.mode in {"ask", "apply"}:
        config.pluginmanager.register(Repairs(found), "modelmedic:repairs")


class Guard:
    """Watches the phases of each check and tells what was stopped."""

    def __init__(self, found: Examination) -> None:
        self.examination = found
        self._earlier = len(purity.broken())  # of another run in this process
        self._told: list[tuple[str, str]] = []  # by workers: what, why
        self._item: pytest.Item | None = None  # the one of ``_watch``
        self._watch: purity.Watch | None = None  # None: it is no check

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch the fixtures of a check being made."""
        with self._watching(item):
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch a check."""
        with self._watching(item):
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch the fixtures of a check being torn down."""
        with self._watching(item):
            return (yield)

    def _watching(self, item: pytest.Item) -> AbstractContextManager[None]:
        """Return the watch of a check, the same for all its phases until a promise is broken."""
        if item is not self._item or (self._watch is not None and self._watch.broken):
            self._item, self._watch = item, _watch(item)
        return _NOBODY if self._watch is None else purity.watching(self._watch)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what was stopped in a worker; one that died tells nothing."""
        self._told += map(tuple, getattr(node, "workeroutput", {}).get(_SENT, ()))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Make the run end with our own fault if a promise was broken anywhere."""
        own = [(error.what, error.why) for error in purity.broken()[self._earlier :]]
        if self.examination.is_worker:
            session.config.workeroutput[_SENT] = own  # type: ignore[attr-defined]
            return
        told = dict([*own, *self._told])
        if not told:
            return
        self._tell(told)
        if session.exitstatus not in {endings.INTERRUPTED, endings.WRONG_USE}:
            session.exitstatus = endings.OWN_FAULT

    def _tell(self, told: dict[str, str]) -> None:
        """Say it once at the end, and as findings where no check carries it: it was swallowed."""
        found = self.examination
        found.notes.append(
            f"Our own fault: {counted(len(told), 'promise')} to change nothing "
            f"{'was' if len(told) == 1 else 'were'} broken. What was to happen was stopped; this "
            "run ends with exit code 3."
        )
        carried = {finding.what for finding in found.findings}
        missing = [(what, why) for what, why in told.items() if what not in carried]
        for number, (what, why) in enumerate(missing, start=1):
            name = f"purity.promise[{number}]"
            found.findings.append(
                Finding(
                    check=name,
                    nodeid=name,
                    title="Checks, probes and plans change nothing but what they declare.",
                    area="system",
                    severity="blocker",
                    outcome=Outcome.UNKNOWN.value,
                    what=what,
                    why=why,
                    next="Report it with this run's report.json.",
                )
            )


class Planners:
    """Watches a recovery while it makes its plan: innermost, under its own name."""

    def __init__(self, found: Examination) -> None:
        self.registry = found.registry

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """Watch up to the yield of a recovery."""
        name = fixturedef.argname
        is_recovery = name in self.registry.names()
        with (
            purity.watching(purity.Watch(f"the recovery {name}")) if is_recovery else nullcontext()
        ):
            return (yield)


class Repairs:
    """Lets a plan be applied: outermost, round what the healer does with a recovery."""

    def __init__(self, found: Examination) -> None:
        self.registry = found.registry

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """Lift the watch of the check that is healed, which its repair runs inside."""
        with purity.lifted() if fixturedef.argname in self.registry.names() else nullcontext():
            return (yield)


def _watch(item: pytest.Item) -> purity.Watch | None:
    marker = item.get_closest_marker("check")
    if marker is None:
        return None
    name = marker.args[0] if marker.args else marker.kwargs.get("id")
    callspec = getattr(item, "callspec", None)
    return purity.Watch(f"the check {name}[{callspec.id}]" if callspec else f"the check {name}")
