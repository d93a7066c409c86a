"""Text for people: names from the outside made printable, numbers with their unit."""

from __future__ import annotations

import re
import sys

_STEP = 1024
_MOST = 10**18  # seconds or bytes; more was never measured
_MAX_NAME = 300  # a name longer than any file system allows is shown cut
# Characters that no reader sees, or that turn text round. Source: Unicode categories Cc (but tab
# and newline), Cs, and the default-ignorable part of Cf.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb]"
)


def printable(name: object) -> str:
    r"""Return ``name`` on one line with control, ANSI and bidi characters escaped.

    Surrogates (undecodable bytes of a file name) come out as ``\udcXX``.
    """
    text = str(name)
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return shown if len(shown) <= _MAX_NAME else f"{shown[: _MAX_NAME - 3]}..."


def visible(text: str) -> str:
    """Return ``text``, of any number of lines, with what cannot be seen in it as escapes."""
    return _INVISIBLE.sub(lambda match: repr(match[0])[1:-1], text)


def size(count_bytes: float) -> str:
    """Return a byte count as people read it: "512 bytes", "34.2 GiB"."""
    value = float(count_bytes)
    if abs(value) < _STEP:
        return f"{int(value)} byte{'' if int(value) == 1 else 's'}"
    for unit in ("KiB", "MiB", "GiB"):
        value /= _STEP
        if abs(value) < _STEP:
            return f"{value:.1f} {unit}"
    return f"{value / _STEP:.1f} TiB"


def duration(seconds: float) -> str:
    """Return a duration as people read it: "under 0.1 s", "0.4 s", "12 s", "3 min", "2 h 5 min"."""
    if seconds < 0.05:  # noqa: PLR2004 - would be rounded to nothing
        return "under 0.1 s"
    if seconds < 10:  # noqa: PLR2004 - below ten seconds the tenths matter
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:  # noqa: PLR2004 - two minutes
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004


def fact(name: str, value: object) -> tuple[str, object]:
    """Return a fact's name and value for people: the unit goes from the name to the number."""
    words, _, unit = name.rpartition("_")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not words or not is_number or unit not in {"bytes", "seconds"}:
        return name.replace("_", " "), value
    if not abs(value) < _MOST:  # type: ignore[arg-type]  # nan, infinite, or nonsense
        return name.replace("_", " "), value
    told = f"{value:,} bytes" if unit == "bytes" else duration(float(value))  # type: ignore[arg-type]
    return words.replace("_", " "), told


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return "1 check" or "9 checks"."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def quoted(value: str) -> str:
    """Return one word of a command line as this system's shell reads it back."""
    import shlex
    import subprocess

    return subprocess.list2cmdline([value]) if sys.platform == "win32" else shlex.quote(value)
