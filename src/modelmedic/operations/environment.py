"""Make the app's environment anew at its place, from proven wheels; the old one waits aside."""

from __future__ import annotations

import contextlib
import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.operations import aside, folder_swap, mounts
from modelmedic.operations.aside import PARTS, Was
from modelmedic.operations.base import Cost, Operation, Workshop
from modelmedic.operations.durable import write_all
from modelmedic.operations.set_distributions import about_bytes, item_of
from modelmedic.text import counted, printable, size

if TYPE_CHECKING:
    from modelmedic.facts.installed_on_disk import OnDisk
    from modelmedic.installer.report import Pinned

# What a wheel becomes when it is laid out, as long as it is not there to be asked. Measured: 2.9
# for pillow 13.0, 3.4 for pip 23.2, 3.5 for numpy 1.26.4. Once it is there, its true sum counts.
UNPACKED_RATIO = 4.0
_SHOWN = 6
_SHOWN_CHANGES = 60  # versions that become others: who allows it should see them
_SETTINGS_BYTES = 1 << 20  # a pip.conf has some lines


@dataclass(frozen=True, slots=True)
class RecreateEnvironment(Operation):
    """Make an environment anew, or the first one, where it will stay.

    It is rehearsed in a throw-away folder from the same wheels before the old one is touched. The
    old one is renamed aside whole and kept until undo expires.

    Args:
        path: The environment's folder, relative to the install.
        python: The interpreter it is made with, an absolute path outside of it.
        version: That interpreter's version.
        install: What it will hold, each as name, version, file name of the wheel, its SHA-256, its
            address, and its size in bytes ("": not known).
        script: A program of it that answers ``--version``, for the proof; "" for none.
        imports: Distributions of it that have to be importable, for the proof.
        held: What the old one held, as "name==version"; empty when there is none.
        left_out: What the old one held and the new one will not, in words.
        index: A package index in place of the configured ones; "": those.
        find_links: Folders of wheels to look into as well.
        is_offline: Look into those only.
        lets_outside_in: Whether the maker's own packages are seen in it, as they were before.
        settings: The file of pip's settings in the old one, which the new one gets; "" for none.
        was: Size and mtime of the old folder; None when there is none.
    """

    kind: ClassVar[str] = "recreate_environment"
    path: str
    python: str
    version: str
    install: tuple[tuple[str, ...], ...]
    script: str
    imports: tuple[str, ...]
    held: tuple[str, ...]
    left_out: tuple[str, ...]
    index: str
    find_links: tuple[str, ...]
    is_offline: bool
    lets_outside_in: bool
    settings: str
    was: Was | None

    def describe(self) -> str:
        """Return what it does, with every version that becomes another one."""
        wheels = sum(item.size_bytes for item in self._items())
        amount = f", {size(wheels)} of wheels" if wheels else ""
        verb = "make anew" if self.was else "make"
        first = (
            f"{verb} the environment {printable(self.path)} with Python {self.version} "
            f"({printable(self.python)}): {counted(len(self.install), 'package')}{amount}, "
            "rehearsed in a throw-away environment first"
        )
        told = [first]
        told += ["the old one is kept aside whole"] if self.was else []
        told += self._changed()
        told += [f"left out: {', '.join(map(printable, self.left_out))}"] if self.left_out else []
        return "; ".join(told)

    def cost(self) -> Cost:
        """Return the wheels to fetch and the disk for them, a rehearsal and the environment."""
        items = self._items()
        wheels = sum(map(about_bytes, items))
        here = sum(about_bytes(item) for item in items if item.url.startswith("file:"))
        fetched = 0 if self.is_offline else wheels - here
        return Cost(fetched, int(wheels * (1 + UNPACKED_RATIO)), None)

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse where the folder is not what was planned for, or the disk is too small.

        Raises:
            RecoveryRefused: It changed, is a link, lies on another mount, is what modelmedic itself
                runs in; or the interpreter that makes it is gone.
        """
        if not self.install:
            raise RecoveryRefused(f"{printable(self.path)} was not made: it would hold nothing.")
        self._refuse_own(shop)
        note = folder_swap.prepare(shop, self.path, self.was, seat)
        mounts.refuse_apart(shop.tree, self.path)
        if _names(_installed(shop, self.path)) != tuple(self.held):
            raise RecoveryRefused(
                f"{printable(self.path)} holds other packages than when it was checked; it was "
                "not touched.",
                "Another program, or a person, is working on it.",
                "Wait until that has ended and start again.",
            )
        if not os.access(self.python, os.X_OK):
            raise RecoveryRefused(f"{printable(self.python)} is not there any more.")
        _refuse_without_space(shop, self.path, self.cost().disk_bytes)
        return note | {
            "trial": f"{PARTS}/{shop.run_id}-{seat}-trial",
            "stage": f"{PARTS}/{shop.run_id}-{seat}-stage",
            "holds": None,
        }

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Fetch the wheels, rehearse, put the old one aside, make the new one, prove it.

        Raises:
            RecoveryFailed: Something of that did not succeed.
            RecoveryRefused: The folder changed meanwhile.
        """
        from modelmedic.operations import environment_making

        wheels = self._fetch(shop)
        self._rehearse(shop, note, wheels)
        folder_swap.swap_in(shop, self.path, note)
        self._make(shop, self.path, wheels, note["stage"])
        if self.settings:
            _copy(shop, f"{note['aside']}/{self.settings}", f"{self.path}/{self.settings}")
        if not folder_swap.is_ours(shop, self.path, note):
            raise RecoveryFailed(f"{printable(self.path)} was replaced while it was made.")
        environment_making.prove(shop.tree.root / self.path, self._items(), self.script)
        note["holds"] = list(_names(_installed(shop, self.path)))
        note["is_done"] = True

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return how far it got."""
        return folder_swap.state(shop, self.path, note)

    def undo(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Put the old environment back; the new one is deleted, its wheels are kept as parts.

        Raises:
            RecoveryRefused: Somebody installed or removed packages in the new one, or the old one
                is no longer kept.
        """
        if self.inspect(shop, note) == "after":
            self._refuse_changed(shop, note)
        for part in (note["trial"], note["stage"]):
            aside.refuse_foreign_place(part, PARTS)
        folder_swap.swap_back(shop, self.path, note)
        for part in (note["trial"], note["stage"]):
            folder_swap.drop(shop, part)

    def _changed(self) -> list[str]:
        """Return what becomes another version, disappears or comes, in words."""
        before = dict(pin.split("==", 1) for pin in self.held if "==" in pin)
        after = {_key(row[0]): row[1] for row in self.install}
        told = [
            f"{name} {before[name]} becomes {after[name]}"
            for name in sorted(before.keys() & after.keys())
            if before[name] != after[name]
        ]
        if before:
            told += [
                f"{name} {after[name]} is new" for name in sorted(after.keys() - before.keys())
            ]
            told += [f"{name} goes" for name in sorted(before.keys() - after.keys())]
        rest = len(told) - _SHOWN_CHANGES
        return told[:_SHOWN_CHANGES] + ([f"and {rest} more change"] if rest > 0 else [])

    def _items(self) -> list[Pinned]:
        return [item_of(row) for row in self.install]

    def _fetch(self, shop: Workshop) -> list[Path]:
        """Bring the wheels into folders of ours and return those.

        Raises:
            RecoveryFailed: One could not be had, or there is no room to lay them out.
        """
        from modelmedic.installer.pip import Installer
        from modelmedic.operations import environment_making, wheels

        python = Path(self.python)
        installer = Installer(
            python,
            environment_making.host(python),
            self.index,
            self.find_links,
            is_offline=self.is_offline,
            settings=str(shop.tree.root / self.path / self.settings) if self.settings else "",
        )
        items = self._items()
        folders = wheels.bring(shop, installer, tuple(items))
        paths = [folder / item.filename for folder, item in zip(folders, items, strict=True)]
        try:
            _refuse_without_space(shop, self.path, sum(map(_unpacked_bytes, paths)))
        except RecoveryRefused as error:
            raise RecoveryFailed(error.what, error.why, error.next_step) from error
        return folders

    def _rehearse(self, shop: Workshop, note: dict[str, Any], wheels: list[Path]) -> None:
        from modelmedic.operations import environment_making

        shop.tree.make_own_folder(note["trial"])
        self._make(shop, note["trial"], wheels, note["stage"])
        folder = shop.tree.root / note["trial"]
        environment_making.prove(folder, self._items(), self.script, self.imports)
        shop.tree.remove_own_tree(note["trial"])

    def _make(self, shop: Workshop, path: str, wheels: list[Path], stage: str) -> None:
        from modelmedic.operations import environment_making

        environment_making.make(
            shop.tree,
            path,
            maker=Path(self.python),
            items=self._items(),
            wheels=wheels,
            stage=stage,
            lets_outside_in=self.lets_outside_in,
        )

    def _refuse_own(self, shop: Workshop) -> None:
        folder = os.path.realpath(shop.tree.root / self.path)
        inside = [sys.prefix, sys.executable, self.python]
        if any(os.path.join(os.path.abspath(each), "").startswith(folder + os.sep)  # noqa: PTH100, PTH118
               for each in inside):  # fmt: skip
            raise RecoveryRefused(
                f"{printable(self.path)} was not touched: modelmedic itself runs in it, or it "
                "would be made by its own Python.",
                "",
                "Start modelmedic from an environment of its own: `python start.py`.",
            )

    def _refuse_changed(self, shop: Workshop, note: dict[str, Any]) -> None:
        now = _names(_installed(shop, self.path))
        changed = sorted({*now} ^ {*(note["holds"] or now)})
        if changed:
            raise RecoveryRefused(
                f"{printable(self.path)} was not put back: packages were installed or removed "
                f"after the repair ({printable(', '.join(changed[:_SHOWN]))}).",
                f"The earlier environment is kept at {printable(note['aside'])}.",
            )


