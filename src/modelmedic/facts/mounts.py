"""Which file system a path lies on: its mount point, type and options."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook, probe

MOUNTINFO = Path("/proc/self/mountinfo")
NETWORK_TYPES = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "afs",
        "fuse.sshfs",
    }
)
_FIELDS_BEFORE_DASH = 6
_FIELDS_AFTER_DASH = 3


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system.

    ``root`` is the part of it that is mounted; ``options`` holds those of the mount and of the
    file system itself.
    """

    point: str
    fs_type: str
    source: str
    root: str = "/"
    options: tuple[str, ...] = ()

    @property
    def is_read_only(self) -> bool:
        """Return whether the mount or the file system is read-only."""
        return "ro" in self.options

    @property
    def is_noexec(self) -> bool:
        """Return whether programs may not be started from it."""
        return "noexec" in self.options


@probe("local_read")
def read_mounts(facts: FactBook) -> tuple[Mount, ...]:  # noqa: ARG001 - a probe's signature
    """Return every mount of this process's view, in mount order.

    Raises:
        CannotTell: The list cannot be read.
    """
    if sys.platform.startswith("linux"):
        try:
            text = MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise CannotTell(f"{MOUNTINFO} cannot be read: {error.strerror}.") from error
        return parse_mountinfo(text)
    return _from_psutil()


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Return the mounts of a ``/proc/<pid>/mountinfo`` text; lines of another shape are left out.

    Source: proc_pid_mountinfo(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root
    rw,errors=continue"; space, tab, newline and backslash in names are octal escapes.
    """
    mounts = []
    for line in text.split("\n"):
        before, dash, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if not dash or len(left) < _FIELDS_BEFORE_DASH or len(right) < _FIELDS_AFTER_DASH:
            continue
        mounts.append(
            Mount(
                point=_unescape(left[4]),
                fs_type=right[0],
                source=_unescape(right[1]),
                root=_unescape(left[3]),
                options=tuple(dict.fromkeys([*left[5].split(","), *right[2].split(",")])),
            )
        )
    return tuple(mounts)


def mount_of(path: Path, mounts: tuple[Mount, ...]) -> Mount | None:
    """Return the mount that ``path`` (resolved) lies on; None when no mount covers it.

    The longest mount point wins; of equal ones the last, which hides the earlier.
    """
    best: Mount | None = None
    for mount in mounts:
        covers = path == Path(mount.point) or Path(mount.point) in path.parents
        if covers and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)


def _from_psutil() -> tuple[Mount, ...]:
    import psutil

    return tuple(
        Mount(
            point=os.path.normpath(part.mountpoint),
            fs_type=part.fstype.lower(),
            source=part.device,
            options=tuple(part.opts.split(",")),
        )
        for part in psutil.disk_partitions(all=True)
    )
