"""Runs in the children of the kit: pytest as ``modelmedic heal`` starts it, and what befalls it.

Nothing of modelmedic knows of this. The journal is where a repair can be met: every operation is
written there before it is made and after.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modelmedic.healing.journal import Journal

_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.02


def main(argv: Sequence[str]) -> int:
    """Run pytest with the orders of the first argument (JSON) and the options that follow.

    The orders: ``only``, a check id; ``events``, a file that gets one line per journaled event;
    ``kill_at``, the event after which this process is killed; ``swap``, the folder outside that a
    link leads to; ``install``; ``gate``, a folder in which to wait once the check has failed.
    """
    orders: dict[str, Any] = json.loads(argv[0])
    _meet(Journal, orders)
    # By name, as the modelmedic command does: the library has no pytest of its own.
    pytest = importlib.import_module("pytest")
    pytest.hookimpl(tryfirst=True)(Orders.pytest_heal_check)
    return int(pytest.main(list(argv[1:]), plugins=[Orders(orders)]))


class Orders:
    """A pytest plugin that runs one check and lets the kit act between verdict and repair."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.orders = orders

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        """Keep the one check."""
        only = self.orders.get("only")
        if only is None:
            return
        kept = [item for item in items if _check_of(item) == only]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept

    def pytest_heal_check(self) -> None:
        """Wait until the kit has acted; the check has failed, and no lock is held yet."""
        gate = self.orders.get("gate")
        if gate is None:
            return
        Path(gate, f"{os.getpid()}.waits").touch()
        ends_at = time.monotonic() + _PATIENCE_SECONDS
        while not Path(gate, "open").exists() and time.monotonic() < ends_at:
            time.sleep(_POLL_SECONDS)


def _check_of(item: Any) -> str | None:
    marker = item.get_closest_marker("check")
    if marker is None:
        return None
    check = marker.args[0] if marker.args else marker.kwargs.get("id")
    callspec = getattr(item, "callspec", None)
    return f"{check}[{callspec.id}]" if callspec is not None else str(check)


def _meet(journal: type[Journal], orders: dict[str, Any]) -> None:
    """Let every entry of the journal be told to the kit, then do what was ordered at it."""
    add: Callable[..., None] = journal.add
    told = os.open(orders["events"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    seen: list[str] = []

    def met(self: Journal, event: str, **values: Any) -> None:
        add(self, event, **values)
        seen.append(event)
        os.write(told, f"{event} {values.get('verdict', '')}".strip().encode() + b"\n")
        if len(seen) == orders.get("kill_at"):
            # Windows has no SIGKILL; there os.kill ends a process at once for any number.
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        if event == "before" and seen.count("before") == 1 and orders.get("swap"):
            _swap(Path(orders["install"]), values["operation"], Path(orders["swap"]))

    setattr(journal, "add", met)  # noqa: B010 - not ours to declare


def _swap(install: Path, operation: dict[str, Any], outside: Path) -> None:
    """Put a link where the operation is about to work; it leads to a copy outside the install."""
    path = str(operation.get("target") or operation.get("path") or ".")
    if path == ".":
        return
    name = path.partition("/")[0]
    place, there = install / name, outside / name
    if os.path.lexists(place):
        if place.is_dir():
            shutil.copytree(place, there, symlinks=True)
        else:
            shutil.copy2(place, there, follow_symlinks=False)
        place.rename(install / f"{name}.moved-away")
    place.symlink_to(there)
