"""Which packages a new environment gets: what was there, what the profile asks for, what exists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelmedic.errors import RecoveryRefused
from modelmedic.facts import packages
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.installed_on_disk import OnDisk
from modelmedic.facts.makers import Maker
from modelmedic.installer.pip import Installer
from modelmedic.installer.report import Pinned, Resolution
from modelmedic.installer.words import InstallerRefused
from modelmedic.operations.environment_making import host
from modelmedic.profile.model import PythonNeeds
from modelmedic.purity import OWN_PYTHON
from modelmedic.strategies import resolving, torch_choice, wheelhouse
from modelmedic.strategies.environment import with_sizes
from modelmedic.text import printable

# Another build of these may not run on the card at all: they keep their version, or it is refused.
KEPT = torch_choice.FAMILY
_MOST_TRIES = 12  # each takes pip some seconds
_CUDA = re.compile(r"\+(cu\d+|rocm[\d.]+|xpu)$")


@dataclass(frozen=True, slots=True)
class Wished:
    """What a new environment gets. ``left_out`` says what it will not hold, in words."""

    items: tuple[Pinned, ...]
    left_out: tuple[str, ...]
    find_links: tuple[str, ...] = ()
    is_offline: bool = False


@dataclass(slots=True)
class _Wishes:
    """Requirements by name, on the way to a set that exists.

    ``pinned`` are those that stand for what was there, and may become another version.
    """

    lines: dict[str, list[str]] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    pinned: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)

    def all(self) -> tuple[str, ...]:
        return tuple(line for lines in self.lines.values() for line in lines)


@probe("dependency_install", connects="network", spawns=(OWN_PYTHON, "python*"))
def read_fresh_set(
    facts: FactBook,
    python: Path,
    lines: tuple[str, ...],
    settings: str,
    find_links: tuple[str, ...],
) -> Resolution | InstallerRefused:
    """Return what pip would put into an empty environment of a Python, or why it would not.

    Raises:
        CannotTell: pip could not be run.
    """
    installer = Installer(
        python,
        host(python),
        find_links=find_links,
        is_offline=bool(facts.context.wheelhouse),
        settings=settings,
    )
    try:
        return installer.resolve(lines, fresh=True)
    except InstallerRefused as refused:
        return refused


def settle(
    facts: FactBook,
    maker: Maker,
    held: Sequence[OnDisk],
    needs: PythonNeeds,
    *,
    is_same: bool,
    settings: str = "",
) -> Wished:
    """Return a set of wheels that exists, as near as possible to what was there.

    Args:
        facts: The fact book.
        maker: The interpreter it is for.
        held: What the old environment held; empty for a first one.
        needs: What the profile asks for; it wins.
        is_same: Whether the Python is of the same minor version as before.
        settings: The file of pip's settings of the old environment; "" for none.

    Raises:
        RecoveryRefused: There is no such set; names the package.
    """
    places = _places(facts)
    wishes = _wishes(held, needs)
    if not places and not wishes.pinned & KEPT:
        pins, places = torch_choice.read_choice(facts, maker, wishes.asked)
        wishes.lines |= {name: [pin] for name, pin in pins.items()}
    is_loose = False
    for _ in range(_MOST_TRIES):
        found = facts.get(read_fresh_set, maker.path, wishes.all(), settings, places)
        if isinstance(found, Resolution):
            return _wished(facts, found, wishes, places)
        _refuse_kept(found, wishes)
        if found.kind == "conflict" and not is_loose:
            is_loose = True
            _loosen(wishes, held)
        elif not _give_way(found, wishes):
            raise found
    raise RecoveryRefused(
        f"No set of packages was found within {_MOST_TRIES} tries.",
        f"{len(held)} packages were there"
        + ("." if is_same else ", made for another version of Python."),
    )


def _places(facts: FactBook) -> tuple[str, ...]:
    """Return the wheelhouse of the run; empty: the configured index is asked.

    Raises:
        RecoveryRefused: There is neither.
    """
    context = facts.context
    if context.wheelhouse:
        return (context.wheelhouse,)
    if context.offline:
        raise RecoveryRefused(
            "No environment was made: --offline allows no package index.",
            "",
            "Start again without it, or give a folder of wheels: --wheelhouse=DIR.",
        )
    return ()


def _wished(
    facts: FactBook, found: Resolution, wishes: _Wishes, find_links: tuple[str, ...]
) -> Wished:
    is_offline = bool(facts.context.wheelhouse)
    if is_offline:
        wheelhouse.refuse_strangers(find_links[0], found.items)
    sizes = facts.get(resolving.read_sizes, tuple(item.url for item in found.items))
    items = sorted(with_sizes(found.items, dict(sizes)), key=lambda item: item.key)
    bare = [item.filename for item in items if not item.sha256]
    if bare:
        raise RecoveryRefused(
            f"No environment was made: the package index states no SHA-256 of "
            f"{printable(bare[0])}.",
            "Without one, nobody could tell good bytes from bad ones.",
        )
    return Wished(tuple(items), tuple(wishes.left_out), find_links, is_offline)


def _wishes(held: Sequence[OnDisk], needs: PythonNeeds) -> _Wishes:
    required = [need for need in needs.requirements if not need.is_optional]
    wishes = _Wishes(asked={need.name: need.spec for need in required})
    for item in held:
        if item.origin:
            kind = "editable " if item.is_editable else ""
            wishes.left_out.append(f"{item.key} ({kind}from {item.origin})")
        elif packages.is_name(item.name):
            wishes.lines[item.key] = [_line(item, wishes.asked.get(item.key, ""))]
            wishes.pinned.add(item.key)
    for need in required:
        lines = wishes.lines.setdefault(need.name, [])
        if need.spec not in lines:  # also beside a pin: it may ask for extras
            lines.append(need.spec)
    wishes.lines.setdefault("pip", ["pip"])
    return wishes


def _line(item: OnDisk, asked: str) -> str:
    """Return the pin of what was there, or what the profile asks for where that does not fit."""
    parsed = packages.parsed(asked) if asked else None
    is_fitting = parsed is None or packages.fits(parsed, item.version) is True
    return (item.pin or item.name) if is_fitting else asked


def _refuse_kept(refused: InstallerRefused, wishes: _Wishes) -> None:
    """Refuse when torch or what is built for it cannot be had as it was.

    Raises:
        RecoveryRefused: Says which index may have it.
    """
    if refused.subject not in KEPT or refused.subject not in wishes.pinned:
        return
    pin = wishes.lines[refused.subject][0]
    build = _CUDA.search(pin)
    raise RecoveryRefused(
        f"{printable(pin)} is not to be had from the configured package index; nothing was "
        "touched.",
        "Another version or build of it may not run on this card, so it is not changed unasked.",
        f"Set PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/{build.group(1)}, then start "
        "again."
        if build
        else "Set PIP_EXTRA_INDEX_URL to the index it came from, then start again.",
    ) from refused


def _loosen(wishes: _Wishes, held: Sequence[OnDisk]) -> None:
    """Let go of versions that contradict each other: torch keeps its own, the rest may move.

    What was only brought along by others is left to pip.
    """
    brought = {
        packages.normalised(parsed.name)
        for item in held
        for line in item.requires
        if (parsed := packages.parsed(line)) is not None
    }
    for item in held:
        key = item.key
        if key not in wishes.pinned or key in KEPT:
            continue
        if key in wishes.asked:
            wishes.lines[key] = [wishes.asked[key]]
        elif key in brought:
            del wishes.lines[key]
            wishes.pinned.discard(key)
        else:
            wishes.lines[key] = [item.name]


def _give_way(refused: InstallerRefused, wishes: _Wishes) -> bool:
    """Change the wish that cannot be met; return whether there is anything left to change.

    A pinned version becomes any that fits; what nobody has as a wheel is left out, and said.
    """
    key = refused.subject
    if refused.kind not in {"no-match", "source-only"} or key not in wishes.lines:
        return False
    lines, asked = wishes.lines[key], wishes.asked.get(key, "")
    loose = [asked or key]
    if key in wishes.pinned and lines != loose and refused.kind == "no-match":
        wishes.lines[key] = loose
        return True
    if refused.kind == "source-only" or not asked:
        del wishes.lines[key]
        wishes.left_out.append(f"{key} (there is no wheel of it for this Python)")
        return True
    return False
