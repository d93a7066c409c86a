"""What the system allows one process: open files, address space, shared memory."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook, probe

SHM = Path("/dev/shm")  # noqa: S108 - the place itself is what is asked about


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Limits of this process, passed on to the programs it starts; None: not limited."""

    open_files_soft: int | None
    open_files_hard: int | None
    address_space_bytes: int | None


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """The file system for shared memory; ``exists`` False: there is none."""

    exists: bool
    total_bytes: int = 0
    free_bytes: int = 0
    is_writable: bool = False


@probe("local_read")
def read_process_limits(facts: FactBook) -> ProcessLimits:  # noqa: ARG001 - a probe's signature
    """Return the limits of this process.

    Raises:
        CannotTell: This platform has none of them (Windows).
    """
    if sys.platform == "win32":
        raise CannotTell("Windows sets no limit on the open files of a process.")
    import resource

    soft, hard = (_limit(n) for n in resource.getrlimit(resource.RLIMIT_NOFILE))
    space = _limit(resource.getrlimit(resource.RLIMIT_AS)[0])
    return ProcessLimits(open_files_soft=soft, open_files_hard=hard, address_space_bytes=space)


@probe("local_read")
def read_shared_memory(facts: FactBook, folder: Path = SHM) -> SharedMemory:  # noqa: ARG001
    """Return size and free space of ``/dev/shm``."""
    try:
        info = os.statvfs(folder)
    except FileNotFoundError:
        return SharedMemory(exists=False)
    return SharedMemory(
        exists=True,
        total_bytes=info.f_blocks * info.f_frsize,
        free_bytes=info.f_bavail * info.f_frsize,
        is_writable=os.access(folder, os.W_OK | os.X_OK),
    )


def _limit(number: int) -> int | None:
    import resource

    return None if number == resource.RLIM_INFINITY else number
