"""A model file of 40 blocks, ways to damage it, and the operation that repairs it."""

from __future__ import annotations

import hashlib
import os
import random

from modelmedic.operations.aside import seen
from modelmedic.operations.base import Workshop
from modelmedic.operations.tree import Tree
from modelmedic.operations.write_blocks import WriteBlocks
from modelmedic.testing.hub import LoopbackHub

BLOCK = 4096
GOOD = random.Random(5).randbytes(40 * BLOCK + 777)
SHA = hashlib.sha256(GOOD).hexdigest()
PATH = "model/a.bin"
LONG_AGO_NS = 1_600_000_000_123_456_789


def flipped(data, *places):
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 1
    return bytes(changed)


DAMAGED = {
    "flips": flipped(GOOD, 5, 3 * BLOCK, 3 * BLOCK + 1, len(GOOD) - 1),
    "tail": flipped(GOOD, 9)[: 30 * BLOCK + 11],
    "excess": GOOD + b"more" * 3000,
    "stream": flipped(GOOD, 7 * BLOCK, 20 * BLOCK),
}
BLOCKS = {
    "flips": (0, 3, 40),
    "tail": (0, *range(30, 41)),
    "excess": (),
    "stream": None,
}


def make_install(root, kind):
    (root / "model").mkdir(parents=True)
    path = root / PATH
    path.write_bytes(DAMAGED[kind])
    path.chmod(0o640)
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    return root


def serving():
    hub = LoopbackHub()
    hub.add_repo("org/model", {"a.bin": GOOD})
    return hub


def address(hub):
    return f"{hub.endpoint}/org/model/resolve/main/a.bin"


def operation(install, kind, *urls, known=True, **changes):
    blocks = BLOCKS[kind]
    digests = [hashlib.sha256(GOOD[n * BLOCK : (n + 1) * BLOCK]).hexdigest() for n in blocks or ()]
    values = {
        "path": PATH,
        "size_bytes": len(GOOD),
        "sha256": SHA,
        "sources": urls,
        "was": seen(Tree(install).identity(PATH)),
        "blocks": blocks,
        "block_bytes": BLOCK,
        "algorithm": "sha256" if known and digests else "",
        "digests": tuple(digests) if known else (),
    }
    return WriteBlocks(**{**values, **changes})


def workshop(install, run="run", **options):
    return Workshop(Tree(install), run, extras={"sleep": lambda _s: None}, **options)


def look(install):
    """Return all that an undo must bring back."""
    found = {}
    for path in sorted(install.rglob("*")):
        if ".modelmedic" not in path.parts:
            told = path.stat()
            data = path.read_bytes() if path.is_file() else None
            mtime = told.st_mtime_ns if path.is_file() else 0
            found[path.relative_to(install).as_posix()] = (data, told.st_mode, mtime)
    return found


def kept_files(install):
    own = install / ".modelmedic"
    return sorted(p.relative_to(own).as_posix() for p in own.rglob("*") if p.is_file())
