"""Put pip back into an environment: the wheel that its own Python brings, staged and swapped in.

``python -m ensurepip`` would do it in place, and could not be undone exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from modelmedic.errors import RecoveryRefused
from modelmedic.facts import environment, interpreter
from modelmedic.facts.book import FactBook
from modelmedic.facts.interpreter import Interpreter
from modelmedic.facts.makers import minor_of
from modelmedic.installer.report import Pinned, is_wheel_name
from modelmedic.operations import environment_folder
from modelmedic.operations.base import Operation
from modelmedic.operations.set_distributions import SetDistributions, row
from modelmedic.operations.tree import Tree
from modelmedic.text import printable

# Where distributions keep the wheels that they took out of ensurepip. Source: CPython's
# --with-wheel-pkg-dir; Debian's python3-pip-whl and Fedora's python-pip-wheel.
_WHEEL_FOLDERS = (Path("/usr/share/python-wheels"), Path("/usr/share/python3-wheels"))


def plan_restore(facts: FactBook) -> Iterator[Operation]:
    """Yield what brings pip into the target's environment, or replaces one that does not start.

    Raises:
        RecoveryRefused: It is in no environment of the install, or its Python brings no pip.
    """
    found = facts.get(interpreter.read_interpreter)
    context = facts.context
    folder = environment.environment_folder(found.target)
    if folder is None or not folder.is_relative_to(context.place):
        raise RecoveryRefused(
            f"pip was not put into {printable(found.target)}: it is in no environment of the "
            f"install {printable(context.place)}.",
            "What other programs use is not changed.",
        )
    wheel = bundled(found)
    path = folder.relative_to(context.place).as_posix()
    site = Path(found.purelib).relative_to(folder).as_posix()
    installed = environment_folder.distributions(Tree(context.place), path, site)
    yield SetDistributions(
        path=path,
        site=site,
        install=(row(wheel),),
        remove=tuple(
            (each.entry.rpartition("/")[2], each.record_sha256)
            for each in installed
            if each.key == "pip"
        ),
        tool="own pip",
        is_offline=True,
    )


def bundled(found: Interpreter) -> Pinned:
    """Return the wheel of pip that an interpreter brings.

    Raises:
        RecoveryRefused: It brings none; names the package to install.
    """
    folders = (Path(found.stdlib) / "ensurepip" / "_bundled", *_WHEEL_FOLDERS)
    listed = (sorted(folder.glob("pip-*.whl")) for folder in folders)
    known = next(([w for w in wheels if is_wheel_name(w.name)] for wheels in listed if wheels), [])
    if not found.has_ensurepip or not known:
        package = f"python{minor_of(found.version)}-venv"
        raise RecoveryRefused(
            f"Python {found.version} of {printable(found.target)} brings no pip of its own.",
            "Debian and Ubuntu have that part in a package of its own.",
            f"Let an administrator run `apt install {package}`, then start again.",
        )
    wheel = known[-1]
    name, version = wheel.name.split("-")[:2]
    data = wheel.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return Pinned(name, version, wheel.name, wheel.as_uri(), sha256, size_bytes=len(data))
