"""The folder of a dashboard: written aside and swapped in whole; no other folder is touched."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from modelmedic.errors import ModelmedicError
from modelmedic.text import printable

INDEX = "index.html"
MARK = ".modelmedic-dashboard"  # lies in every folder of ours
_MARK_TEXT = "modelmedic dashboard 1\n"
_PAGE = re.compile(r"index\.html|machine-(?:[0-9a-f]{4,64}|x[0-9a-f]{16})\.html")
_STAND_IN = re.compile(r"machine:([0-9a-f]{4,64})")
_LEFT_SECONDS = 3600.0  # what a killed run left; a younger one may be at work


class NotOurs(ModelmedicError):  # noqa: N818 - a refusal, as RecoveryRefused
    """The place holds something that is no dashboard; it was not touched."""


@dataclass(frozen=True, slots=True)
class Written:
    """What lies in the folder now."""

    index: Path
    pages: int
    size_bytes: int


def page_name(machine: str) -> str:
    """Return the file name of a machine's page: a stranger's name never becomes a path."""
    found = _STAND_IN.fullmatch(machine)
    if found:
        return f"machine-{found[1]}.html"
    digest = hashlib.sha256(machine.encode("utf-8", "surrogatepass")).hexdigest()
    return f"machine-x{digest[:16]}.html"


def write(folder: Path, pages: Iterable[tuple[str, str]]) -> Written:
    """Write all pages into a folder, in the place of an earlier dashboard that lies there.

    Whoever reads it meanwhile sees the old one or the new one. For a moment between two renames
    there is none; a process killed just then leaves the old one beside it, as ``.NAME-*.old``.

    Args:
        folder: Where to, absolute; it and its parents are made when missing.
        pages: Names (of `page_name`, or `INDEX`) and texts.

    Raises:
        NotOurs: Something else lies there. Nothing was written.
        ModelmedicError: It cannot be written. What lay there is as it was.
    """
    _refuse_others(folder)
    aside = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}.new")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        count, total = _fill(aside, pages)
        _swap(aside, folder)
    except OSError as error:
        why = error.strerror or error
        raise ModelmedicError(
            f"The dashboard cannot be written to {printable(folder)}: {why}. What lay there is as "
            "it was. Name another folder with --output, or make room and rights for this one."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for left in _left(folder):
        shutil.rmtree(left, ignore_errors=True)
    return Written(folder / INDEX, count, total)


def _fill(aside: Path, pages: Iterable[tuple[str, str]]) -> tuple[int, int]:
    (aside / MARK).write_text(_MARK_TEXT, encoding="utf-8", newline="")
    count = total = 0
    for name, text in pages:
        if not _PAGE.fullmatch(name):
            raise ValueError(name)
        data = text.encode("utf-8")
        (aside / name).write_bytes(data)
        count, total = count + 1, total + len(data)
    return count, total


def _swap(aside: Path, folder: Path) -> None:
    """Rename the new folder into place; the old one comes back when that fails."""
    old = aside.with_suffix(".old")
    has_old = folder.is_dir()
    if has_old:
        shutil.copymode(folder, aside)
        folder.rename(old)
    try:
        aside.rename(folder)
    except OSError:
        if has_old:
            old.rename(folder)
        raise
    if has_old:
        shutil.rmtree(old, ignore_errors=True)


def _refuse_others(folder: Path) -> None:
    """Pass where nothing lies, or an empty folder, or a dashboard and nothing else."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink():
        _refuse(folder, "it is a link")
    if not folder.is_dir():
        _refuse(folder, "it is no folder")
    if other := next(_others(folder), None):
        _refuse(folder, f"{printable(other)} in it is none of a dashboard's files")


def _others(folder: Path) -> Iterator[str]:
    """Yield what lies in a folder and is not ours; without our mark nothing is."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
        is_marked = (folder / MARK).is_file() and (
            folder / MARK
        ).read_bytes() == _MARK_TEXT.encode()
    except OSError as error:
        _refuse(folder, f"it cannot be looked into: {error.strerror or error}")
    for name in names:
        if not is_marked or not (name == MARK or _PAGE.fullmatch(name)):
            yield name


def _refuse(folder: Path, why: str) -> NoReturn:
    raise NotOurs(
        f"{printable(folder)} is not replaced by a dashboard: {why}. Name a folder that is new or "
        "empty, or one of an earlier dashboard: --output FOLDER"
    )


def _left(folder: Path) -> Iterator[Path]:
    """Yield what a killed run left beside the folder."""
    pattern = re.compile(rf"\.{re.escape(folder.name)}-[0-9a-f]{{8}}\.(new|old)")
    with contextlib.suppress(OSError):
        for entry in folder.parent.iterdir():
            is_old = time.time() - entry.lstat().st_mtime > _LEFT_SECONDS
            if not pattern.fullmatch(entry.name) or not is_old or entry.is_symlink():
                continue
            if next(_others(entry), None) is None:
                yield entry
