"""Settling the pins between packages: the fewest changes of versions after which all agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from modelmedic.compat import rules_pins, versions
from modelmedic.compat.builds import Available
from modelmedic.compat.judgement import Case, Contradiction

_MOST_CHANGES = 5  # packages besides torch and its siblings
_MOST_CANDIDATES = 6  # versions of one package that are tried, the nearest ones
_MOST_SOLUTIONS = 40  # of one number of changes; the nearest of them is taken
_NEIGHBOURS = 4  # versions of the asker that are tried where the table knows what they ask


@dataclass(frozen=True)
class Draft:
    """A stack in which some versions are changed and some distributions are removed."""

    case: Case
    origin: Case
    versions: dict[str, str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, case: Case) -> Draft:
        """Return a draft without any change."""
        return cls(case, case)

    @property
    def count(self) -> int:
        """Return how many distributions are changed or removed."""
        return len(self.versions) + len(self.removed)

    @property
    def is_near(self) -> tuple[tuple[int, ...], ...]:
        """Return how far the versions moved, the farthest first; smaller is nearer."""
        moved = (
            versions.distance(self.origin.stack.version(name), version)
            for name, version in self.versions.items()
        )
        return tuple(sorted(moved, reverse=True))

    def with_version(self, name: str, version: str) -> Draft:
        """Return the draft with one more version changed."""
        return self._made({**self.versions, name: version}, self.removed)

    def without(self, name: str) -> Draft:
        """Return the draft with one more distribution removed."""
        kept = {other: version for other, version in self.versions.items() if other != name}
        return self._made(kept, self.removed | {name})

    def _made(self, changed: dict[str, str], removed: frozenset[str]) -> Draft:
        origin = self.origin
        stack = origin.stack.changed(changed, removed)
        case = Case.of(origin.machine, stack, origin.wanted, origin.table)
        return Draft(case, origin, changed, removed)


class Listing:
    """The versions that can be had: of the index that is asked, else those the table names."""

    def __init__(self, case: Case, available: Available | None) -> None:
        self._case = case
        self._available = available
        self._listed: dict[str, tuple[str, ...]] = {}

    def versions(self, name: str) -> tuple[str, ...]:
        """Return the versions of a package that may be installed; pre-releases are left out."""
        if name not in self._listed:
            found = self._known(name) if self._available is None else self._available(name)
            self._listed[name] = tuple(v for v in dict.fromkeys(found) if _is_release(v))
        return self._listed[name]

    def exact(self, name: str, version: str) -> str:
        """Return a version as an index spells it, "" when none is asked or it has it not."""
        if self._available is None:
            return ""
        wanted = versions.parsed(version)
        return next((v for v in self.versions(name) if versions.parsed(v) == wanted), "")

    def name_of(self, name: str, version: str, *, is_plain: bool) -> str:
        """Return how a build is asked for: with its local part, or without where that is the same.

        Args:
            name: torch, torchvision or torchaudio.
            version: With the local part of its build.
            is_plain: Whether the build is the index's own, so that no local part is needed.

        Returns:
            "" when the index that is asked does not have it.
        """
        plain = versions.public(version)
        if self._available is None:
            return plain if is_plain else version
        found = "" if is_plain else self.exact(name, version)
        is_default = is_plain or versions.local(version) == self._default_build(name, plain)
        return found or (self.exact(name, plain) if is_default else "")

    def is_guessed(self, draft: Draft) -> bool:
        """Return whether a changed package's own needs are not known of."""
        table = self._case.table
        return any(
            not table.pins(name, version) and name in _ASKERS
            for name, version in draft.versions.items()
        )

    def _default_build(self, name: str, version: str) -> str:
        """Return what the ordinary index's file was built for, "" when that is not known."""
        machine, table = self._case.machine, self._case.table
        default = next((r for r in table.pypi_build if r.system == machine.system), None)
        if default is not None:
            return default.build
        if machine.machine != "x86_64":
            return ""
        releases = (r for r in table.torch if getattr(r, _COLUMN[name]) == version)
        return next((release.pypi_cuda for release in releases), "")

    def _known(self, name: str) -> Iterator[str]:
        table = self._case.table
        for known in table.sets():
            if name in known.packages:
                yield known.packages[name]
        if name == "accelerate":
            yield from (known.accelerate for known in table.resolution)
        for row in table.pin:
            if row.name == name and row.versions.startswith("==") and "*" not in row.versions:
                yield row.versions.removeprefix("==")


_COLUMN = {"torch": "version", "torchvision": "torchvision", "torchaudio": "torchaudio"}
# Packages that ask versions of others: of an unknown version of these it is not known what.
_ASKERS = frozenset({"transformers", "tokenizers", "diffusers", "peft", "xformers"})


def settle(draft: Draft, listing: Listing) -> Draft | None:
    """Return the draft with the fewest further changes after which no pin is broken.

    None when that takes more than `_MOST_CHANGES`, or versions that cannot be had.
    """
    for count in range(_MOST_CHANGES + 1):
        found = list(islice(_settled(draft, listing, count), _MOST_SOLUTIONS))
        if found:
            return min(found, key=lambda entry: entry.is_near)
    return None


def _settled(draft: Draft, listing: Listing, changes: int) -> Iterator[Draft]:
    fault = next((f for f in rules_pins.faults(draft.case) if f.is_certain), None)
    if fault is None:
        if changes == 0:
            yield draft
        return
    if changes == 0:
        return
    for name in reversed(fault.packages):
        if name not in draft.versions and name in {*rules_pins.PINNED, *draft.case.wanted}:
            for version in _candidates(draft, listing, name, fault):
                yield from _settled(draft.with_version(name, version), listing, changes - 1)


def _candidates(draft: Draft, listing: Listing, name: str, fault: Contradiction) -> Iterator[str]:
    """Yield the versions of one package that take a fault away, the nearest first."""
    if name in {"torch", "torchvision", "torchaudio", "flash-attn"}:
        return
    case = draft.case
    installed = case.stack.version(name)
    allowed = (v for v in listing.versions(name) if _is_allowed(case, name, v))
    near = sorted(allowed, key=lambda version: _nearness(installed, version))
    yield from islice(_mending(draft, near, name, fault), _MOST_CANDIDATES)


def _mending(
    draft: Draft, candidates: Iterable[str], name: str, fault: Contradiction
) -> Iterator[str]:
    unknown = 0
    for version in candidates:
        if version == draft.case.stack.version(name):
            continue
        is_known = name not in _ASKERS or bool(draft.case.table.pins(name, version))
        unknown += not is_known
        if is_known or unknown <= _NEIGHBOURS:
            case = draft.with_version(name, version).case
            left = (entry.packages for entry in rules_pins.faults(case) if entry.is_certain)
            if fault.packages not in left:
                yield version


def _nearness(installed: str, version: str) -> tuple[object, ...]:
    # Of two as near as each other the newer one.
    return versions.distance(installed, version), tuple(-n for n in versions.release(version))


def _is_allowed(case: Case, name: str, version: str) -> bool:
    pins = case.table.pins(name, version)
    has_python = all(
        versions.is_in(case.machine.python, row.requires_python) is not False
        for row in pins
        if row.requires_python
    )
    return has_python and versions.is_in(version, case.wanted.get(name, "")) is True


def _is_release(text: str) -> bool:
    found = versions.parsed(text)
    return found is not None and not found.is_prerelease
