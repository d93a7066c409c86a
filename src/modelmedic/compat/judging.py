"""Judging a stack on a machine, by all rules."""

from __future__ import annotations

from collections.abc import Sequence

from modelmedic.compat import rules_flash, rules_pins, rules_torch
from modelmedic.compat.judgement import Case, Judgement, wanted_of
from modelmedic.compat.stack import Machine, Stack
from modelmedic.compat.table import Table, load


def judge(
    machine: Machine, stack: Stack, requirements: Sequence[str], table: Table | None = None
) -> Judgement:
    """Return what in a stack contradicts the machine, the app's requirements or itself.

    From metadata alone; nothing is imported, started or fetched. What is not installed is not
    judged, but for a wish that the machine cannot fulfil.

    Args:
        machine: Without a driver or cards, what needs them is not judged.
        stack: What is installed.
        requirements: What the app needs, as PEP 508 lines.
        table: None for the shipped one.
    """
    wanted = wanted_of(requirements, machine.markers)
    return judge_case(Case.of(machine, stack, wanted, table or load()))


def judge_case(case: Case) -> Judgement:
    """Return the judgement of a case that is already put together."""
    found = [*rules_torch.find(case), *rules_flash.find(case), *rules_pins.find(case)]
    return Judgement.of(found)
