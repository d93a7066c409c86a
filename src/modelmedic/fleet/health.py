"""How each machine is: its verdict, since when, which causes, and when it last reported."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelmedic.findings import Outcome
from modelmedic.fleet.machines import GREEN, GREY, MOST_LETTERS, RED, Install, Known, Machine, Run

FAILING, UNCLEAR, DEGRADED, HEALTHY, UNJUDGED = (
    "failing", "unclear", "degraded", "healthy", "not judged",
)  # fmt: skip
VERDICTS = (FAILING, UNCLEAR, DEGRADED, HEALTHY, UNJUDGED)  # the gravest first
_OF_OUTCOME = {
    Outcome.FAILED.value: FAILING,
    Outcome.UNKNOWN.value: UNCLEAR,
    Outcome.DEGRADED.value: DEGRADED,
}
_SEVERITIES = ("blocker", "major", "minor")


@dataclass(frozen=True, slots=True)
class Cause:
    """A check that does not hold now in one install, could not look, or holds with a loss.

    ``key`` names the cause over all machines: the failure id, or else the check without its
    parameter. ``flaps`` is how often the outcome has changed so far.
    """

    key: str
    check: str
    title: str
    outcome: str
    severity: str
    what: str
    why: str
    since: float
    flaps: int
    install_id: int


@dataclass(frozen=True, slots=True)
class InstallHealth:
    """How one install is. ``runs`` are all its runs in the order of time."""

    install: Install
    verdict: str
    since: float | None
    causes: tuple[Cause, ...]
    runs: Sequence[Run]


@dataclass(frozen=True, slots=True)
class Health:
    """How one machine is: the gravest of its installs.

    The verdict of an install comes from the newest finding of each of its checks:

    - failing: at least one check fails;
    - unclear: none fails, at least one could not look;
    - degraded: neither, at least one holds with a stated loss;
    - healthy: none of these, and in its newest run that judged anything nothing was wrong;
    - not judged: no run of it judged anything.

    ``since``: of a verdict with causes, the time from which the oldest of those that make it has
    held without a break; of a healthy install, its first run after the last one that was not. A
    verdict is as old as ``last_report``: a machine that is silent keeps it.
    """

    machine: Machine
    verdict: str
    since: float | None
    causes: tuple[Cause, ...]
    last_report: float | None
    installs: tuple[InstallHealth, ...]

    @property
    def runs(self) -> list[Run]:
        """Return all runs of the machine, the newest first."""
        runs = [run for each in self.installs for run in each.runs]
        return sorted(runs, key=lambda run: run.started_at, reverse=True)


def of_all(connection: sqlite3.Connection, known: Known) -> list[Health]:
    """Return the health of every machine, the gravest first, the longest sick first among them."""
    causes: dict[int, list[Cause]] = defaultdict(list)
    for cause in _causes(connection, known):
        causes[cause.install_id].append(cause)
    found = [_of_machine(machine, known, causes) for machine in known.machines.values()]
    return sorted(found, key=_order)


def _order(health: Health) -> tuple[int, float, str]:
    return VERDICTS.index(health.verdict), health.since or 0.0, health.machine.name


def _of_machine(machine: Machine, known: Known, causes: Mapping[int, list[Cause]]) -> Health:
    installs = [
        _of_install(install, causes.get(install.id, []), known.runs.get(install.id, []))
        for install in known.of_machine(machine.id)
    ]
    installs.sort(key=lambda each: VERDICTS.index(each.verdict))
    verdict = installs[0].verdict if installs else UNJUDGED
    same = [each.since for each in installs if each.verdict == verdict and each.since is not None]
    return Health(
        machine=machine,
        verdict=verdict,
        since=(max if verdict == HEALTHY else min)(same, default=None),
        causes=tuple(cause for each in installs for cause in each.causes),
        last_report=max((each.runs[-1].started_at for each in installs if each.runs), default=None),
        installs=tuple(installs),
    )


def _of_install(install: Install, causes: list[Cause], runs: Sequence[Run]) -> InstallHealth:
    causes.sort(key=_gravity)
    if causes:
        verdict = _OF_OUTCOME[causes[0].outcome]
        since: float | None = min(
            cause.since for cause in causes if _OF_OUTCOME[cause.outcome] == verdict
        )
    else:
        verdict, since = _without_causes(runs)
    return InstallHealth(install, verdict, since, tuple(causes), runs)


def _gravity(cause: Cause) -> tuple[int, int, float, str]:
    grave = _SEVERITIES.index(cause.severity) if cause.severity in _SEVERITIES else 0
    return VERDICTS.index(_OF_OUTCOME[cause.outcome]), grave, cause.since, cause.check


def _without_causes(runs: Sequence[Run]) -> tuple[str, float | None]:
    """Return "healthy" and since when, where the newest run that judged anything was green."""
    judged = [run for run in runs if run.colour != GREY]
    if not judged or judged[-1].colour == RED:  # red without a cause: its check is gone since
        return UNJUDGED, None
    first = judged[-1]
    for run in reversed(judged):
        if run.colour != GREEN:
            break
        first = run
    return HEALTHY, first.started_at


def _causes(connection: sqlite3.Connection, known: Known) -> Iterable[Cause]:
    """Yield what is not fine now; what the newest whole run no longer knows is left out."""
    for outcomes, index in ((("failed", "unknown"), "latest_wrong"), (("degraded",), None)):
        marks = ", ".join(f"'{outcome}'" for outcome in outcomes)
        hint = f"INDEXED BY {index}" if index else ""
        query = f"""
            SELECT check_name.name, check_name.title, latest.outcome, finding.severity,
                   finding.failure_id, substr(finding.what, 1, {MOST_LETTERS}),
                   substr(finding.why, 1, {MOST_LETTERS}), latest.since, latest.flaps,
                   latest.install_id, latest.run, latest.check_id
            FROM latest_finding AS latest {hint}
            JOIN check_name ON check_name.id = latest.check_id
            JOIN finding ON finding.run = latest.run AND finding.check_id = latest.check_id
            WHERE latest.outcome IN ({marks})"""  # noqa: S608 - our own words, no value in it
        for row in connection.execute(query):
            if not _is_gone(connection, known.runs.get(row[9], []), row[10], row[11]):
                yield _cause(row)


def _cause(row: sqlite3.Row) -> Cause:
    name, title, outcome, severity, failure_id, what, why, since, flaps, install_id = row[:10]
    return Cause(
        key=key_of(name, failure_id)[:MOST_LETTERS],
        check=name[:MOST_LETTERS],
        title=title[:MOST_LETTERS],
        outcome=outcome,
        severity=severity,
        what=what or "",
        why=why or "",
        since=since,
        flaps=flaps,
        install_id=install_id,
    )


def key_of(check: str, failure_id: str | None) -> str:
    """Return what names a cause over all machines."""
    return failure_id or check.partition("[")[0]


def _is_gone(connection: sqlite3.Connection, runs: Sequence[Run], run: int, check: int) -> bool:
    """Return whether a later whole run of the same stage does not know the check at all.

    A file that left the profile takes its check with it, and nothing will ever say that it holds.
    A run whose findings are no longer all kept says nothing about that.
    """
    seen = next((each for each in reversed(runs) if each.id == run), None)
    if seen is None:
        return False
    whole = next((each for each in reversed(runs) if _is_whole(each, seen.stage)), seen)
    if whole.started_at <= seen.started_at:
        return False
    count, has_it = connection.execute(
        "SELECT count(*), max(check_id = ?) FROM finding WHERE run = ?", (check, whole.id)
    ).fetchone()
    return not has_it and count >= sum(whole.counts.values())


def _is_whole(run: Run, stage: str) -> bool:
    return run.stage == stage and not run.is_partial and run.exit_code in {0, 1}
