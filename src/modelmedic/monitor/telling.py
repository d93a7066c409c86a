"""A health report for people: one line that is drawn anew, and a summary."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelmedic.monitor.alerts import at_home, clipped
from modelmedic.monitor.interfaces import HealthReport, HealthStatus
from modelmedic.monitor.thresholds import subject_of
from modelmedic.text import counted, duration, size

_MOST_SHOWN = 20
_WIDEST = 60
_LEAST_COLUMNS = 40


def status_line(found: HealthReport, columns: int = 80) -> str:
    """Return the newest numbers on one line of at most ``columns`` characters."""
    parts = [f"{found.status.value}:", *_numbers(found.readings)]
    if found.issues:
        parts.append(f"{counted(len(found.issues), 'issue')}")
    line = "  ".join(parts)
    return line if len(line) <= columns else line[:columns]


def _numbers(readings: dict[str, float]) -> Iterator[str]:
    if (busy := readings.get("cpu.busy_ratio")) is not None:
        yield f"cpu {100 * busy:.0f} %"
    if (available := readings.get("memory.available_bytes")) is not None:
        yield f"memory {size(available)} left"
    for name, value in readings.items():
        if name.startswith("disk.free_bytes["):
            yield f"{clipped(subject_of(name))} {size(value)} free"
        elif name.startswith("gpu.memory_used_ratio["):
            yield f"GPU {subject_of(name)} {100 * value:.0f} %"
        elif name.startswith("process.rss_bytes["):
            yield f"process {subject_of(name)} {size(value)}"


def summary(found: HealthReport) -> str:
    """Return what is known, in lines: health, what is wrong with its command, what is not seen."""
    lines = [_health(found)]
    for issue in found.issues[:_MOST_SHOWN]:
        lines.append(f"- {issue.severity}: {at_home(issue.what)} {at_home(issue.why)}".rstrip())
        if issue.command:
            lines.append(f"  Next: {clipped(issue.command)}")
    return "\n".join([*lines, *_unseen(found), *_unhealthy(found)])


def closing(found: HealthReport, columns: int) -> str:
    """Return the summary for who has read the alerts: what is wrong on one line each."""
    lines = [f"- {i.severity}: {at_home(i.what)}" for i in found.issues[:_MOST_SHOWN]]
    width = max(columns, _LEAST_COLUMNS)
    short = [line if len(line) <= width else f"{line[: width - 3]}..." for line in lines]
    return "\n".join([_health(found), *short, *_unseen(found)])


def _health(found: HealthReport) -> str:
    return f"Health: {found.status.value}. {_span(found)}".rstrip()


def _unseen(found: HealthReport) -> list[str]:
    return [f"- not seen: {at_home(sentence)}" for sentence in found.blind[:_MOST_SHOWN]]


def _unhealthy(found: HealthReport) -> list[str]:
    wrong = {
        name: status
        for name, status in found.components.items()
        if status in {HealthStatus.DEGRADED, HealthStatus.FAILING}
    }
    told = ", ".join(f"{at_home(n)} ({s.value})" for n, s in list(wrong.items())[:_MOST_SHOWN])
    return [f"Not healthy: {told}."] if told else []


def readings_table(found: HealthReport) -> str:
    """Return all numbers, one a line."""
    shown = [(clipped(name), _value(name, value)) for name, value in found.readings.items()]
    width = min(max((len(name) for name, _ in shown), default=0), _WIDEST)
    return "\n".join(f"{name:{width}}  {value}" for name, value in shown)


def _span(found: HealthReport) -> str:
    seconds = found.at - found.since
    return f"Watched for {duration(seconds)}." if seconds > 0 else ""


def _value(name: str, value: float) -> str:
    kind = re.sub(r"\[.*", "", name, flags=re.DOTALL)
    if kind.endswith("_bytes_per_second"):
        return f"{size(value)}/s"
    if kind.endswith("_bytes"):
        return size(value)
    return f"{100 * value:.1f} %" if kind.endswith("_ratio") else f"{value:g}"
