"""What the history is asked: runs, the newest of each install, what fails now, repairs."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelmedic.errors import CannotTell
from modelmedic.text import printable

if TYPE_CHECKING:
    from modelmedic.history.store import History

_RUN = """
SELECT run.id, run.run_id, run.started_at, run.seconds, run.mode, run.stage, run.exit_code,
    run.modelmedic, run.environment, run.counts, run.root_causes, run.is_partial, run.install_id,
    run.machine_id, machine.name AS machine, machine.label, machine.is_own, install.folder,
    install.profile
FROM run JOIN machine ON machine.id = run.machine_id JOIN install ON install.id = run.install_id
"""
# A bare column beside max() is of the row that has it. Source: sqlite.org/lang_select.html 2.5.
_NEWEST = "SELECT id FROM (SELECT id, max(started_at) FROM run GROUP BY install_id)"
_FAILING = """
SELECT machine.name AS machine, machine.label, machine.is_own, install.folder, install.profile,
    check_name.name AS "check", check_name.title, check_name.area, latest_finding.outcome,
    latest_finding.since, latest_finding.flaps, run.run_id, run.started_at, finding.severity,
    finding.category, finding.failure_id, finding.what, finding.why
FROM latest_finding
JOIN check_name ON check_name.id = latest_finding.check_id
JOIN install ON install.id = latest_finding.install_id
JOIN machine ON machine.id = install.machine_id
JOIN run ON run.id = latest_finding.run
LEFT JOIN finding ON finding.run = latest_finding.run
    AND finding.check_id = latest_finding.check_id
WHERE latest_finding.outcome IN ('failed', 'unknown')
ORDER BY machine.name, install.folder, check_name.name
"""
_MOST_LIKE = 9  # runs that are named when an id fits several


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run with the machine and install it was of; ``machine`` is a stand-in."""

    id: int
    run_id: str
    started_at: float
    seconds: float
    mode: str
    stage: str
    exit_code: int | None
    modelmedic: str
    environment: str | None
    counts: dict[str, int]
    root_causes: list[dict[str, Any]]
    is_partial: bool
    install_id: int
    machine_id: int
    machine: str
    label: str
    is_own: bool
    folder: str
    profile: str


@dataclass(frozen=True, slots=True)
class Failing:
    """A check that does not hold in the newest run of its install that judged it."""

    machine: str
    label: str
    is_own: bool
    folder: str
    profile: str
    check: str
    title: str
    area: str
    outcome: str
    since: float
    flaps: int
    run_id: str
    started_at: float
    severity: str | None
    category: str | None
    failure_id: str | None
    what: str | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine and how much of it is stored."""

    id: int
    name: str
    label: str
    is_own: bool
    first_seen: float
    last_seen: float
    runs: int


@dataclass(frozen=True, slots=True)
class Heal:
    """A judged repair; see the table "heal"."""

    machine: str
    repair: str
    origin: str
    at: float
    recovery: str
    family: str
    category: str
    check: str
    verdict: str
    seconds: float
    fetched_bytes: int


def runs(history: History, *, limit: int | None = None, machine: str = "") -> list[Run]:
    """Return runs, the newest first; of one machine by its name or label, or of all."""
    where = "WHERE ?1 IN (machine.name, machine.label)" if machine else "WHERE ?1 = ''"
    order = "ORDER BY run.started_at DESC, run.run_id DESC LIMIT ?2"
    rows = history.connection.execute(
        f"{_RUN} {where} {order}",
        (machine, -1 if limit is None else limit),
    )
    return [_run(row) for row in rows]


def latest_runs(history: History) -> list[Run]:
    """Return the newest run of each install of each machine, by machine and folder."""
    order = "ORDER BY machine.name, install.folder, install.profile"
    rows = history.connection.execute(f"{_RUN} WHERE run.id IN ({_NEWEST}) {order}")
    return [_run(row) for row in rows]


def failing(history: History) -> list[Failing]:
    """Return the checks that do not hold now, or could not look, by machine and folder."""
    return [Failing(*row) for row in history.connection.execute(_FAILING)]


def heals(history: History) -> list[Heal]:
    """Return the judged repairs, the oldest first."""
    rows = history.connection.execute(
        "SELECT machine.name, repair, origin, at, recovery, family, category, check_name, verdict, "
        "seconds, fetched_bytes FROM heal JOIN machine ON machine.id = heal.machine_id "
        "ORDER BY at, repair"
    )
    return [Heal(*row) for row in rows]


def machines(history: History) -> list[Machine]:
    """Return the machines, this one first."""
    rows = history.connection.execute(
        "SELECT id, name, label, is_own, first_seen, last_seen, "
        "(SELECT count(*) FROM run WHERE machine_id = machine.id) FROM machine "
        "ORDER BY is_own DESC, name"
    )
    return [Machine(*row) for row in rows]


def find_machine(history: History, name: str) -> Machine:
    """Return the machine of that name, label, or of a name that begins so.

    Raises:
        CannotTell: There is none, or several.
    """
    known = machines(history)
    exact = [each for each in known if name in {each.name, each.label}]
    begun = [each for each in known if each.name.removeprefix("machine:").startswith(name)]
    found = exact or begun
    if len(found) == 1:
        return found[0]
    raise CannotTell(
        f"{'No machine' if not found else 'More than one machine'} is called {printable(name)}.",
        next_step="`modelmedic history machines` lists them.",
    )


def find_run(history: History, text: str) -> Run:
    """Return the run with that id, with MACHINE/ before it or not, or of an id that begins so.

    Raises:
        CannotTell: There is none, or several.
    """
    machine, _, run_id = text.rpartition("/")
    where, values = "WHERE substr(run.run_id, 1, length(?1)) = ?1", [run_id]
    if machine:
        where += " AND machine.id = ?2"
        values.append(str(find_machine(history, machine).id))
    rows = history.connection.execute(f"{_RUN} {where} LIMIT {_MOST_LIKE}", values)
    found = [_run(row) for row in rows] if run_id else []
    exact = [run for run in found if run.run_id == run_id] or found
    if len(exact) == 1:
        return exact[0]
    if not exact:
        raise CannotTell(
            f"The history has no run {printable(text)}.",
            next_step="`modelmedic history` lists the runs.",
        )
    named = ", ".join(f"{run.machine}/{run.run_id}" for run in exact)
    raise CannotTell(
        f"{printable(text)} names more than one run: {printable(named)}.",
        next_step="Name one of them in full.",
    )


def _run(row: sqlite3.Row) -> Run:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118 - a Row yields its values
    values["counts"] = json.loads(row["counts"])
    values["root_causes"] = json.loads(row["root_causes"])
    values["is_partial"], values["is_own"] = bool(row["is_partial"]), bool(row["is_own"])
    return Run(**values)
