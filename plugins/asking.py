"""--heal=ask: shows what a repair would do and takes yes, no, or quit on a terminal."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from modelmedic import examination, summary
from modelmedic.healing.repair import Repair


def pytest_configure(config: pytest.Config) -> None:
    """Be there to ask when that was asked for."""
    found = examination.of(config)
    if found is not None and found.mode == "ask":
        config.pluginmanager.register(Asking(config), "modelmedic:ask")


class Asking:
    """Asks a person; never without a terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.has_quit = False

    def is_terminal(self) -> bool:
        """Return whether there is somebody to ask."""
        with self._released():  # under capture both ends are files of pytest's
            return os.isatty(0) and os.isatty(1)

    def wants(self, repair: Repair) -> bool:
        """Show the plan and return the answer; after "quit" every answer is no."""
        if self.has_quit:
            return False
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        with self._released():
            reporter.ensure_newline()
            for line in summary.plan_lines(repair.plan.to_json()):
                reporter.write_line(line)
            answer = _answer()
        self.has_quit = answer == "quit"
        return answer == "yes"

    @contextlib.contextmanager
    def _released(self) -> Iterator[None]:
        """Give screen and keyboard back while somebody is asked."""
        capture: Any = self.config.pluginmanager.get_plugin("capturemanager")
        if capture is None:  # -p no:capture
            yield
            return
        capture.suspend_global_capture(in_=True)
        try:
            yield
        finally:
            capture.resume_global_capture()


def _answer() -> str:
    words = {"y": "yes", "yes": "yes", "n": "no", "no": "no", "": "no", "q": "quit", "quit": "quit"}
    while True:
        try:
            given = input("Apply? [y]es / [N]o / [q]uit: ").strip().lower()
        except EOFError:
            return "quit"
        if given in words:
            return words[given]
