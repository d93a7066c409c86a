"""The scopes of one file: which statements run in each, and what each name of it is bound to."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from modelmedic.scan.forms import UNKNOWN, Form, Shape, dotted, form_of, form_of_annotation

Function = ast.FunctionDef | ast.AsyncFunctionDef
# Fields that hold no statement or expression; passing them by saves half of the time.
_EMPTY = frozenset({"ctx", "op", "ops", "type_comment", "kind", "type_ignores", "conversion"})
_IMPLICIT = frozenset({"__new__", "__init_subclass__", "__class_getitem__"})
# Decorators after which a method is still called with the instance first. Others may do anything.
KEEPING = frozenset(
    {
        "abstractmethod", "cache", "cached_property", "contextmanager", "asynccontextmanager",
        "final", "lru_cache", "no_grad", "inference_mode", "override", "property", "setter",
        "getter", "deleter", "wraps", "deprecated",
    }
)  # fmt: skip


@dataclass(slots=True, eq=False)
class Frame:
    """One scope: a file, a class body, a function or a lambda.

    ``nodes`` are all syntax nodes that run in it, in their order, without those of inner scopes.
    ``stores`` are the attributes it sets: dotted owner ("" when that is no name), name, value.
    """

    node: ast.AST
    parent: Frame | None
    qualname: str = ""
    nodes: list[ast.AST] = field(default_factory=list)
    bindings: dict[str, list[Form]] = field(default_factory=dict)
    stores: list[tuple[str, str, Form]] = field(default_factory=list)
    outer: set[str] = field(default_factory=set)  # global and nonlocal names

    @property
    def is_class(self) -> bool:
        """Return whether this is the body of a class."""
        return isinstance(self.node, ast.ClassDef)

    @property
    def is_function(self) -> bool:
        """Return whether this is a function that was defined by ``def``."""
        return isinstance(self.node, Function)

    @property
    def is_method(self) -> bool:
        """Return whether this is a function that stands in the body of a class."""
        return self.is_function and self.parent is not None and self.parent.is_class

    def home_of(self, name: str) -> Frame | None:
        """Return the scope that a name is looked up in from here, None for a builtin."""
        frame: Frame | None = self
        while frame is not None:
            is_bound = name in frame.bindings and name not in frame.outer
            if is_bound and (frame is self or not frame.is_class):
                return frame
            frame = frame.parent
        return None

    def chain(self) -> Iterator[Frame]:
        """Yield this scope and those around it, the innermost first."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.parent


def frames_of(tree: ast.Module) -> list[Frame]:
    """Return the scopes of a file, the file's own first, each with its nodes and bindings."""
    frames = _split(tree)
    for frame in frames:
        _bind(frame)
    for frame in frames:
        _bind_outer(frame, frames[0])
    return frames


def decorators_of(node: ast.AST) -> list[str]:
    """Return the dotted names of the decorators; "?" for one that is no name, called or not."""
    found = getattr(node, "decorator_list", [])
    return [dotted(each.func if isinstance(each, ast.Call) else each) or "?" for each in found]


def first_argument(node: Function) -> str:
    """Return the name of the first positional argument, "" when there is none."""
    arguments = [*node.args.posonlyargs, *node.args.args]
    return arguments[0].arg if arguments else ""


def _split(tree: ast.Module) -> list[Frame]:
    top = Frame(tree, None)
    frames = [top]
    pending: list[tuple[ast.AST, Frame]] = [(node, top) for node in reversed(tree.body)]
    while pending:
        node, frame = pending.pop()
        frame.nodes.append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            inner = Frame(node, frame, _qualname(frame, node))
            frames.append(inner)
            body = node.body if isinstance(node.body, list) else [node.body]
            pending += [(each, inner) for each in reversed(body)]
            pending += [(each, frame) for each in reversed(_outside(node))]
        else:
            pending += [(each, frame) for each in reversed(children(node))]
    return frames


def children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes right below a node, in the order of the source."""
    found: list[ast.AST] = []
    for name in _fields(type(node)):
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [each for each in value if isinstance(each, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {ast.Constant: (), ast.Name: ()}


def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    known = _FIELDS.get(kind)
    if known is None:
        known = _FIELDS[kind] = tuple(name for name in kind._fields if name not in _EMPTY)
    return known


def _qualname(frame: Frame, node: ast.AST) -> str:
    name = getattr(node, "name", "<lambda>")
    return f"{frame.qualname}.{name}" if frame.qualname else name


def _outside(node: ast.AST) -> list[ast.AST]:
    """Return what of a definition runs in the scope around it."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *node.keywords]
    found: list[ast.AST] = [*getattr(node, "decorator_list", [])]
    arguments: ast.arguments = node.args  # type: ignore[attr-defined]
    found += [each for each in [*arguments.defaults, *arguments.kw_defaults] if each is not None]
    return found  # annotations are types: nothing that a detector looks at


