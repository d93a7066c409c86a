"""What a bundle holds: named bytes, and the caps that its writer and its reader share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SCHEMA = 1
KIND = "modelmedic support bundle"
MANIFEST = "manifest.json"
RECORD = "report.json"
RUNS = "runs/"  # folder of the records of older runs of the same install

# What most mailboxes take, even unpacked. A record of 10,000 findings has 10 MB.
MOST_TOTAL_BYTES = 20 * 1024 * 1024
MOST_MEMBER_BYTES = 12 * 1024 * 1024
MOST_MEMBERS = 200
MOST_RATIO = 100  # of a deflated member; what would come out larger is stored as it is

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,3}")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle.

    Args:
        name: Its name in the archive, with / between folders.
        about: What it is, one sentence without an end.
        data: Its bytes, masked.
        cut: What was left out of it; empty when it is whole.
    """

    name: str
    about: str
    data: bytes
    cut: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return its entry in the manifest."""
        return {
            "name": self.name,
            "bytes": len(self.data),
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "about": self.about,
            "cut": self.cut,
        }


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is not in a bundle although it was there, and why."""

    name: str
    why: str

    def to_json(self) -> dict[str, str]:
        """Return its entry in the manifest."""
        return {"name": self.name, "why": self.why}


def is_plain_name(name: str) -> bool:
    """Return whether a member may be called that: letters, digits, ``. _ -``, four parts at most.

    So no absolute path, no "..", nothing that is hidden, that turns text round, or that means
    something to a terminal or to a file system.
    """
    return _NAME.fullmatch(name) is not None


def capped(members: Iterable[Member]) -> tuple[list[Member], list[LeftOut]]:
    """Return the members that fit under the caps, in their order, and those that do not."""
    kept: list[Member] = []
    left: list[LeftOut] = []
    total = 0
    for member in members:
        if len(kept) >= MOST_MEMBERS:
            left.append(LeftOut(member.name, f"a bundle holds at most {MOST_MEMBERS} files"))
        elif total + len(member.data) > MOST_TOTAL_BYTES:
            left.append(LeftOut(member.name, "the bundle would be larger than 20 MiB unpacked"))
        else:
            kept.append(member)
            total += len(member.data)
    return kept, left
