"""Installed packages as data: what their metadata says, and where it contradicts itself.

Nothing here reads a disk or runs a program; `interpreter.read_interpreter` brings the values.
Requirements and markers are judged by ``packaging``, in the environment of the target.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic.errors import CannotTell

if TYPE_CHECKING:
    from packaging.requirements import Requirement as Parsed

# These share one import package: the last one written wins, and removing any of them breaks the
# others. Source: the opencv-python project page, "Installation and Usage", step 3.
SAME_MODULE: Mapping[str, frozenset[str]] = {
    "cv2": frozenset(
        {
            "opencv-python",
            "opencv-python-headless",
            "opencv-contrib-python",
            "opencv-contrib-python-headless",
        }
    ),
}
# A requirement that holds only for an extra nobody asked for: skipped without parsing it, which
# is nine tenths of the lines of a large environment.
_ONLY_FOR_EXTRA = re.compile(r""";(?!.*\bor\b).*\bextra\s*==\s*['"][^'"]""")
_PLAIN_WORD_POSIX = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_PLAIN_WORD_WINDOWS = re.compile(r"[\w\\@+=:./~-]+", re.ASCII)
_SHOWN_BYTES = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # PEP 508
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]*")
_PIP_LIKE = frozenset({"pip", "uv"})


@dataclass(frozen=True, slots=True)
class Distribution:
    """One installed distribution as its metadata folder tells it.

    ``problem`` says in words why the metadata cannot be believed ("it has no METADATA file");
    ``name`` is then taken from the folder's name and ``version`` may be empty.

    What its RECORD says was compared with the disk by existence and size; no file was hashed.
    Paths of files are as RECORD spells them, relative to ``folder``. Lists are cut
    (`record_report.MAX_LISTED`); the counts are not.
    """

    name: str
    version: str
    folder: str  # the search path entry it lies in
    entry: str  # name of its metadata folder
    requires: tuple[str, ...] = ()
    installer: str = ""
    has_record: bool = True
    problem: str = ""
    tags: tuple[str, ...] = ()  # of its WHEEL: "cp312-cp312-manylinux_2_17_x86_64"
    direct: str = ""  # "editable", "folder", "archive", "vcs": not from an index (direct_url.json)
    is_judged: bool = False  # RECORD was there and was compared with the disk, to its end
    missing: tuple[str, ...] = ()  # in RECORD, not on disk
    missing_count: int = 0
    short: tuple[str, ...] = ()  # shorter than RECORD says, or an ELF cut before its own end
    short_count: int = 0
    edited: tuple[str, ...] = ()  # shorter than RECORD says, and still whole Python code
    edited_count: int = 0
    outside_count: int = 0  # entries that lead out of the environment: not looked at
    modules: tuple[str, ...] = ()  # top-level modules that are wholly its own: "numpy", "_cffi"
    namespaces: tuple[str, ...] = ()  # top-level folders that it shares by design: "nvidia"
    scripts: tuple[str, ...] = ()  # programs of its entry points: "torchrun"
    extensions: tuple[str, ...] = ()  # compiled modules and libraries

    @property
    def key(self) -> str:
        """Return the normalised name (PEP 503)."""
        return normalised(self.name)

    @property
    def is_wheel(self) -> bool:
        """Return whether it was installed the modern way (a .dist-info folder)."""
        return self.entry.lower().endswith(".dist-info")


@dataclass(frozen=True, slots=True)
class Conflict:
    """One contradiction between installed packages.

    ``kind``: "missing" or "version" (what one requires of another), "duplicate" (two metadata
    folders of one name side by side), "shared-module" (two packages own one module), "broken"
    (metadata that cannot be believed), "no-record" (pip cannot remove or replace it).
    """

    kind: str
    name: str  # the package it is about, normalised
    other: str  # the required or second package, normalised; "" when there is none
    words: str  # one sentence without a full stop
    cure: str = ""  # a requirement whose installation would settle it; "" when none is known


