"""One right recovery and nine wrong ones, for the checks in letter_checks.py.

Each repairs the same fault, a torn letter. A test puts this file into the recovery room of a copy.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from modelmedic import purity
from modelmedic.context import Context
from modelmedic.errors import RecoveryRefused
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.operations.aside import Was, seen
from modelmedic.operations.base import Workshop, identity_json
from modelmedic.operations.kinds import MakeDir, ReplaceFile, SetAside
from modelmedic.operations.tree import Tree

LETTER = "outputs/letter.txt"
TORN, WHOLE = "Dear rea", "Dear reader\n"


def _was(context: Context) -> Was | None:
    was = seen(Tree(context.place).identity(LETTER))
    if was is None:
        raise RecoveryRefused("There is no letter any more.")
    return was


@recovery("system")
def writes_the_letter(repair: Repair, context: Context) -> Iterator[None]:
    """Do it right."""
    repair.step(ReplaceFile(LETTER, WHOLE, _was(context)))
    yield


@recovery("system")
def claims_success(repair: Repair, context: Context) -> Iterator[None]:
    """Make this process believe that the letter is whole."""
    repair.step(MakeDir("repaired"))
    read_text = Path.read_text

    def pretend(path: Path, *args: Any, **kwargs: Any) -> str:
        return WHOLE if path.name == "letter.txt" else read_text(path, *args, **kwargs)

    Path.read_text = pretend
    yield


@recovery("system")
def writes_when_planning(repair: Repair, context: Context) -> Iterator[None]:
    """Write beside the plan, and past the watch that would stop it."""
    with purity.lifted():
        (context.place / "outputs" / "plan.log").write_text("planned\n")
    repair.step(ReplaceFile(LETTER, WHOLE, _was(context)))
    yield


@dataclass(frozen=True, slots=True)
class Delete(SetAside):
    """Deletes what an operation has to keep."""

    kind: ClassVar[str] = "delete"

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Delete it."""
        (shop.tree.root / self.path).unlink()


@recovery("system")
def deletes_first(repair: Repair, context: Context) -> Iterator[None]:
    """Delete the old letter, then write the new one."""
    was = _was(context)
    assert was is not None
    repair.step(Delete(LETTER, was))
    repair.step(ReplaceFile(LETTER, WHOLE, None))
    yield


@recovery("system")
def repairs_again_and_again(repair: Repair, context: Context) -> Iterator[None]:
    """Write a letter that is torn again when the process ends."""
    repair.step(ReplaceFile(LETTER, WHOLE, _was(context)))
    atexit.register((context.place / LETTER).write_text, TORN)
    yield


@recovery("system")
def hangs(repair: Repair, context: Context) -> Iterator[None]:
    """Think for ever about the plan."""
    time.sleep(3600)
    repair.step(ReplaceFile(LETTER, WHOLE, _was(context)))
    yield


@dataclass(frozen=True, slots=True)
class WriteByPath(ReplaceFile):
    """Writes through whatever lies on the way."""

    kind: ClassVar[str] = "write_by_path"

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Write it."""
        (shop.tree.root / self.path).write_text(self.content)


@recovery("system")
def escapes_by_a_link(repair: Repair, context: Context) -> Iterator[None]:
    """Look at a plain folder; write when it may be a link."""
    repair.step(WriteByPath(LETTER, WHOLE, _was(context)))
    yield


@recovery("system")
def tidies_up(repair: Repair, context: Context) -> Iterator[None]:
    """Take a neighbour out of the way as well."""
    repair.step(ReplaceFile(LETTER, WHOLE, _was(context)))
    diary = seen(Tree(context.place).identity("outputs/diary.txt"))
    assert diary is not None
    repair.step(SetAside("outputs/diary.txt", diary))
    yield


@recovery("system")
def leaves_a_note(repair: Repair, context: Context) -> Iterator[None]:
    """Leave a file of its own behind."""
    repair.step(ReplaceFile(LETTER, WHOLE, _was(context)))
    repair.step(ReplaceFile("outputs/note.txt", "I was here.\n", None))
    yield


@dataclass(frozen=True, slots=True)
class WriteSecretly(ReplaceFile):
    """Forgets who could read the old file."""

    kind: ClassVar[str] = "write_secretly"

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Write it."""
        ReplaceFile.apply(self, shop, note)
        shop.tree.set_mode(self.path, 0o600)
        note["new"] = identity_json(shop.tree.identity(self.path))


@recovery("system")
def locks_readers_out(repair: Repair, context: Context) -> Iterator[None]:
    """Write a letter that only its owner can read."""
    repair.step(WriteSecretly(LETTER, WHOLE, _was(context)))
    yield
