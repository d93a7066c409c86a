"""Joins the lines of a Python traceback into one text; every other line is a text of its own."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field

from modelmedic.monitor.log_tail import LogLine

_BEGINS = "Traceback (most recent call last):"
_CHAINS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_MOST_LINES, _MOST_CHARS = 400, 12_000
_MOST_LOGS = 64
_STALE_SECONDS = 30.0
# The last line of a traceback: "requests.exceptions.ReadTimeout: ...", "KeyboardInterrupt".
# Names in capitals are levels of a log: "ERROR: ...".
_LAST = re.compile(r"(?![A-Z]+:)(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Za-z_]\w{1,80}(?::\s|:?$)")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Joined:
    """A line, or a traceback.

    Args:
        path: The log.
        text: All of it, its beginning and end if it is long.
        headline: The line that says what is wrong.
        at: When its last line was read.
    """

    path: str
    text: str
    headline: str
    at: float
    is_traceback: bool = False


@dataclass(slots=True)
class _Open:
    """A traceback whose last line has not come yet; what stood before "Traceback" in its line."""

    began: float
    prefix: str
    lines: list[str] = field(default_factory=list)
    chars: int = 0


class Joiner:
    """Joins the lines of any number of logs; bounded memory."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def add(self, line: LogLine) -> Joined | None:
        """Take a line; return it, or the traceback that it ends; None inside of one."""
        text = line.text.rstrip()
        at = text.find(_BEGINS)
        if at >= 0:
            self._begin(line, text, text[:at])
            return None
        seen = self._open.get(line.path)
        if seen is None and text.strip() in _CHAINS:
            return None
        if seen is None or line.at - seen.began > _STALE_SECONDS:
            self._open.pop(line.path, None)
            return Joined(line.path, line.text, text.strip(), line.at)
        return self._go_on(seen, line, text)

    def _begin(self, line: LogLine, text: str, prefix: str) -> None:
        seen = _Open(line.at, prefix)
        _keep(seen, text)
        self._open[line.path] = seen
        self._open.move_to_end(line.path)
        while len(self._open) > _MOST_LOGS:
            self._open.popitem(last=False)

    def _go_on(self, seen: _Open, line: LogLine, text: str) -> Joined | None:
        bare = _without(seen.prefix, text)
        _keep(seen, bare)
        # What is neither indented nor an exception is another thread's line.
        if not _LAST.match(bare) and len(seen.lines) < _MOST_LINES:
            return None
        del self._open[line.path]
        return Joined(line.path, "\n".join(seen.lines), bare.strip(), line.at, is_traceback=True)


def _without(prefix: str, text: str) -> str:
    """Return a line without a prefix like the first line's, which may hold another time."""
    head = text[: len(prefix)]
    is_like = _DIGIT.sub("0", head) == _DIGIT.sub("0", prefix)
    return text[len(prefix) :] if is_like else text


def _keep(seen: _Open, text: str) -> None:
    """Keep a line; of a traceback that is too long its first half and its newest lines."""
    seen.lines.append(text)
    seen.chars += len(text)
    while seen.chars > _MOST_CHARS and len(seen.lines) > 2:  # noqa: PLR2004 - the first and the last
        seen.chars -= len(seen.lines.pop(len(seen.lines) // 2))
