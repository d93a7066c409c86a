"""Who owns what the install needs, and where the Hub's cache lies."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from modelmedic.context import OWN_FOLDER, Context
from modelmedic.errors import CannotTell
from modelmedic.facts import disk
from modelmedic.facts.book import FactBook, probe

MAX_ENTRIES = 2_000  # of one folder; an install may hold 200,000 files, owners repeat


@dataclass(frozen=True, slots=True)
class CacheFolder:
    """Where the Hub client keeps its cache; ``path`` may not exist.

    ``reason`` names the setting that decided. ``base`` is the outermost folder that belongs to
    the Hub client (``HF_HOME``), which a wrong owner is usually set on.
    """

    path: Path
    base: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Owned:
    """One file or folder that another user owns."""

    path: Path
    uid: int
    owner: str  # a name, or the number where the system knows none
    is_writable: bool  # for us, whatever the owner
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose the looked-at files are.

    ``by_others`` are those another user owns; ``open_to_all`` are folders that every user may
    change (world-writable without the sticky bit). ``is_complete`` is False when a folder held
    more than ``MAX_ENTRIES`` entries or could not be listed.
    """

    user: str
    uid: int
    looked_at: int
    by_others: tuple[Owned, ...]
    open_to_all: tuple[Path, ...]
    is_complete: bool

    @property
    def is_root(self) -> bool:
        """Return whether we run as root."""
        return self.uid == 0


@probe("local_read")
def read_cache_folder(facts: FactBook) -> CacheFolder:  # noqa: ARG001 - a probe's signature
    """Return the Hub client's cache folder, by the rules of huggingface_hub's constants.py.

    Raises:
        CannotTell: It starts with "~" and this user has no home folder.
    """
    return cache_folder(os.environ)


def cache_folder(env: Mapping[str, str]) -> CacheFolder:
    """Return the cache folder that ``env`` leads to.

    Source: huggingface_hub/constants.py: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else
    HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub; variables
    and "~" in them are expanded.
    """
    home, reason = _hf_home(env)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if given := env.get(name):
            path = _expanded(given)
            return CacheFolder(path=path, base=path, reason=name)
    return CacheFolder(path=home / "hub", base=home, reason=reason)


def _hf_home(env: Mapping[str, str]) -> tuple[Path, str]:
    if given := env.get("HF_HOME"):
        return _expanded(given), "HF_HOME"
    if given := env.get("XDG_CACHE_HOME"):
        return _expanded(given) / "huggingface", "XDG_CACHE_HOME"
    return _expanded("~/.cache") / "huggingface", "the default"


def _expanded(text: str) -> Path:
    path = os.path.expandvars(os.path.expanduser(text))  # noqa: PTH111 - as huggingface_hub does
    if path.startswith("~"):
        raise CannotTell(
            f"The folder {text} starts at a home folder that this user does not have.",
            "HOME is not set and the user has no entry in the user database.",
            "Set HF_HOME to a folder that can be written.",
        )
    return Path(path).absolute()


@probe("local_read")
def read_owners(facts: FactBook) -> Owners:
    """Return the owners of the install's top level and of the model folders and their files.

    Before an install exists it is only the place it would go to, without what lies in it. Nothing
    is walked: each folder is listed once, up to ``MAX_ENTRIES``; links are not followed.

    Raises:
        CannotTell: This platform has no owners in the sense of POSIX.
    """
    context = facts.context
    if not context.is_installed:
        return owners_of((disk.existing(context.place),), inside=False)
    return owners_of(_folders(context))


@probe("local_read")
def read_closed_folders(facts: FactBook) -> tuple[Path, ...]:
    """Return the folders for the install and its model files that this user may not write.

    For a folder that does not exist yet it is the nearest one above it. Empty when all are open.
    """
    context = facts.context
    wanted = [context.place, *(entry.path.parent for entry in context.expected_files())]
    there = dict.fromkeys(disk.existing(folder) for folder in dict.fromkeys(wanted))
    return tuple(folder for folder in there if folder.is_dir() and not _may_write(folder))


@probe("local_read")
def read_cache_owners(facts: FactBook) -> Owners:
    """Return the owners of the Hub client's folders, those that exist; none when none does."""
    cache = facts.get(read_cache_folder)
    folders = (cache.base, cache.path, cache.path / ".locks", cache.base / "xet")
    return owners_of(tuple(dict.fromkeys(f for f in folders if f.is_dir())))


def owners_of(folders: tuple[Path, ...], *, inside: bool = True) -> Owners:
    """Return the owners of ``folders`` and, with ``inside``, of what lies directly in them."""
    if sys.platform == "win32":
        raise CannotTell("Windows keeps access lists instead of one owner per file.")
    uid = os.geteuid()
    seen: dict[Path, os.stat_result] = {}
    is_complete = True
    for folder in folders:
        seen[folder] = folder.stat()
        try:
            entries = list(islice(_entries(folder), MAX_ENTRIES + 1)) if inside else []
        except OSError:
            is_complete = False
            continue
        is_complete = is_complete and len(entries) <= MAX_ENTRIES
        seen.update(entries[:MAX_ENTRIES])
    return Owners(
        user=user_name(uid),
        uid=uid,
        looked_at=len(seen),
        by_others=tuple(_owned(path, info) for path, info in seen.items() if info.st_uid != uid),
        open_to_all=tuple(path for path, info in seen.items() if _is_open_to_all(info)),
        is_complete=is_complete,
    )


def user_name(uid: int) -> str:
    """Return the name of a user, or its number as text where the system knows none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _folders(context: Context) -> tuple[Path, ...]:
    paths = [context.place, *(entry.path.parent for entry in context.expected_files())]
    return tuple(dict.fromkeys(path.resolve() for path in paths if path.is_dir()))


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name != OWN_FOLDER and not entry.is_symlink():
                yield Path(entry.path), entry.stat(follow_symlinks=False)


def _owned(path: Path, info: os.stat_result) -> Owned:
    return Owned(
        path=path,
        uid=info.st_uid,
        owner=user_name(info.st_uid),
        is_writable=_may_write(path),
        is_folder=stat.S_ISDIR(info.st_mode),
    )


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _is_open_to_all(info: os.stat_result) -> bool:
    mode = info.st_mode
    return stat.S_ISDIR(mode) and bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX
