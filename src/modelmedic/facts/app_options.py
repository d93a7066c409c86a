"""What the app's own code takes: tasks, sizes and options, read from its syntax, never imported.

``import wan`` needs a live CUDA device (a default argument in wan/modules/t5.py), so its tables
are read as text. Source: Wan2.2 at 42bf4cf, generate.py and wan/configs/__init__.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmedic.errors import CannotTell
from modelmedic.facts import safe_open
from modelmedic.facts.book import FactBook, probe
from modelmedic.text import printable

PROGRAM, TABLES = "generate.py", "wan/configs/__init__.py"
MAX_BYTES = 1 << 20  # generate.py has 20 kB


@dataclass(frozen=True, slots=True)
class AppOptions:
    """What the code says. ``is_there`` False: the install folder does not hold it.

    ``sizes`` pairs each task with the sizes it takes; a task without a pair takes any.
    """

    is_there: bool
    tasks: tuple[str, ...] = ()
    sizes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    options: frozenset[str] = frozenset()
    default_size: str = ""
    prompts: tuple[tuple[str, str], ...] = ()  # the prompt each task takes when none is given

    def sizes_of(self, task: str) -> tuple[str, ...]:
        """Return the sizes that ``task`` takes; empty when the code does not limit them."""
        return dict(self.sizes).get(task, ())


@probe("file_header")
def read_app_options(facts: FactBook) -> AppOptions:
    """Return what generate.py and wan/configs take.

    Raises:
        CannotTell: The code is there and is no Python, or does not hold the tables it had.
    """
    place = facts.context.place
    program, tables = _tree(place, PROGRAM), _tree(place, TABLES)
    if program is None or tables is None:
        return AppOptions(is_there=False)
    configs, sizes = _assigned(tables, "WAN_CONFIGS"), _literal(tables, "SUPPORTED_SIZES")
    if not isinstance(configs, ast.Dict) or not isinstance(sizes, dict):
        raise CannotTell(
            f"{TABLES} does not hold WAN_CONFIGS and SUPPORTED_SIZES as its authors wrote them.",
            "Most often a newer version of the app, or one changed by hand.",
        )
    options = dict(_options(program))
    return AppOptions(
        is_there=True,
        tasks=tuple(_texts(configs.keys)),
        sizes=tuple((str(task), tuple(map(str, taken))) for task, taken in sizes.items()),
        options=frozenset(options),
        default_size=str(options.get("--size") or ""),
        prompts=tuple(_prompts(_literal(program, "EXAMPLE_PROMPT"))),
    )


def _tree(place: Path, subject: str) -> ast.Module | None:
    """Return the syntax of a file of the install; None when it is not there.

    Raises:
        CannotTell: It may not be read, is too large, or is no Python.
    """
    with safe_open.opened(place, subject) as (state, file):
        if file is None:
            if state.state in {safe_open.State.MISSING, safe_open.State.DANGLING}:
                return None
            raise CannotTell(state.sentence())
        if file.size_bytes > MAX_BYTES:
            raise CannotTell(f"{printable(subject)} has {file.size_bytes:,} bytes; it is not read.")
        data = file.read_at(0, file.size_bytes)
    try:
        return ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise CannotTell(
            f"{printable(subject)} is no Python{where}.",
            "Most often a download that was cut short, or marks of an unfinished merge.",
            "Restore it: `git checkout -- " + subject + "` in the app's folder.",
        ) from error


def _assigned(tree: ast.Module, name: str) -> ast.expr | None:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == name:
                    return node.value
    return None


def _literal(tree: ast.Module, name: str) -> Any:
    value = _assigned(tree, name)
    try:
        return ast.literal_eval(value) if value is not None else None
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None


def _texts(nodes: Iterable[ast.expr | None]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _options(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """Yield each option of argparse and its default; None when it has none or computes it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr != "add_argument":
            continue
        given = {word.arg: word.value for word in node.keywords}
        default = given.get("default")
        for name in node.args:
            if isinstance(name, ast.Constant) and str(name.value).startswith("-"):
                value = default.value if isinstance(default, ast.Constant) else None
                yield str(name.value), value


def _prompts(table: Any) -> Iterator[tuple[str, str]]:
    if isinstance(table, dict):
        for task, given in table.items():
            if isinstance(given, dict) and isinstance(given.get("prompt"), str):
                yield str(task), given["prompt"]
