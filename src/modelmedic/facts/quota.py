"""How much of a disk this user may still take: quotas, which free space does not show."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.facts import disk, mounts
from modelmedic.facts.book import FactBook, probe

_UNIT_BYTES = 1024  # QIF_DQBLKSIZE of <linux/quota.h>, and the unit of `quota`
_Q_GETQUOTA = 0x800007
_KINDS = {"user": 0, "group": 1}
_DEADLINE_SECONDS = 4.0  # an NFS server's rquotad may be gone
_COLUMNS = 9
# Answers of quotactl(2) that mean "no quota is kept here": ESRCH not switched on, ENOSYS not in
# this kernel, ENOENT/ENOTBLK/ENODEV/EINVAL no block device of that name (network, overlay, tmpfs).
_NONE_HERE = {errno.ESRCH, errno.ENOSYS, errno.ENOENT, errno.ENOTBLK, errno.ENODEV, errno.EINVAL}


@dataclass(frozen=True, slots=True)
class Quota:
    """One quota of a user or group. None: that side has no limit.

    The hard limit cannot be passed; above the soft one writing goes on for a grace time.
    """

    kind: str  # "user" or "group"
    used_bytes: int
    soft_bytes: int | None
    hard_bytes: int | None
    used_files: int
    hard_files: int | None

    @property
    def free_bytes(self) -> int | None:
        """Return what may still be written; None without a hard limit."""
        return None if self.hard_bytes is None else max(0, self.hard_bytes - self.used_bytes)

    @property
    def free_files(self) -> int | None:
        """Return how many files may still be made; None without a hard limit."""
        return None if self.hard_files is None else max(0, self.hard_files - self.used_files)


@dataclass(frozen=True, slots=True)
class Quotas:
    """The quotas on one volume; ``unseen`` says what could not be asked, "" when all was."""

    volume: disk.Volume
    quotas: tuple[Quota, ...]
    unseen: str = ""


@probe("local_read", spawns=("quota",))
def read_quotas(facts: FactBook, folder: Path) -> Quotas:
    """Return the quotas that hold for this user on the file system of ``folder``."""
    volume = facts.get(disk.read_volume, folder)
    if not sys.platform.startswith("linux"):
        return Quotas(volume, (), "Quotas are read on Linux only.")
    if volume.fs_type in mounts.NETWORK_TYPES:
        return _ask_tool(volume)
    try:
        found = [_ask_kernel(volume.source, kind) for kind in _KINDS]
    except OSError as error:
        return Quotas(volume, (), f"The kernel would not say: {error.strerror}.")
    return Quotas(volume, tuple(quota for quota in found if quota))


def parse_quota(text: str, source: str) -> Quota | None:
    """Return the quota that ``quota -w -p`` prints for ``source``; None when it has none.

    Source: quota(1): columns blocks (1 KiB), quota, limit, grace, files, quota, limit, grace; a
    star marks what is over its limit, 0 is no limit.
    """
    for line in text.splitlines():
        fields = line.rsplit(maxsplit=_COLUMNS - 1)
        if len(fields) != _COLUMNS or fields[0].strip() != source:
            continue
        numbers = [re.fullmatch(r"(\d+)\*?", field) for field in fields[1:]]
        if not all(numbers):
            continue
        used, soft, hard, _, files, _, hard_files, _ = (int(n.group(1)) for n in numbers if n)
        return _quota("user", used * _UNIT_BYTES, soft, hard, files, hard_files)
    return None


def _quota(kind: str, used_bytes: int, soft: int, hard: int, files: int, hard_files: int) -> Quota:
    """Return a quota from kernel numbers: limits in units of 1 KiB, 0 for none."""
    return Quota(
        kind=kind,
        used_bytes=used_bytes,
        soft_bytes=soft * _UNIT_BYTES or None,
        hard_bytes=hard * _UNIT_BYTES or None,
        used_files=files,
        hard_files=hard_files or None,
    )


def _ask_tool(volume: disk.Volume) -> Quotas:
    program = shutil.which("quota")
    if program is None:
        why = f"The quota of a {volume.fs_type} share is known to its server only, and the program "
        return Quotas(volume, (), f"{why}quota, which asks it, is not installed.")
    try:
        done = commands.run([program, "-u", "-w", "-p"], deadline_seconds=_DEADLINE_SECONDS)
    except CannotTell as error:
        return Quotas(volume, (), str(error))
    found = parse_quota(done.stdout, volume.source)
    return Quotas(volume, (found,) if found else ())


class _Dqblk(ctypes.Structure):
    """``struct if_dqblk`` of <linux/quota.h>."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("bhard", "bsoft", "curspace", "ihard", "isoft")),
        *((name, ctypes.c_uint64) for name in ("curinodes", "btime", "itime")),
        ("valid", ctypes.c_uint32),
    )


def _ask_kernel(device: str, kind: str) -> Quota | None:
    """Return the quota of the block device's file system; None when none is kept or set.

    Raises:
        OSError: The kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    block = _Dqblk()
    code = _KINDS[kind]
    who = os.geteuid() if kind == "user" else os.getegid()
    command = ctypes.c_int(_Q_GETQUOTA << 8 | code)  # QCMD() of <linux/quota.h>
    if libc.quotactl(command, os.fsencode(device), ctypes.c_int(who), ctypes.byref(block)):
        number = ctypes.get_errno()
        if number in _NONE_HERE:
            return None
        raise OSError(number, os.strerror(number))
    if not (block.bhard or block.bsoft or block.ihard or block.isoft):
        return None
    return _quota(kind, block.curspace, block.bsoft, block.bhard, block.curinodes, block.ihard)
