"""Exchange distributions of a Python environment in the install: staged, proven, then swapped in.

pip's own uninstall deletes, and a kill in the middle of it leaves neither the old nor the new. So
pip lays the new ones out in a private folder beside the environment; then old files are renamed
out of the way and new ones into place. What is renamed is written down before, so that undo works
without a network, in any later process, after a kill at any point.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from modelmedic.errors import CannotTell, RecoveryFailed, RecoveryRefused
from modelmedic.facts import file_users
from modelmedic.installer.pip import Installer
from modelmedic.installer.report import Pinned, is_wheel_name
from modelmedic.installer.words import InstallerRefused
from modelmedic.operations import aside, environment_folder, mounts, moves, wheels
from modelmedic.operations.base import Cost, Operation, Workshop
from modelmedic.operations.environment_folder import Owned
from modelmedic.operations.moves import Moves
from modelmedic.operations.tree import Tree
from modelmedic.text import counted, printable, size

UNKNOWN_BYTES = 20_000_000  # of a wheel whose size nobody told; most are smaller
# Of unknown size these may be gigabytes. Source: sizes on the index, 2026-11.
HEAVY = ("torch", "nvidia-", "triton", "flash-attn", "xformers", "tensorflow", "jaxlib")
_HEAVY_BYTES = 2_500_000_000
_UNPACKED = 4  # a wheel, twice while it is laid out, and what it unpacks to
# The usual folders of an environment: they stay, whatever leaves.
_SPARED = ("bin", "Scripts", "lib", "lib64", "Lib", "include", "Include", "share", "etc", "man")


@dataclass(frozen=True, slots=True)
class SetDistributions(Operation):
    """Take distributions out of an environment and put others in, without their dependencies.

    Args:
        path: The environment's folder, relative to the install; no link.
        site: Its folder of packages, relative to ``path``.
        install: What comes in: name, version, file name of the wheel, its SHA-256, address, and
            size in bytes or "".
        remove: What goes out: the name of its metadata folder in ``site``, and the SHA-256 of its
            RECORD, "" where there is none.
        tool: Whose pip works: "pip", the environment's; "own pip", modelmedic's.
        index: The package index the addresses come from; "" for what pip is set to.
        find_links: Folders with wheels that pip looks into.
        is_offline: Nothing is fetched from a network.
    """

    kind: ClassVar[str] = "set_distributions"
    path: str
    site: str
    install: tuple[tuple[str, ...], ...]
    remove: tuple[tuple[str, ...], ...] = ()
    tool: str = "pip"
    index: str = ""
    find_links: tuple[str, ...] = ()
    is_offline: bool = False

    def describe(self) -> str:
        """Return what it does."""
        where = f"in {printable(self.path)}"
        old = ", ".join(printable(row[0].rpartition(".")[0]) for row in self.remove)
        new = ", ".join(f"{printable(i.name)} {printable(i.version)}" for i in self.items)
        if not new:
            return f"take {old} out {where}, kept for undo"
        amount = sum(item.size_bytes for item in self.items)
        much = "" if self.is_offline else f" ({size(amount)} to fetch)" if amount else ""
        source = " without the network" if self.is_offline else ""
        kept = f"; {old} is kept aside" if old else ""
        return f"install {new} {where}{source}{much}, each proven by its sha256{kept}"

    def cost(self) -> Cost:
        """Return what is to fetch at most, and the disk that all of it takes for a while."""
        amounts = [about_bytes(item) for item in self.items]
        fetch = 0 if self.is_offline else sum(amounts)
        seconds = None if self.items else 0.0
        return Cost(fetch_bytes=fetch, disk_bytes=_UNPACKED * sum(amounts), seconds=seconds)

    @property
    def items(self) -> tuple[Pinned, ...]:
        """Return what comes in.

        Raises:
            RecoveryRefused: A row is none: written by another version, or by hand.
        """
        return tuple(item_of(row) for row in self.install)

    def touched(self, tree: Tree) -> tuple[str, ...]:
        """Return the libraries and programs that go out: they are what processes hold."""
        files = {path for each in self._leaving(tree) for path in each.files}
        return environment_folder.held(files)

    def changes(self) -> tuple[str, ...]:
        """Return nothing: what is touched only the RECORDs tell; see `touched`."""
        return ()

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse when the environment changed, lies apart, or the disk is too full."""
        python = environment_folder.python_of(shop.tree, self.path)
        self._refuse_nonsense()
        self._refuse_running(python)
        self._leaving(shop.tree)
        mounts.refuse_apart(shop.tree, f"{self.path}/{self.site}")
        self._refuse_without_space(shop)
        keep = f"{aside.ASIDE}/{shop.run_id}/{seat}"
        stage = f"{aside.PARTS}/{shop.run_id}-{seat}.stage"
        return {"aside": keep, "stage": stage, "manifest": f"{keep}/moves.json", "sha256": ""}

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Fetch, stage, prove, write down what moves, move.

        Raises:
            RecoveryFailed: A wheel could not be had or not be laid out; the environment is as it
                was.
            RecoveryRefused: Somebody changed it meanwhile.
        """
        tree = shop.tree
        tree.make_own_folder(note["stage"])
        tree.make_own_folder(note["aside"])
        if self.install:
            self._stage(shop, note["stage"])
        planned = self._moves(tree, note)
        note["sha256"] = moves.write(tree, note["manifest"], planned)
        shop.record(note)
        moves.make(tree, planned.out)
        moves.make(tree, planned.come)
        tree.remove_own_tree(note["stage"])

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return how far it got."""
        if not note["sha256"] or shop.tree.identity(f"{note['stage']}.undone") is not None:
            return "before"
        found = moves.read(shop.tree, note["manifest"], note["sha256"])
        return moves.state(shop.tree, found)[0] if found else "drifted"

    def undo(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Put the old distributions back; what was fetched is kept for the next try.

        Raises:
            RecoveryRefused: Somebody changed them since, or they are no longer kept.
        """
        aside.refuse_foreign_place(note["aside"], aside.ASIDE)
        aside.refuse_foreign_place(note["manifest"], note["aside"])
        aside.refuse_foreign_place(note["stage"], aside.PARTS)
        undone = f"{note['stage']}.undone"
        if note["sha256"] and shop.tree.identity(undone) is None:
            moves.unmake(shop.tree, self._undoable(shop, note))
            # From here on nothing is to be moved back any more, should we be killed.
            shop.tree.rename(note["manifest"], undone)
        with contextlib.suppress(OSError):  # a pip that outlived us may still write; it expires
            shop.tree.remove_own_tree(note["stage"])
        shop.tree.remove_own_file(note["manifest"])
        aside.tidy(shop, note["manifest"])  # folders only, and only empty ones

    # -- the steps -------------------------------------------------------------------------------

    def _leaving(self, tree: Tree) -> list[Owned]:
        """Return what goes out.

        Raises:
            RecoveryRefused: It is not what was planned.
        """
        found = []
        for entry, sha256 in self.remove:
            owned = environment_folder.owned(tree, self.path, self.site, entry)
            if tree.identity(owned.entry) is None or owned.record_sha256 != sha256:
                raise RecoveryRefused(
                    f"{printable(entry)} changed since it was checked; nothing was touched.",
                    "Another program, or a person, installs packages there.",
                    "Wait until that has ended and start again.",
                )
            found.append(owned)
        return found

    def _stage(self, shop: Workshop, stage: str) -> None:
        python = environment_folder.python_of(shop.tree, self.path)
        installer = Installer.of(python, has_pip=self.tool == "pip")
        installer = Installer(
            python, installer.host, self.index, self.find_links, is_offline=self.is_offline
        )
        try:
            folders = wheels.bring(shop, installer, self.items)
            installer.stage(self.items, folders, shop.tree.root / stage)
        except (InstallerRefused, CannotTell) as error:
            raise RecoveryFailed(
                f"pip did not lay out {counted(len(self.items), 'package')}; the environment is "
                "as it was.",
                f"{error.what} {error.why}".strip(),
                error.next_step,
            ) from error
        self._refuse_other_layout(shop.tree, stage)

    def _refuse_other_layout(self, tree: Tree, stage: str) -> None:
        """Refuse a stage in which pip put packages elsewhere than the environment has them."""
        places = (self.site, f"lib64{self.site.removeprefix('lib')}")
        staged = {name for place in places for name, _state in tree.entries(f"{stage}/{place}")}
        missing = [i.name for i in self.items if not _has_metadata(staged, i)]
        if missing:
            raise RecoveryFailed(
                f"pip laid {printable(missing[0])} out elsewhere than in {printable(self.site)}; "
                "the environment is as it was."
            )

    def _moves(self, tree: Tree, note: dict[str, Any]) -> Moves:
        leaving = self._leaving(tree)
        stays = self._shared(tree, {owned.entry for owned in leaving})
        files = {path for owned in leaving for path in owned.files} - stays
        files |= set(moves.collisions(tree, note["stage"], self.path))
        out = moves.plan_out(tree, files, note["aside"], spared=self._spared())
        come = moves.plan_in(tree, note["stage"], self.path, out)
        return Moves(tuple(out), tuple(come))

    def _shared(self, tree: Tree, leaving: set[str]) -> set[str]:
        """Return the files of distributions that stay: two may own one path."""
        others = environment_folder.distributions(tree, self.path, self.site)
        return {path for each in others if each.entry not in leaving for path in each.files}

    def _spared(self) -> frozenset[str]:
        parts = self.site.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        return frozenset({self.path, *(f"{self.path}/{name}" for name in (*above, *_SPARED))})

    def _undoable(self, shop: Workshop, note: dict[str, Any]) -> Moves:
        found = moves.read(shop.tree, note["manifest"], note["sha256"])
        if found is None:
            raise RecoveryRefused(
                f"{printable(self.path)} was not put back: what it held is no longer kept.",
                "Undo expired, or somebody deleted it.",
            )
        state, path = moves.state(shop.tree, found)
        if state == "drifted":
            raise RecoveryRefused(
                f"{printable(self.path)} was not put back: {printable(path)} changed after the "
                "repair, or is no longer kept.",
                f"What was replaced and is still there lies in {printable(note['aside'])}.",
            )
        return found

    def _refuse_nonsense(self) -> None:
        rows = [row for row in self.remove if len(row) != 2 or "/" in row[0]]  # noqa: PLR2004
        if rows or not (self.install or self.remove):
            raise RecoveryRefused("An operation on packages cannot be read; nothing was touched.")
        bare = [item.name for item in self.items if not item.sha256]
        if bare:
            raise RecoveryRefused(
                f"{printable(bare[0])} was not installed: the package index states no SHA-256.",
                "Without one, nobody could tell good bytes from bad ones.",
            )

    def _refuse_running(self, python: Path) -> None:
        users = file_users.read_started(python)
        if users:
            first = users[0]
            raise RecoveryRefused(
                f"{printable(self.path)} was not touched: process {first.pid} "
                f"({printable(first.program) or 'unknown'}) runs its Python.",
                "A program that has loaded a part of the old packages must not meet the rest of "
                "new ones.",
                "End it, then start again.",
            )

    def _refuse_without_space(self, shop: Workshop) -> None:
        need, free = self.cost().disk_bytes, mounts.free_bytes(shop.tree)
        if free < need:
            raise RecoveryRefused(
                f"{counted(len(self.items), 'package')} were not installed: they need about "
                f"{size(need)} on this disk for a while and {size(free)} are free.",
                "The old ones stay until the new ones are proven, and are kept for undo.",
                mounts.space_step(shop.tree),
            )


def row(item: Pinned) -> tuple[str, ...]:
    """Return a pinned distribution as an operation keeps it."""
    return (item.name, item.version, item.filename, item.sha256, item.url,
            str(item.size_bytes or ""))  # fmt: skip


def item_of(values: tuple[str, ...]) -> Pinned:
    """Return a pinned distribution from the form in which an operation keeps it.

    Raises:
        RecoveryRefused: It is not of that form.
    """
    try:
        name, version, filename, sha256, url, amount = map(str, values)
        size_bytes = int(amount or 0)
    except ValueError as error:
        raise RecoveryRefused("An operation on packages cannot be read.") from error
    if not is_wheel_name(filename):
        raise RecoveryRefused(f"{printable(filename)} is no wheel; nothing was touched.")
    return Pinned(name, version, filename, url, sha256, size_bytes=size_bytes)


def about_bytes(item: Pinned) -> int:
    """Return the size of a wheel, guessed where nobody told it."""
    if item.size_bytes:
        return item.size_bytes
    return _HEAVY_BYTES if item.key.startswith(HEAVY) else UNKNOWN_BYTES


def _has_metadata(names: set[str], item: Pinned) -> bool:
    from modelmedic.facts.packages import name_from_entry, normalised

    return any(
        name.endswith(".dist-info") and normalised(name_from_entry(name)[0]) == item.key
        for name in names
    )
