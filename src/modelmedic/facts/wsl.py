"""The settings that decide how much of a Windows machine its Linux (WSL 2) may use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from modelmedic.facts.book import FactBook, probe

_MAX_BYTES = 64 << 10
_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


@dataclass(frozen=True, slots=True)
class WslConfig:
    """What one ``.wslconfig`` says; None where it says nothing. ``trouble`` is why WSL ignores it.

    Source: Microsoft, "Advanced settings configuration in WSL": without a setting, memory is
    half of Windows' RAM and swap a quarter of it.
    """

    path: Path
    memory_bytes: int | None = None
    swap_bytes: int | None = None
    trouble: str = ""


@probe("local_read")
def read_wsl_config(facts: FactBook) -> WslConfig | None:  # noqa: ARG001 - a probe's signature
    """Return the only ``.wslconfig`` of drive C's users; None when none or several are seen."""
    return find_config(Path("/mnt/c/Users"))


def find_config(users: Path) -> WslConfig | None:
    """Return the only ``.wslconfig`` below ``users``.

    Which Windows user runs this Linux cannot be seen from inside, so of several none is taken.
    """
    try:
        found = list(islice(users.glob("*/.wslconfig"), 2))
        if len(found) != 1:
            return None
        with found[0].open("rb") as file:
            return parse_wslconfig(found[0], file.read(_MAX_BYTES))
    except OSError:
        return None


def parse_wslconfig(path: Path, data: bytes) -> WslConfig:
    """Return what the bytes of a ``.wslconfig`` say.

    Source: microsoft/WSL issues 7851 and 11151: a file saved as UTF-16 or with a byte order mark
    is ignored without a word, as is one whose section and keys share a line.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in data:
        return WslConfig(path, trouble="it is saved as UTF-16, which WSL does not read")
    if data.startswith(b"\xef\xbb\xbf"):
        return WslConfig(path, trouble="it starts with a byte order mark, which WSL trips over")
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    headers = [line for line in lines if line.lower().startswith("[wsl2]")]
    if not headers:
        return WslConfig(path, trouble="it has no line [wsl2]" if any(lines) else "")
    if "=" in headers[0]:
        return WslConfig(path, trouble="[wsl2] and a setting share one line")
    settings = _section(lines)
    return WslConfig(path, _amount(settings.get("memory")), _amount(settings.get("swap")))


def _section(lines: list[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    is_ours = False
    for line in lines:
        if line.startswith("["):
            is_ours = line.lower().startswith("[wsl2]")
        elif is_ours and "=" in line:
            key, _, value = line.partition("=")
            settings[key.strip().lower()] = value.strip()
    return settings


def _amount(value: str | None) -> int | None:
    match = re.match(r"(\d+)\s*([KMGT]?B)?", value or "", re.IGNORECASE)
    return int(match.group(1)) * _UNITS[(match.group(2) or "").upper()] if match else None
