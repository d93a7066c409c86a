"""The figures in Prometheus' text format, for node_exporter's textfile collector.

No label holds a path, the id of a run, or a message: each new value would be a new series for
ever, and these leave the machine. So a check's parameter (the name of a file) is left off, and an
install goes by its stand-in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from modelmedic import __version__
from modelmedic.findings import Outcome
from modelmedic.reporter.clipping import MOST_LABEL_LETTERS, clipped
from modelmedic.reporter.figures import Figures, InstallFigures
from modelmedic.text import visible

Sample = tuple[Mapping[str, str], float]
_VERDICTS = ("healed", "not healed", "failed")


def text(found: Figures) -> str:
    """Return the metrics, each with its HELP and TYPE; families without a sample are left out."""
    return "".join(
        "".join(_family(name, kind, help_, samples))
        for name, kind, help_, samples in _families(found)
        if samples
    )


def _families(found: Figures) -> Iterator[tuple[str, str, str, list[Sample]]]:
    yield (
        "modelmedic_build_info",
        "gauge",
        "Version of modelmedic; always 1.",
        [({"version": __version__}, 1.0)],
    )
    yield (
        "modelmedic_export_timestamp_seconds",
        "gauge",
        "When these figures were written, seconds since the epoch.",
        [({}, found.at)],
    )
    yield from _of_runs(found.installs)
    yield from _of_checks(found.installs)
    yield (
        "modelmedic_heal_total",
        "counter",
        "Judged repairs that the history keeps, by what the check said afterwards.",
        list(_heals(found)),
    )
    yield from _of_components(found)
    yield (
        "modelmedic_alerts",
        "gauge",
        "Alerts of the monitor that hold now.",
        _counted(("severity",), [(alert.severity,) for alert in found.alerts]),
    )
    yield (
        "modelmedic_predicted_exhaustion_seconds",
        "gauge",
        "Time until the fullest disk is full if its trend goes on; only while there is a trend.",
        [({"resource": "disk"}, min(each.seconds for each in found.forecasts))]
        if found.forecasts
        else [],
    )


def _of_runs(
    installs: Iterable[InstallFigures],
) -> Iterator[tuple[str, str, str, list[Sample]]]:
    installs = list(installs)
    yield (
        "modelmedic_last_run_timestamp_seconds",
        "gauge",
        "When the newest run began, seconds since the epoch.",
        [(_of(install), install.started_at) for install in installs],
    )
    yield (
        "modelmedic_last_run_duration_seconds",
        "gauge",
        "How long the newest run took.",
        [(_of(install), install.seconds) for install in installs],
    )
    yield (
        "modelmedic_last_run_findings",
        "gauge",
        "Findings of the newest run, by outcome.",
        [
            ({**_of(install), "outcome": outcome.value}, install.counts.get(outcome.value, 0))
            for install in installs
            for outcome in Outcome
        ],
    )


def _of_checks(
    installs: Iterable[InstallFigures],
) -> Iterator[tuple[str, str, str, list[Sample]]]:
    status: list[Sample] = []
    seconds: list[Sample] = []
    failures: list[Sample] = []
    for install in installs:
        counts = Counter((_name(check.check), check.outcome) for check in install.checks)
        status += [
            ({**_of(install), "check": name, "outcome": outcome.value}, counts[name, outcome.value])
            for name in sorted({name for name, _ in counts})
            for outcome in Outcome
        ]
        took: dict[str, float] = defaultdict(float)
        for check in install.checks:
            if check.seconds is not None:
                took[_name(check.check)] += check.seconds
        seconds += [({**_of(install), "check": name}, took[name]) for name in sorted(took)]
        wrong = Counter(
            check.failure_id or ""
            for check in install.checks
            if Outcome.FAILED.value == check.outcome
        )
        failures += [({**_of(install), "failure": name}, wrong[name]) for name in sorted(wrong)]
    yield (
        "modelmedic_check_status",
        "gauge",
        "How many subjects of a check have an outcome: files, packages, cards; most have one.",
        status,
    )
    yield (
        "modelmedic_check_duration_seconds",
        "gauge",
        "How long a check took in its newest run, all its subjects together.",
        seconds,
    )
    yield (
        "modelmedic_failures",
        "gauge",
        "Failed findings by known failure; an empty name for those of none.",
        failures,
    )


def _heals(found: Figures) -> Iterator[Sample]:
    """Yield one sample for each verdict, zeros too, so that a rate has somewhere to start."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for each in found.heals:
        counts[each.recovery, each.category][each.verdict] += each.count
    for (recovery, category), verdicts in sorted(counts.items()):
        for verdict in (*_VERDICTS, *sorted({*verdicts} - {*_VERDICTS})):
            labels = {"recovery": recovery, "category": category, "result": verdict}
            yield labels, verdicts[verdict]


def _of_components(found: Figures) -> Iterator[tuple[str, str, str, list[Sample]]]:
    for name, help_, field in (
        ("calls", "Calls of an installer's components.", "calls"),
        ("failures", "Those whose error left.", "failures"),
        ("retries", "How often a call was made again.", "retries"),
    ):
        yield (
            f"modelmedic_component_{name}_total",
            "counter",
            help_,
            [
                (
                    {"component": each.component, "operation": each.operation},
                    float(getattr(each, field)),
                )
                for each in found.components
            ],
        )


def _counted(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[Sample]:
    counts = Counter(rows)
    return [(dict(zip(names, row, strict=True)), counts[row]) for row in sorted(counts)]


def _of(install: InstallFigures) -> dict[str, str]:
    return {"install": install.install, "profile": install.profile}


def _name(check: str) -> str:
    """Return a check's id without its parameter."""
    return check.partition("[")[0]


def _family(name: str, kind: str, help_: str, samples: Iterable[Sample]) -> Iterator[str]:
    """Yield the lines of one metric; of two samples with the same labels the first is kept.

    Two such lines make a reader refuse the whole file; labels cut to a length may meet.
    """
    yield f"# HELP {name} {help_}\n# TYPE {name} {kind}\n"
    seen = set()
    for labels, value in samples:
        told = ",".join(f'{key}="{_label(part)}"' for key, part in labels.items())
        if told not in seen:
            seen.add(told)
            yield f"{name}{{{told}}} {_number(value)}\n" if told else f"{name} {_number(value)}\n"


def _label(value: str) -> str:
    r"""Return a label's value, escaped: ``\``, ``"`` and line feed.

    Source: prometheus.io, "Exposition formats", text format details.
    """
    shown = visible(clipped(value, MOST_LABEL_LETTERS))
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
