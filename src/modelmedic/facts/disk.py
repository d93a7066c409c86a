"""Space, inodes and what is still missing, per file system that the install will use."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import CannotTell
from modelmedic.facts import mounts
from modelmedic.facts.book import FactBook, probe

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class Volume:
    """The file system under one existing folder.

    ``free_bytes`` is what this user may still write (not root's reserve). ``inodes_total`` is 0
    where the file system does not count inodes (btrfs, NTFS, many network shares). ``mount_point``
    and ``fs_type`` are "" where the system does not say.
    """

    folder: Path  # existing, resolved
    device: int  # st_dev
    mount_point: str
    fs_type: str
    source: str
    total_bytes: int
    free_bytes: int
    inodes_total: int
    inodes_free: int
    is_read_only: bool
    is_noexec: bool

    @property
    def name(self) -> str:
        """Return how a person calls it: its mount point, else the folder."""
        return self.mount_point or str(self.folder)


@dataclass(frozen=True, slots=True)
class Missing:
    """What the profile's files still need on one volume.

    A file of a wrong size counts whole: the old bytes stay until the new ones are proven.
    ``uncertain_bytes`` (sizes the profile is not sure of) are not in ``certain_bytes``;
    ``unsized_files`` are missing files whose size the profile does not know. ``largest_bytes``
    is the largest single missing file.
    """

    volume: Volume
    folders: tuple[str, ...]
    files: int
    certain_bytes: int
    uncertain_bytes: int
    unsized_files: int
    largest_bytes: int


def existing(path: Path) -> Path:
    """Return ``path`` resolved, or its nearest ancestor that exists.

    A link to a folder that is gone leads to the ancestor of its target, where it would be made.

    Raises:
        OSError: An ancestor could not be looked at (no permission, dead mount).
    """
    real = Path(os.path.realpath(path))
    for candidate in (real, *real.parents):
        try:
            candidate.lstat()
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            continue
        return candidate
    return Path(real.anchor)


def weight_folders(context: Context) -> tuple[Path, ...]:
    """Return the install place and every model folder, each once, absolute; they may not exist."""
    folders = [context.place, *(context.model_dir(model) for model in context.profile.models)]
    return tuple(dict.fromkeys(folders))


@probe("local_read")
def read_volume(facts: FactBook, path: Path) -> Volume:
    """Return the file system that ``path``, or its nearest existing ancestor, lies on.

    Raises:
        CannotTell: It could not be looked at.
    """
    try:
        folder = existing(path)
        device = folder.stat().st_dev
        space = _space(folder)
    except OSError as error:
        raise CannotTell(f"{path} cannot be looked at: {error.strerror or error}.") from error
    mount = mounts.mount_of(folder, facts.get(mounts.read_mounts))
    return Volume(
        folder,
        device,
        mount.point if mount else "",
        mount.fs_type if mount else "",
        mount.source if mount else "",
        *space,
    )


@probe("local_read")
def read_weight_volumes(facts: FactBook) -> tuple[Volume, ...]:
    """Return one volume per distinct file system under the install and the model folders."""
    found: dict[int, Volume] = {}
    for folder in weight_folders(facts.context):
        volume = facts.get(read_volume, folder)
        found.setdefault(volume.device, volume)
    return tuple(found.values())


@probe("local_read", writes="temporary")
def read_temp(facts: FactBook) -> Volume:
    """Return the file system of the temporary folder.

    Raises:
        CannotTell: There is no usable temporary folder, or it cannot be looked at.
    """
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        raise CannotTell(
            f"There is no temporary folder that can be written: {error.strerror or error}.",
            "Python tries TMPDIR, TEMP, TMP, then the usual places.",
        ) from error
    return facts.get(read_volume, Path(folder))


@probe("local_read")
def read_missing(facts: FactBook) -> tuple[Missing, ...]:
    """Return what is still missing per volume, in the order of the profile; empty without models.

    Optional files are not asked for. Only `stat` is used: whether the bytes are right is the
    business of the weight checks.
    """
    groups: dict[int, list[ExpectedFile]] = {}
    volumes: dict[int, Volume] = {}
    for expected in facts.context.expected_files():
        if expected.file.is_optional:
            continue
        volume = facts.get(read_volume, facts.context.model_dir(expected.model))
        volumes.setdefault(volume.device, volume)
        groups.setdefault(volume.device, []).append(expected)
    return tuple(_sum(volumes[device], files) for device, files in groups.items())


def _sum(volume: Volume, expected: list[ExpectedFile]) -> Missing:
    missing = [entry.file for entry in expected if not _is_there(entry)]
    certain = [f.size_bytes or 0 for f in missing if f.is_certain]
    uncertain = [f.size_bytes or 0 for f in missing if not f.is_certain]
    folders = dict.fromkeys(str(entry.path.parent) for entry in expected)
    return Missing(
        volume=volume,
        folders=tuple(folders),
        files=len(missing),
        certain_bytes=sum(certain),
        uncertain_bytes=sum(uncertain),
        unsized_files=sum(f.size_bytes is None for f in missing),
        largest_bytes=max([*certain, *uncertain], default=0),
    )


def _is_there(expected: ExpectedFile) -> bool:
    try:
        info = expected.path.stat()
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise
    size = expected.file.size_bytes
    uncertain = size is None or not expected.file.is_certain
    return stat.S_ISREG(info.st_mode) and (uncertain or info.st_size == size)


class _Space(NamedTuple):
    """The last six fields of `Volume`, in its order."""

    total_bytes: int
    free_bytes: int
    inodes_total: int = 0
    inodes_free: int = 0
    is_read_only: bool = False
    is_noexec: bool = False


def _space(folder: Path) -> _Space:
    if sys.platform == "win32":
        usage = shutil.disk_usage(folder)
        return _Space(usage.total, usage.free)
    info = os.statvfs(folder)
    return _Space(
        info.f_blocks * info.f_frsize,
        info.f_bavail * info.f_frsize,
        info.f_files,
        info.f_favail,
        bool(info.f_flag & os.ST_RDONLY),
        bool(info.f_flag & getattr(os, "ST_NOEXEC", 0)),
    )
