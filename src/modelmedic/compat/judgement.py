"""The words of a judgement: what contradicts what, by which rows, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelmedic.compat import versions
from modelmedic.compat.stack import Build, Machine, Stack
from modelmedic.compat.table import Table
from modelmedic.facts.packages import normalised

# In the order of their causes: what is told first explains what follows.
KINDS = (
    "torch-driver",
    "torch-card",
    "cpu-only-torch",
    "torch-python",
    "torch-trio",
    "flash-attn",
    "numpy",
    "pins",
    "requirement",
)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One thing that does not go together with another.

    Args:
        kind: One of `KINDS`.
        packages: The distributions it is about, normalised; the first is the one to change.
        what: What does not fit what, with names and numbers; one sentence.
        why: What it leads to, and why.
        failure_id: The known failure it is, None when it has no name.
        rows: Citations of the rows it rests on; empty when metadata alone says it.
        is_certain: Whether it may fail a check; if not it is a doubt.
    """

    kind: str
    packages: tuple[str, ...]
    what: str
    why: str
    failure_id: str | None = None
    rows: tuple[str, ...] = ()
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong with a stack on a machine, and what may be; in the order of `KINDS`."""

    contradictions: tuple[Contradiction, ...] = ()
    doubts: tuple[Contradiction, ...] = ()

    @classmethod
    def of(cls, found: Iterable[Contradiction]) -> Judgement:
        """Return the judgement that consists of what was found."""
        ordered = sorted(found, key=lambda entry: KINDS.index(entry.kind))
        return cls(
            tuple(entry for entry in ordered if entry.is_certain),
            tuple(entry for entry in ordered if not entry.is_certain),
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One stack on one machine, with what every rule wants to know of it.

    ``wanted``: version ranges by normalised name, of the requirements that apply there.
    """

    machine: Machine
    stack: Stack
    wanted: Mapping[str, str]
    table: Table
    build: Build

    @classmethod
    def of(cls, machine: Machine, stack: Stack, wanted: Mapping[str, str], table: Table) -> Case:
        """Return a case, with the build of its torch looked up."""
        return cls(machine, stack, wanted, table, stack.build_of_torch(machine, table))

    @property
    def torch(self) -> str:
        """Return the installed torch's version, "" when there is none."""
        return self.stack.version("torch")


def wanted_of(requirements: Iterable[str], markers: Mapping[str, str]) -> dict[str, str]:
    """Return the version range asked of each package, by normalised name.

    Lines that are no requirement, and those whose marker does not hold, are left out. Two lines
    of one package are joined.
    """
    wanted: dict[str, str] = {}
    for line in requirements:
        parsed = versions.requirement(line)
        if parsed is None or not versions.applies(parsed, markers):
            continue
        name = normalised(parsed.name)
        wanted[name] = ",".join(filter(None, (wanted.get(name, ""), str(parsed.specifier))))
    return wanted
