"""What the package index would give: asked by dry runs of pip, in probes that say what they do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from modelmedic.context import Context
from modelmedic.errors import RecoveryRefused
from modelmedic.facts.book import FactBook, probe
from modelmedic.installer.pip import Installer
from modelmedic.installer.report import Pinned, Resolution
from modelmedic.installer.words import InstallerRefused
from modelmedic.profile.model import Endpoint
from modelmedic.purity import OWN_PYTHON, TARGET_PYTHON
from modelmedic.strategies.environment import Target, with_sizes

WHEELS = "wheels"  # the kind of an endpoint that is a package index
_SIZE_SECONDS = 10.0
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to pip. See `Installer.resolve`; ``index`` "" is what pip is set to."""

    requirements: tuple[str, ...]
    is_alone: bool = False
    index: str = ""
    find_links: tuple[str, ...] = ()
    is_offline: bool = False
    has_pip: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """What a question brought: wheels with their sizes, and where from."""

    items: tuple[Pinned, ...]
    ask: Ask


@probe("dependency_install", connects="network", spawns=(TARGET_PYTHON, OWN_PYTHON))
def read_resolution(facts: FactBook, ask: Ask) -> Resolution | InstallerRefused:
    """Return what pip of the target would install, or why it would not.

    Raises:
        CannotTell: pip could not be run or its answer not be read.
    """
    python = facts.target_python
    assert python is not None
    host = Installer.of(python, has_pip=ask.has_pip).host
    installer = Installer(python, host, ask.index, ask.find_links, is_offline=ask.is_offline)
    try:
        return installer.resolve(ask.requirements, alone=ask.is_alone)
    except InstallerRefused as refused:
        return refused


@probe("network_test", connects="network")
def read_sizes(_facts: FactBook, urls: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Return the size in bytes of each wheel that its server or the disk tells; others are absent.

    No password goes along: an index that asks for one tells no size.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        sizes = list(pool.map(_size_of, urls))
    return tuple((url, size) for url, size in zip(urls, sizes, strict=True) if size)


def resolve(
    facts: FactBook,
    context: Context,
    target: Target,
    requirements: tuple[str, ...],
    *,
    is_alone: bool = False,
    index: str = "",
    find_links: tuple[str, ...] = (),
    is_offline: bool = False,
) -> Found:
    """Return what pip would install to meet requirements.

    Raises:
        InstallerRefused: It would not; says why.
        RecoveryRefused: This run may not use the network.
    """
    if context.offline and not is_offline:
        raise RecoveryRefused(
            "No package was fetched: --offline was given.",
            "",
            "Start again without it, or give a folder of wheels: --wheelhouse=DIR.",
        )
    ask = Ask(requirements, is_alone, index, find_links, is_offline, target.tool == "pip")
    answer = facts.get(read_resolution, ask)
    if isinstance(answer, InstallerRefused):
        raise answer
    sizes = dict(facts.get(read_sizes, tuple(item.url for item in answer.items)))
    return Found(with_sizes(answer.items, sizes), ask)


def elsewhere(context: Context) -> tuple[Endpoint, ...]:
    """Return the other places of packages that the profile names, in its order."""
    return tuple(e for e in context.profile.endpoints if e.kind == WHEELS)


def anywhere(
    context: Context, ask: Callable[[str], Found], *, kinds: tuple[str, ...] = ("no-match",)
) -> Found:
    """Return what the configured index gives, else the first other place of the profile.

    Args:
        context: The subject of the run.
        ask: Asks one index; "" is the configured one.
        kinds: What lets the next place be asked: kinds of `InstallerRefused`.

    Raises:
        InstallerRefused: What the configured index said, when no other helps.
    """
    try:
        return ask("")
    except InstallerRefused as refused:
        if refused.kind not in kinds:
            raise
        for endpoint in elsewhere(context):
            try:
                return ask(endpoint.url)
            except InstallerRefused:
                continue
        raise


def _size_of(url: str) -> int:
    scheme = urlsplit(url).scheme
    try:
        if scheme == "file":
            return Path(url2pathname(urlsplit(url).path)).stat().st_size
        return _asked_size(url) if scheme in {"http", "https"} else 0
    except (OSError, ValueError):  # requests' own errors are OSErrors
        return 0


def _asked_size(url: str) -> int:
    import requests

    with requests.head(url, timeout=_SIZE_SECONDS, allow_redirects=True) as answer:
        length = answer.headers.get("Content-Length", "")
        return int(length) if answer.ok and length.isdecimal() else 0
