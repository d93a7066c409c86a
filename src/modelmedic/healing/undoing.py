"""Put back what a repair changed, from its journal alone, as often as it is asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelmedic.errors import ModelmedicError, RecoveryFailed, RecoveryRefused
from modelmedic.healing import guards, lock, trouble
from modelmedic.healing import journal as journals
from modelmedic.healing.journal import Journal, Repair
from modelmedic.operations import kinds
from modelmedic.operations.base import Operation, Workshop
from modelmedic.operations.tree import Tree
from modelmedic.text import printable, quoted

_Step = tuple[int, Operation, dict[str, Any]]
# What an operation raises when its note has not the form it wrote: another version, or a hand.
_WRONG_NOTE = (LookupError, TypeError, ValueError, AttributeError)


def undo_repair(journal: Journal, repair: Repair, shop: Workshop) -> str:
    """Undo one journaled repair of any run and return a sentence that says so.

    Raises:
        RefusedAsRoot: A folder on the way is not root's alone; nothing was touched.
        RecoveryRefused: Something was changed by others since, or a step cannot be read; names
            it. The rest was put back.
        RecoveryFailed: The system did not let us put something back; it can be tried again.
    """
    steps: list[_Step] = []
    unreadable = []
    for step in reversed(repair.steps):
        if step.is_undone:
            continue
        try:
            steps.append((step.seq, kinds.from_json(step.operation), step.note))
        except RecoveryRefused as error:
            unreadable.append(str(error))
    guards.refuse_as_root(shop.tree.root, [operation for _seq, operation, _note in steps])
    own = Workshop(shop.tree, journal.run_id)
    if repair.verdict:  # killed from here on, it is one without a verdict: the next run ends it
        _note(journal, "verdict", repair=repair.number, verdict="")
    try:
        said = undo_steps(journal, repair.number, steps, own, unreadable=unreadable)
    except RecoveryRefused:
        if repair.verdict:
            _note(journal, "verdict", repair=repair.number, verdict=repair.verdict)
        raise
    told = f"{printable(repair.recovery)} for {printable(repair.check)} (run {journal.run_id})"
    if steps and not any(operation.is_lasting for _seq, operation, _note in steps):
        return f"{told} changed nothing that lasts. {' '.join(said)}".strip()
    return " ".join([f"{told} was undone.", *said])


def undo_steps(
    journal: Journal,
    number: str,
    steps: list[_Step],
    shop: Workshop,
    *,
    unreadable: list[str] | None = None,
) -> list[str]:
    """Undo steps in the order given; goes on after one that cannot be, then says which.

    The files come first: a journal that cannot be written any more does not keep us from putting
    them back. Undoing what is back already changes nothing, so a later undo may repeat it.

    Returns:
        Sentences about what was kept on purpose, and what could not be written down.

    Raises:
        RecoveryRefused: At least one step could not be undone, because others changed something.
        RecoveryFailed: The same, because the system did not let us; it can be tried again.
    """
    said: list[str] = []
    refused = list(unreadable or ())
    failed: list[OSError] = []
    unnoted = ""
    for seq, operation, note in steps:
        try:
            said += [told] if (told := operation.undo(shop, note)) else []
        except RecoveryRefused as error:
            refused.append(str(error))
        except OSError as error:
            refused.append(f"Not put back yet ({operation.describe()}): {trouble.reason(error)}.")
            failed.append(error)
        except _WRONG_NOTE as error:
            refused.append(
                f"The note of {operation.kind} in the journal cannot be read: {error!r}."
            )
        else:
            unnoted = _note(journal, "undid", repair=number, seq=seq) or unnoted
    if failed:
        raise RecoveryFailed(" ".join(refused), "", trouble.next_step(failed[0])) from failed[0]
    if refused:
        raise RecoveryRefused(" ".join(refused))
    unnoted = _note(journal, "verdict", repair=number, verdict="undone") or unnoted
    if unnoted:
        said.append(
            f"The files are back, but that could not be written down: {unnoted} A later undo may "
            "say it again, and changes nothing then."
        )
    return said


def _note(journal: Journal, event: str, **values: Any) -> str:
    """Write an event; return why it could not be, in words."""
    try:
        journal.add(event, **values)
    except ModelmedicError as error:
        return str(error)
    return ""


def finish_interrupted(state_dir: Path, install: Path, shop: Workshop) -> list[str]:
    """Undo the repairs that killed runs left without a verdict; return a sentence for each.

    Call it under the lock: then nobody on this machine is at work on them. Those of another
    machine are only named: it may be at work, on a disk that just has the same path.

    Raises:
        CannotTell: The journals cannot be listed.
    """
    told = []
    for journal in reversed(journals.all_of(state_dir, install)):
        try:
            open_repairs = [repair for repair in journal.repairs() if not repair.verdict]
        except RecoveryRefused as error:
            told.append(str(error))
            continue
        told += [_finish(journal, repair, shop) for repair in reversed(open_repairs)]
    return told + left_elsewhere(state_dir, install)


def left_elsewhere(state_dir: Path, install: Path) -> list[str]:
    """Return a sentence for each repair without a verdict that was made under another host name.

    Nothing undoes these by itself, so a person has to hear of them, also where nothing is wrong
    here: a container gets a new host name at each start.

    Raises:
        CannotTell: The journals cannot be listed.
    """
    return [
        sentence
        for journal in journals.of_other_hosts(state_dir, install)
        for sentence in _elsewhere(journal, install)
    ]


def undo_command(install: Path, run_id: str) -> str:
    """Return the command that undoes a run, ready to be typed in any folder."""
    is_command = os.environ.get("MODELMEDIC_INVOKED_AS", "").startswith("modelmedic ")
    form = "modelmedic" if is_command else f"{quoted(sys.executable)} -m modelmedic"
    return f"{form} undo {quoted(run_id)} --install-dir={quoted(str(install))}"


def _finish(journal: Journal, repair: Repair, shop: Workshop) -> str:
    name = f"{printable(repair.recovery)} for {printable(repair.check)}"
    try:
        return undo_repair(journal, repair, shop)
    except (guards.RefusedAsRoot, RecoveryFailed) as error:  # it stays pending for the next run
        return f"{name} was interrupted and is not put back yet: {error}"
    except RecoveryRefused as error:
        _note(journal, "verdict", repair=repair.number, verdict="left")
        return f"{name} was interrupted: {error}"


def _elsewhere(journal: Journal, install: Path) -> list[str]:
    try:
        open_repairs = [r for r in journal.repairs() if not r.verdict and r.steps]
        host = printable(journal.host) or "another machine"
    except RecoveryRefused:
        return []  # not ours to read
    return [
        f"{printable(repair.recovery)} for {printable(repair.check)} did not end on {host}: "
        "another machine that shares this state folder, or this one under another name, as "
        f"containers get. If nothing is at work there: {undo_command(install, journal.run_id)}"
        for repair in open_repairs
    ]


def undo_run(
    state_dir: Path,
    install: Path,
    run_id: str | None = None,
    *,
    told: Callable[[str], None] = lambda _sentence: None,
) -> list[str]:
    """Undo the repairs of a run (None: the newest that changed something), newest first.

    Args:
        state_dir: The state folder.
        install: The install folder.
        run_id: A run; given by name it may be one of another machine with the same state folder.
        told: Hears who is repairing the install, if that has to be waited for.

    Returns:
        One sentence per repair; empty when there is nothing to undo.

    Raises:
        CannotTell: The journals cannot be listed.
        RecoveryRefused: Nothing of that name, something changed since, or all there is to undo was
            made under another host name.
        RecoveryFailed: The system did not let us put something back; it can be tried again.
    """
    runs = [j for j in journals.all_of(state_dir, install) if run_id in {None, j.run_id}]
    if run_id is not None and not runs:
        runs = [j for j in journals.of_other_hosts(state_dir, install) if j.run_id == run_id]
        if not runs:
            raise RecoveryRefused(
                f"No repair of this install was made in a run named {printable(run_id)}."
            )
    shop = Workshop(Tree(install), run_id or "undo")
    if runs:
        with lock.held(state_dir, install, told=told):
            # A run that only worked around something left nothing: the one before it is meant.
            for choose in (_left_something, list):
                for journal in reversed(runs):
                    open_repairs = _to_undo(journal)
                    if choose(open_repairs):
                        return _undo_all(journal, open_repairs, shop)
    if run_id is None:
        _refuse_elsewhere(state_dir, install)
    return []


def _to_undo(journal: Journal) -> list[Repair]:
    return [r for r in journal.repairs() if r.verdict != "undone" and r.steps]


def _left_something(repairs: list[Repair]) -> list[Repair]:
    """Return the repairs of which something outlives their run."""
    return [r for r in repairs if any(kinds.is_lasting(step.operation) for step in r.steps)]


def _refuse_elsewhere(state_dir: Path, install: Path) -> None:
    """Refuse to choose among what was done under other host names: it has to be named."""
    for journal in sorted(
        journals.of_other_hosts(state_dir, install), key=lambda each: each.run_id, reverse=True
    ):
        try:
            is_open = bool(_left_something(_to_undo(journal)))
            host = printable(journal.host) or "another machine"
        except RecoveryRefused:
            continue  # not ours to read
        if is_open:
            raise RecoveryRefused(
                f"Nothing was undone: what was repaired in {printable(install)} was repaired on "
                f"{host}, last in run {printable(journal.run_id)}.",
                "That may be another machine that shares this state folder, or this one under "
                "another name, as containers get.",
                f"If nothing is at work there: {undo_command(install, journal.run_id)}",
            )


def _undo_all(journal: Journal, repairs: list[Repair], shop: Workshop) -> list[str]:
    """Undo repairs newest first; one that cannot be undone does not keep the others.

    Raises:
        RecoveryRefused: At least one could not be; says which, and what was undone.
        RecoveryFailed: The same, and the system is the reason.
    """
    told: list[str] = []
    problems: list[ModelmedicError] = []
    for repair in reversed(repairs):
        try:
            told.append(undo_repair(journal, repair, shop))
        except (RecoveryRefused, RecoveryFailed) as error:
            problems.append(error)
    if problems:
        words = " ".join([*map(str, problems), *told])
        has_failed = any(isinstance(problem, RecoveryFailed) for problem in problems)
        raise (RecoveryFailed if has_failed else RecoveryRefused)(words) from problems[0]
    return told
