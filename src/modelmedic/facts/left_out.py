"""Which optional models a person let be left out of an install: a record that can be undone."""

from __future__ import annotations

import json
from typing import Any

from modelmedic.context import Context, ExpectedFile
from modelmedic.facts import safe_open, weights
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.safe_open import FileState, State
from modelmedic.text import printable

RECORD = "modelmedic-left-out.json"  # in the open: whoever misses the model shall find it
SCHEMA = 1
_MAX_BYTES = 1 << 16


@probe("file_header")
def read_left_out(facts: FactBook) -> frozenset[str]:
    """Return the names of the models that are left out; only the profile's optional ones count.

    Raises:
        CannotTell: The file system answered with an error that says nothing about the record.
    """
    return names(facts.context)


def names(context: Context) -> frozenset[str]:
    """Return the names of the models that are left out; as `read_left_out`."""
    optional = {model.name for model in context.profile.models if model.is_optional}
    with safe_open.opened(context.place, RECORD) as (_state, file):
        if not optional or file is None or file.size_bytes > _MAX_BYTES:
            return frozenset()
        text = file.read_at(0, _MAX_BYTES)
    try:
        value: Any = json.loads(text)
        listed = value["models"] if value["schema"] == SCHEMA else []
        return frozenset(name for name in listed if name in optional)
    except (ValueError, TypeError, KeyError, RecursionError):
        return frozenset()  # as if nothing was left out: the files are asked for


def is_so(facts: FactBook, model_file: ExpectedFile, state: FileState) -> bool:
    """Return whether a file is missing because its model is left out."""
    model = model_file.model
    is_gone = state.state in {State.MISSING, State.DANGLING}
    return is_gone and model.is_optional and model.name in facts.get(read_left_out)


def why_not_asked(facts: FactBook, model_file: ExpectedFile) -> str:
    """Return why a file that is not there is not asked for; "" when it is there or asked for."""
    state = facts.get(weights.read_file_state, model_file.subject)
    if model_file.file.is_optional and state.state is State.MISSING:
        return "This file is optional and not there."
    if is_so(facts, model_file, state):
        return "This file's model is left out."
    return ""


def loss(context: Context, model_file: ExpectedFile) -> tuple[str, str, str]:
    """Return what, why and next of a file whose model is left out."""
    model = model_file.model
    task = f" What it is for: {printable(model.task)}." if model.task else ""
    name = printable(model.name)
    return (
        f"{printable(model_file.subject)} is not there: the optional model {name} is left out.",
        f"Somebody allowed it, and the app can do less without it.{task}",
        f"to have it asked for again, delete {printable(context.place / RECORD)}.",
    )


def record(models: frozenset[str]) -> str:
    """Return the text of the record."""
    return json.dumps({"schema": SCHEMA, "models": sorted(models)}, indent=2) + "\n"
