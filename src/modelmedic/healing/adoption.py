"""Take over what another process of the same run set for this run only, from the run's journal."""

from __future__ import annotations

from collections.abc import Callable

from modelmedic.errors import RecoveryRefused
from modelmedic.healing.journal import Journal, Step
from modelmedic.operations import kinds
from modelmedic.operations.base import Workshop


def adopt(journal: Journal, shop: Workshop, told: Callable[[str], None]) -> bool:
    """Set what repairs that were kept have set for their run; return whether there was any.

    Each process has its own environment: a worker of -n, and the one that reports. Values with a
    secret are read again from their sources; ``told`` hears what this process cannot read.
    """
    taken = False
    for repair in journal.repairs():
        if repair.verdict != "kept":
            continue
        for step in repair.steps:
            if not step.is_undone and kinds.is_for_this_run(step.operation):
                taken |= _adopt_one(repair.check, step, shop, told)
    return taken


def _adopt_one(check: str, step: Step, shop: Workshop, told: Callable[[str], None]) -> bool:
    try:
        operation = kinds.from_json(step.operation)
        if operation.inspect(shop, step.note) == "after":
            return False
        operation.apply(shop, step.note)
    except RecoveryRefused as error:
        told(f"What was worked around for {check} does not hold in this process: {error}")
        return False
    return True
