"""The house rules, read from the imports: arrows point downward, rooms stand alone."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from support import CHECKOUT

pytestmark = pytest.mark.once  # it reads texts, which are the same on every Python

SRC = CHECKOUT / "src"
ROOMS = ("checks", "recoveries", "plugins", "reports", "profiles")
MAX_LINES = 400
HEAVY = {
    "diffusers", "huggingface_hub", "jinja2", "platformdirs", "psutil", "pynvml", "requests",
    "torch", "transformers",
}  # fmt: skip

# A module may import its own layer and those before it. A new module gets its line here, which is
# the moment to think about where it belongs.
LAYERS = (
    (
        *("", "caller", "deeds", "errors", "jsonshape", "lazy", "machine_id"),
        *("pseudonyms", "text"),
    ),
    # What interrupts a block ends its children; the limits name it.
    (
        *("commands", "purity", "rooms", "bootstrap"),
        *("limits", "timelimit", "interruption", "offspring"),
    ),
    ("profile.model", "context", "findings", "testing"),
    ("facts",),
    ("masking", "leaks"),  # what is masked is read from the files of this machine
    ("profile", "compat", "needs", "selection", "discovery", "forecast", "scan", "inventory"),
    (
        "operations",
        "installer",
        "transfer",
        "ranges",
        "received",
        "addresses",
        "exchange",
        "patience",
        "pace",
        "http_answer",
        "observations",
        "goodcopies",
        "proxying",
    ),
    ("strategies",),
    # A heal says what it downloads, so that the monitor does not take it for a leak.
    ("healing", "reliability.interfaces", "reliability.disk_watch", "monitor.announced"),
    # Its children meet the journal of a repair, which lies above the rest of the test kit.
    (
        "testing.conformance",
        "examination",
        "verdicts",
        "closing",
        "sealing",
        "records",
        "attempts",
        "changes",
        "summary",
        "support",
        "sparkline",
        "resource_log",
        "timeline",
        "inventory_rows",
        "endings",
        "runs",
        "reliability",  # its engine runs the checks, and reads their record
        "history",  # it reads run records, and the log of judged repairs
        "monitor",  # it stores into the history
        "reporter",
        "bundle",
        "fleet",
    ),
    ("entry", "cli", "__main__"),
)
# Who starts processes, and why it is not done through modelmedic.commands, the one wrapper.
STARTERS = {
    "src/modelmedic/commands.py": "it is the wrapper",
    "src/modelmedic/bootstrap/launch.py": "hands over to pytest before anything is examined",
    "src/modelmedic/bootstrap/steps.py": "makes our environment before anything is examined",
    "start.py": "looks for a Python that can run us before anything of ours is installed",
}
STARTING = {
    "subprocess": {"Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput",
                   "run"},
    "os": {"fork", "forkpty", "popen", "posix_spawn", "posix_spawnp", "startfile", "system",
           *(f"{how}{form}" for how in ("exec", "spawn")
             for form in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe"))},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "concurrent.futures": {"ProcessPoolExecutor"},
}  # fmt: skip
STARTING_MODULES = {"_posixsubprocess", "_winapi", "multiprocessing", "pty"}
FACTS_MAY_KNOW = {"profile.model", "context"}  # plain data; design: imports point downward
ONLY_FOR = {"bootstrap": {"bootstrap", "cli"}, "testing": {"testing", "cli"}}


def python_files(*folders: str) -> list[Path]:
    return sorted(
        path
        for folder in folders
        for path in (CHECKOUT / folder).rglob("*.py")
        if "__pycache__" not in path.parts and ".venv" not in path.parts
    )


def module_name(path: Path) -> str:
    """Return the dotted name inside modelmedic; empty for the package itself."""
    parts = path.relative_to(SRC / "modelmedic").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield every module that is imported anywhere in the file; ``.x`` for a relative one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if is_module(full) else base


def is_module(name: str) -> bool:
    path = SRC.joinpath(*name.split("."))
    return name.startswith("modelmedic.") and (path.with_suffix(".py").is_file() or path.is_dir())


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def layer_of(name: str) -> int:
    """Return the layer of a module by its longest prefix in the table."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        for number, group in enumerate(LAYERS):
            if prefix in group:
                return number
    pytest.fail(f"modelmedic.{name} has no layer: give it one in tests/test_architecture.py")


def own_imports(path: Path) -> list[str]:
    """Return what a file imports of modelmedic, without that prefix."""
    names = [name for name in imports(parsed(path)) if name.split(".")[0] == "modelmedic"]
    return [name.removeprefix("modelmedic").removeprefix(".") for name in names]


def library() -> list[Path]:
    return python_files("src")


