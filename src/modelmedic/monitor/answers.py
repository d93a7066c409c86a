"""A health report made of what the monitor's process answered and what is known beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelmedic.monitor.interfaces import HealthReport, HealthStatus, PotentialIssue


def report(
    told: Mapping[str, Any] | None,
    own: Mapping[str, HealthStatus],
    blind: Sequence[str],
    *,
    now: float,
) -> HealthReport:
    """Return the report.

    Args:
        told: What `watch.Watch.report` returned; None: no answer came.
        own: The components of the installer's manager.
        blind: What could not be seen, beside what the process says.
        now: Seconds since the epoch.
    """
    told = told or {"at": now, "since": now, "readings": {}, "components": {}, "issues": []}
    components = {name: HealthStatus(value) for name, value in told["components"].items()}
    for name, status in own.items():
        components[name] = max(components.get(name, status), status, key=lambda each: each.rank)
    issues = tuple(_issue(entry) for entry in told["issues"])
    unseen = (*blind, *told.get("blind", ()))
    return HealthReport(
        at=float(told["at"]),
        status=_worst(components, issues, unseen),
        since=float(told["since"]),
        readings=dict(told["readings"]),
        components=components,
        issues=issues,
        blind=unseen,
    )


def as_json(found: HealthReport) -> dict[str, Any]:
    """Return a report as plain values."""
    return {
        "schema": "modelmedic-health-1",
        "at": found.at,
        "status": found.status.value,
        "since": found.since,
        "readings": found.readings,
        "components": {name: status.value for name, status in found.components.items()},
        "issues": [
            {name: getattr(issue, name) for name in PotentialIssue.__dataclass_fields__}
            for issue in found.issues
        ],
        "blind": list(found.blind),
    }


def _worst(
    components: Mapping[str, HealthStatus],
    issues: Sequence[PotentialIssue],
    blind: Sequence[str],
) -> HealthStatus:
    found = [*components.values()]
    found += [
        HealthStatus.FAILING if issue.severity == "critical" else HealthStatus.DEGRADED
        for issue in issues
    ]
    if blind or not found:
        found.append(HealthStatus.UNKNOWN)
    return max(found, key=lambda each: each.rank)


def _issue(entry: Mapping[str, Any]) -> PotentialIssue:
    values = {name: entry[name] for name in PotentialIssue.__dataclass_fields__}
    expected = values["expected_at"]
    return PotentialIssue(**{**values, "expected_at": tuple(expected) if expected else None})
