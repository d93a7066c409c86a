"""The whole scan: read every file once for its names, then each again for its faults."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modelmedic.findings import Outcome
from modelmedic.scan.data_shapes import data_shapes
from modelmedic.scan.enums import enums
from modelmedic.scan.except_clauses import except_clauses
from modelmedic.scan.finding import COULD_NOT_LOOK, ScanFinding
from modelmedic.scan.frames import frames_of
from modelmedic.scan.kinds import View
from modelmedic.scan.missing_methods import missing_methods
from modelmedic.scan.recursion import same_state_recursion
from modelmedic.scan.shadowing import shadowed_definitions
from modelmedic.scan.sources import Source, could_not_look, module_names, read_tree, shelf_of
from modelmedic.scan.symbols import Module, module_of
from modelmedic.scan.table import Table

_DETECTORS: tuple[Callable[[View], Iterable[ScanFinding]], ...] = (
    missing_methods,
    shadowed_definitions,
    except_clauses,
    data_shapes,
    enums,
    same_state_recursion,
)


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan found, in the order of file, line and column.

    ``left_out`` are folders that were not entered, with what was excluded.
    """

    findings: tuple[ScanFinding, ...]
    files: int
    lines: int
    left_out: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Return failed when there is a fault, unknown when a file could not be looked at."""
        rules = {finding.rule for finding in self.findings}
        if rules - {COULD_NOT_LOOK}:
            return Outcome.FAILED
        return Outcome.UNKNOWN if rules else Outcome.PASSED


def scan(paths: Iterable[str | Path], *, exclude: Sequence[str] = ()) -> tuple[ScanFinding, ...]:
    """Return the faults that Python code shows before it runs; nothing of it is run.

    A file that cannot be read or parsed is a finding too, of the rule ``scan.could-not-look``.

    Args:
        paths: Files, and folders with all that lies below them.
        exclude: Patterns as of a shell; of a path below a folder, or of one name on the way.

    Raises:
        BadInstall: One of the paths is not there, or none holds a Python file.
    """
    return examine(paths, exclude=exclude).findings


def examine(paths: Iterable[str | Path], *, exclude: Sequence[str] = ()) -> ScanReport:
    """Return what `scan` finds, and how much there was to look at.

    Raises:
        BadInstall: One of the paths is not there, or none holds a Python file.
    """
    shelf = shelf_of([Path(path) for path in paths], exclude=exclude)
    findings = [*shelf.unread]
    table = Table()
    readable = []
    for source in shelf.sources:
        found = _guarded(source, partial(_take_in, table, source))
        findings += found
        if not found:
            readable.append((source, table.files[-1]))
    table.close()
    for source, module in readable:
        findings += _guarded(source, partial(_look, table, module))
    lines = sum(module.lines for module in table.files)
    return ScanReport(
        tuple(sorted(set(findings))), len(shelf.sources), lines, tuple(sorted(shelf.left_out))
    )


def _guarded(
    source: Source, work: Callable[[ast.Module], Iterator[ScanFinding]]
) -> list[ScanFinding]:
    """Do some work on the tree of a file; what nests too deep could not be looked at."""
    try:
        tree = read_tree(source)
        return [tree] if isinstance(tree, ScanFinding) else [*work(tree)]
    except RecursionError:
        return [could_not_look(source.shown, "Its expressions are nested too deep.", "")]


def _take_in(table: Table, source: Source, tree: ast.Module) -> Iterator[ScanFinding]:
    names = module_names(source)
    module = module_of(tree, path=source.shown, name=names[0], is_package=source.is_package)
    module.lines = max((getattr(node, "end_lineno", 0) or 0 for node in tree.body[-1:]), default=0)
    table.add(module, names)
    yield from ()


def _look(table: Table, module: Module, tree: ast.Module) -> Iterator[ScanFinding]:
    view = View(table, module, frames_of(tree))
    for detector in _DETECTORS:
        yield from detector(view)
