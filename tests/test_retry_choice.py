"""The question after a first failure: on a real terminal only, bounded, one at a time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest

from modelmedic.reliability.choice import Choice, TerminalChooser

NO_CI = {"TERM": "xterm"}


class Terminal:
    """A pseudo terminal: what a person sees, and keys they press."""

    def __init__(self):
        self.master, slave = os.openpty()
        self.stdin = os.fdopen(os.dup(slave), "r", encoding="utf-8")
        self.stderr = os.fdopen(slave, "w", encoding="utf-8")

    def press(self, keys):
        os.write(self.master, keys.encode())

    def shown(self, awaited=""):
        """Return what came out, once it holds what is awaited."""
        self.stderr.flush()
        os.set_blocking(self.master, False)
        text, until = "", time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                text += os.read(self.master, 65536).decode()
                continue
            if awaited in text:
                break
            time.sleep(0.01)
        return text

    def chooser(self, **options):
        options = {"environ": NO_CI, "seconds": 20.0, **options}
        return TerminalChooser(stdin=self.stdin, stderr=self.stderr, **options)

    def close(self):
        for stream in (self.stdin, self.stderr):
            stream.close()
        os.close(self.master)


@pytest.fixture
def terminal():
    found = Terminal()
    yield found
    found.close()


@pytest.mark.parametrize(
    ("keys", "choice"),
    [
        ("r\n", Choice.RETRY), ("f\n", Choice.FEWER), ("S\n", Choice.SKIP), ("abort\n", Choice.ABORT),
        ("what\n\nskip\n", Choice.SKIP), ("x\ny\nz\nr\n", Choice.ABORT), ("\x04", Choice.ABORT),
    ],
    ids=["retry", "fewer", "skip", "abort", "third answer", "three wrong ones", "end of input"],
)  # fmt: skip
def test_the_persons_answer_counts(terminal, keys, choice):
    terminal.press(keys)
    assert terminal.chooser().choose("Fetching a.bin failed: reset") is choice
    shown = terminal.shown("What now?")
    assert "Fetching a.bin failed: reset" in shown
    assert "[r]etry, one [f]ewer: only once more, [s]kip it, [a]bort" in shown


def test_ctrl_c_at_the_question_is_abort(terminal):
    main = threading.main_thread().ident
    threading.Timer(0.2, signal.pthread_kill, [main, signal.SIGINT]).start()
    assert terminal.chooser().choose("It failed") is Choice.ABORT


def test_where_nobody_answers_it_is_tried_again(terminal):
    assert terminal.chooser(seconds=0.1).choose("It failed") is Choice.RETRY
    assert "No answer within 0.1 s" in terminal.shown("No answer")


def test_nobody_is_asked_without_two_terminals_or_in_a_build_service(terminal, tmp_path):
    with (tmp_path / "log").open("w+", encoding="utf-8") as file:
        for chooser in (
            TerminalChooser(stdin=file, stderr=terminal.stderr, environ=NO_CI),
            TerminalChooser(stdin=terminal.stdin, stderr=file, environ=NO_CI),
            terminal.chooser(environ={"CI": "true"}),
            terminal.chooser(environ={"GITHUB_ACTIONS": "true"}),
        ):
            assert not chooser.can_ask()
            assert chooser.choose("It failed") is Choice.RETRY
    assert terminal.shown() == ""
    assert terminal.chooser(environ={"CI": "false"}).can_ask()


def test_a_closed_input_is_no_terminal(terminal):
    closed = os.fdopen(os.dup(terminal.stdin.fileno()), "r")
    closed.close()
    assert not TerminalChooser(stdin=closed, stderr=terminal.stderr, environ=NO_CI).can_ask()


def test_control_characters_of_a_server_do_not_reach_the_terminal(terminal):
    terminal.press("r\n")
    terminal.chooser().choose("HTTP 500 \x1b[2J\x07 gone")
    assert "\x1b" not in terminal.shown("What now?")


def test_two_threads_are_asked_one_question(terminal):
    chooser, answers = terminal.chooser(), []
    threads = [
        threading.Thread(target=lambda: answers.append(chooser.choose("It failed")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)  # the others wait behind the first
    terminal.press("s\n")
    for thread in threads:
        thread.join(30)
    assert answers == [Choice.SKIP] * 4
    assert terminal.shown("What now?").count("What now?") == 1
    terminal.press("a\n")
    assert chooser.choose("Another failure") is Choice.ABORT
