"""Why pip would not install, told apart: a refusal with a kind, the package, and what cures it."""

from __future__ import annotations

import re

from modelmedic.errors import RecoveryRefused
from modelmedic.facts.packages import normalised
from modelmedic.facts.proxy import masked
from modelmedic.text import printable

_SHOWN = 400
# What the index has as source only, and what a person does about it. They are never compiled here.
# Source: metadata of the index, 2026-11; Dao-AILab/flash-attention, README.
SOURCE_ONLY = {
    "flash-attn": (
        "Take a built wheel whose name says your Python, torch, CUDA and C++ ABI from "
        "https://github.com/Dao-AILab/flash-attention/releases, or leave flash_attn out where "
        "the app can do without it."
    ),
}
_BUILD = "Install it by hand from a built wheel that fits this Python and this platform."
_NETWORK = re.compile(
    r"connection broken by|could not fetch url|max retries exceeded|ReadTimeoutError"
    r"|ConnectTimeoutError|NewConnectionError|NameResolutionError|ProxyError|SSLError"
    r"|IncompleteRead|ConnectionResetError|RemoteDisconnected|ProtocolError"
    r"|network connectivity is disabled|HTTP error 5\d\d|HTTP error 429|5\d\d Server Error",
    re.IGNORECASE,
)
_NO_MATCH = re.compile(r"No matching distribution found for (\S+)")
_VERSIONS = re.compile(r"satisfies the requirement \S+.*\(from versions: (.*)\)")
_CONFLICT = re.compile(r"Cannot install (.+?) because these package versions have conflicting")
_MISMATCH = re.compile(r"^\s+(\S+?)(?:[=<>~!].*)? from .*$", re.MULTILINE)
_OTHER_PYTHON = re.compile(r"require a different python version: (.*)")
_NO_PIP = re.compile(r"No module named '?pip\b|No module named pip\.__main__")
_NO_SPACE = re.compile(r"No space left on device|\[Errno 28\]|\[WinError 112\]|Disk quota exceeded")


class InstallerRefused(RecoveryRefused):
    """pip would not do it; nothing was touched.

    Args:
        kind: "no-match", "source-only", "conflict", "hash", "network", "no-pip", "no-space",
            "other".
        subject: The distribution it is about, normalised; "" when none is named.
    """

    def __init__(
        self, what: str, why: str = "", next_step: str = "", kind: str = "other", subject: str = ""
    ) -> None:
        super().__init__(what, why, next_step)
        self.kind = kind
        self.subject = subject

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.what, self.why, self.next_step, self.kind, self.subject))


def refusal(said: str, python: str) -> InstallerRefused:
    """Return what pip's last words mean.

    Args:
        said: What it printed.
        python: The interpreter, for the words.
    """
    if _NO_PIP.search(said):
        return no_pip(python)
    if found := _NO_MATCH.search(said):
        return _network(said) if _NETWORK.search(said) else no_match(found.group(1), said)
    return _other(said)


def _other(said: str) -> InstallerRefused:
    if "DO NOT MATCH THE HASHES" in said:
        return _mismatch(said)
    if found := _CONFLICT.search(said):
        return _conflict(said, found.group(1))
    if _NO_SPACE.search(said):
        return InstallerRefused(
            "pip found no space left on the disk.", _last(said), "Free space, then start again.",
            "no-space",
        )  # fmt: skip
    if _NETWORK.search(said):
        return _network(said)
    return InstallerRefused("pip would not install it.", _last(said))


def no_pip(python: str) -> InstallerRefused:
    """Return that nothing can install into the target."""
    return InstallerRefused(
        f"{printable(python)} has no pip that works, and modelmedic's own Python has none either.",
        "",
        f"{printable(python)} -m ensurepip",
        "no-pip",
    )


def no_match(wanted: str, said: str = "") -> InstallerRefused:
    """Return that no wheel fits; says so apart where the index has the source only."""
    name = normalised(re.split(r"[\s=<>~!\[;(]", wanted, maxsplit=1)[0])
    if name in SOURCE_ONLY:
        return source_only(name)
    known = _VERSIONS.search(said)
    versions = known.group(1) if known else ""
    listed = "" if versions in {"", "none"} else f"It has {printable(versions)[-_SHOWN:]}."
    other = _OTHER_PYTHON.search(said)
    python = f"For another Python there is {printable(other.group(1))[:_SHOWN]}." if other else ""
    return InstallerRefused(
        f"The package index has no wheel that meets {printable(wanted)} for this Python and "
        "platform.",
        " ".join(part for part in (listed, python) if part),
        "",
        "no-match",
        name,
    )


def source_only(name: str) -> InstallerRefused:
    """Return that a package would have to be compiled."""
    return InstallerRefused(
        f"{printable(name)} was not installed: the package index has no built wheel of it for "
        "this Python and platform, only its source.",
        "Compiling it takes a compiler and often hours, so modelmedic never does.",
        SOURCE_ONLY.get(name, _BUILD),
        "source-only",
        name,
    )


def _mismatch(said: str) -> InstallerRefused:
    found = _MISMATCH.search(said.partition("DO NOT MATCH THE HASHES")[2])
    name = normalised(found.group(1)) if found else ""
    return InstallerRefused(
        f"What arrived of {name or 'a package'} has another SHA-256 than the index states.",
        "Most often a proxy or an index that serves a file that was cut short, again and again.",
        "Start again; if it stays, take another package index.",
        "hash",
        name,
    )


def _conflict(said: str, names: str) -> InstallerRefused:
    _before, _mark, rest = said.partition("The conflict is caused by:")
    lines = []
    for line in rest.strip().splitlines():
        if not line.strip():
            break
        lines.append(printable(line.strip()))
    first = re.split(r"[\s,=<>~!]", names, maxsplit=1)[0]
    return InstallerRefused(
        f"No set of versions suits all of {printable(names)}.",
        "; ".join(lines)[:_SHOWN] + ("." if lines else ""),
        "",
        "conflict",
        normalised(first),
    )


def _network(said: str) -> InstallerRefused:
    lines = [line for line in said.splitlines() if _NETWORK.search(line)]
    return InstallerRefused(
        "The package index could not be reached, or broke off.",
        _shown(lines[-1]),
        "Look at the check network.index, then start again.",
        "network",
    )


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    chosen = (errors or lines)[-1:]
    return f"It said: {_shown(chosen[0])}" if chosen else "It printed nothing."


def _shown(line: str) -> str:
    """Return a line of pip as it may be shown: addresses without user, password and query."""
    words = [masked(word) if "://" in word else word for word in line.split()]
    return printable(" ".join(words))[:_SHOWN]
