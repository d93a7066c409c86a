"""Where an install has its Python environment, and where that has its interpreter."""

from __future__ import annotations

import os
import stat
from pathlib import Path

ENVIRONMENTS = (".venv", "venv", "python_embeded")  # the last as portable Windows builds spell it


def environment_in(install: Path) -> Path | None:
    """Return the interpreter of the environment of an install; None when it has none."""
    return next(filter(None, (python_in(install / name) for name in ENVIRONMENTS)), None)


def python_in(folder: Path) -> Path | None:
    """Return the interpreter of an environment folder, links not followed; None if it has none.

    One whose base Python is gone (a dangling link, or only pyvenv.cfg left) counts: that it is
    broken is for the checks to say.
    """
    names = interpreter_names(windows=os.name == "nt")
    for name in names:
        if is_there(folder / name) and not is_folder(folder / name):
            return folder / name
    return folder / names[0] if is_there(folder / "pyvenv.cfg") else None


def interpreter_names(*, windows: bool) -> tuple[str, ...]:
    """Return where an environment folder has its Python, the place of a venv first."""
    return ("Scripts/python.exe", "python.exe") if windows else ("bin/python", "bin/python3")


def is_folder(path: Path) -> bool:
    """Return whether a folder lies there, links followed; False when that cannot be told."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - is_dir raises on some errors
    except (OSError, ValueError):
        return False


def is_there(path: Path) -> bool:
    """Return whether the name exists, whatever it is; False when that cannot be told."""
    try:
        os.lstat(path)
    except (OSError, ValueError):
        return False
    return True
