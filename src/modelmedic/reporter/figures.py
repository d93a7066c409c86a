"""The newest figures of a machine, as values; each format of an export is a view of them."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic import pseudonyms
from modelmedic.reporter import suggestions, trends
from modelmedic.reporter.reading import Install, Run, Scope, newest_run, run_of

if TYPE_CHECKING:
    from modelmedic.reliability.manager import ReliabilityManager

FORECAST_DAYS = 14.0  # that a forecast looks back on: as long as the monitor's minutes are kept
_MOST_PARTS = 50  # runs of a part of the checks, after the newest of all
_MOST_CHECKS = 20_000
_MOST_ALERTS = 200
_ALIVE_SECONDS = 600.0  # a monitor stores each minute; one that is slow to write is not dead
_MOST_COMPONENTS = 2_000


@dataclass(frozen=True, slots=True)
class CheckFigure:
    """The newest finding of one check; ``seconds`` None: not measured.

    ``since`` is the start of the first run of the unbroken row of this outcome, None where it
    waits on another check; ``flaps`` is how often the outcome changed so far.
    """

    check: str
    title: str
    area: str
    outcome: str
    severity: str
    category: str | None
    failure_id: str | None
    seconds: float | None
    what: str
    why: str
    blocked_by: str | None
    since: float | None
    flaps: int


@dataclass(frozen=True, slots=True)
class InstallFigures:
    """The newest run of one install; ``install`` is a stand-in for its folder and profile."""

    install: str
    machine: str
    folder: str
    profile: str
    run_id: str
    started_at: float
    seconds: float
    mode: str
    exit_code: int | None
    counts: dict[str, int]
    checks: tuple[CheckFigure, ...]


@dataclass(frozen=True, slots=True)
class HealFigure:
    """How many judged repairs of a recovery ended with a verdict."""

    recovery: str
    category: str
    verdict: str
    count: int


@dataclass(frozen=True, slots=True)
class ComponentFigure:
    """Calls of one operation of an installer's component; the durations are the newest told."""

    component: str
    operation: str
    calls: int
    failures: int
    retries: int
    median_seconds: float | None
    p99_seconds: float | None


