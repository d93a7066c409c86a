"""Workers of pytest-xdist: as isolated as their starter, one chain of causes on one worker."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from modelmedic import examination
from modelmedic.needs import GROUPS_NAME

if TYPE_CHECKING:
    from execnet import XSpec

_NOTES = "modelmedic_notes"  # what a worker tells the controller when it ends


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole chains of causes, unless the person chose another way."""
    found = examination.of(config)
    if found is None or config.option.dist != "load":
        return None
    return _chains(found.report_dir / GROUPS_NAME)(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Let a worker say what it waits for: that may be an hour."""
    found = examination.of(config)
    if found is not None and found.is_worker and getattr(config.option, "verbose", 0) >= 0:
        found.engine.told = functools.partial(_say, config)
        found.engine.shop.extras["told"] = found.engine.told


def _say(config: pytest.Config, line: str) -> None:
    """Write past capture to the standard error that workers here share with their controller."""
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    disabled = capture.global_and_fixture_disabled if capture else contextlib.nullcontext
    with disabled(), contextlib.suppress(OSError):
        os.write(2, f"\n{line}\n".encode(errors="replace"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what a worker has to say at the end of the run: its own end nobody sees."""
    found = examination.of(session.config)
    if found is not None and found.is_worker:
        session.config.workeroutput[_NOTES] = list(found.notes)  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker had to say, each sentence once; one that died tells nothing."""
    found = examination.of(node.config)
    if found is not None:
        told = getattr(node, "workeroutput", {}).get(_NOTES, ())
        found.notes += [note for note in told if note not in found.notes]


def _chains(path: Path) -> Any:
    """Return the scheduler that keeps on one worker what the file says belongs together.

    xdist's own groups do not work beside pytest 9.1 and later: it renames ``item._nodeid``, which
    nothing reads any more (seen with xdist 3.8.0).
    """
    from xdist.scheduler import LoadScopeScheduling

    class Chains(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
        """Chains of causes as xdist's scopes."""

        groups: ClassVar[dict[str, str]] = {}
        is_held = False  # hand nothing out yet

        def schedule(self) -> None:
            """Read what the workers wrote; all have collected by now."""
            if not self.groups:
                self.groups.update(json.loads(path.read_text(encoding="utf-8")))
            path.unlink(missing_ok=True)  # a worker that takes a dead one's place writes it again
            super().schedule()

        def remove_node(self, node: Any) -> Any:
            """Count the check that killed its worker as done: xdist would try it for ever."""
            self.is_held = True
            crashed = super().remove_node(node)
            self.is_held = False
            _end(self.workqueue, crashed)
            for other in self.assigned_work:
                self._reschedule(other)
            return crashed

        def _reschedule(self, node: Any) -> None:
            """End a worker that got the last chain: its last check waits for a next one or that."""
            if not self.is_held:
                super()._reschedule(node)
                if not self.workqueue:
                    node.shutdown()

        def _split_scope(self, nodeid: str) -> str:
            return self.groups.get(nodeid, nodeid)

    return Chains


def _end(chains: dict[str, dict[str, bool]], check: str | None) -> None:
    """Mark a check as done, and drop the chains that are done."""
    for name, chain in list(chains.items()):
        if check in chain:
            chain[check] = True
        if all(chain.values()):
            del chains[name]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: Sequence[XSpec]) -> None:
    """Start local workers with ``-I``.

    Without it a worker imports ``json`` and ``pytest`` from the current folder first, before
    xdist gives it our import path; and that folder is the install under test.
    """
    for spec in specs:
        if spec.popen and not spec.python:
            spec.python = shlex.join([sys.executable, "-I"])
