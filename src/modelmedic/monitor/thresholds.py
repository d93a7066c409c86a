"""Limits that must hold for a while to count, and that end only when a value is clearly better."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from modelmedic.monitor.interfaces import PotentialIssue
from modelmedic.text import printable, size

_FORGET_SECONDS = 60.0  # a value that is not read for so long says nothing any more
SEVERITIES = ("warning", "critical")


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit.

    Args:
        key: What goes wrong: "disk_full"; with the subject of the series it names an issue.
        series: Which series it judges, as a pattern: "disk.free_ratio*".
        is_above: Whether too much is wrong; False: too little.
        limit: From where it is wrong.
        clear: From where it is well again.
        for_seconds: How long it must be wrong to count, and well to end.
        severity: "warning" or "critical".
        what: Sentence; ``{subject}``, ``{percent}``, ``{value}`` and ``{size}`` are filled in.
        why: What it leads to.
        advice: Which command helps: a key of `advice.COMMANDS`.
        source: Where the numbers come from.
        also: A second series of the same subject that must be under or over a limit too:
            (name, is above, limit).
        failure_id: Of the catalogue.
    """

    key: str
    series: str
    is_above: bool
    limit: float
    clear: float
    for_seconds: float
    severity: str
    what: str
    why: str
    advice: str
    source: str
    also: tuple[str, bool, float] | None = None
    failure_id: str = ""


@dataclass(slots=True)
class _State:
    wrong_since: float | None = None
    well_since: float | None = None
    is_wrong: bool = False
    began: float = 0.0  # wall clock
    seen_at: float = 0.0
    value: float = 0.0


class Thresholds:
    """Holds readings against rules.

    Args:
        rules: All of them; of one key and subject the most severe that holds is told.
        advise: Returns the command for a rule's advice and a subject.
        is_patient: False: what is beyond a limit counts at once.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        advise: Callable[[str, str], str],
        *,
        is_patient: bool = True,
    ) -> None:
        self._rules = tuple(
            rule if is_patient else replace(rule, for_seconds=0.0) for rule in rules
        )
        self._advise = advise
        self._states: dict[tuple[int, str], _State] = {}
        self._names: tuple[str, ...] = ()
        self._pairs: list[tuple[Rule, str, _State]] = []

    def step(self, now: float, wall: float, readings: Mapping[str, float]) -> list[PotentialIssue]:
        """Return what is wrong after one sample.

        Args:
            now: On a clock that never goes back.
            wall: Seconds since the epoch.
            readings: By series.
        """
        for rule, name, state in self._chosen(readings):
            self._judge(rule, state, now, wall, name, readings)
        for key, state in list(self._states.items()):
            if now - state.seen_at > _FORGET_SECONDS:
                del self._states[key]
        return list(self._issues())

    def _chosen(self, readings: Mapping[str, float]) -> list[tuple[Rule, str, _State]]:
        """Return what is judged; which rules fit is looked for only when the names change."""
        names = tuple(readings)
        if names != self._names:
            self._names = names
            self._pairs = [
                (rule, name, self._states.setdefault((number, name), _State()))
                for number, rule in enumerate(self._rules)
                for name in _matching(readings, rule.series)
            ]
        return self._pairs

    def _judge(
        self,
        rule: Rule,
        state: _State,
        now: float,
        wall: float,
        name: str,
        readings: Mapping[str, float],
    ) -> None:
        state.seen_at, value = now, readings[name]
        edge = rule.clear if state.is_wrong else rule.limit
        is_beyond = _beyond(value, rule.is_above, edge) and _holds(rule, name, readings)
        if is_beyond:
            state.value = value  # what is told of an issue is how bad it is, or was at last
            state.well_since = None
            state.wrong_since = now if state.wrong_since is None else state.wrong_since
            if not state.is_wrong and now - state.wrong_since >= rule.for_seconds:
                state.is_wrong, state.began = True, wall - (now - state.wrong_since)
            return
        state.wrong_since = None
        state.well_since = now if state.well_since is None else state.well_since
        if now - state.well_since >= rule.for_seconds:
            state.is_wrong = False

    def _issues(self) -> Iterator[PotentialIssue]:
        worst: dict[str, PotentialIssue] = {}
        for (number, name), state in self._states.items():
            if state.is_wrong:
                issue = self._issue(self._rules[number], name, state)
                known = worst.get(issue.key)
                if known is None or _rank(issue) > _rank(known):
                    worst[issue.key] = issue
        yield from worst.values()

    def _issue(self, rule: Rule, name: str, state: _State) -> PotentialIssue:
        subject = subject_of(name)
        words = {
            "subject": printable(subject),
            "percent": f"{100 * state.value:.1f} %",
            "value": f"{state.value:g}",
            "size": size(state.value),
        }
        return PotentialIssue(
            key=f"{rule.key}[{subject}]" if subject else rule.key,
            kind="threshold",
            severity=rule.severity,
            subject=name,
            what=rule.what.format(**words),
            why=rule.why,
            command=self._advise(rule.advice, subject),
            since=state.began,
            failure_id=rule.failure_id,
        )


def subject_of(series: str) -> str:
    """Return what stands in brackets: "/models" of "disk.free_bytes[/models]"; empty for none."""
    return series.partition("[")[2].removesuffix("]")


def _matching(readings: Mapping[str, float], pattern: str) -> list[str]:
    if not pattern.endswith("*"):
        return [pattern] if pattern in readings else []
    return [name for name in readings if fnmatch.fnmatchcase(name, pattern)]


def _beyond(value: float, is_above: bool, limit: float) -> bool:
    return value >= limit if is_above else value <= limit


def _holds(rule: Rule, name: str, readings: Mapping[str, float]) -> bool:
    """Return whether the rule's second condition holds, or there is none of it to be read."""
    if rule.also is None:
        return True
    other, is_above, limit = rule.also
    subject = subject_of(name)
    value = readings.get(f"{other}[{subject}]" if subject else other)
    return value is None or _beyond(value, is_above, limit)


def _rank(issue: PotentialIssue) -> int:
    return SEVERITIES.index(issue.severity)
