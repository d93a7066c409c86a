"""What pip of one interpreter is configured with: asked from pip itself, masked, never changed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.facts.proxy import masked
from modelmedic.text import printable

# pip's own default, used when no index is configured. Source: pip documentation, --index-url.
DEFAULT_INDEX = "https://pypi.org/simple"
_SECTIONS = ("global", "install", ":env:")  # later ones win; lists are replaced, not joined
_TRUE = {"1", "true", "yes", "on", "y", "t"}


@dataclass(frozen=True, slots=True)
class PipSettings:
    """pip's settings for an install, with credentials: lives inside a probe, never in a fact."""

    index_url: str
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    is_no_index: bool = False
    is_index_configured: bool = False
    cert: str = ""
    proxy: str = ""
    proxy_name: str = ""  # as `pip config get` takes it; ":env:.proxy" of PIP_PROXY
    trusted_hosts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"PipSettings({masked(self.index_url)!r}, ...)"


def ask(python: Path, deadline_seconds: float) -> PipSettings:
    """Return what the pip of ``python`` is configured with.

    Raises:
        CannotTell: The interpreter does not run, has no pip, or pip reports an error.
    """
    argv: list[str | Path] = [
        python,
        "-I",
        "-B",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "config",
        "list",
    ]
    done = commands.run(argv, deadline_seconds=deadline_seconds)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise CannotTell(
            f"pip of {printable(python)} does not tell its configuration (exit code "
            f"{done.returncode}): {masked(lines[-1]) if lines else 'it printed nothing'}.",
            "Most often pip is not installed there, or one of its configuration files is broken.",
            f"{printable(python)} -m pip config debug",
        )
    return settings(parse_list(done.stdout))


def parse_list(text: str) -> dict[str, str]:
    """Return the settings in the output of ``pip config list``, by "section.name".

    Lines that are no setting (warnings of the interpreter) are passed over.

    Source: pip 9 to 26, ``name='value'`` with the value as a Python string literal.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, has_value, literal = line.partition("=")
        try:
            value = ast.literal_eval(literal) if has_value else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, str) and "." in name:
            found[name.strip().lower().replace("_", "-")] = value
    return found


def settings(found: Mapping[str, str]) -> PipSettings:
    """Return the settings as ``pip install`` applies them.

    Source: pip ``cli/parser.py:_update_defaults``: [global], then [install], then environment.
    """

    def where(name: str) -> str:
        names = [f"{section}.{name}" for section in reversed(_SECTIONS)]
        return next((each for each in names if found.get(each, "").strip()), "")

    def one(name: str) -> str:
        return found.get(where(name), "").strip()

    index = one("index-url") or one("pypi-url")
    return PipSettings(
        index_url=index or DEFAULT_INDEX,
        extra_index_urls=tuple(one("extra-index-url").split()),
        find_links=tuple(one("find-links").split()),
        is_no_index=one("no-index").lower() in _TRUE,
        is_index_configured=bool(index),
        cert=one("cert"),
        proxy=one("proxy"),
        proxy_name=where("proxy"),
        trusted_hosts=tuple(one("trusted-host").split()),
    )


def interpreter(target: Path | None) -> Path:
    """Return the Python whose pip is asked: the target, or ours while there is none."""
    return target or Path(sys.executable)
