"""A fact whose thread died before it began is not waited for until the probe's limit."""

from __future__ import annotations

import threading

import pytest
from support import make_facts

from modelmedic.errors import CannotTell
from modelmedic.facts import book


@book.probe("validation")
def read_slowly(facts, begun, go_on):
    begun.set()
    assert go_on.wait(30)
    return "read"


def test_a_thread_that_never_began_is_told_early(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "_BEGIN_SECONDS", 0.05)
    monkeypatch.setattr(book._thread, "start_new_thread", lambda *_args: 1)
    facts = make_facts(tmp_path)
    with pytest.raises(CannotTell, match="Reading slowly could not begin"):
        facts.get(read_slowly, threading.Event(), threading.Event())


def test_a_probe_that_has_begun_has_all_of_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "_BEGIN_SECONDS", 0.05)
    begun, go_on = threading.Event(), threading.Event()
    facts = make_facts(tmp_path)
    facts.start(read_slowly, begun, go_on)
    assert begun.wait(30)
    threading.Timer(0.3, go_on.set).start()
    assert facts.get(read_slowly, begun, go_on) == "read"