def normalised(name: str) -> str:
    """Return a distribution name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_name(text: str) -> bool:
    """Return whether a text can be a distribution name; anything else is not typed to pip."""
    return _NAME.fullmatch(text) is not None


def effective(distributions: Iterable[Distribution]) -> dict[str, Distribution]:
    """Return the distribution that each name stands for: the first on the search path."""
    found: dict[str, Distribution] = {}
    for item in distributions:
        found.setdefault(item.key, item)
    return found


def name_from_entry(entry: str) -> tuple[str, str]:
    """Return name and version that a metadata folder's own name tells; "" where it does not."""
    stem = re.sub(r"\.(dist|egg)-info$", "", entry, flags=re.IGNORECASE)
    name, _, version = stem.partition("-")
    return name, re.sub(r"-py\d.*$", "", version)


def requires_from_egg(text: str) -> tuple[str, ...]:
    """Return the requirements of an old ``requires.txt`` as PEP 508 lines.

    Source: setuptools' own format: sections ``[extra:marker]``, one requirement a line.
    """
    lines: list[str] = []
    condition = ""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            condition = _section_marker(line[1:-1])
        else:
            lines.append(f"{line} ; {condition}" if condition else line)
    return tuple(lines)


def parsed(spec: str) -> Parsed | None:
    """Return a PEP 508 line as packaging's Requirement, None when it is none."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(spec)
    except InvalidRequirement:
        return None


def applies(requirement: Parsed, markers: Mapping[str, str], extra: str = "") -> bool:
    """Return whether a requirement's marker holds in the target; True when it has none.

    A marker that cannot be judged there (an odd version text) counts as holding: pip would stop
    at it as well.
    """
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

    if requirement.marker is None:
        return True
    try:
        return requirement.marker.evaluate({**markers, "extra": extra})
    except (UndefinedComparison, UndefinedEnvironmentName):
        return True


def fits(requirement: Parsed, version: str) -> bool | None:
    """Return whether an installed version satisfies a requirement, None when it is no version.

    Pre-releases count as installed versions do: they are there, the only question is the range.
    """
    from packaging.version import InvalidVersion, Version

    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return None


def in_range(version: str, requires: str) -> bool:
    """Return whether a version lies in a PEP 440 range; True for an empty range.

    Raises:
        CannotTell: One of the two is no version or no range.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(requires).contains(Version(version), prereleases=True)
    except (InvalidSpecifier, InvalidVersion) as error:
        raise CannotTell(f"{version!r} cannot be compared with {requires!r}: {error}.") from error


def dependencies(
    item: Distribution, markers: Mapping[str, str], extra: str = ""
) -> Iterator[Parsed]:
    """Yield what a distribution requires in the target, for one extra or for none.

    With an extra only what that extra adds is yielded. Lines that are no requirement are left
    out: pip does not install what it cannot read.
    """
    for line in item.requires:
        if not extra and _ONLY_FOR_EXTRA.search(line):
            continue
        requirement = parsed(line)
        if requirement is None or not applies(requirement, markers, extra):
            continue
        if not extra or not applies(requirement, markers):
            yield requirement


def find_conflicts(
    distributions: Sequence[Distribution], markers: Mapping[str, str]
) -> tuple[Conflict, ...]:
    """Return every contradiction, in the order of the packages; empty when there is none.

    The rules of ``pip check`` (dependencies without extras), plus what it does not look at:
    broken metadata, duplicates, packages that share a module.
    """
    found = effective(distributions)
    return (
        *_damaged(distributions),
        *_duplicates(distributions),
        *_shared_modules(found),
        *(c for item in found.values() for c in _unmet(item, found, markers)),
    )


def unmet_extras(
    requirement: Parsed, found: Mapping[str, Distribution], markers: Mapping[str, str]
) -> tuple[Conflict, ...]:
    """Return what the extras of a requirement ask for and the environment does not have."""
    item = found.get(normalised(requirement.name))
    if item is None:
        return ()
    needed = [n for extra in sorted(requirement.extras) for n in dependencies(item, markers, extra)]
    conflicts = (_judge(item, need, found) for need in needed)
    return tuple(conflict for conflict in conflicts if conflict is not None)


def siblings(name: str) -> frozenset[str]:
    """Return the other distributions that bring the same module as ``name``; may be empty."""
    family = next((names for names in SAME_MODULE.values() if name in names), frozenset[str]())
    return family - {name}


