"""A copy of the app's list of requirements that pip can install; the person's file is not touched.

pip refuses a file with one bad line as a whole, and one package that has to be compiled ends the
install of all others. In the copy such lines are mended, or stand as comments that say why.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from modelmedic.errors import RecoveryRefused
from modelmedic.facts import requirement_files
from modelmedic.facts.book import FactBook
from modelmedic.facts.packages import normalised, parsed
from modelmedic.facts.requirement_files import LineFault, RequirementFile
from modelmedic.installer.words import SOURCE_ONLY
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Operation
from modelmedic.operations.kinds import ReplaceFile
from modelmedic.operations.tree import Tree
from modelmedic.text import printable

_SOURCE_ONLY = "the index has its source only; install a built wheel of it by itself"
_STANDARD = "a module of Python itself"


def plan_clean_copies(facts: FactBook) -> Iterator[Operation]:
    """Yield what writes a clean copy beside each list of requirements that has bad lines.

    Raises:
        RecoveryRefused: Nobody can tell what a line should say, or somebody else's file lies where
            the copy belongs.
    """
    place = facts.context.place
    for file in facts.get(requirement_files.read_requirement_files):
        if file.faults and not file.is_mended:
            yield _copy(place, file)


def _copy(place: Path, file: RequirementFile) -> Operation:
    unclear = [fault for fault in file.faults if fault.kind == "unreadable"]
    if unclear or not file.encoding:
        line = f"line {unclear[0].line}, {unclear[0].text!r}," if unclear else "its encoding"
        raise RecoveryRefused(
            f"{printable(file.path)} was not copied: {printable(line)} cannot be understood.",
            "What was meant there is for its author to say.",
            "Correct it as the finding says.",
        )
    data = (place / file.path).read_bytes()
    if requirement_files.judge_file(file.path, data).faults != file.faults:
        raise RecoveryRefused(f"{printable(file.path)} changed since it was checked.")
    before = data.decode("utf-8-sig")
    after = clean(before, file.faults)
    name = requirement_files.copy_name(file.path)
    tree = Tree(place)
    identity = tree.identity(name)
    if identity is not None and not requirement_files.is_our_copy(place / name):
        raise RecoveryRefused(
            f"{printable(name)} was not written: a file that modelmedic did not make lies there."
        )
    return ReplaceFile(
        path=name,
        content=requirement_files.head(file.path, data) + after,
        was=seen(identity),
        reason="as a clean copy of " + difference(file.path, name, before, after),
    )


def clean(text: str, faults: tuple[LineFault, ...]) -> str:
    """Return a list of requirements with its bad lines mended or turned into comments."""
    by_line = {fault.line: fault for fault in faults}
    lines: list[str] = []
    for number, _joined, raw in requirement_files.numbered(text):
        fault = by_line.get(number)
        if fault is None:
            lines += _kept(raw)
        elif fault.cure:
            lines += fault.cure
        else:
            lines += _comment(raw, _STANDARD)
    return "".join(f"{line}\n" for line in lines)


def difference(path: str, name: str, before: str, after: str) -> str:
    """Return a unified diff of two texts, each line safe to print."""
    told = difflib.unified_diff(
        before.splitlines(), after.splitlines(), path, name, lineterm="", n=0
    )
    return "\n".join([f"{printable(path)}:", *map(printable, told)])


def _kept(raw: list[str]) -> list[str]:
    """Return lines as they are, or as a comment where pip would have to compile the package."""
    wanted = parsed(raw[0].partition(" #")[0].strip()) if raw else None
    if wanted is not None and not wanted.url and normalised(wanted.name) in SOURCE_ONLY:
        return _comment(raw, _SOURCE_ONLY)
    return raw


def _comment(raw: list[str], why: str) -> list[str]:
    return [f"# {raw[0].strip()}  ({why})", *(f"# {line.strip()}" for line in raw[1:])]
