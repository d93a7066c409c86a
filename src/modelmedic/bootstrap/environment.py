"""Make, update and recognise the environment beside ``start.py``.

A folder is ours when our lock file is in it. It is used only while its record says ``ready`` for
this place, this Python and this ``pyproject.toml``; the record says ``building`` from before the
first change until everything is proven, so whatever ends a start in between, the next one sees it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from modelmedic.bootstrap import lock as locks

FOLDERS = (".venv", ".venv-modelmedic")  # the second when the first was made by somebody else
LOCK_NAME = "modelmedic-start.lock"
RECORD_NAME = "modelmedic-start.json"
PLACE = ("root", "python", "base_prefix")  # when one of these differs, an update is not enough
PIP_WITH_GROUPS = (25, 1)  # Source: pip's changelog, 25.1 brought `pip install --group`

Record = dict[str, Any]  # a JSON object
Tell = Callable[[str], None]


class Environment(NamedTuple):
    """A whole environment, and the lock that keeps others from changing it while it is used."""

    folder: Path
    lock: int

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return interpreter(self.folder)


def prepare(root: Path, *, groups: Collection[str], tell: Tell) -> Environment:
    """Return a whole environment for the checkout ``root`` with these dependency groups.

    Raises:
        ModelmedicError: Something is missing; what, why and next are in it.
        OSError: The checkout or the disk refused a write.
    """
    folder = choose_folder(root, tell=tell)
    folder.mkdir(exist_ok=True)
    wanted = describe(root)
    lock = locks.open_file(folder / LOCK_NAME)
    while True:
        locks.take(lock, exclusive=False, tell=tell)
        if is_ready(folder, wanted, groups):
            return Environment(folder, lock)
        locks.release(lock)
        require_venv()
        locks.take(lock, exclusive=True, tell=tell)
        if not is_ready(folder, wanted, groups):  # whoever we waited for may have made it
            _build(folder, wanted, groups, lock=lock, tell=tell)
        locks.release(lock)


def choose_folder(root: Path, *, tell: Tell) -> Path:
    """Return the first folder that is ours or free; what others made is never touched.

    Raises:
        CannotStart: All names are taken by others.
    """
    for name in FOLDERS:
        folder = root / name
        if not os.path.lexists(folder) or _is_ours(folder):
            if name != FOLDERS[0] and not folder.exists():
                tell(f"{root / FOLDERS[0]} was not made by start.py and stays as it is.")
            return folder
    from modelmedic.bootstrap.steps import CannotStart

    raise CannotStart(
        f"{' and '.join(FOLDERS)} in {root} were not made by start.py.",
        "It never changes or removes what others made.",
        "move one of them away and start again.",
    )


def describe(root: Path) -> Record:
    """Return what an environment must have been made for, to be used."""
    import hashlib

    return {
        "root": str(root),
        "python": sys.version.split()[0],
        "base_prefix": sys.base_prefix,
        "pyproject": hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest(),
    }


def is_ready(folder: Path, wanted: Record, groups: Collection[str]) -> bool:
    """Return whether it was finished for this place, Python, project file and these groups."""
    record = _read_record(folder)
    return (
        _is_sound(folder, record, wanted)
        and record.get("pyproject") == wanted["pyproject"]
        and set(groups) <= _groups_of(record)
    )


def interpreter(folder: Path) -> Path:
    """Return the path of an environment's Python."""
    if sys.platform == "win32":
        return folder / "Scripts" / "python.exe"
    return folder / "bin" / "python"


def require_venv() -> None:
    """Refuse an interpreter that cannot make an environment with pip in it.

    Raises:
        CannotStart: ``venv`` or ``ensurepip`` is missing.
    """
    try:
        import ensurepip  # noqa: F401 - being there is the question
        import venv  # noqa: F401
    except ImportError as error:
        from modelmedic.bootstrap.steps import CannotStart

        major, minor = sys.version_info[:2]
        raise CannotStart(
            f"This Python ({sys.executable}) cannot make an environment: {error}.",
            "Some systems ship the modules venv and ensurepip apart from Python.",
            f"as administrator `apt install python3-venv` or `apt install python{major}.{minor}"
            "-venv` (Debian, Ubuntu); elsewhere use a Python from python.org.",
        ) from error