def _copy(shop: Workshop, old: str, new: str) -> None:
    """Write a small file of the old environment into the new one."""
    private = f"{PARTS}/{shop.run_id}-{new.rpartition('/')[2]}"
    with shop.tree.open_read(old) as source, shop.tree.open_own(private) as target:
        os.ftruncate(target, 0)
        write_all(target, os.read(source, _SETTINGS_BYTES))
        os.fsync(target)
    shop.tree.rename(private, new)


def held_names(items: tuple[OnDisk, ...]) -> tuple[str, ...]:
    """Return what an environment holds, as "name==version", sorted: the form of ``held``."""
    return _names(items)


def _names(items: tuple[OnDisk, ...]) -> tuple[str, ...]:
    return tuple(sorted(f"{item.key}=={item.version}" for item in items))


def _unpacked_bytes(wheel: Path) -> int:
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(wheel) as archive:
        return sum(entry.file_size for entry in archive.infolist())
    return 0


def _key(name: str) -> str:
    from modelmedic.facts.packages import normalised

    return normalised(name)


def _installed(shop: Workshop, path: str) -> tuple[OnDisk, ...]:
    from modelmedic.facts.installed_on_disk import read_installed

    folder = shop.tree.root / path
    return read_installed(folder) if folder.is_dir() else ()


def _refuse_without_space(shop: Workshop, path: str, need_bytes: int) -> None:
    free = mounts.free_bytes(shop.tree)
    if free < need_bytes:
        raise RecoveryRefused(
            f"{printable(path)} was not made anew: it needs {size(need_bytes)} more on this disk "
            f"and {size(free)} are free.",
            "The old environment stays until the new one is proven, and is kept after that.",
            "Free that space, then start again.",
        )
