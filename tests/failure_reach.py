"""Which known failures each check can name, read from the code: no check is run for it.

A check reaches a failure when its function, or anything of the checks and the library that it
refers to by name, holds the failure's id. What is reached only through an object's method is
not seen, so a check may name more than is found here; it never names less.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from support import CHECKOUT

from modelmedic.healing.classify import known_failures

# Checks of one kind of contradiction each: their code reaches every rule of the oracle, their
# kinds do not. Source: KINDS and GPU_KINDS of the oracle; tests/test_oracle_triples.py.
_OF_CARD = frozenset({"driver-too-old", "gpu-arch-not-in-torch", "cpu-only-torch"})
ONLY = {
    "python.gpu-stack": _OF_CARD,
    "python.possible": frozenset(
        {"driver-too-old", "gpu-arch-not-in-torch", "flash-attn-pre-ampere", "python-too-new"}
    ),
}
# Of what is missing the stack says nothing: that is for python.package.
_MISSING = {"ftfy-missing", "undeclared-imports-at-top-level", "flash-attn-missing-assert"}
NEVER = {"python.stack": _OF_CARD | _MISSING}
SRC = CHECKOUT / "src"
CHECKS = CHECKOUT / "checks"
Place = tuple[str, str]  # module, name at its top level


@cache
def module(name: str) -> ast.Module | None:
    """Return the syntax of a module of the library or of the room of checks."""
    path = CHECKS / f"{name}.py" if "." not in name else SRC.joinpath(*name.split("."))
    path = path if path.suffix == ".py" else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else None


@cache
def tops(name: str) -> dict[str, ast.AST]:
    """Return what a module defines at its top level, by name."""
    found: dict[str, ast.AST] = {}
    tree = module(name)
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found.update({t.id: node for t in node.targets if isinstance(t, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


@cache
def imported(name: str) -> dict[str, Place]:
    """Return what each name that a module imports from the library stands for."""
    found: dict[str, Place] = {}
    for node in ast.walk(module(name) or ast.Module([], [])):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modelmedic"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                place = (full, "") if module(full) else (node.module or "", alias.name)
                found[alias.asname or alias.name] = place
    return found


def references(name: str, node: ast.AST) -> Iterator[Place]:
    """Yield what a piece of a module refers to by name."""
    known = imported(name)
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            if each.id in tops(name):
                yield name, each.id
            elif each.id in known and known[each.id][1]:
                yield known[each.id]
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            module_name, is_name = known.get(each.value.id, ("", ""))
            if module_name and not is_name:
                yield module_name, each.attr


def ids_in(node: ast.AST) -> set[str]:
    """Return the ids of known failures that stand in a piece of code."""
    texts = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
    return texts & set(known_failures())


def reached(start: Place) -> set[str]:
    """Return every known failure that code reaches from one place."""
    found: set[str] = set()
    seen, todo = {start}, [start]
    while todo:
        name, top = todo.pop()
        node = tops(name).get(top)
        if node is None:  # a name that this module has from another one
            new = {imported(name)[top]} if top in imported(name) else set()
        else:
            found |= ids_in(node)
            new = set(references(name, node))
        todo.extend(new - seen)
        seen |= new
    return found


@cache
def of_checks() -> dict[str, frozenset[str]]:
    """Return the known failures that each check can name, by the check's id."""
    found = {}
    for path in sorted(CHECKS.glob("test_*.py")):
        for name, node in tops(path.stem).items():
            if isinstance(node, ast.FunctionDef) and (check := _check_id(node)):
                ids = frozenset(reached((path.stem, name)))
                found[check] = (ids & ONLY.get(check, ids)) - NEVER.get(check, frozenset())
    return found


def own_of_checks() -> dict[str, frozenset[str]]:
    """Return the failures whose id stands in the very function of a check."""
    found = {}
    for path in sorted(CHECKS.glob("test_*.py")):
        for node in tops(path.stem).values():
            if isinstance(node, ast.FunctionDef) and (check := _check_id(node)):
                found[check] = frozenset(ids_in(node))
    return found


def literals() -> dict[str, set[Path]]:
    """Return in which files of the checks and the library each known failure's id stands."""
    found: dict[str, set[Path]] = {}
    for path in sorted([*CHECKS.glob("*.py"), *(SRC / "modelmedic").rglob("*.py")]):
        for failure in ids_in(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(failure, set()).add(path)
    return found


def _check_id(node: ast.FunctionDef) -> str:
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute):
            first = mark.args[0] if mark.args else None
            if mark.func.attr == "check" and isinstance(first, ast.Constant):
                return str(first.value)
    return ""


def write_checks(table: Path) -> None:
    """Write the checks that can name each failure into its row of the table, where any can."""
    naming: dict[str, list[str]] = {}
    for check, ids in sorted(of_checks().items()):
        for failure in ids:
            naming.setdefault(failure, []).append(check)
    lines, row = [], ""
    for line in table.read_text(encoding="utf-8").splitlines():
        row = line.strip("[]") if line.startswith("[") else row
        names = ", ".join(f'"{check}"' for check in naming.get(row, ()))
        lines.append(f"checks = [{names}]" if line.startswith("checks = ") and names else line)
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_checks(SRC / "modelmedic" / "healing" / "failures.toml")