def ids(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def test_imports_are_seen_in_every_form():
    text = "import pytest\nfrom modelmedic import cli\ndef f():\n    from . import x\n    from modelmedic.errors import CannotTell\n"
    assert set(imports(ast.parse(text))) == {"pytest", "modelmedic.cli", ".", "modelmedic.errors"}
    assert layer_of("facts.book") < layer_of("operations.tree") < layer_of("cli")


@pytest.mark.parametrize("path", library(), ids=ids)
def test_the_library_imports_downward_only(path):
    name = module_name(path)
    if not name:
        return  # the face of the package names what lies above it, and reads it when it is used
    upward = [other for other in own_imports(path) if layer_of(other) > layer_of(name)]
    assert upward == [], f"modelmedic.{name} is below what it imports"


@pytest.mark.parametrize("path", library(), ids=ids)
def test_facts_know_of_the_profile_only_its_plain_data(path):
    if module_name(path).split(".")[0] != "facts":
        return
    others = {other for other in own_imports(path) if other.startswith(("profile", "context"))}
    assert others <= FACTS_MAY_KNOW


@pytest.mark.parametrize("path", library(), ids=ids)
def test_the_start_and_the_test_kit_are_not_built_upon(path):
    for special, allowed in ONLY_FOR.items():
        if module_name(path).split(".")[0] not in allowed:
            assert not [other for other in own_imports(path) if other.split(".")[0] == special]


@pytest.mark.parametrize("path", library(), ids=ids)
def test_the_library_never_imports_pytest_and_has_no_relative_imports(path):
    names = list(imports(parsed(path)))
    assert not [name for name in names if name.split(".")[0] in {"pytest", "_pytest"}]
    assert not [name for name in names if name.startswith(".")]


@pytest.mark.parametrize("path", python_files(*ROOMS), ids=ids)
def test_a_room_uses_the_library_and_no_other_room(path):
    names = list(imports(parsed(path)))
    assert not [name for name in names if name.split(".")[0] in {*ROOMS, "tests", "conftest"}]
    assert not [name for name in names if name.startswith(".")]
    siblings = {other.stem for other in path.parent.glob("*.py")} - set(sys.stdlib_module_names)
    assert not [name for name in names if name in siblings]
    assert not {"bootstrap", "cli"} & {name.split(".")[0] for name in own_imports(path)}


@pytest.mark.parametrize("path", python_files("src", *ROOMS), ids=ids)
def test_nothing_heavy_is_imported_before_it_is_needed(path):
    """Statements at module level run at collection; inside functions they run when called."""
    top = [
        statement
        for statement in parsed(path).body
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
        and not (isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test))
    ]
    names = {name.split(".")[0] for statement in top for name in imports(statement)}
    assert not names & HEAVY


def test_the_start_uses_only_the_standard_library():
    for path in (CHECKOUT / "start.py", *python_files("src/modelmedic/bootstrap")):
        for name in imports(parsed(path)):
            top = name.split(".")[0]
            ours = name.startswith(
                ("modelmedic.bootstrap", "modelmedic.caller", "modelmedic.errors")
            )
            assert top in sys.stdlib_module_names or ours, f"{ids(path)} imports {name}"


def starts_of_processes(tree: ast.AST) -> Iterator[str]:
    """Yield what in a file starts a process: imported names, and attributes of the modules."""
    modules = {name: name for name in STARTING}  # by the name they go by in this file
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names = STARTING.get(node.module or "", set())
            yield from (alias.name for alias in node.names if alias.name in names)
            modules |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    yield from (name for name in imports(tree) if name.split(".")[0] in STARTING_MODULES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            module = modules.get(ast.unparse(node.value), "")
            if node.attr in STARTING.get(module, ()):
                yield f"{module}.{node.attr}"


@pytest.mark.parametrize(
    "text",
    ["import subprocess\nsubprocess.run([])", "import subprocess as s\ns.Popen([])",
     "from subprocess import check_output", "import os\nx = os.system", "from os import popen",
     "import os as o\no.execv('', [])", "import multiprocessing", "from multiprocessing import Pool",
     "from concurrent.futures import ProcessPoolExecutor", "import concurrent.futures as c\nc.ProcessPoolExecutor()",
     "from concurrent import futures\nfutures.ProcessPoolExecutor()", "import pty", "import os\nos.spawnlp(0, '')"],
)  # fmt: skip
def test_a_start_of_a_process_is_seen_in_every_form(text):
    assert len(list(starts_of_processes(ast.parse(text)))) == 1


def test_errors_and_constants_of_subprocess_start_nothing():
    text = "import os, subprocess\nsubprocess.TimeoutExpired\nos.path\nrun()\nlist2cmdline.run\n"
    assert list(starts_of_processes(ast.parse(text))) == []


def test_children_run_through_one_wrapper():
    files = [*python_files("src", *ROOMS), CHECKOUT / "start.py", CHECKOUT / "conftest.py"]
    found = {ids(path): list(starts_of_processes(parsed(path))) for path in files}
    assert {path for path, starts in found.items() if starts} == set(STARTERS)


def test_no_file_is_longer_than_a_reader_can_hold():
    folders = ("src", *ROOMS, "tests", "benchmarks", ".ci")
    files = [*python_files(*folders), CHECKOUT / "start.py", CHECKOUT / "conftest.py"]
    lines = {ids(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_the_root_conftest_stays_a_doorway():
    assert len((CHECKOUT / "conftest.py").read_text(encoding="utf-8").splitlines()) < 15
