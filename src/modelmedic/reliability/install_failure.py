"""What failed in an install, and how a strategy is carried out on it: by a run that heals."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelmedic import selection
from modelmedic.errors import RecoveryRefused
from modelmedic.healing.slots import IRecoveryStrategy
from modelmedic.needs import Need
from modelmedic.reliability.child_runs import ChildRun, ChildRuns
from modelmedic.reliability.interfaces import StrategyAttempt

_BAD = frozenset({"failed", "unknown", "blocked"})
_GOOD = frozenset({"passed", "healed", "degraded"})
_KEPT = frozenset({"healed", "degraded"})  # verdicts of attempts whose changes stand
_MOST_TOLD = 3


@dataclass(slots=True)
class InstallFailure:
    """Checks that do not hold, and the runs that can repair what they find.

    Args:
        runs: Starts the runs.
        checks: The selection of checks that tell whether it still fails.
        limit_seconds: How long the repairs of one strategy may take.
        judged_by: The part of the selection that counts; the others only make a way for it. Empty:
            all of it counts, and what it needs.
        names: What failed, where only that counts: a check that judges many things at once counts
            when its finding names one of them. Empty: every check counts.
        must_repair: No check of the selection judges what failed: only a repair that names it
            counts as its recovery.
        also_using: Further recoveries of a strategy's run, which do what it makes a way for.
        allow: Risk classes that may be used; see `allowing`.
        environment: Variables of the runs.
        last: The newest run.
    """

    runs: ChildRuns
    checks: str
    limit_seconds: int
    judged_by: str = ""
    names: tuple[str, ...] = ()
    must_repair: bool = False
    also_using: Mapping[type[IRecoveryStrategy], tuple[str, ...]] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    last: ChildRun | None = None

    def carry_out(self, strategy: IRecoveryStrategy) -> StrategyAttempt:
        """Run the checks with the strategy's recoveries, and no others."""
        started = time.monotonic()
        try:
            recoveries = strategy.recoveries()
        except RecoveryRefused as error:
            return StrategyAttempt(strategy.name, "refused", str(error))
        self.last = self.runs.heal(
            f"--checks={self.checks}",
            f"--using={','.join([*recoveries, *self.also_using.get(type(strategy), ())])}",
            *self.options,
            allow=self.allow,
            limit_seconds=self.limit_seconds,
            environment=self.environment,
        )
        verdict, note, used = self._judged(self.last)
        seconds = round(time.monotonic() - started, 3)
        return StrategyAttempt(strategy.name, verdict, note, seconds, used or recoveries)

    @property
    def waits_for_consent(self) -> bool:
        """Return whether the newest run would have repaired more, had it been allowed to."""
        return self.last is not None and any(
            attempt["verdict"] == "not allowed" for attempt in _attempts(self.last.findings)
        )

    def _judged(self, run: ChildRun) -> tuple[str, str, tuple[str, ...]]:
        """Return verdict, note and the recoveries that were tried."""
        if run.problem:
            return "failed", run.problem, ()
        tried = list(_attempts(run.findings))
        used = tuple(dict.fromkeys(attempt["recovery"] for attempt in tried))
        bad = [finding for finding in run.findings if self._is_against(finding)]
        seen = [f for f in run.findings if f["outcome"] in _GOOD and self._is_meant(f)]
        done = [attempt for attempt in tried if attempt["verdict"] in _KEPT]
        if bad or not seen:
            return _not_recovered(bad, tried, done, used)
        if self.must_repair and not any(self._is_named(_texts(attempt)) for attempt in done):
            told = f"No check of the profile judges {self.names[0]}, and no repair was for it."
            return "refused", told, used
        around = [f for f in run.findings if any(a["verdict"] == "degraded" for a in f["attempts"])]
        return _recovered([*seen, *(f for f in around if f not in seen)], done, used)

    def _is_meant(self, finding: dict[str, Any]) -> bool:
        check = _need(finding)
        return any(entry.has(check) for entry in selection.parse(self.judged_by or self.checks))

    def _is_against(self, finding: dict[str, Any]) -> bool:
        """Return whether a finding keeps what failed from counting as recovered."""
        if finding["outcome"] not in _BAD:
            return False
        if self.judged_by:
            return self._is_meant(finding)
        if not self.names or _need(finding).parameter is not None:
            return True
        return self._is_named(" ".join(str(finding[key]) for key in ("what", "why", "next")))

    def _is_named(self, text: str) -> bool:
        return any(
            re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", text, re.IGNORECASE)
            for name in self.names
        )


def _texts(attempt: Mapping[str, Any]) -> str:
    return " ".join(str(operation["text"]) for operation in attempt["operations"])


def _need(finding: Mapping[str, Any]) -> Need:
    name, bracket, parameter = str(finding["check"]).partition("[")
    return Need("", name, parameter.removesuffix("]") if bracket else None, (), finding["area"])


def _attempts(findings: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for finding in findings:
        yield from finding["attempts"]


def _recovered(
    seen: list[dict[str, Any]], done: list[dict[str, Any]], used: tuple[str, ...]
) -> tuple[str, str, tuple[str, ...]]:
    losses = [finding for finding in seen if finding["outcome"] == "degraded"]
    told = [_done(attempt) for attempt in done] or ["Nothing was repaired: its checks hold."]
    told += [_words(finding) for finding in losses]
    return "degraded" if losses else "healed", _few(told), used


def _not_recovered(
    bad: list[dict[str, Any]],
    tried: list[dict[str, Any]],
    done: list[dict[str, Any]],
    used: tuple[str, ...],
) -> tuple[str, str, tuple[str, ...]]:
    """Return what did not help: "refused" only where nothing was touched."""
    verdicts = {attempt["verdict"] for attempt in tried}
    verdict = next((each for each in ("failed", "not healed") if each in verdicts), "")
    if not verdict:
        verdict = "not healed" if done or verdicts & {"interrupted", "rechecked"} else "refused"
    told = [f"{a['recovery']}: {a['error']}" for a in tried if a["error"]]
    told += [_done(attempt) for attempt in done]
    causes = [finding for finding in bad if finding["outcome"] != "blocked"] or bad
    told += [_words(finding) for finding in causes]
    if not tried and bad:
        told.insert(0, "None of its recoveries is meant for what these checks found.")
    return verdict, _few(told) or "Nothing was checked: none of the checks applies here.", used


def _words(finding: Mapping[str, Any]) -> str:
    """Return what a finding says; a loss also says what to do about it."""
    says = f"{finding['check']}: {finding['what']}"
    is_loss = finding["outcome"] == "degraded" and finding["next"]
    return f"{says} Next: {finding['next']}" if is_loss else says


def _done(attempt: Mapping[str, Any]) -> str:
    steps = "; ".join(operation["text"] for operation in attempt["operations"])
    return f"{attempt['recovery']}: {steps}."


def _few(told: Iterable[str]) -> str:
    lines = list(dict.fromkeys(told))
    rest = len(lines) - _MOST_TOLD
    return " ".join([*lines[:_MOST_TOLD], f"(and {rest} more)"] if rest > 0 else lines)
