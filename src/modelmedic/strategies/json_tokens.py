"""The pieces of a JSON text, however damaged: marks, strings, words, comments, and the rest."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

END: Final = "end"
# Every alternative is found or given up within its line, or takes the rest of the text: linear.
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<comment>//[^\r\n]*|/\*.*?(?:\*/|\Z))"
    r'|(?P<string>"[^"\\\x00-\x1f]*(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*)*")'
    r"|(?P<mark>[{}\[\]:,])"
    r'|(?P<word>[^\s{}\[\]:,"/]+)'
    r'|(?P<torn>"[^\n]*|.)',
    re.DOTALL,
)


class Token(NamedTuple):
    """A piece of the text. ``indent``: characters before it if it is the first of its line."""

    kind: str  # the mark itself, "string", "word", "torn" or "end"
    start: int
    end: int
    indent: int | None


class Slip(NamedTuple):
    """A mistake that costs no value, and the text that would be right."""

    what: str
    start: int
    end: int
    right: str


def tokens_of(text: str) -> tuple[list[Token], list[Slip]]:
    """Return the tokens, the last of kind "end", and the comments, which JSON does not allow."""
    tokens: list[Token] = []
    comments = []
    line_start, is_first = 0, True
    for match in _TOKEN.finditer(text):
        kind, start, end = match.lastgroup or "", match.start(), match.end()
        if kind == "space":
            newline = text.rfind("\n", start, end)
            if newline >= 0:
                line_start, is_first = newline + 1, True
        elif kind == "comment":
            comments.append(Slip("comment", start, end, ""))
        else:
            indent = start - line_start if is_first else None
            tokens.append(Token(match[0] if kind == "mark" else kind, start, end, indent))
            is_first = False
    tokens.append(Token(END, len(text), len(text), 0 if is_first else None))
    return tokens, comments


def is_name(tokens: list[Token], seat: int) -> bool:
    """Return whether a name and its colon stand at ``seat``."""
    return tokens[seat].kind == "string" and tokens[seat + 1].kind == ":"


def indent_step(tokens: list[Token]) -> int:
    """Return the characters by which lines are indented for each level; 0 without such a rule.

    The rule is that of programs: every name on a line of its own stands a multiple of the step to
    the right, and never at the edge. Only then does an indentation say to which table it belongs.
    """
    names = {token.indent for seat, token in enumerate(tokens) if is_name(tokens, seat)} - {None}
    # Brackets count as well: the names of a level may all be lost. Scraps of damage do not.
    brackets = {token.indent for token in tokens if token.indent and token.kind in set("{}[]")}
    step = min((indent for indent in names | brackets if indent), default=0)
    return step if step and names and all(name and name % step == 0 for name in names) else 0
