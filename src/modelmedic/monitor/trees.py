"""Chosen processes with all they start: processor, memory, open files and threads, added up."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_LOOK_SECONDS = 5.0  # for new children; their list is read from /proc, of the chosen ones only
_WALK_SECONDS = 30.0  # where the system has no such list, all processes are walked: 3 ms
_MOST_PROCESSES = 64
_MANY_PROCESSES = 8  # more than that are read less often: 40 microseconds each
_MANY_SECONDS = 5.0


@dataclass(slots=True)
class _Tree:
    root: psutil.Process
    label: str
    members: dict[int, psutil.Process] = field(default_factory=dict)
    looked_at: float = float("-inf")
    read_at: float = float("-inf")
    cpu: tuple[float, float] | None = None  # when, and seconds of processor time until then
    readings: dict[str, float] = field(default_factory=dict)


class Trees:
    """Reads some process trees; a process that got a number anew is not taken for the old one.

    Args:
        chosen: Numbers of their roots.
        without: Numbers of processes that are never counted: the monitor itself.
    """

    def __init__(self, chosen: tuple[int, ...], *, without: frozenset[int] = frozenset()) -> None:
        import psutil

        self._psutil = psutil
        self._without = without
        self._ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        self._page_bytes = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
        self._trees: list[_Tree] = []
        self.blind: dict[str, str] = {}
        for pid in chosen:
            try:
                self._trees.append(_Tree(psutil.Process(pid), str(pid)))
            except psutil.Error:
                self.blind[str(pid)] = f"There is no process {pid}."

    def read(self, now: float) -> dict[str, float]:
        """Return the readings of all trees that still run."""
        found: dict[str, float] = {}
        for tree in list(self._trees):
            try:
                found |= self._read(tree, now)
            except self._psutil.AccessDenied:
                self.blind[tree.label] = f"Process {tree.label} may not be looked at by this user."
            except self._psutil.Error:  # it has ended
                self._trees.remove(tree)
                self.blind.pop(tree.label, None)
        return found

    def _read(self, tree: _Tree, now: float) -> dict[str, float]:
        if len(tree.members) > _MANY_PROCESSES and now - tree.read_at < _MANY_SECONDS:
            return tree.readings
        self._look(tree, now)
        tree.read_at = now
        sums = self._sums(tree, now)
        if tree.root.pid not in tree.members:
            raise self._psutil.NoSuchProcess(tree.root.pid)
        tree.readings = {f"process.{name}[{tree.label}]": value for name, value in sums.items()}
        return tree.readings

    def _sums(self, tree: _Tree, now: float) -> dict[str, float]:
        cpu, rss, files, threads, share, count = 0.0, 0.0, 0.0, 0.0, 0.0, 0
        has_files = True
        for pid, process in list(tree.members.items()):
            try:
                own_cpu, own_rss, own_threads = self._numbers(process)
                cpu, rss, threads = cpu + own_cpu, rss + own_rss, threads + own_threads
                opened, most = self._opened(process)
                has_files = has_files and opened is not None
                files += opened or 0
                share = max(share, (opened or 0) / most if most else 0.0)
                count += 1
            except self._psutil.Error:
                del tree.members[pid]
        before, tree.cpu = tree.cpu, (now, cpu)
        busy = 0.0
        if before is not None and now > before[0]:
            busy = max(0.0, cpu - before[1]) / (now - before[0])  # less: a member has ended
        sums = {"cpu_ratio": busy, "rss_bytes": rss, "threads": threads, "count": float(count)}
        if not has_files:  # of another user's process nobody is told
            return sums
        return sums | {"open_files": files, "open_files_ratio": share}

    def _numbers(self, process: psutil.Process) -> tuple[float, float, int]:
        """Return seconds of processor time, resident bytes and threads of one process.

        Raises:
            psutil.Error: It has ended, or may not be read.
        """
        if sys.platform.startswith("linux"):
            return self._numbers_of_linux(process.pid)
        with process.oneshot():
            if process.status() == self._psutil.STATUS_ZOMBIE:
                raise self._psutil.ZombieProcess(process.pid)
            times = process.cpu_times()
            return times.user + times.system, process.memory_info().rss, process.num_threads()

    def _numbers_of_linux(self, pid: int) -> tuple[float, float, int]:
        """Return the same from the one file that has it all: psutil reads three.

        Source: proc_pid_stat(5): state, utime, stime, num_threads and rss are fields 3, 14, 15, 20
        and 24, counted behind the name, which may hold anything.
        """
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rpartition(b")")[2].split()
        except OSError as error:
            raise self._psutil.NoSuchProcess(pid) from error
        if fields[0] in {b"Z", b"X"}:
            raise self._psutil.ZombieProcess(pid)
        ticks = int(fields[11]) + int(fields[12])
        return ticks / self._ticks, int(fields[21]) * self._page_bytes, int(fields[17])

    def _opened(self, process: psutil.Process) -> tuple[int | None, int]:
        """Return the open files of one process, and how many it may have.

        Returns:
            None for what may not be looked at, 0 for no known limit.
        """
        try:
            if sys.platform == "win32":
                return process.num_handles(), 0
            if not sys.platform.startswith("linux"):
                return process.num_fds(), 0
            import resource

            opened = len(os.listdir(f"/proc/{process.pid}/fd"))  # noqa: PTH208
            return opened, resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0]
        except (self._psutil.AccessDenied, OSError):
            return None, 0

    def _look(self, tree: _Tree, now: float) -> None:
        """Find the members anew, when it is time for it."""
        has_list = sys.platform.startswith("linux") and os.path.exists(  # noqa: PTH110
            f"/proc/{tree.root.pid}/task/{tree.root.pid}/children"
        )
        if now - tree.looked_at < (_LOOK_SECONDS if has_list else _WALK_SECONDS):
            return
        tree.looked_at = now
        self.blind.pop(tree.label, None)
        if not tree.root.is_running():
            raise self._psutil.NoSuchProcess(tree.root.pid)
        found = _below(tree.root.pid, self._without) if has_list else self._walked(tree.root)
        pids = [tree.root.pid]
        for pid in found:
            if len(pids) >= _MOST_PROCESSES:
                self.blind[tree.label] = (
                    f"Process {tree.label} has more than {_MOST_PROCESSES} children; the first "
                    "are counted."
                )
                break
            pids.append(pid)
        tree.members = dict(self._kept(tree.members, pids))

    def _kept(
        self, known: dict[int, psutil.Process], pids: list[int]
    ) -> Iterator[tuple[int, psutil.Process]]:
        """Yield a handle for each number: the old one while it is the same process."""
        for pid in pids:
            try:
                made = self._psutil.Process(pid)
            except self._psutil.Error:
                continue
            yield pid, known[pid] if known.get(pid) == made else made

    def _walked(self, root: psutil.Process) -> list[int]:
        found = (child.pid for child in root.children(recursive=True))
        return [pid for pid in found if pid not in self._without]


def _below(root: int, without: frozenset[int]) -> Iterator[int]:
    """Yield all descendants, nearest first, but those of some.

    Source: proc_pid_task(5), /proc/PID/task/TID/children: those that this thread started.
    """
    waiting, seen = [root], {root}
    while waiting and len(seen) <= 2 * _MOST_PROCESSES:
        for child in _children(waiting.pop(0)):
            if child not in seen and child not in without:
                seen.add(child)
                waiting.append(child)
                yield child


def _children(pid: int) -> Iterator[int]:
    folder = f"/proc/{pid}/task"
    try:
        threads = os.listdir(folder)  # noqa: PTH208 - no pathlib: each costs more than the read
    except OSError:
        return
    for thread in threads:
        try:
            with open(f"{folder}/{thread}/children", encoding="ascii") as file:  # noqa: PTH123
                yield from map(int, file.read().split())
        except (OSError, ValueError):
            continue
