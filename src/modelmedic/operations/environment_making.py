"""Make an environment from wheels that are there, and prove that it works.

The environment is made where it will stay: the programs in it name its Python by its path. pip lays
the packages out in a folder of ours first; they are moved in by renames. So a pip that outlives
this process never writes into an environment.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelmedic import commands
from modelmedic.errors import CannotTell, RecoveryFailed, RecoveryRefused
from modelmedic.facts import environment, installed_on_disk
from modelmedic.facts.interpreter_fault import child_environment, last_line
from modelmedic.facts.packages import normalised
from modelmedic.installer.pip import Installer
from modelmedic.installer.report import Pinned
from modelmedic.limits import TimeoutManager
from modelmedic.operations.tree import Tree
from modelmedic.text import printable

_MAKE_SECONDS = 60.0  # venv without pip: 0.1 s here; a virus scanner looks at each file
_START_SECONDS = 60.0
# Names a module of a distribution that is installed, most often one; "" when it has none.
_IMPORT = """
import importlib, importlib.metadata, sys
for name in sys.argv[1:]:
    files = importlib.metadata.distribution(name).files or ()
    tops = {f.parts[0] for f in files if len(f.parts) == 2 and f.name == "__init__.py"}
    tops |= {f.stem for f in files if len(f.parts) == 1 and f.suffix == ".py"}
    for top in sorted(tops):
        if top.isidentifier() and not top.startswith("_"):
            print(name, flush=True)
            try:
                importlib.import_module(top)
            except (ImportError, OSError) as error:
                # A library of the system: the check python.imports names it, before and after.
                lacks = "cannot open shared object file", "DLL load failed", "Library not loaded"
                if not any(words in str(error) for words in lacks):
                    raise
"""


def host(python: Path) -> Path:
    """Return whose pip does the work: ours, which is known to be new enough, else the maker's."""
    return Path(sys.executable) if importlib.util.find_spec("pip") else python


def python_of(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make(
    tree: Tree,
    path: str,
    *,
    maker: Path,
    items: Sequence[Pinned],
    wheels: Sequence[Path],
    stage: str,
    lets_outside_in: bool,
) -> None:
    """Make an environment in an empty folder of the install, from wheels alone.

    Args:
        tree: The install.
        path: The folder, relative to the install.
        maker: The Python it is made with.
        items: What it will hold.
        wheels: The folders with their wheels.
        stage: A folder of ours, which does not exist yet.
        lets_outside_in: Whether packages of the maker are seen in it.

    Raises:
        RecoveryFailed: The environment could not be made; says what was said.
    """
    folder = tree.root / path
    options = ["--system-site-packages"] if lets_outside_in else []
    _run(
        [maker, "-I", "-B", "-m", "venv", "--without-pip", *options, folder],
        f"{printable(maker)} made no environment in {printable(folder)}",
        _MAKE_SECONDS,
    )
    python = python_of(folder)
    tree.make_own_folder(stage)
    try:
        Installer(python, host(maker)).stage(items, wheels, tree.root / stage)
    except (CannotTell, RecoveryRefused) as error:
        raise RecoveryFailed(
            f"The packages could not be laid out in {printable(path)}: {error}"
        ) from error
    _move_in(tree, stage, path)
    tree.remove_own_tree(stage)


def prove(folder: Path, items: Iterable[Pinned], script: str, imports: Sequence[str] = ()) -> None:
    """Start the environment's Python and a program of it, and compare what is installed.

    Args:
        folder: The environment.
        items: What has to be installed, in these versions.
        script: A program that answers ``--version``, started by its own path; "" for none.
        imports: Distributions whose modules are imported.

    Raises:
        RecoveryFailed: Something does not work; says what.
    """
    python = python_of(folder)
    if not (script or imports):
        what = f"{printable(python)} does not start"
        _run([python, "-I", "-B", "-c", "pass"], what, _START_SECONDS)
    found = {item.key: item.version for item in installed_on_disk.read_installed(folder)}
    missing = [item.pin for item in items if found.get(item.key) != item.version]
    if missing:
        raise RecoveryFailed(
            f"{printable(folder)} does not hold {printable(', '.join(missing))} after pip "
            "installed it."
        )
    strangers = [s for s in environment.read_scripts(python.parent) if not s.is_own]
    if strangers:
        raise RecoveryFailed(
            f"The program {printable(strangers[0].name)} starts "
            f"{printable(strangers[0].interpreter)}, not {printable(python)}."
        )
    if script:
        suffix = ".exe" if os.name == "nt" else ""
        program = python.parent / f"{script}{suffix}"
        _run([program, "--version"], f"{printable(program)} does not start", _START_SECONDS)
    if imports:
        limit = TimeoutManager().get_timeout("validation")
        names = [normalised(name) for name in imports]
        what = f"Not everything can be imported in {printable(folder)}"
        _run([python, "-I", "-B", "-c", _IMPORT, *names], what, limit)


def _run(argv: Sequence[str | Path], what: str, deadline_seconds: float) -> None:
    """Run a program of the environment, which leaves no ``__pycache__`` behind.

    Raises:
        RecoveryFailed: It did not end well; begins with ``what``.
    """
    env = child_environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = commands.run(argv, deadline_seconds=deadline_seconds, env=env)
    except CannotTell as error:
        raise RecoveryFailed(f"{what}.", str(error)) from error
    if done.returncode != 0:
        at = last_line(done.stdout)
        said = last_line(done.stderr) or at
        raise RecoveryFailed(
            f"{what}: exit code {done.returncode}.",
            f"It said: {said}" + (f" (at {at})" if at and at != said else ""),
        )


def _move_in(tree: Tree, stage: str, path: str) -> None:
    """Rename what lies in a stage to the same places of an environment; folders are joined."""
    for entry, _state in tree.entries(stage):
        name, target = f"{stage}/{entry}", f"{path}/{entry}"
        link = tree.link_text(target)
        if link is not None:  # lib64 -> lib, as venv makes it on 64-bit systems
            target = f"{path}/{link}"
        there, ours = tree.identity(target), tree.identity(name)
        if there is None:
            tree.rename(name, target)
        elif there.is_folder and ours is not None and ours.is_folder:
            _move_in(tree, name, target)
        else:
            raise RecoveryFailed(f"{printable(target)} is brought by two packages.")
