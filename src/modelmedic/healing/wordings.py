r"""Categories by the wording of an error: the last resort, after types and numbers.

Each rule is a whole phrase between word boundaries, never a lone word: "certainly" is no
certificate, 15009 no status. The text is lowered once, cut to its ends, and matched rule by rule;
the first rule that matches decides. Every gap in a pattern is bounded, so that no text takes more
than linear time. The phrases lie in ``phrases.toml``; most runs never read them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing import error_types, numbers, tables

# A build log of pip says what failed in its last lines, an HTTP error in its first.
_HEAD_CHARS, _TAIL_CHARS = 4_096, 12_288
MAX_CHARS = _HEAD_CHARS + _TAIL_CHARS  # what is read of a text, however long it is

_Reader = Callable[[int], Category | None]
_STATUS = (
    r"\b(\d{3}) (?:client|server) error\b",
    r"\bhttp status (?:client|server) error \((\d{3})\b",
    (
        r"\bhttp(?:/[123](?:\.[01])?)? (?:error |status |status code |code |response )?(\d{3})"
        r"(?![\w.,/]| ?(?:[kmgt]i?b|bytes|ms|s|files|of)\b)"
    ),
    r"\bstatus(?:[ _]code[ :=]{1,3}|: )(\d{3})\b",
    (
        r"\b([45]\d\d) (?:unauthorized|forbidden|not found|request time-?out|too many requests"
        r"|requested range not satisfiable|internal server error|bad gateway"
        r"|service (?:temporarily )?unavailable|gateway time-?out)\b"
    ),
    r"\breturned error: (\d{3})\b",
    r"<response \[(\d{3})\b",
)
_EXIT = (
    (
        r"\b(?:exit(?:ed)?(?: with)?(?: exit)? (?:code|status)|exitcode|returncode|return code)"
        r"[ :=]{1,3}(-?\d{1,10})\b"
    ),
    r"\b(0x[c8]0000[0-9a-f]{3})\b",  # a Windows status
)
_SIGNAL = (
    r"\b(?:killed by|received|signal:) signal:? (\d{1,2})\b",
    r"\bsignal (\d{1,2}) \(sig[a-z]{2,6}\)",
)
_NUMBERS: tuple[tuple[str, _Reader, tuple[str, ...]], ...] = (
    (
        "windows-error",
        numbers.of_windows_error,
        (r"\bwinerror[ :#]{1,2}(\d{1,5})\b", r"\bloadlibrary failed with error (\d{1,5})\b"),
    ),
    ("errno", numbers.of_errno, (r"\[errno (\d{1,5})\]",)),
    ("os-error", numbers.of_os_error, (r"\(os error (\d{1,5})\)",)),
    ("status", numbers.of_status, _STATUS),
    ("exit-code", numbers.of_exit_code, _EXIT),
    ("signal", numbers.of_signal, _SIGNAL),
)
# The last line of a traceback: "requests.exceptions.ReadTimeout: ...".
_TYPE_LINE = r"^(?:E +)?((?:[A-Za-z_]\w{0,60}\.){0,8}[A-Za-z_]\w{2,80})(?::|$)"


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
    return next(_matches(_ends(text)), None)


def rule_names() -> tuple[str, ...]:
    """Return the names of the phrases' rules and of those that read numbers, in no order."""
    first, then = _phrases("before_numbers"), _phrases("after_numbers")
    return tuple(dict.fromkeys(name for name, _read, _pattern in (*first, *_numbers(), *then)))


def _matches(kept: str) -> Iterator[Match]:
    lowered = kept.lower()
    for rules in (_phrases("before_numbers"), _numbers(), _phrases("after_numbers")):
        for name, read, pattern in rules:
            for hit in pattern.finditer(lowered):
                category = read if isinstance(read, Category) else read(_number(hit[1]))
                if category is not None:
                    yield Match(name, category)
    for hit in re.finditer(_TYPE_LINE, kept, re.MULTILINE):
        category = error_types.of_name(hit[1])
        if category is not None:
            yield Match("type-line", category)


def _number(digits: str) -> int:
    return int(digits, 16 if digits.startswith("0x") else 10)


def _ends(text: str) -> str:
    if len(text) <= MAX_CHARS:
        return text
    return f"{text[:_HEAD_CHARS]}\n{text[-_TAIL_CHARS:]}"


_Compiled = tuple[str, Category | _Reader, re.Pattern[str]]


@cache
def _phrases(group: str) -> tuple[_Compiled, ...]:
    return tuple(
        (
            rule["name"],
            Category(rule["category"]),
            re.compile("|".join(f"(?:{phrase})" for phrase in rule["any"]), re.MULTILINE),
        )
        for rule in tables.read("phrases.toml")[group]
    )


@cache
def _numbers() -> tuple[_Compiled, ...]:
    return tuple(
        (name, read, re.compile(pattern))
        for name, read, patterns in _NUMBERS
        for pattern in patterns
    )