def shell_words(argv: Iterable[str | Path], *, windows: bool | None = None) -> str:
    """Return a command as a person types it: POSIX shells, or cmd.exe on Windows.

    Args:
        argv: Program and arguments.
        windows: Whether to quote for cmd.exe; None means for this system.
    """
    words = [str(part) for part in argv]
    if sys.platform == "win32" if windows is None else windows:
        return " ".join(_cmd_word(word) for word in words)
    return " ".join(_posix_word(word) for word in words)


def _cmd_word(word: str) -> str:
    if _PLAIN_WORD_WINDOWS.fullmatch(word):
        return word
    quoted = subprocess.list2cmdline([word])
    # list2cmdline quotes blanks only; cmd.exe also reads < > | & ^ outside of quotes.
    return quoted if quoted.startswith('"') else f'"{quoted}"'


def _posix_word(word: str) -> str:
    if word.isprintable() or not word:
        return shlex.quote(word)
    # $'...' keeps a newline or an escape sequence in a name from reaching the terminal raw.
    raw = word.encode("utf-8", "surrogateescape")
    plain = (chr(byte) if byte in _SHOWN_BYTES else f"\\x{byte:02x}" for byte in raw)
    return f"$'{''.join(plain)}'"


def _section_marker(section: str) -> str:
    extra, _, marker = section.partition(":")
    parts = [f"({marker.strip()})"] if marker.strip() else []
    return " and ".join([*parts, f'extra == "{extra.strip()}"'] if extra.strip() else parts)


def _damaged(distributions: Iterable[Distribution]) -> Iterator[Conflict]:
    for item in distributions:
        if item.problem:
            words = f"{item.entry} in {item.folder} is not whole: {item.problem}"
            yield Conflict("broken", item.key, "", words, pin(item))
        elif item.is_wheel and not item.has_record and item.installer in _PIP_LIKE:
            words = f"{item.entry} in {item.folder} has no RECORD, so it cannot be removed cleanly"
            yield Conflict("no-record", item.key, "", words, pin(item))


def pin(item: Distribution) -> str:
    """Return what installs the same again, "" when its name would not be safe to type."""
    if not is_name(item.name):
        return ""
    return f"{item.name}=={item.version}" if _VERSION.fullmatch(item.version) else item.name


def _duplicates(distributions: Iterable[Distribution]) -> Iterator[Conflict]:
    """Yield names that lie twice in one folder; in two folders one merely hides the other."""
    seen: dict[tuple[str, str], Distribution] = {}
    for item in distributions:
        before = seen.setdefault((item.folder, item.key), item)
        is_twin = before.version != item.version or (before.is_wheel and item.is_wheel)
        if before is not item and is_twin:
            words = f"{item.name} is there twice in {item.folder}: {before.entry} and {item.entry}"
            yield Conflict("duplicate", item.key, item.key, words, pin(item))


def _shared_modules(found: Mapping[str, Distribution]) -> Iterator[Conflict]:
    for module, names in SAME_MODULE.items():
        present = sorted(names & found.keys())
        if len(present) > 1:
            words = f"{' and '.join(present)} all write the module {module}; the last one wins"
            yield Conflict("shared-module", present[0], present[1], words)


def _unmet(
    item: Distribution, found: Mapping[str, Distribution], markers: Mapping[str, str]
) -> Iterator[Conflict]:
    for need in dependencies(item, markers):
        conflict = _judge(item, need, found)
        if conflict is not None:
            yield conflict


def _judge(item: Distribution, need: Parsed, found: Mapping[str, Distribution]) -> Conflict | None:
    key = normalised(need.name)
    target = found.get(key)
    wanted = f"{need.name}{need.specifier}"
    who = f"{item.name} {item.version}".strip()
    if target is None:
        words = f"{who} requires {wanted}, which is not installed"
        return Conflict("missing", item.key, key, words, wanted)
    if need.url or target.problem or fits(need, target.version) in {True, None}:
        return None
    words = f"{who} requires {wanted}, but {target.name} {target.version} is installed"
    return Conflict("version", item.key, key, words, wanted)
