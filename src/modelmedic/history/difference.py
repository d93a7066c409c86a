"""What changed between two runs: packages, driver, files, environment, and which checks turned."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelmedic.errors import CannotTell
from modelmedic.history import queries
from modelmedic.history.queries import Run
from modelmedic.inventory import FIELDS, unequal

if TYPE_CHECKING:
    from modelmedic.history.store import History

_GREEN = 0
_RED = 1
_OF_RUN = ("machine", "folder", "profile", "modelmedic", "mode", "stage")
_NAMES = {
    "folder": "install",
    "python": "target python",
    "gpus": "GPUs",
    "memory_bytes": "memory",
}
_OUTCOMES = """
SELECT check_name.name, finding.outcome, finding.what FROM finding
JOIN check_name ON check_name.id = finding.check_id WHERE finding.run = ?
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is another one in the second run.

    Args:
        kind: "run", "machine", "package", "file" or "check".
        name: What changed: "driver", "torch", "weights/vae.pth", "weights.size[vae.pth]".
        before: Its value in the first run; None: it was not there.
        after: In the second.
        what: Of a check, what it found in the second run.
    """

    kind: str
    name: str
    before: str | int | None
    after: str | int | None
    what: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two runs and what is not the same; ``unknown`` names what could not be compared, and why."""

    first: Run
    second: Run
    changes: tuple[Change, ...]
    unknown: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[Change, ...]:
        """Return the changes of one kind, by name."""
        return tuple(change for change in self.changes if change.kind == kind)


def between(history: History, first: Run, second: Run) -> Difference:
    """Return what changed from one run to another."""
    unknown: list[str] = []
    changes = [
        Change("run", _NAMES.get(name, name), getattr(first, name), getattr(second, name))
        for name in _OF_RUN
        if getattr(first, name) != getattr(second, name)
    ]
    environments = [_environment(history, run) for run in (first, second)]
    for run, found in zip((first, second), environments, strict=True):
        if found is None:
            unknown.append(
                f"Run {run.run_id} has no inventory (an older modelmedic wrote it, it was killed, "
                "or a disk did not answer in time): packages, driver and files are not compared."
            )
    before, after = environments
    if before is not None and after is not None:
        changes += _of_machine(before, after)
        changes += _of_tables("package", before["packages"], after["packages"])
        changes += _of_tables("file", before["files"], after["files"])
    changes += _of_checks(history, first, second)
    return Difference(first, second, tuple(changes), tuple(unknown))


def green_and_red(history: History) -> tuple[Run, Run]:
    """Return the last run that was good and the first bad one after it, of one install.

    Of this machine's installs, if one of them has such a pair; of the newest pair.

    Raises:
        CannotTell: There is no such pair.
    """
    pairs = list(_turns(history))
    if not pairs:
        raise CannotTell(
            "The history has no good run with a bad one after it in the same install.",
            next_step="Name two runs: modelmedic history diff RUN RUN; `modelmedic history` "
            "lists them.",
        )
    return max(pairs, key=lambda pair: (pair[1].is_own, pair[1].started_at))


def _turns(history: History) -> Iterator[tuple[Run, Run]]:
    """Yield the newest turn from good to bad of each install."""
    good: dict[int, Run] = {}
    turns: dict[int, tuple[Run, Run]] = {}
    for run in reversed(queries.runs(history)):
        if run.is_partial:
            continue  # it says nothing of what it left out
        if run.exit_code == _GREEN:
            good[run.install_id] = run
        elif run.exit_code == _RED and run.install_id in good:
            turns[run.install_id] = (good.pop(run.install_id), run)
    yield from turns.values()


def _environment(history: History, run: Run) -> dict[str, Any] | None:
    row = history.connection.execute(
        "SELECT system, python, driver, gpus, memory_bytes, packages, files FROM environment "
        "WHERE hash = ?",
        (run.environment,),
    ).fetchone()
    if row is None:
        return None
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118 - a Row yields its values
    return values | {name: json.loads(row[name]) for name in ("gpus", "packages", "files")}


def _of_machine(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    def told(value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    return [
        Change("machine", _NAMES.get(name, name), told(was), told(now))
        for name, was, now in unequal(before, after, FIELDS)
    ]


def _of_tables(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    return [Change(kind, *values) for values in unequal(before, after)]


def _of_checks(history: History, first: Run, second: Run) -> list[Change]:
    before, after = (
        {row["name"]: row for row in history.connection.execute(_OUTCOMES, (run.id,))}
        for run in (first, second)
    )
    changes = []
    for name in sorted({*before, *after}):
        old = before[name]["outcome"] if name in before else None
        new = after[name]["outcome"] if name in after else None
        if old != new:
            what = (after[name]["what"] or "") if name in after else ""
            changes.append(Change("check", name, old, new, what))
    return changes
