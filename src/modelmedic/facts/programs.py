"""Programs on PATH and in the target's environment."""

from __future__ import annotations

import os
import shutil

from modelmedic.facts.book import FactBook, probe


@probe("local_read")
def read_program(facts: FactBook, name: str) -> str | None:
    """Return the path of program ``name``, or None.

    The folder of the target interpreter comes first: the app's environment may bring its own.
    """
    folders = os.environ.get("PATH", os.defpath)
    python = facts.target_python
    if python is not None:
        folders = f"{python.parent}{os.pathsep}{folders}"
    return shutil.which(name, path=folders)
