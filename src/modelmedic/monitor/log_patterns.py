"""What the lines of logs say: known failures, errors that repeat, and a rate of errors that rises.

A line costs a few searches for words until one looks like an error; only then the tables of known
failures and of phrases are loaded. Lines are grouped by their template: numbers, paths, hashes and
quoted names become marks. What leaves this module is masked; the groups are bounded in number and
length. Nothing here repairs anything.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from modelmedic.monitor import signatures
from modelmedic.monitor.error_rate import ErrorRate
from modelmedic.monitor.interfaces import PotentialIssue
from modelmedic.monitor.log_tail import LogLine
from modelmedic.monitor.tracebacks import Joined, Joiner
from modelmedic.text import counted, duration, printable

if TYPE_CHECKING:
    from modelmedic.masking import Masker

REPEATS = 5
WINDOW_SECONDS = 600.0
AGAIN_SECONDS = 60.0  # the same is told again at most this often
_MOST_GROUPS = 200
_MOST_LOGS = 64
_MOST_TEMPLATE = 200
_MOST_JUDGED = 2_000  # letters of a line, its beginning and its end
_MOST_SHOWN = 300

# Words of which every error has one. A search for a word takes 50 ns.
_SUSPECT = (
    *("error", "exception", "fatal", "critical", "fail", "traceback", "kill", "memory", "denied"),
    *("refused", "timed out", "timeout", "no space", "cannot", "unable", "not found", "panic"),
    *("abort", "corrupt", "invalid", "segfault", "xid", "mismatch", "too many", "still waiting"),
    *("too old", "read-only", "not match", "restricted", "not support", "unsupport", "in use"),
    *("not compatible", "no longer works", "could not", "can't"),
    *("appear to support", "size changed", "not fully covered"),
)
_LEVEL = re.compile(r"(?:^|[\s\[|(<])(?:trace|debug|info|notice)(?:$|[\s\]|:)>])")
_WARNING = re.compile(r"\bwarn(?:ing)?\b|\w(?:warning)\b")
_NONE_WRONG = re.compile(r"\b(?:0|no|without|zero) (?:errors?|failures?|exceptions?)\b")
_COUNT_OF_NONE = re.compile(
    r"\b(?:errors?|failures?|failed|exceptions?)\s{0,3}[:=]\s{0,3}0(?![.\d])"
)
_ERROR = re.compile(
    r"\b(?i:error|exception|fatal|critical|failed|failure|panic|segfault|aborted|traceback)\b"
    r"|[a-z\d](?:Error|Exception)\b"
)
_HEAD_CHARS = 120  # where a level stands

# A colour stands before and behind what it colours, and in the midst of a token would hide it.
# Source: ECMA-48, control sequences, operating system commands, and escapes of two letters.
_ESCAPES = re.compile(
    "\x1b(?:\\[[0-?]{0,64}[ -/]{0,8}[@-~]|\\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\\\)?|[@-Z^_\\\\])"
)
_MARKS = (
    (re.compile(r"https?://[^\s'\"<>]{1,500}"), "<url>"),
    (re.compile(r"(?:[A-Za-z]:)?(?:[\\/][\w.+@~-]{1,100}){2,30}[\\/]?"), "<path>"),
    # Addresses and hashes, of which some are all digits, and numbers.
    (re.compile(r"\b0x[0-9a-fA-F]{1,32}\b|\b[0-9a-fA-F-]{8,64}\b|\d{1,40}(?:\.\d{1,40})?"), "<n>"),
    (re.compile(r"'[^']{1,200}'|\"[^\"]{1,200}\""), "<name>"),
    (re.compile(r"\s{1,100}"), " "),
)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a text is: a known failure or none, an error or merely suspect, and its template."""

    failure: str | None
    is_error: bool
    shape: str


@dataclass(slots=True)
class _Group:
    """Lines of one template: when the last few came, and how many did."""

    first_at: float
    moments: deque[float] = field(default_factory=lambda: deque(maxlen=REPEATS))
    count: int = 0
    told_at: float | None = None