def _bind(frame: Frame) -> None:
    claimed: set[int] = set()
    if isinstance(frame.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        _bind_arguments(frame, frame.node.args)
    for node in frame.nodes:
        binder = _BINDERS.get(type(node))
        if binder is not None:
            binder(frame, node, claimed)


def _add(frame: Frame, name: str, form: Form) -> None:
    frame.bindings.setdefault(name, []).append(form)


def _bind_arguments(frame: Frame, arguments: ast.arguments) -> None:
    plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    for each in plain:
        _add(frame, each.arg, form_of_annotation(each.annotation))
    if arguments.vararg:
        _add(frame, arguments.vararg.arg, UNKNOWN)
    if arguments.kwarg:
        _add(frame, arguments.kwarg.arg, Form(Shape.DICT, "keywords"))
    if frame.is_method:
        node = cast("Function", frame.node)
        name = first_argument(node)
        if name:
            frame.bindings[name] = [_receiver(node, name)]


def _receiver(node: Function, name: str) -> Form:
    """Return what the first argument of a method is: the instance, the class, or neither."""
    names = {each.rpartition(".")[2] for each in decorators_of(node)}
    if "staticmethod" in names:
        return form_of_annotation([*node.args.posonlyargs, *node.args.args][0].annotation)
    if "classmethod" in names or node.name in _IMPLICIT:
        return Form(Shape.OWN_CLASS)
    if names <= KEEPING:
        return Form(Shape.SELF)
    return Form(Shape.SELF) if name == "self" else UNKNOWN


def _bind_assignment(frame: Frame, node: ast.AST, claimed: set[int]) -> None:
    assign = cast("ast.Assign", node)
    form = form_of(assign.value)
    for target in assign.targets:
        _claim(frame, target, form, claimed)


def _bind_annotated(frame: Frame, node: ast.AST, claimed: set[int]) -> None:
    assign = cast("ast.AnnAssign", node)
    form = form_of_annotation(assign.annotation)
    if assign.value is not None and form is UNKNOWN and dotted(assign.annotation) == "":
        form = _by_value(assign)
    _claim(frame, assign.target, form, claimed)


def _by_value(assign: ast.AnnAssign) -> Form:
    """Return the value's form where the annotation only says that it stays: Final, ClassVar."""
    annotation = assign.annotation
    name = dotted(annotation.value) if isinstance(annotation, ast.Subscript) else ""
    says_nothing = name.rpartition(".")[2] in {"Final", "ClassVar"}
    return form_of(assign.value) if says_nothing else UNKNOWN


def _bind_named(frame: Frame, node: ast.AST, claimed: set[int]) -> None:
    named = cast("ast.NamedExpr", node)
    _claim(frame, named.target, form_of(named.value), claimed)


def _claim(frame: Frame, target: ast.expr, form: Form, claimed: set[int]) -> None:
    if isinstance(target, ast.Name):
        claimed.add(id(target))
        _add(frame, target.id, form)
    elif isinstance(target, ast.Attribute):
        claimed.add(id(target))
        frame.stores.append((dotted(target.value), target.attr, form))


def _bind_name(frame: Frame, node: ast.AST, claimed: set[int]) -> None:
    name = cast("ast.Name", node)
    if not isinstance(name.ctx, ast.Load) and id(node) not in claimed:
        _add(frame, name.id, UNKNOWN)


def _bind_attribute(frame: Frame, node: ast.AST, claimed: set[int]) -> None:
    attribute = cast("ast.Attribute", node)
    if not isinstance(attribute.ctx, ast.Load) and id(node) not in claimed:
        frame.stores.append((dotted(attribute.value), attribute.attr, UNKNOWN))


def _bind_definition(frame: Frame, node: ast.AST, _claimed: set[int]) -> None:
    name: str = node.name  # type: ignore[attr-defined]
    line: int = node.lineno  # type: ignore[attr-defined]
    shape = Shape.CLASS if isinstance(node, ast.ClassDef) else Shape.FUNCTION
    _add(frame, name, Form(shape, _qualname(frame, node), line=line))


def _bind_import(frame: Frame, node: ast.AST, _claimed: set[int]) -> None:
    statement = cast("ast.Import", node)
    for alias in statement.names:
        top = alias.name.partition(".")[0]
        name = alias.name if alias.asname else top
        form = Form(Shape.IMPORT, name, line=statement.lineno)
        bound = alias.asname or top
        if form[:3] not in [each[:3] for each in frame.bindings.get(bound, ())]:
            _add(frame, bound, form)  # import a.b and import a.c both bind the one a


def _bind_import_from(frame: Frame, node: ast.AST, _claimed: set[int]) -> None:
    statement = cast("ast.ImportFrom", node)
    module = "." * statement.level + (statement.module or "")
    for alias in statement.names:
        form = Form(Shape.IMPORT, module, alias.name, statement.lineno)
        _add(frame, alias.asname or alias.name, form)


def _bind_plain_name(frame: Frame, node: ast.AST, _claimed: set[int]) -> None:
    """Bind the name of ``except ... as name``, of a pattern or of a type parameter."""
    name = getattr(node, "name", None) or getattr(node, "rest", None)
    if isinstance(name, str):
        _add(frame, name, UNKNOWN)


def _bind_outside(frame: Frame, node: ast.AST, _claimed: set[int]) -> None:
    frame.outer |= set(cast("ast.Global", node).names)


_BINDERS: dict[type[ast.AST], Callable[[Frame, ast.AST, set[int]], None]] = {
    ast.Assign: _bind_assignment,
    ast.AnnAssign: _bind_annotated,
    ast.NamedExpr: _bind_named,
    ast.Name: _bind_name,
    ast.Attribute: _bind_attribute,
    ast.FunctionDef: _bind_definition,
    ast.AsyncFunctionDef: _bind_definition,
    ast.ClassDef: _bind_definition,
    ast.Import: _bind_import,
    ast.ImportFrom: _bind_import_from,
    ast.ExceptHandler: _bind_plain_name,
    ast.MatchAs: _bind_plain_name,
    ast.MatchStar: _bind_plain_name,
    ast.MatchMapping: _bind_plain_name,
    ast.Global: _bind_outside,
    ast.Nonlocal: _bind_outside,
}


def _bind_outer(frame: Frame, top: Frame) -> None:
    """Give the scopes around a function the names that it sets in them: of unknown value."""
    for name in frame.outer & frame.bindings.keys():
        holders = [each for each in frame.chain() if each is not frame and name in each.bindings]
        for holder in holders or [top]:
            _add(holder, name, UNKNOWN)
