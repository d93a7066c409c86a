"""The limits of memory and processors that a container or a service manager puts on us."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelmedic.errors import CannotTell
from modelmedic.facts import mounts
from modelmedic.facts.book import FactBook, probe

# A version 1 limit that was never set reads as the largest number of whole pages.
_V1_UNLIMITED_BYTES = 1 << 62
_OWN_GROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryCap:
    """The limits that hold for this process; None: not limited.

    Version 2 limits swap by itself (``swap_bytes``), version 1 RAM and swap together
    (``ram_and_swap_bytes``). ``soft_bytes`` (memory.high) slows down what goes above it.
    ``version`` is 0 when no memory controller is there. ``where`` is the folder of the
    narrowest hard limit. ``killed`` counts the processes of this group that the kernel has
    ended for want of memory; None when it does not say.
    """

    version: int
    ram_bytes: int | None = None
    soft_bytes: int | None = None
    swap_bytes: int | None = None
    ram_and_swap_bytes: int | None = None
    used_bytes: int | None = None
    where: str = ""
    killed: int | None = None


@probe("local_read")
def read_memory_cap(facts: FactBook) -> MemoryCap:
    """Return the memory limits of this process's control group.

    Raises:
        CannotTell: The process is in a group whose limits are hidden or cannot be read.
    """
    if not sys.platform.startswith("linux"):
        return MemoryCap(version=0)
    try:
        text = _read(_OWN_GROUPS)
    except FileNotFoundError:
        return MemoryCap(version=0)  # a kernel without control groups
    except OSError as error:
        raise CannotTell(f"{_OWN_GROUPS} cannot be read: {error.strerror}.") from error
    return cap_of(text, facts.get(mounts.read_mounts))


def cap_of(text: str, mounted: tuple[mounts.Mount, ...], *, root: Path = Path("/")) -> MemoryCap:
    """Return the limits for a ``/proc/self/cgroup`` text, read from the mounted hierarchies.

    Every level up to the mount point counts; the narrowest limit holds. Levels above the mount
    point (outside a container's namespace) are not visible from inside.

    Args:
        text: Lines ``hierarchy:controllers:path``.
        mounted: The mounts of this process.
        root: Where the mount points are looked up.

    Raises:
        CannotTell: The group is not the outermost one and its hierarchy is not mounted, or a
            limit cannot be read.

    Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    groups = _groups(text, "memory")
    try:
        for version, group in groups:
            if mount := _hierarchy(version, "memory", mounted):
                levels = _levels(mount, group, root)
                return _v1(levels) if version == 1 else _v2(levels)
    except OSError as error:
        raise CannotTell(f"A memory limit cannot be read: {error}.") from error
    hidden = next((group for _, group in groups if group != "/"), None)
    if hidden:
        raise CannotTell(
            f"This process is in the control group {hidden}, whose limits are not visible.",
            "The file system /sys/fs/cgroup is not mounted here, as in some sandboxes.",
        )
    return MemoryCap(version=0)


def own_memory_cap() -> MemoryCap:
    """Return the memory limits of this process without a fact book; none where they are hidden."""
    if not sys.platform.startswith("linux"):
        return MemoryCap(version=0)
    try:
        return cap_of(_read(_OWN_GROUPS), mounts.parse_mountinfo(_read(mounts.MOUNTINFO)))
    except (OSError, CannotTell):
        return MemoryCap(version=0)  # the machine's own memory is the nearest that is known


def own_cpu_quota() -> float | None:
    """Return how many processors this process may keep busy; None: no quota is known."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        text = _read(_OWN_GROUPS)
        return cpu_quota_of(text, mounts.parse_mountinfo(_read(mounts.MOUNTINFO)))
    except OSError:
        return None  # a number of threads depends on it, no verdict


def cpu_quota_of(
    text: str, mounted: tuple[mounts.Mount, ...], *, root: Path = Path("/")
) -> float | None:
    """Return the narrowest quota of processor time on the way up, in processors; None: none is set.

    Arguments as those of `cap_of`.

    Source: Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst
    (cpu.cfs_quota_us of version 1, -1 for none).
    """
    for version, group in _groups(text, "cpu"):
        if mount := _hierarchy(version, "cpu", mounted):
            read = _quota_v1 if version == 1 else _quota_v2
            quotas = [quota for level in _levels(mount, group, root) if (quota := read(level))]
            return min(quotas, default=None)
    return None


def _quota_v2(level: Path) -> float | None:
    quota, period = [*_words(level / "cpu.max"), "", ""][:2]
    return _ratio(quota, period)


def _quota_v1(level: Path) -> float | None:
    quota, period = (" ".join(_words(level / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
    return _ratio(quota, period)


def _ratio(quota: str, period: str) -> float | None:
    """Return quota / period; None for "max", for -1, and for what is no number."""
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return int(quota) / int(period) or None


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return []


def _groups(text: str, controller: str) -> list[tuple[int, str]]:
    """Return (version, path) of the groups that can limit something, version 1 first."""
    found: list[tuple[int, str]] = []
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            found.insert(0, (1, path))
        elif hierarchy == "0" and not controllers:
            found.append((2, path))
    return found


def _hierarchy(
    version: int, controller: str, mounted: tuple[mounts.Mount, ...]
) -> mounts.Mount | None:
    for mount in mounted:
        is_v1 = mount.fs_type == "cgroup" and controller in mount.options
        if is_v1 if version == 1 else mount.fs_type == "cgroup2":
            return mount
    return None


def _levels(mount: mounts.Mount, group: str, root: Path) -> list[Path]:
    """Return the folders from this process's group up to the mount point, innermost first."""
    top = root / mount.point.lstrip("/")
    relative = PurePosixPath(group)
    if mount.root != "/" and relative.is_relative_to(mount.root):
        relative = PurePosixPath("/") / relative.relative_to(mount.root)
    inner = top / str(relative).lstrip("/")
    if ".." in relative.parts or not inner.is_dir():
        return [top]  # our group lies outside what a container was given to see
    return [inner, *(p for p in inner.parents if p == top or top in p.parents)]


def _v2(levels: list[Path]) -> MemoryCap:
    hard = {level: _number(level / "memory.max") for level in levels}
    ram, where = _narrowest(hard)
    return MemoryCap(
        version=2,
        ram_bytes=ram,
        soft_bytes=_narrowest({level: _number(level / "memory.high") for level in levels})[0],
        swap_bytes=_narrowest({level: _number(level / "memory.swap.max") for level in levels})[0],
        used_bytes=_number(Path(where) / "memory.current") if where else None,
        where=where,
        killed=_keyed(levels[0] / "memory.events", "oom_kill"),
    )


def _v1(levels: list[Path]) -> MemoryCap:
    own = levels[0] / "memory.stat"
    ram, where = _narrowest({level: _number(level / "memory.limit_in_bytes") for level in levels})
    both = {level: _number(level / "memory.memsw.limit_in_bytes") for level in levels}
    # The kernel's own answer knows levels that are hidden from us, and those that do not count.
    stated = _limited(_keyed(own, "hierarchical_memory_limit"))
    stated_both = _limited(_keyed(own, "hierarchical_memsw_limit"))
    has_answer = _keyed(own, "hierarchical_memory_limit") is not None
    return MemoryCap(
        version=1,
        ram_bytes=stated if has_answer else ram,
        ram_and_swap_bytes=stated_both if has_answer else _narrowest(both)[0],
        used_bytes=_number(Path(where) / "memory.usage_in_bytes") if where else None,
        where=where or (str(levels[0]) if stated else ""),
        killed=_keyed(levels[0] / "memory.oom_control", "oom_kill"),
    )


def _narrowest(limits: dict[Path, int | None]) -> tuple[int | None, str]:
    known = [(limit, str(level)) for level, limit in limits.items() if limit is not None]
    return min(known, default=(None, ""))


def _number(path: Path) -> int | None:
    """Return the number in a file; None for "max", for no limit, and when there is no such file."""
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _limited(int(text)) if text.isdigit() else None


def _limited(number: int | None) -> int | None:
    return None if number is None or number >= _V1_UNLIMITED_BYTES else number


def _keyed(path: Path, key: str) -> int | None:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    match = re.search(rf"^{key} (\d+)$", text, re.MULTILINE)
    return int(match.group(1)) if match else None
