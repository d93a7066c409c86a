"""Variables that a run set for itself: what an installer gives its own children to profit, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelmedic import rooms
from modelmedic.errors import ModelmedicError
from modelmedic.facts import setting_source
from modelmedic.healing.journal import Journal
from modelmedic.operations import kinds
from modelmedic.operations.run_environment import SetRunEnvironment


def of_run(run_id: str, state_dir: Path | None) -> dict[str, str]:
    """Return the variables that the kept repairs of a run set, read again from their sources.

    What holds a password was written nowhere: it is asked where the run found it. One that has no
    value here is left out.

    Args:
        run_id: Of its record.
        state_dir: Where its journal lies; None: as everywhere.

    Returns:
        An empty value stands for a variable that was taken away: what asks a network takes both
        for none.
    """
    found: dict[str, str] = {}
    for operation in _operations(run_id, state_dir or rooms.state_dir()):
        for name, source, shown in operation.settings:
            try:
                found[name] = setting_source.value_of(source, shown) or ""
            except ModelmedicError:
                continue
    return found


def _operations(run_id: str, state_dir: Path) -> Iterator[SetRunEnvironment]:
    for path in sorted(state_dir.rglob(f"{run_id}.jsonl")):
        for repair in Journal(path).repairs():
            for step in repair.steps if repair.verdict == "kept" else ():
                if not step.is_undone and kinds.is_for_this_run(step.operation):
                    operation = kinds.from_json(step.operation)
                    if isinstance(operation, SetRunEnvironment):
                        yield operation