def pip_version(text: str) -> tuple[int, ...]:
    """Return major and minor of ``pip 23.0.1 from ...``; ``(0,)`` when it says something else."""
    found = re.match(r"pip (\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def _build(folder: Path, wanted: Record, groups: Collection[str], *, lock: int, tell: Tell) -> None:
    """Make the environment, or update a sound one, and record it as ready once it is proven."""
    before = _read_record(folder)
    update = _is_sound(folder, before, wanted)
    groups = sorted(set(groups) | (_groups_of(before) if update else set()))
    if before.get("state") == "building":
        tell(f"the last start did not finish {folder}; it is made anew.")
    verb = "updating" if update else "making"
    tell(f"{verb} {folder} with Python {wanted['python']}; about a minute, and only now.")
    packages = _packages(folder)
    record = {**wanted, "groups": groups}
    _write_record(folder, {**record, "state": "building"})
    try:
        if not update:
            _make(folder, lock)
        _install(folder, groups, lock)
    except BaseException:
        untouched = update and _packages(folder) == packages
        _undo(folder, before if untouched else None)
        raise
    _write_record(folder, {**record, "state": "ready"})


def _make(folder: Path, lock: int) -> None:
    """Make it in place, since its scripts hold this path."""
    from modelmedic.bootstrap import steps

    _clear(folder)
    # From inside an environment (even this one, just cleared) venv needs the Python below it.
    python = getattr(sys, "_base_executable", None) or sys.executable
    steps.run([python, "-I", "-m", "venv", str(folder)], cwd=folder.parent, held=lock)


def _install(folder: Path, groups: Collection[str], lock: int) -> None:
    """Install the project, editable, with its groups, and prove that it is whole."""
    from modelmedic.bootstrap import steps

    def step(*arguments: str) -> str:
        command = [str(interpreter(folder)), "-I", *arguments]
        return steps.run(command, cwd=folder.parent, held=lock)

    # --no-user: a configured `user = true` is meant for the system's Python; here pip refuses it.
    pip_install = ("-m", "pip", "install", "--no-input", "--no-user", "--disable-pip-version-check")
    if groups and pip_version(step("-m", "pip", "--version")) < PIP_WITH_GROUPS:
        major, minor = PIP_WITH_GROUPS
        step(*pip_install, "--upgrade", f"pip>={major}.{minor}")
    chosen = [part for group in groups for part in ("--group", group)]
    step(*pip_install, *chosen, "-e", ".")
    step("-m", "pip", "check")
    step("-c", "import modelmedic, pytest")


def _undo(folder: Path, before: Record | None) -> None:
    """Trust an untouched old environment again, or clear what is half made."""
    with contextlib.suppress(OSError):
        if before is None:
            _clear(folder)
        else:
            _write_record(folder, before)


def _clear(folder: Path) -> None:
    """Remove everything but our lock and record from a folder that is ours."""
    import shutil

    for path in folder.iterdir():
        if path.name in {LOCK_NAME, RECORD_NAME}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _packages(folder: Path) -> list[tuple[str, int]]:
    """Return the installed packages and when each was written; the same list: pip touched none."""
    records = folder.glob("[lL]ib/**/*.dist-info/RECORD")
    return sorted((str(path), path.stat().st_mtime_ns) for path in records)


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and ((folder / LOCK_NAME).exists() or not any(folder.iterdir()))


def _is_sound(folder: Path, record: Record, wanted: Record) -> bool:
    """Return whether it was finished here, by this Python, for whatever state of the project."""
    same = all(record.get(key) == wanted[key] for key in PLACE)
    return same and record.get("state") == "ready" and interpreter(folder).exists()


def _groups_of(record: Record) -> set[str]:
    groups = record.get("groups")
    return {str(name) for name in groups} if isinstance(groups, list) else set()


def _read_record(folder: Path) -> Record:
    """Return the record of the last start; an empty one, never trusted, when it is unreadable."""
    try:
        record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(folder: Path, record: Record) -> None:
    """Replace the record as a whole, and on the disk."""
    fresh = folder / f"{RECORD_NAME}.new"
    with fresh.open("w", encoding="utf-8") as stream:
        json.dump(record, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(folder / RECORD_NAME)
