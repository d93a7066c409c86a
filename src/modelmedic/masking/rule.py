"""What a rule of masking is, and the pieces of which the rules are made."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

MASK = "***"
Left = str | Callable[[re.Match[str]], str]

# A quotation mark as it stands in text, in JSON inside of JSON, in XML. Every repeat below has an
# end: a line of ten million letters must not take more than its length.
QUOTE = r"\\{0,7}[\"']|&quot;|&#0?3[49];|&#x2[27];"
# The end of a line: in text, in what Python or JSON printed of it; pytest begins each line of an
# error's message with an "E". A space, likewise, is what may stand for one.
NEWLINE = r"(?:\\{0,8}\r?\n(?:E(?=[ \t]))?|(?:\\{1,8}r)?\\{1,8}n)"
SPACE = r"(?:\s|\\{1,8}[nrt]|(?<=\n)E(?=[ \t]))"
LINE_ENDS = r"(?=[ \t]{0,4}(?:\r?\n|\\{1,8}[nr]|\\{0,7}[\"']|\Z))"
# A value between two equal marks; an escaped mark inside of it does not end it.
QUOTED = (
    rf"(?P<q>{QUOTE})(?P<v>(?:(?!(?P=q))[^\r\n\\]|\\(?!(?P=q))|\\(?P=q)){{0,8000}}?)"
    r"(?<!\\)(?P=q)"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    ``words``: one of these stands, in small letters, in all that it finds. To look for a word costs
    a hundredth of a search for the pattern, and nearly all that is masked holds none of them.
    ``source``: the pattern. ``left``: what stays of a match.
    """

    name: str
    words: tuple[str, ...]
    source: str
    left: Left = MASK
    ignore_case: bool = True
    least: int = 0  # letters of the shortest text in which it can find something

    @property
    def pattern(self) -> re.Pattern[str]:
        """Return the pattern; compiled when it is first needed, which is seldom."""
        return _compiled(self.source, re.IGNORECASE if self.ignore_case else 0)

    def apply(self, text: str) -> str:
        """Return ``text`` with what the rule finds replaced."""
        return self.pattern.sub(self.left, text)


@cache
def _compiled(source: str, flags: int) -> re.Pattern[str]:
    return re.compile(source, flags)
