"""Real environments, and how to ask them what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from python_support import make_venv

from modelmedic.facts import interpreter
from modelmedic.facts.interpreter_fault import InterpreterFault


@pytest.fixture(scope="session")
def venv(tmp_path_factory) -> Path:
    """One real environment without packages; no test writes into it."""
    return make_venv(tmp_path_factory.mktemp("shared") / "env")


@pytest.fixture
def own_venv(tmp_path) -> Path:
    return make_venv(tmp_path / "an env")


def ask(target: Path, seconds: float = 20.0, **more) -> interpreter.Interpreter:
    return interpreter.ask(target, deadline_seconds=seconds, **more)


def fault_of(target: Path, seconds: float = 20.0) -> InterpreterFault:
    with pytest.raises(InterpreterFault) as caught:
        ask(target, seconds)
    assert str(caught.value).isprintable()
    return caught.value
