"""Whether the names that the app gives its videos can be files where it writes them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from modelmedic.errors import CannotTell
from modelmedic.facts import disk, filesystem
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.scratch import Room

PROMPT_CHARS = 50  # of the prompt go into the name
_TIME = "20260101_000000"


@dataclass(frozen=True, slots=True)
class NameTrial:
    """One name tried; ``error`` is "" when a file of exactly that name could be made."""

    name: str
    error: str = ""


@probe("scratch_probe", writes="scratch")
def read_name_trials(facts: FactBook, names: tuple[str, ...]) -> tuple[NameTrial, ...]:
    """Make and remove a file of each name in the scratch folder of the install's file system.

    Raises:
        CannotTell: Nothing can be written there; the checks of permissions say why.
    """
    folder = facts.get(disk.read_volume, facts.context.place).folder
    facts.get(filesystem.read_scratch, folder)  # one at a time: both use the one scratch folder
    room = Room(folder, facts.context.scratch_name)
    try:
        room.make()
        return tuple(NameTrial(name, _tried(room, name)) for name in names)
    except OSError as error:
        raise CannotTell(f"Nothing can be tried in {folder}: {error.strerror}.") from error
    finally:
        room.remove()


def _tried(room: Room, name: str) -> str:
    try:
        room.write(name, b"")
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        return getattr(error, "strerror", None) or str(error)
    # NTFS makes "a:b" a hidden stream of the file "a" and says nothing.
    is_there = name in os.listdir(room.path if room.fd is None else room.fd)  # noqa: PTH208
    return "" if is_there else "the file came out under another name"


def default_name(task: str, size: str, prompt: str, platform: str = sys.platform) -> str:
    """Return the name that generate.py gives a video when it is told none.

    Source: generate.py of Wan2.2 at 42bf4cf: task, size (its ``*`` replaced on Windows only),
    ulysses size, the prompt's first 50 characters with ``_`` for blanks and slashes, the time.
    """
    shown = size.replace("*", "x") if platform == "win32" else size
    words = prompt.replace(" ", "_").replace("/", "_")[:PROMPT_CHARS]
    return f"{task}_{shown}_1_{words}_{_TIME}.mp4"
