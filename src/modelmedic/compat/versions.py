"""Version numbers of packages and drivers: parsed once, compared as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

_KEPT = 4096  # parsed texts; a whole index listing of one package has a few hundred


@lru_cache(maxsize=_KEPT)
def parsed(text: str) -> Version | None:
    """Return a version (PEP 440), None when the text is none."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text)
    except InvalidVersion:
        return None


@lru_cache(maxsize=_KEPT)
def requirement(line: str) -> Requirement | None:
    """Return a requirement (PEP 508), None when the line is none."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


@lru_cache(maxsize=_KEPT)
def _specifiers(text: str) -> SpecifierSet:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(text)


@lru_cache(maxsize=_KEPT)
def is_in(text: str, specifiers: str) -> bool | None:
    """Return whether a version lies in a range, None when it is no version.

    A local part (+cu128) is overlooked, as pip does, unless the range names one.
    """
    found = parsed(text)
    if found is None:
        return None
    return _specifiers(specifiers).contains(found, prereleases=True)


def applies(line: Requirement, markers: Mapping[str, str]) -> bool:
    """Return whether a requirement's marker holds; True when it has none.

    Requirements of an extra do not apply: what asks for the extra is judged elsewhere.
    """
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

    if line.marker is None:
        return True
    try:
        return line.marker.evaluate({**markers, "extra": ""})
    except (UndefinedComparison, UndefinedEnvironmentName):
        return False


def public(text: str) -> str:
    """Return a version without its local part: "2.8.0" of "2.8.0+cu128"."""
    return text.partition("+")[0]


def local(text: str) -> str:
    """Return the local part: "cu128" of "2.8.0+cu128", "" when there is none."""
    return text.partition("+")[2]


def minor(text: str) -> tuple[int, int]:
    """Return major and minor number; (0, 0) when the text is no version."""
    found = parsed(text)
    return (found.major, found.minor) if found else (0, 0)


def release(text: str) -> tuple[int, ...]:
    """Return the numbers of a version: (2, 8, 0); empty when the text is no version."""
    found = parsed(text)
    return found.release if found else ()


def is_below(text: str, floor: str) -> bool:
    """Return whether a version is older than a floor; False when one of them is no version."""
    found, least = parsed(text), parsed(floor)
    return found is not None and least is not None and found < least


def distance(one: str, other: str) -> tuple[int, int, int, bool]:
    """Return how far apart two versions are: by major, minor, micro number, then at all.

    Smaller is nearer. A number counts only where the ones before it are equal: 0.34 is no nearer
    to 1.2 than 0.36 is. A version that cannot be parsed is as far as can be.
    """
    first, second = parsed(one), parsed(other)
    if first is None or second is None:
        return (1 << 30, 0, 0, True)
    is_same_major = first.major == second.major
    is_same_minor = is_same_major and first.minor == second.minor
    return (
        abs(first.major - second.major),
        abs(first.minor - second.minor) if is_same_major else 0,
        abs(first.micro - second.micro) if is_same_minor else 0,
        first.public != second.public,
    )
