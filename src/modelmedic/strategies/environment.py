"""The environment whose packages are repaired: where it lies, whose pip works, what it has."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelmedic.context import Context
from modelmedic.errors import RecoveryRefused
from modelmedic.facts import environment, interpreter, packages
from modelmedic.facts.book import FactBook
from modelmedic.facts.interpreter import Interpreter
from modelmedic.facts.packages import Conflict, Distribution
from modelmedic.facts.pip_commands import install_command
from modelmedic.installer import words
from modelmedic.installer.report import Pinned
from modelmedic.operations import environment_folder
from modelmedic.operations.set_distributions import SetDistributions, row
from modelmedic.operations.tree import Tree
from modelmedic.text import counted, printable

_OLDEST_PIP = "23"  # whose report of a dry run is stable. Source: pip's changelog
# Built for one another, and for a driver: another one of these is never chosen by the way.
TORCH = frozenset({"torch", "torchvision", "torchaudio", "xformers", "flash-attn"})


@dataclass(frozen=True, slots=True)
class Target:
    """An environment in the install, and what its Python said about itself.

    ``folder`` is relative to the install, ``site`` (its folder of packages) to the environment.
    """

    found: Interpreter
    folder: str
    site: str
    tool: str

    @property
    def own(self) -> tuple[Distribution, ...]:
        """Return what lies in its own folder of packages, which alone is changed."""
        return tuple(d for d in self.found.distributions if _is_same(d.folder, self.found.purelib))

    def conflicts(
        self, distributions: Iterable[Distribution] | None = None
    ) -> tuple[Conflict, ...]:
        """Return what contradicts, in what is installed or would be."""
        given = self.found.distributions if distributions is None else distributions
        inside = [d for d in given if d.folder != self.found.user_site]
        return packages.find_conflicts(inside, self.found.marker_environment)


def target(facts: FactBook, context: Context) -> Target:
    """Return the environment of the target interpreter, if it is one that may be changed.

    Raises:
        RecoveryRefused: There is none, it lies outside of the install, or nothing can install
            into it; says what to do by hand.
    """
    python = facts.target_python
    if python is None:
        raise RecoveryRefused(
            "There is no environment whose packages could be changed.", context.target_reason
        )
    found = facts.get(interpreter.read_interpreter)
    folder = _folder(context, python, found)
    if folder is None:
        raise RecoveryRefused(
            f"{printable(python)} was not changed: its packages lie outside of the install "
            f"{printable(context.place)}, or behind a link.",
            "Other programs may use that Python.",
            _by_hand(facts, found, []),
        )
    site = _relative(Path(found.purelib), Path(found.prefix))
    if site is None:
        raise RecoveryRefused(f"{printable(python)} keeps its packages outside of its own folder.")
    return Target(found, folder, site, _tool(facts, python))


def exchange(
    context: Context,
    target: Target,
    items: Sequence[Pinned],
    *,
    remove: Iterable[str] = (),
    index: str = "",
    find_links: tuple[str, ...] = (),
    is_offline: bool = False,
) -> SetDistributions:
    """Return the operation that puts items in place of what has their names.

    Args:
        context: The subject of the run.
        target: The environment.
        items: What comes in.
        remove: Names that go out without anything in their place.
        index: As in the operation.
        find_links: As in the operation.
        is_offline: As in the operation.

    Raises:
        RecoveryRefused: It would break something that holds now.
    """
    names = {item.key for item in items} | {packages.normalised(name) for name in remove}
    leaving = [d for d in target.own if d.key in names]
    _refuse_new_conflicts(target, items, leaving)
    tree = Tree(context.place)
    owned = [environment_folder.owned(tree, target.folder, target.site, d.entry) for d in leaving]
    return SetDistributions(
        path=target.folder,
        site=target.site,
        install=tuple(row(item) for item in items),
        remove=tuple((d.entry, o.record_sha256) for d, o in zip(leaving, owned, strict=True)),
        tool=target.tool,
        index=index,
        find_links=find_links,
        is_offline=is_offline,
    )


def after(
    target: Target, items: Iterable[Pinned], leaving: Iterable[Distribution]
) -> tuple[Distribution, ...]:
    """Return what would be installed after an exchange."""
    gone = set(leaving)
    kept = [d for d in target.found.distributions if d not in gone]
    new = [
        Distribution(
            i.name, i.version, target.found.purelib, f"{i.name}-{i.version}.dist-info", i.requires,
            installer="pip",
        )
        for i in items
    ]  # fmt: skip
    return (*new, *kept)


def touches_torch(operation: SetDistributions) -> bool:
    """Return whether torch or what is built for it becomes another version."""
    told = (packages.name_from_entry(entry) for entry, _sha256 in operation.remove)
    old = {(packages.normalised(name), version) for name, version in told}
    return any(i.key in TORCH and (i.key, i.version) not in old for i in operation.items)


def _refuse_new_conflicts(
    target: Target, items: Sequence[Pinned], leaving: Sequence[Distribution]
) -> None:
    before = {(c.kind, c.name, c.other) for c in target.conflicts()}
    new = [
        c
        for c in target.conflicts(after(target, items, leaving))
        if (c.kind, c.name, c.other) not in before
    ]
    if new:
        raise RecoveryRefused(
            f"{counted(len(items), 'package')} would break something: then "
            f"{printable(new[0].words)}.",
            "A repair must not break what holds now, so nothing was changed.",
        )


def _folder(context: Context, python: Path, found: Interpreter) -> str | None:
    folder = environment.environment_folder(python)
    if folder is None and not found.is_venv:
        folder = Path(found.prefix)  # a portable Python that came with the app
    relative = _relative(folder, context.place) if folder else None
    if relative is None or relative == ".":
        return None
    identity = Tree(context.place).identity(relative)
    return relative if identity is not None and identity.is_folder else None


def _relative(path: Path, root: Path) -> str | None:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return None


def _tool(facts: FactBook, python: Path) -> str:
    """Return whose pip works: the environment's, or ours where that is absent or too old.

    Raises:
        RecoveryRefused: Neither can say what it would install.
    """
    version = facts.get(interpreter.read_pip).version
    if version and packages.in_range(version, f">={_OLDEST_PIP}"):
        return "pip"
    if importlib.util.find_spec("pip") is not None:
        return "own pip"
    if not version:
        raise words.no_pip(str(python))
    raise RecoveryRefused(
        f"pip {printable(version)} of {printable(python)} cannot say what it would install; "
        f"{_OLDEST_PIP} and later can.",
        "",
        packages.shell_words([python, "-m", "pip", "install", "--upgrade", "pip"]),
    )


def _by_hand(facts: FactBook, found: Interpreter, arguments: list[str]) -> str:
    return install_command(facts, found, arguments or ["PACKAGE"])


def _is_same(one: str, other: str) -> bool:
    return one == other or Path(one).resolve() == Path(other).resolve()


def with_sizes(items: Iterable[Pinned], sizes: dict[str, int]) -> tuple[Pinned, ...]:
    """Return items with the sizes of their wheels, by address, where they are known."""
    return tuple(replace(item, size_bytes=sizes.get(item.url, 0)) for item in items)