@dataclass(frozen=True, slots=True)
class AlertFigure:
    """An alert of the monitor that still holds."""

    key: str
    severity: str
    first_at: float
    last_at: float
    times: int
    text: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a disk is full if it goes on so: the trend's median, the soonest and the latest."""

    series: str
    seconds: float
    soonest_seconds: float
    latest_seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is exported. Moments are seconds since the epoch."""

    at: float
    machine: str
    installs: tuple[InstallFigures, ...]
    heals: tuple[HealFigure, ...]
    components: tuple[ComponentFigure, ...]
    alerts: tuple[AlertFigure, ...]
    forecasts: tuple[Forecast, ...]


def figures(
    connection: sqlite3.Connection,
    state_dir: Path,
    now: float,
    *,
    installs: Iterable[Install],
    scope: Scope,
    manager: ReliabilityManager | None = None,
) -> Figures:
    """Return the newest figures.

    Args:
        connection: To the history.
        state_dir: Whose key the stand-ins of installs are made with.
        now: Seconds since the epoch.
        installs: Which, the one with the newest run first.
        scope: Whose repairs, components and alerts.
        manager: Whose counts stand in place of those of the history.
    """
    found = [_of_install(connection, state_dir, install) for install in installs]
    machine_ids = scope.machine_ids or ()
    return Figures(
        at=now,
        machine=found[0].machine if found else "",
        installs=tuple(found),
        heals=tuple(_heals(connection, scope)),
        components=_components(connection, scope, manager),
        alerts=tuple(_alerts(connection, scope, now)),
        forecasts=tuple(
            forecast for each in machine_ids for forecast in _forecasts(connection, each, now)
        ),
    )


def _of_install(
    connection: sqlite3.Connection, state_dir: Path, install: Install
) -> InstallFigures:
    newest = newest_run(connection, install.id)
    if newest is None:
        raise LookupError(f"install {install.id} has no run")  # `installs` joins with its runs
    place = f"{install.machine.name}\0{install.folder}\0{install.profile}"
    return InstallFigures(
        install=pseudonyms.token(pseudonyms.local_key(state_dir), "install", place),
        machine=install.machine.name,
        folder=install.folder,
        profile=install.profile,
        run_id=newest.run_id,
        started_at=newest.started_at,
        seconds=newest.seconds,
        mode=newest.mode,
        exit_code=newest.exit_code,
        counts=newest.counts,
        checks=tuple(_checks(connection, install.id, newest)),
    )


def _checks(connection: sqlite3.Connection, install_id: int, newest: Run) -> list[CheckFigure]:
    """Return the newest finding of each check, back to the newest run of all checks."""
    known = {
        row["check_id"]: (row["since"], row["flaps"], row["outcome"])
        for row in connection.execute(
            "SELECT check_id, since, flaps, outcome FROM latest_finding WHERE install_id = ?",
            [install_id],
        )
    }
    found: dict[str, CheckFigure] = {}
    for run in _runs(connection, install_id, newest):
        for row in connection.execute(
            "SELECT check_name.name, title, area, finding.* FROM finding "
            "JOIN check_name ON check_name.id = check_id WHERE run = ? LIMIT ?",
            [run.id, _MOST_CHECKS],
        ):
            since, flaps, outcome = known.get(row["check_id"], (None, 0, ""))
            found[row["name"]] = CheckFigure(
                check=row["name"],
                **{name: row[name] for name in _AS_STORED},
                what=row["what"] or "",
                why=row["why"] or "",
                since=since if outcome == row["outcome"] else None,
                flaps=flaps,
            )
    return sorted(found.values(), key=lambda each: each.check)


_AS_STORED = (
    "title", "area", "outcome", "severity", "category", "failure_id", "seconds", "blocked_by",
)  # fmt: skip


def _runs(connection: sqlite3.Connection, install_id: int, newest: Run) -> list[Run]:
    """Return the newest run of all checks and those of a part after it, the oldest first."""
    if not newest.is_partial:
        return [newest]
    whole = newest_run(connection, install_id, more="AND NOT is_partial")
    rows = connection.execute(
        "SELECT * FROM run WHERE install_id = ? AND started_at >= ? AND is_partial "
        "ORDER BY started_at DESC, run_id DESC LIMIT ?",
        [install_id, whole.started_at if whole else -1.0, _MOST_PARTS],
    ).fetchall()
    return [*([whole] if whole else []), *(run_of(row) for row in reversed(rows))]


def _heals(connection: sqlite3.Connection, scope: Scope) -> list[HealFigure]:
    where, values = scope.of_machines()
    rows = connection.execute(
        "SELECT recovery, category, verdict, count(*) FROM heal WHERE 1 "  # noqa: S608 - no value is in it
        f"{where} GROUP BY recovery, category, verdict ORDER BY recovery, category, verdict",
        values,
    )
    return [HealFigure(*row) for row in rows]


def _components(
    connection: sqlite3.Connection, scope: Scope, manager: ReliabilityManager | None
) -> tuple[ComponentFigure, ...]:
    where, values = scope.of_machines()
    rows = connection.execute(
        # SQLite takes the columns that are not added up from the row of max(at).
        "SELECT component, operation, sum(calls), sum(failures), sum(retries), median_seconds, "  # noqa: S608 - no value is in it
        f"p99_seconds, max(at) FROM component_metric WHERE 1 {where} "
        "GROUP BY component, operation ORDER BY component, operation LIMIT ?",
        [*values, _MOST_COMPONENTS],
    )
    found = {(row[0], row[1]): ComponentFigure(*row[:7]) for row in rows}
    for (component, operation), counted in (
        manager.metrics().operations if manager else {}
    ).items():
        found[component, operation] = ComponentFigure(
            component,
            operation,
            counted.calls,
            counted.failures + counted.optional,
            counted.retried,
            _known(counted.p50_seconds),
            _known(counted.p99_seconds),
        )
    return tuple(found[key] for key in sorted(found))


def _alerts(connection: sqlite3.Connection, scope: Scope, now: float) -> list[AlertFigure]:
    """Return the newest alert of each key that has not ended, while its monitor still runs.

    One that was stopped or killed leaves its alerts open: whether they hold nobody knows.
    """
    since = now - _ALIVE_SECONDS
    alive = [each for each in scope.machine_ids or () if trends.is_watched(connection, each, since)]
    where, values = scope.of_machines()
    marks = ", ".join("?" * len(alive))
    rows = connection.execute(
        "SELECT key, severity, max(first_at), last_at, times, text FROM alert "  # noqa: S608 - no value is in it
        f"WHERE ended_at IS NULL AND (last_at >= ? OR machine_id IN ({marks})) {where} "
        f"GROUP BY machine_id, key ORDER BY max(first_at) DESC LIMIT ?",
        [since, *alive, *values, _MOST_ALERTS],
    )
    return [AlertFigure(*row) for row in rows]


def _forecasts(connection: sqlite3.Connection, machine_id: int, now: float) -> list[Forecast]:
    found = trends.of_monitor(connection, now - FORECAST_DAYS * trends.DAY, now, machine_id)
    return [
        Forecast(each.name, *(days * trends.DAY for days in suggestions.days_left(each, now)))
        for each in found
        if suggestions.fills(each, now)
    ]


def _known(seconds: float) -> float | None:
    return None if math.isnan(seconds) else seconds
