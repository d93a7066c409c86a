"""Functions that come back to themselves before anything has changed: they never end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from modelmedic.scan.finding import CERTAIN, LIKELY, SAME_STATE_RECURSION, ScanFinding
from modelmedic.scan.forms import Shape
from modelmedic.scan.frames import KEEPING, Frame, Function, decorators_of, first_argument
from modelmedic.scan.kinds import View
from modelmedic.scan.protocol_loops import protocol_loop
from modelmedic.scan.same_state import same_state_calls
from modelmedic.scan.surely import surely_all
from modelmedic.scan.symbols import Class, owner_of

_MOST_IN_CYCLE = 3
# After these a name still means the function that was written, and calling it runs its body.
_TRANSPARENT = KEEPING | {"staticmethod", "classmethod"}
_PROPERTIES = frozenset({"property", "cached_property"})
_GENERATING = (ast.Yield, ast.YieldFrom)


@dataclass(slots=True)
class _Graph:
    """Which function of a file surely runs which: by scope, with the node where it does."""

    view: View
    frames: dict[str, Frame] = field(default_factory=dict)  # by dotted name, if it has only one
    edges: dict[str, dict[str, ast.AST]] = field(default_factory=dict)


def same_state_recursion(view: View) -> Iterator[ScanFinding]:
    """Yield the functions of a file that run into themselves with nothing changed."""
    graph = _graph_of(view)
    told: set[str] = set()
    for cycle in _cycles(graph):
        told |= set(cycle)
        yield _of_cycle(graph, cycle)
    for name, frame in graph.frames.items():
        if name not in told:
            yield from _of_same_state(graph, name, frame)
    for frame in view.frames:
        if frame.is_method:
            yield from _of_protocol(view, frame)


def _graph_of(view: View) -> _Graph:
    graph = _Graph(view)
    doubled: set[str] = set()
    for frame in view.frames:
        if frame.is_function:
            doubled |= {frame.qualname} & graph.frames.keys()
            graph.frames[frame.qualname] = frame
    for name in [*graph.frames]:
        if name in doubled or not _is_plain(graph.frames[name]):
            del graph.frames[name]
    for name, frame in graph.frames.items():
        graph.edges[name] = _edges(graph, frame)
    return graph


def _is_plain(frame: Frame) -> bool:
    """Return whether calling it by its name runs its body: undecorated, and no generator."""
    names = {name.rpartition(".")[2] for name in decorators_of(frame.node)}
    is_generator = any(isinstance(node, _GENERATING) for node in frame.nodes)
    return names <= _TRANSPARENT and not is_generator


def _edges(graph: _Graph, frame: Frame) -> dict[str, ast.AST]:
    node = cast("Function", frame.node)
    return surely_all(node.body, lambda each: target_of(graph, frame, each))


def target_of(graph: _Graph, frame: Frame, node: ast.AST) -> str:
    """Return the function of the file that a node runs: by a call, or by reading a property."""
    if isinstance(node, ast.Await):  # a coroutine runs when it is waited for
        return _called(graph, frame, node.value, is_awaited=True)
    if isinstance(node, ast.Call):
        return _called(graph, frame, node, is_awaited=False)
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        name = _method(graph, frame, node)
        return name if name and _is_property(graph.frames[name]) else ""
    return ""


def _called(graph: _Graph, frame: Frame, node: ast.AST, *, is_awaited: bool) -> str:
    if not isinstance(node, ast.Call):
        return ""
    name = ""
    if isinstance(node.func, ast.Name):
        name = _function(graph, frame, node.func.id)
    elif isinstance(node.func, ast.Attribute):
        name = _method(graph, frame, node.func)
        name = "" if name and _is_property(graph.frames[name]) else name
    if not name:
        return ""
    is_coroutine = isinstance(graph.frames[name].node, ast.AsyncFunctionDef)
    return name if is_coroutine == is_awaited else ""


def _is_property(frame: Frame) -> bool:
    names = {name.rpartition(".")[2] for name in decorators_of(frame.node)}
    return bool(names & _PROPERTIES)


def _function(graph: _Graph, frame: Frame, name: str) -> str:
    home = frame.home_of(name)
    forms = home.bindings[name] if home else []
    if len(forms) != 1 or forms[0].shape is not Shape.FUNCTION:
        return ""
    found = graph.frames.get(forms[0].name)
    return forms[0].name if found is not None and found.parent is home else ""


def _method(graph: _Graph, frame: Frame, node: ast.Attribute) -> str:
    """Return the method of the same class that ``self.name`` runs, "" where an heir decides."""
    if not isinstance(node.value, ast.Name):
        return ""
    owner = owner_of(frame, graph.view.module, node.value.id)
    method = next((each for each in frame.chain() if each.is_method), None)
    if owner is None or method is None or method.parent is None:
        return ""
    name = f"{method.parent.qualname}.{node.attr}"
    found = graph.frames.get(name)
    if found is None or found.parent is not method.parent or _is_replaced(graph, owner, node.attr):
        return ""
    return name


def _is_replaced(graph: _Graph, owner: Class, name: str) -> bool:
    """Return whether something else may stand in the place of a method when it is called."""
    table = graph.view.table
    if name in table.foreign or name in owner.attributes:
        return True
    return any(name in each.members or name in each.attributes for each in table.heirs(owner))


def _cycles(graph: _Graph) -> Iterator[list[str]]:
    """Yield each cycle of sure calls once, from the function that stands first in the file."""
    order = {name: place for place, name in enumerate(graph.frames)}
    for start in graph.frames:
        paths = [[start]]
        while paths:
            path = paths.pop(0)
            for target in graph.edges[path[-1]]:
                if target == start:
                    yield path
                elif len(path) < _MOST_IN_CYCLE and order[target] > order[start]:
                    paths += [[*path, target]] if target not in path else []


def _of_cycle(graph: _Graph, cycle: list[str]) -> ScanFinding:
    node = graph.edges[cycle[0]][cycle[1] if len(cycle) > 1 else cycle[0]]
    first = cycle[0]
    is_property = _is_property(graph.frames[first])
    what = f"{'The property ' if is_property else ''}{first} "
    if len(cycle) == 1:
        what += "reads itself" if is_property else "calls itself"
    else:
        what += f"runs into itself through {' and '.join(cycle[1:])}"
    is_method = graph.frames[first].is_method and len(cycle) > 1
    return _finding(
        graph.view,
        node,
        f"{what} on every path, so it never ends.",
        "No return or raise comes before it: RecursionError when this runs.",
        "return before it in one case, or read another name (most often one with an underscore)."
        if is_property
        else "end it in one case before it goes on.",
        LIKELY if is_method else CERTAIN,
    )


def _of_same_state(graph: _Graph, name: str, frame: Frame) -> Iterator[ScanFinding]:
    def is_own(node: ast.AST) -> bool:
        return target_of(graph, frame, node) == name

    for call, is_retry in same_state_calls(frame, is_own):
        if is_retry:
            what = f"{name} tries again by calling itself with the same arguments, without a count."
            why = "While the error lasts, it never ends: RecursionError in place of the error."
            step = "repeat it in a loop that counts the tries and waits between them."
        else:
            what = f"{name} calls itself with the same arguments, and nothing has changed by then."
            why = "The same condition leads to the same call: RecursionError when this runs."
            step = "change the arguments or the state before it, or return."
        yield _finding(graph.view, call, what, why, step, LIKELY)


def _of_protocol(view: View, frame: Frame) -> Iterator[ScanFinding]:
    node = cast("Function", frame.node)
    found = protocol_loop(view, frame, first_argument(node))
    if found is not None:
        place, words = found
        why = "Python calls the same method again to do that: RecursionError when this runs."
        step = "go through super(), object or the instance's __dict__, or read another name."
        yield _finding(view, place, f"{frame.qualname} {words}.", why, step, CERTAIN)


def _finding(
    view: View, node: ast.AST, what: str, why: str, step: str, certainty: str
) -> ScanFinding:
    line: int = node.lineno  # type: ignore[attr-defined]
    column: int = node.col_offset  # type: ignore[attr-defined]
    return ScanFinding(
        path=view.module.path,
        line=line,
        column=column + 1,
        rule=SAME_STATE_RECURSION,
        what=what,
        why=why,
        next=step,
        certainty=certainty,
    )
