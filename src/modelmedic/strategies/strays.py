"""Files that may have the bytes of a missing one, and whether they are anybody else's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelmedic.context import OWN_FOLDER, Context
from modelmedic.errors import RecoveryRefused
from modelmedic.facts import install_scan
from modelmedic.facts.install_scan import LEFTOVER_SUFFIXES
from modelmedic.text import printable

MAX_ENTRIES = 500_000  # names looked at in search of a misplaced file; bounds a huge folder
# Stores of Hub clients, of Ollama (blobs) and of pip: what lies there is found by its place.
# Source: huggingface_hub file_download.py; modelscope keeps temp and lock folders under a dot.
_STORES = frozenset({"blobs", "snapshots", "refs", "site-packages", "node_modules"})
_STORE_PREFIXES = ("models--", "datasets--", "spaces--")
# What the folder of a whole model has. ".msc", ".mdl", ".mv": ModelScope; ".git": a clone.
_MODEL_MARKS = frozenset(
    {"model_index.json", "config.json", "configuration.json", ".msc", ".mdl", ".mv", ".git"}
)
_INDEX_SUFFIX = ".index.json"
_SEVERAL = 2  # other files with names of the profile: a set, not one file that went astray


@dataclass(frozen=True, slots=True)
class Candidate:
    """A regular file of the right size where the profile expects none.

    ``owner`` says why it is not free to be moved; "" for a true stray.
    """

    subject: str
    owner: str


def find(context: Context, size_bytes: int) -> list[Candidate]:
    """Return the files of a size that no entry of the profile claims, true strays first.

    Raises:
        RecoveryRefused: The install has too many entries to be searched.
    """
    claimed = {entry.subject for entry in context.expected_files()}
    found: list[str] = []
    targets: set[Path] = set()
    for entry in _walk([context.place / each for each in install_scan.own_folders(context)]):
        if entry.is_symlink():
            targets.add(Path(os.path.realpath(entry.path)))
            continue
        subject = Path(entry.path).relative_to(context.place).as_posix()
        if subject not in claimed and _is_plain(entry, size_bytes):
            found.append(subject)
    candidates = [Candidate(subject, _owner(context, subject, targets)) for subject in found]
    return sorted(candidates, key=lambda each: (bool(each.owner), each.subject))


def _walk(folders: list[Path]) -> Iterator[os.DirEntry[str]]:
    """Yield everything below ``folders`` but folders and what is ours; follows no link."""
    looked = 0
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue  # a folder that cannot be read holds nothing that could be moved
        for entry in entries:
            looked += 1
            if looked > MAX_ENTRIES:
                raise RecoveryRefused(f"The install has more than {MAX_ENTRIES:,} entries.")
            if not entry.is_dir(follow_symlinks=False):
                yield entry
            elif entry.name != OWN_FOLDER:
                folders.append(Path(entry.path))


def _is_plain(entry: os.DirEntry[str], size_bytes: int) -> bool:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _owner(context: Context, subject: str, targets: set[Path]) -> str:
    """Return whose a file is, as the end of a sentence; "" when nobody's sign is on it."""
    path = context.place / subject
    real = Path(os.path.realpath(path))
    links = os.lstat(path).st_nlink  # os.scandir does not tell on Windows
    if links > 1:
        return f"it has {links} names, so other folders share it"
    if targets.intersection((real, *real.parents)):
        return "a link leads to it"
    if subject.endswith(LEFTOVER_SUFFIXES):
        return "it is a download another program has not finished"
    folders = PurePosixPath(subject).parents
    for folder in folders:
        if folder.name.startswith((".", *_STORE_PREFIXES)) or folder.name in _STORES:
            return f"it lies in {printable(folder)}, which a program keeps"
    own = _own_folders(context)
    for folder in folders:
        if folder.as_posix() not in own and _is_model(context, folder, path.name):
            return f"it belongs to what lies in {printable(folder)}"
    return ""


def _own_folders(context: Context) -> set[str]:
    """Return the folders of the profile's own model files, and the install itself."""
    return {
        folder.as_posix()
        for entry in context.expected_files()
        for folder in PurePosixPath(entry.subject).parents
    } | {"."}


def _is_model(context: Context, folder: PurePosixPath, name: str) -> bool:
    """Return whether a folder looks like that of another model; unreadable counts as one."""
    try:
        names = {each.name for each in (context.place / folder).iterdir()}
    except OSError:
        return True
    if names & _MODEL_MARKS or any(each.endswith(_INDEX_SUFFIX) for each in names):
        return True
    expected = {PurePosixPath(entry.subject).name for entry in context.expected_files()}
    return len(names & expected - {name}) >= _SEVERAL
