"""Leaving an optional model out: a loss that a person allows, stated in every later report."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.context import Context
from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.facts import left_out
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Operation
from modelmedic.operations.kinds import ReplaceFile
from modelmedic.operations.tree import Tree
from modelmedic.strategies import weights
from modelmedic.text import printable


def plan_skip(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what notes that the model of a file is left out; its files are not touched.

    Raises:
        RecoveryRefused: The profile does not call the model optional, or it is left out already.
    """
    model = weights.expected(context, subject).model
    name = printable(model.name)
    if not model.is_optional:
        raise NotItsCase(
            f"The model {name} is not left out: the profile does not call it optional.",
            "The app could do less afterwards, and would look healed.",
            "Choose a profile without that model; `modelmedic profile list` names them.",
        )
    known = left_out.names(context)
    if model.name in known:
        raise RecoveryRefused(f"The model {name} is left out already.")
    tree = Tree(context.place)
    was = seen(tree.identity(left_out.RECORD)) if tree.identity(".") else None
    yield ReplaceFile(
        path=left_out.RECORD,
        content=left_out.record(known | {model.name}),
        was=was,
        reason=f"so that the app is judged without the model {name}",
    )
