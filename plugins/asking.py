"""--heal=ask: shows what a repair would do and takes yes, no, skip, or quit on a terminal."""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelmedic import examination, purity, summary
from modelmedic.healing.repair import Repair
from modelmedic.text import printable


@pytest.fixture(scope="session")
def ask_login(pytestconfig: pytest.Config) -> Callable[[str], tuple[str, str] | None]:
    """Ask for user and password of what is named; None where nobody is there to be asked.

    What is typed is kept in the memory of this process and nowhere else.
    """
    given: dict[str, tuple[str, str] | None] = {}

    def ask(what: str) -> tuple[str, str] | None:
        if what not in given:
            given[what] = _login(pytestconfig, what)
        return given[what]

    return ask


def _login(config: pytest.Config, what: str) -> tuple[str, str] | None:
    found = examination.of(config)
    is_person = found is not None and found.mode in {"ask", "apply"} and not found.is_worker
    asking = Asking(config)
    if not is_person or os.environ.get("CI") or not asking.is_terminal():
        return None
    with asking.released(), purity.lifted():  # the terminal is opened
        try:
            user = input(f"\n{printable(what)} asks for a login. User (empty: do not log in): ")
            return (user, getpass.getpass("Password: ")) if user.strip() else None
        except EOFError:
            return None


def pytest_configure(config: pytest.Config) -> None:
    """Be there to ask when that was asked for."""
    found = examination.of(config)
    if found is not None and found.mode == "ask":
        config.pluginmanager.register(Asking(config), "modelmedic:ask")


# What each answer that is not "yes" means for the repair that was asked about.
_REFUSALS = {
    "no": "the answer was no",
    "skip": "its check was skipped when asked",
    "quit": "asking was ended with quit",
}


class Asking:
    """Asks a person; never without a terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.has_quit = False
        self._skipped = ""  # node id of the check nothing is to be done for

    def is_terminal(self) -> bool:
        """Return whether there is somebody to ask."""
        if not self.config.pluginmanager.hasplugin("terminalreporter"):
            return False
        with self.released():  # under capture both ends are files of pytest's
            return os.isatty(0) and os.isatty(1)

    def refusal(self, repair: Repair) -> str:
        """Show the plan, ask, and return why it is not applied; empty when the answer is yes."""
        plan = repair.plan
        if self.has_quit:
            return _REFUSALS["quit"]
        if self._skipped == plan.nodeid:
            return _REFUSALS["skip"]
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        with self.released():
            reporter.ensure_newline()
            for line in summary.question_lines(plan.to_json(), repair.error, repair.recovery.title):
                reporter.write_line(line)
            answer = _answer()
        self.has_quit = answer == "quit"
        self._skipped = plan.nodeid if answer == "skip" else ""
        return _REFUSALS.get(answer, "")

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
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
    words = {"": "no"}
    for word in ("yes", "no", "skip", "quit"):
        words |= {word: word, word[0]: word}
    while True:
        try:
            given = input("Apply? [y]es / [N]o / [s]kip / [q]uit: ").strip().lower()
        except EOFError:
            return "quit"
        if given in words:
            return words[given]
