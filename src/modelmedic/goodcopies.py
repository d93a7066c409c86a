"""The last good copy of each config file, kept in the state folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from modelmedic.context import Context
from modelmedic.errors import ModelmedicError
from modelmedic.operations.tree import Tree

MAX_BYTES = 1 << 20  # a settings file; anything larger is not one


def remember(context: Context, relative: str) -> None:
    """Keep a copy of a config file that was just found good. Failing to is no failure of a run."""
    target = _place(context, relative)
    with contextlib.suppress(OSError, ModelmedicError):
        with Tree(context.place).open_read(relative) as handle:
            data = os.read(handle, MAX_BYTES + 1)
        if len(data) > MAX_BYTES or recall_bytes(target) == data:
            return
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        private = target.with_suffix(".new")
        private.write_bytes(data)
        private.chmod(0o600)
        private.replace(target)


def recall(context: Context, relative: str) -> str | None:
    """Return the last good text of a config file; None when none was ever seen."""
    data = recall_bytes(_place(context, relative))
    return None if data is None else data.decode("utf-8", "replace")


def recall_bytes(path: Path) -> bytes | None:
    """Return what a kept copy holds; None when there is none."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _place(context: Context, relative: str) -> Path:
    key = f"{os.path.realpath(context.place)}\0{context.profile.name}\0{relative}"
    name = hashlib.sha256(os.fsencode(key)).hexdigest()[:24]
    return context.state_dir / "good" / f"{name}.copy"
