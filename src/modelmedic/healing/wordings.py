r"""Categories by the wording of an error: the last resort, after types and numbers.

Each rule is a whole phrase between word boundaries, never a lone word: "certainly" is no
certificate, 15009 no status. The text is lowered once, cut to its ends, and matched rule by rule;
the first rule that matches decides, so what is more certain comes first. Every gap in a pattern is
bounded, so that no text takes more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing import error_types, numbers
from modelmedic.healing.phrases import BEFORE_NUMBERS, PHRASES

# A build log of pip says what failed in its last lines, an HTTP error in its first.
_HEAD_CHARS, _TAIL_CHARS = 4_096, 12_288

_NUMBERS: tuple[tuple[str, Callable[[int], Category | None], str], ...] = (
    ("windows-error", numbers.of_windows_error, r"\bwinerror[ :#]{1,2}(\d{1,5})\b"),
    ("errno", numbers.of_errno, r"\[errno (\d{1,5})\]"),
    ("os-error", numbers.of_os_error, r"\(os error (\d{1,5})\)"),
    ("status-error", numbers.of_status, r"\b(\d{3}) (?:client|server) error\b"),
    ("status-rust", numbers.of_status, r"\bhttp status (?:client|server) error \((\d{3})\b"),
    (
        "status-http",
        numbers.of_status,
        r"\bhttp(?:/[123](?:\.[01])?)? (?:error |status |status code |code |response )?(\d{3})"
        r"(?![\w.,/]| ?(?:[kmgt]i?b|bytes|ms|s|files|of)\b)",
    ),
    ("status-code", numbers.of_status, r"\bstatus[ _]code[ :=]{1,3}(\d{3})\b"),
    ("status-returned", numbers.of_status, r"\breturned error: (\d{3})\b"),
    ("status-response", numbers.of_status, r"<response \[(\d{3})\b"),
    (
        "exit-code",
        numbers.of_exit_code,
        r"\b(?:exit(?:ed)?(?: with)?(?: exit)? (?:code|status)|exitcode|returncode|return code)"
        r"[ :=]{1,3}(-?\d{1,10})\b",
    ),
    ("nt-status", numbers.of_exit_code, r"\b(0x[c8]0000[0-9a-f]{3})\b"),
    ("signal-number", numbers.of_signal, r"\b(?:killed by|received|signal:) signal:? (\d{1,2})\b"),
    ("signal-name", numbers.of_signal, r"\bsignal (\d{1,2}) \(sig[a-z]{2,6}\)"),
)
# The last line of a traceback: "requests.exceptions.ReadTimeout: ...".
_TYPE_LINE = re.compile(r"^(?:E +)?((?:[A-Za-z_]\w{0,60}\.){0,8}[A-Za-z_]\w{2,80})(?::|$)", re.M)


@dataclass(frozen=True, slots=True)
class Match:
    """Which rule matched and what it says."""

    rule: str
    category: Category


def of_text(text: str) -> Category | None:
    """Return the category that the wording of an error says; None when no rule knows it."""
    found = match(text)
    return found.category if found else None


def match(text: str) -> Match | None:
    """Return the rule that decides on a text, with its category; None when none knows it."""
    kept = _ends(text)
    return next(_matches(kept), None)


def _matches(kept: str) -> Iterator[Match]:
    lowered = kept.lower()
    for rules in (_phrases_first(), _numbers(), _phrases()):
        for name, read, pattern in rules:
            for hit in pattern.finditer(lowered):
                category = read(_number(hit[1])) if callable(read) else read
                if category is not None:
                    yield Match(name, category)
    for hit in _TYPE_LINE.finditer(kept):
        category = error_types.of_name(hit[1])
        if category is not None:
            yield Match("type-line", category)


def _number(digits: str) -> int:
    return int(digits, 16 if digits.startswith("0x") else 10)


def _ends(text: str) -> str:
    if len(text) <= _HEAD_CHARS + _TAIL_CHARS:
        return text
    return f"{text[:_HEAD_CHARS]}\n{text[-_TAIL_CHARS:]}"


_Compiled = tuple[str, Category | Callable[[int], Category | None], re.Pattern[str]]


@cache
def _phrases_first() -> tuple[_Compiled, ...]:
    return _compiled(BEFORE_NUMBERS)


@cache
def _phrases() -> tuple[_Compiled, ...]:
    return _compiled(PHRASES)


@cache
def _numbers() -> tuple[_Compiled, ...]:
    return tuple((name, read, re.compile(pattern)) for name, read, pattern in _NUMBERS)


def _compiled(rules: tuple[tuple[str, Category, str], ...]) -> tuple[_Compiled, ...]:
    """Compile lazily: most runs never read a wording."""
    return tuple((name, found, re.compile(pattern, re.M)) for name, found, pattern in rules)
