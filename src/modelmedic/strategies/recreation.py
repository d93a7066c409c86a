"""Make the app's environment anew, or the first one: what goes in, and which Python makes it.

What the old environment held is read from its metadata on the disk, so that its Python need not
start. The profile wins over it; everything else keeps its version as long as there is a wheel.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.facts import environment, installed_on_disk, makers
from modelmedic.facts.book import FactBook
from modelmedic.facts.installed_on_disk import OnDisk
from modelmedic.facts.makers import Maker
from modelmedic.installer.report import Pinned
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Operation
from modelmedic.operations.environment import RecreateEnvironment, held_names
from modelmedic.operations.set_distributions import row
from modelmedic.operations.tree import Tree
from modelmedic.profile.model import PythonNeeds
from modelmedic.strategies import wished
from modelmedic.text import printable

# What a new environment can cure; for anything else it is no answer, however grave.
CURES = ("python.target", "python.version", "python.environment")
FIRST = ".venv"  # where a first environment is made, and where the next run looks for it


def plan_recreation(facts: FactBook) -> Iterator[Operation]:
    """Yield what makes the target's environment anew at its place.

    Raises:
        RecoveryRefused: There is none, it lies outside the install, no Python of this machine can
            make it, or its packages cannot be had as wheels.
    """
    context = facts.context
    if facts.target_python is None:
        raise RecoveryRefused("There is no environment that could be made anew.")
    folder = environment.environment_folder(facts.target_python) or _half_made(facts)
    if folder is None:
        raise RecoveryRefused(
            f"{printable(facts.target_python)} is in no environment of its own.",
            "A Python that other programs use is not replaced.",
            "Give the app an environment: start again without --target-python.",
        )
    if not folder.is_relative_to(context.place):
        raise RecoveryRefused(
            f"{printable(folder)} was not touched: it lies outside of the install "
            f"{printable(context.place)}.",
            "",
            "Give the folder of the app as --install-dir, with its environment in it.",
        )
    old = environment.look_at_environment(facts.target_python)
    held = installed_on_disk.read_installed(folder)
    path = folder.relative_to(context.place).as_posix()
    maker = _maker(facts, makers.minor_of(old.version), folder)
    is_same = makers.minor_of(old.version) == maker.minor
    yield _operation(facts, path, maker, held, is_same=is_same, lets_in=old.lets_outside_in)


def plan_first(facts: FactBook) -> Iterator[Operation]:
    """Yield what makes the first environment of an install, with what the profile requires.

    Raises:
        RecoveryRefused: There is one, something else lies in its place, no Python of this machine
            can make it, or the packages cannot be had as wheels.
    """
    if facts.target_python is not None:
        raise RecoveryRefused(f"The app has an environment: {printable(facts.target_python)}.")
    place = facts.context.place
    if (place / FIRST).is_symlink() or (place / FIRST).exists():
        raise RecoveryRefused(
            f"{printable(place / FIRST)} was not made: something lies there.",
            "It is no environment: there is no Python in it.",
            "Look what it is and move it away.",
        )
    maker = _maker(facts, "", place / FIRST)
    yield _operation(facts, FIRST, maker, (), is_same=True, lets_in=False)


def refuse_other(check: str) -> None:
    """Refuse what failed for another reason than its environment.

    Raises:
        NotItsCase: A smaller repair is what it needs.
    """
    if check not in CURES:
        raise NotItsCase(
            f"The environment is not made anew for {check}: a package is repaired by itself.",
        )


def _operation(
    facts: FactBook,
    path: str,
    maker: Maker,
    held: tuple[OnDisk, ...],
    *,
    is_same: bool,
    lets_in: bool,
) -> RecreateEnvironment:
    needs = facts.profile.python
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    place = facts.context.place / path / name
    settings = name if place.is_file() and not place.is_symlink() else ""
    found = wished.settle(
        facts, maker, held, needs, is_same=is_same, settings=str(place) if settings else ""
    )
    if not held:
        _refuse_less_able(facts, found.items)
    identity = Tree(facts.context.place).identity(path)
    return RecreateEnvironment(
        path=path,
        python=str(maker.path),
        version=maker.version,
        install=tuple(row(item) for item in found.items),
        script="pip",
        imports=_imports(needs, found.items),
        held=held_names(held),
        left_out=found.left_out,
        index="",
        find_links=found.find_links,
        is_offline=found.is_offline,
        lets_outside_in=lets_in,
        settings=settings,
        was=seen(identity),
    )


def _maker(facts: FactBook, preferred: str, besides: Path) -> Maker:
    """Return the Python that makes it; the version of the old one is kept if the app allows it.

    Raises:
        RecoveryRefused: None on this machine is in the range; none is downloaded.
    """
    requires = facts.profile.python.requires
    maker = facts.get(makers.read_maker, requires, preferred, str(besides))
    if maker is None:
        raise RecoveryRefused(
            f"No Python {requires or '3'} was found on this machine, so no environment was made.",
            "Looked for on PATH and in the folders of uv and pyenv. modelmedic downloads none.",
            f"Install one, most simply by `uv python install {_example(requires)}`, then start "
            "again.",
        )
    return maker


def _example(requires: str) -> str:
    """Return the newest minor version in a range; "3.12" for any."""
    from modelmedic.facts.packages import in_range

    fitting = (
        f"3.{minor}" for minor in (12, 11, 10, 13, 14, 9) if in_range(f"3.{minor}.5", requires)
    )
    return next(fitting, "3.12")


def _half_made(facts: FactBook) -> Path | None:
    """Return the folder of an environment without a pyvenv.cfg, if it is one of the usual names."""
    target = facts.target_python
    assert target is not None
    folder = target.parent.parent
    is_usual = folder.name in {".venv", "venv"} and target.parent.name in {"bin", "Scripts"}
    return folder if is_usual and folder.parent == facts.context.place else None


def _imports(needs: PythonNeeds, items: tuple[Pinned, ...]) -> tuple[str, ...]:
    """Return what is imported in the rehearsal: what the profile cannot do without."""
    asked = {need.name for need in needs.requirements if not need.is_optional}
    return tuple(sorted(item.key for item in items if item.key in asked))


def _refuse_less_able(facts: FactBook, items: tuple[Pinned, ...]) -> None:
    """Refuse a build of torch without CUDA where the app needs a GPU.

    Raises:
        RecoveryRefused: The index has only that for this system (on Windows PyPI does).
    """
    torch = next((item for item in items if item.key == "torch"), None)
    is_less = torch is not None and sys.platform == "win32" and "+cu" not in torch.version
    if is_less and facts.profile.hardware.needs_gpu:
        raise RecoveryRefused(
            "The configured package index has torch without CUDA only; no environment was made.",
            "The app needs the graphics card.",
            "Set PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cu128, then start again.",
        )