class Patterns:
    """Judges the lines of any number of logs; bounded memory.

    Args:
        masker: Masks what is told; None makes that of this machine when it is first needed.
        repeats: The same error is told when it came so often within ``window_seconds``.
    """

    def __init__(
        self,
        *,
        masker: Masker | None = None,
        repeats: int = REPEATS,
        window_seconds: float = WINDOW_SECONDS,
    ) -> None:
        self._masker = masker
        self._repeats = repeats
        self._window_seconds = window_seconds
        self._joiner = Joiner()
        self._groups: OrderedDict[tuple[str, str], _Group] = OrderedDict()
        self._rates: OrderedDict[str, ErrorRate] = OrderedDict()

    def add(self, line: LogLine) -> PotentialIssue | None:
        """Take a line, those of one log in their order; return what it shows."""
        if "\x1b" in line.text:
            line = replace(line, text=_ESCAPES.sub("", line.text))
        joined = self._joiner.add(line)
        return None if joined is None else self._judged(joined)

    def _judged(self, joined: Joined) -> PotentialIssue | None:
        verdict = _verdict(joined)
        if verdict is None:
            return None
        group = self._grouped(joined, verdict.failure or verdict.shape)
        rising = self._rate(joined.path).add(joined.at) if verdict.is_error else None
        is_again = group.told_at is None or joined.at - group.told_at >= AGAIN_SECONDS
        if verdict.failure and is_again:
            group.told_at = joined.at
            return self._known(joined, verdict.failure, group)
        if not verdict.failure and is_again and self._repeats_now(group, joined.at):
            group.told_at = joined.at
            return self._repeated(joined, verdict.shape, group)
        return self._rising(joined, rising) if rising else None

    def _grouped(self, joined: Joined, key: str) -> _Group:
        seat = (joined.path, key)
        group = self._groups.get(seat)
        if group is None:
            group = self._groups[seat] = _Group(joined.at, deque(maxlen=self._repeats))
            while len(self._groups) > _MOST_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(seat)
        if group.moments and joined.at - group.moments[-1] > self._window_seconds:
            group.moments.clear()
            group.first_at, group.count = joined.at, 0
        group.moments.append(joined.at)
        group.count += 1
        return group

    def _rate(self, path: str) -> ErrorRate:
        rate = self._rates.get(path)
        if rate is None:
            rate = self._rates[path] = ErrorRate()
            while len(self._rates) > _MOST_LOGS:
                self._rates.popitem(last=False)
        return rate

    def _repeats_now(self, group: _Group, at: float) -> bool:
        is_full = len(group.moments) >= self._repeats
        return is_full and at - group.moments[0] <= self._window_seconds

    def _known(self, joined: Joined, failure: str, group: _Group) -> PotentialIssue:
        row = signatures.row_of(failure)
        times = f", {group.count} times since it began" if group.count > 1 else ""
        log = self._shown(joined.path)
        return PotentialIssue(
            key=f"log[{failure}]",
            kind="log",
            severity="warning"
            if _WARNING.search(joined.text[:_HEAD_CHARS].lower())
            else "critical",
            subject=log,
            what=f'{log} shows a known failure{times}, {failure}: "{self._shown(joined.headline)}"',
            why=f"{row.reason[:1].upper()}{row.reason[1:]}. {row.then}",
            command=row.command,
            since=group.first_at,
            failure_id=failure,
        )

    def _repeated(self, joined: Joined, shape: str, group: _Group) -> PotentialIssue:
        category = signatures.category_of(joined.text)
        log, shape = self._shown(joined.path), self._shown(shape)
        span = duration(joined.at - group.first_at)
        about = f"It is about: {category}. " if category else ""
        return PotentialIssue(
            key=f"log_repeats[{log}: {shape}]",
            kind="log",
            severity="warning",
            subject=log,
            what=f"{log} says the same error {group.count} times in {span}: "
            f'"{self._shown(joined.headline)}"',
            why=f"{about}Numbers, paths and names apart these lines are the same; no known failure "
            "has these words.",
            command="modelmedic check",
            since=group.first_at,
        )

    def _rising(self, joined: Joined, rising: tuple[int, float, float]) -> PotentialIssue:
        count, usual, since = rising
        log = self._shown(joined.path)
        return PotentialIssue(
            key=f"log_rate[{log}]",
            kind="log",
            severity="warning",
            subject=log,
            what=f"{log} has {counted(count, 'line')} of errors within a minute; {usual:.1f} are "
            "usual.",
            why=f'The newest: "{self._shown(joined.headline)}"',
            command="modelmedic check",
            since=since,
        )

    def _shown(self, text: str) -> str:
        if self._masker is None:
            from modelmedic.masking import Masker

            self._masker = Masker.of_this_machine()
        # Masked before it is cut: half of a secret would not be known for one.
        shown = printable(self._masker.mask(text))
        return shown if len(shown) <= _MOST_SHOWN else f"{shown[: _MOST_SHOWN - 3]}..."


def _verdict(joined: Joined) -> _Verdict | None:
    text = joined.text
    if len(text) > _MOST_JUDGED and not joined.is_traceback:
        text = f"{text[: _MOST_JUDGED // 2]}\n{text[-_MOST_JUDGED // 2 :]}"
    lowered = text.lower()
    if not joined.is_traceback and not any(word in lowered for word in _SUSPECT):
        return None
    failure = signatures.failure_of(lowered)
    is_error = joined.is_traceback or is_error_line(text)
    shape = template(joined.headline)
    return _Verdict(failure, is_error, shape) if failure or is_error else None


def template(text: str) -> str:
    """Return a line with numbers, paths, addresses, hashes and quoted names as marks, cut."""
    text = text[: 4 * _MOST_TEMPLATE]
    for pattern, mark in _MARKS:
        text = pattern.sub(mark, text)
    return text.strip()[:_MOST_TEMPLATE]


def is_error_line(text: str) -> bool:
    """Return whether a line tells an error, by its level and its words."""
    lowered = text.lower()
    if _LEVEL.search(lowered[:_HEAD_CHARS]):
        return False
    return (
        bool(_ERROR.search(text))
        and not _NONE_WRONG.search(lowered)
        and not _COUNT_OF_NONE.search(lowered)
    )
