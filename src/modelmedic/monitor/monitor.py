"""The Diagnostic Monitor of the user's design, for installers and for the command."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelmedic.errors import CannotTell
from modelmedic.monitor.components import Counting, Publisher, statuses
from modelmedic.monitor.interfaces import (
    HealthReport,
    HealthStatus,
    IDiagnosticMonitor,
    PotentialIssue,
)
from modelmedic.monitor.settings import LEAST_INTERVAL_SECONDS, MOST_INTERVAL_SECONDS, Settings
from modelmedic.text import duration, quoted

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelmedic.monitor.link import Link

_NEWS_SECONDS = 5.0
_ANSWER_SECONDS = 3.0
_STALE_SECONDS = 10.0  # beside three samples


class DiagnosticMonitor(IDiagnosticMonitor):
    """Watches this machine and an install from a light process of its own; a ``with`` block.

    The process ends with `stop_monitoring`, and by itself when the process that began it ends,
    however that ends. It repairs nothing.

    Args:
        install_dir: The install; its disk is watched.
        state_dir: Where alerts and the history are kept; None takes modelmedic's state folder.
        manager: The installer's `ReliabilityManager`: its components are judged too.
        logs: Log files whose new lines are judged.
        pids: Processes that are watched with all they start.
        interval_seconds: From one sample to the next, 0.1 or more.
        watches_self: Whether this process is watched like one of ``pids``.
        disks: Further paths whose disks are watched.
        on_alert: Hears each alert, in a thread; never raise there. It gets what the log gets
            (docs/monitor), and "line": the same as one line for a terminal.
        is_patient: False: what is beyond a limit counts at once, for one look.
        invoked_as: What the commands in alerts begin with; None: this Python with ``-m``.

    Attributes:
        is_complete: Whether the newest report had an answer of everything that is watched.

    Raises:
        ValueError: The interval is too short or too long.
    """

    def __init__(
        self,
        *,
        install_dir: Path | str | None = None,
        state_dir: Path | str | None = None,
        manager: Counting | None = None,
        logs: Iterable[Path | str] = (),
        pids: Iterable[int] = (),
        interval_seconds: float = 1.0,
        watches_self: bool = True,
        disks: Iterable[Path | str] = (),
        on_alert: Callable[[dict[str, Any]], None] | None = None,
        is_patient: bool = True,
        invoked_as: str | None = None,
    ) -> None:
        if not LEAST_INTERVAL_SECONDS <= interval_seconds <= MOST_INTERVAL_SECONDS:
            raise ValueError(
                f"interval_seconds is {interval_seconds}; the least is {LEAST_INTERVAL_SECONDS:g}, "
                f"the most {MOST_INTERVAL_SECONDS:.0f}"
            )
        self._install_dir = _absolute(install_dir)
        self._state_dir = _absolute(state_dir)
        self._manager = manager
        self._logs = tuple(map(_absolute, logs))
        self._pids = tuple(pids)
        self._interval_seconds = float(interval_seconds)
        self._watches_self = watches_self
        self._disks = tuple(map(_absolute, disks))
        self._on_alert = on_alert
        self._is_patient = is_patient
        self.is_complete = False
        self._invoked_as = invoked_as
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._owner = 0  # a forked child has this object, and no right to its process

    def __enter__(self) -> Self:
        self.start_monitoring()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_monitoring()

    @property
    def pid(self) -> int | None:
        """Return the number of the monitor's process; None when it does not run."""
        link = self._running()
        return link.pid if link is not None and link.exit_code is None else None

    def start_monitoring(self) -> None:
        """Start the process that watches; nothing happens when it runs already.

        Raises:
            CannotTell: It cannot be started.
        """
        from modelmedic.monitor.link import Link

        with self._lock:
            link = self._running()
            if link is not None and link.exit_code is None:
                return
            if link is not None:
                link.close()
            self._link = Link(
                self._settings(),
                news=Publisher(self._manager).news if self._manager is not None else None,
                tell=self._on_alert,
                every_seconds=self._every_seconds(),
            )
            self._owner = os.getpid()
            atexit.register(self.stop_monitoring)

    def stop_monitoring(self) -> None:
        """End that process; nothing happens when there is none."""
        with self._lock:
            link = self._running()
            self._link = None
            atexit.unregister(self.stop_monitoring)
            if link is not None:
                link.close()

    def check_component_health(self, component: str) -> HealthStatus:
        """Return how a component of the manager, or a watched thing, does.

        Args:
            component: A name in `HealthReport.components`: "Downloader", "memory", "disk[/]".
        """
        return self.generate_health_report().components.get(component, HealthStatus.UNKNOWN)

    def detect_potential_issues(self) -> list[PotentialIssue]:
        """Return what is wrong or will be, the worst first; empty when nothing is.

        Empty also when nothing is known: `generate_health_report` tells the two apart.
        """
        return list(self.generate_health_report().issues)

    def generate_health_report(self) -> HealthReport:
        """Return what is known at this moment; waits for the process 3 s at most."""
        from modelmedic.monitor import answers

        link = self._running()
        told = link.ask(_ANSWER_SECONDS) if link is not None else None
        self.is_complete = bool(told and told["is_complete"])
        blind = self._why_silent(link) if told is None else _why_stale(told, self._interval_seconds)
        own = statuses(self._manager) if self._manager is not None else {}
        return answers.report(told, own, blind, now=time.time())

    @property
    def kept(self) -> dict[str, int]:
        """Return how many lines of the log ("lines") and rows of the history ("rows") were kept."""
        link = self._running()
        told = link.ask(_ANSWER_SECONDS) if link is not None else None
        return dict(told["kept"]) if told else {}

    def _every_seconds(self) -> float | None:
        if self._on_alert is not None:
            return min(max(self._interval_seconds, 1.0), _NEWS_SECONDS)
        return _NEWS_SECONDS if self._manager is not None else None

    def _running(self) -> Link | None:
        return self._link if self._owner == os.getpid() else None

    def _why_silent(self, link: Link | None) -> tuple[str, ...]:
        if link is None:
            return ("The monitor does not run.",)
        if link.is_over or link.exit_code is not None:
            code = "" if link.exit_code is None else f" with exit code {link.exit_code}"
            return (f"The monitor's process {link.pid} has ended{code}.",)
        return (f"The monitor's process {link.pid} gave no answer within {_ANSWER_SECONDS:g} s.",)

    def _settings(self) -> Settings:
        from modelmedic import rooms

        state_dir = self._state_dir or str(rooms.state_dir())
        own = (os.getpid(),) if self._watches_self else ()
        gpu, blind = _gpu()
        disks = (self._install_dir, *self._disks, state_dir, tempfile.gettempdir())
        return Settings(
            state_dir=state_dir,
            parent=os.getpid(),
            interval_seconds=self._interval_seconds,
            disks=tuple(dict.fromkeys(filter(None, disks))),
            trees=tuple(dict.fromkeys([*own, *self._pids])),
            logs=tuple(dict.fromkeys(self._logs)),
            install_dir=self._install_dir,
            invoked_as=self._invoked_as or f"{quoted(sys.executable)} -m modelmedic",
            is_patient=self._is_patient,
            memory_limit=_memory_limit(),
            gpu=gpu,
            blind=blind,
        )


def _absolute(path: Path | str | None) -> str:
    """Return an absolute path without looking at it: its disk may not answer."""
    return os.path.abspath(os.path.expanduser(path)) if path is not None else ""  # noqa: PTH100, PTH111


def _why_stale(told: dict[str, Any], interval_seconds: float) -> tuple[str, ...]:
    age = time.time() - told["at"]
    if age <= _STALE_SECONDS + 3 * interval_seconds:
        return ()
    return (f"The monitor's last sample is {duration(age)} old.",)


def _memory_limit() -> tuple[str, int, int] | None:
    from modelmedic.facts import cgroup

    cap = cgroup.own_memory_cap()
    return (cap.where, cap.ram_bytes, cap.version) if cap.where and cap.ram_bytes else None


def _gpu() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the command that asks NVML, and what is not seen without it."""
    from modelmedic.facts import gpu, nvml_reader
    from modelmedic.monitor.looks import helper_argv

    try:
        binding = gpu.binding_path()
    except CannotTell as error:
        return (), (error.what,)
    return helper_argv("gpu", nvml_reader.__file__, str(binding)), ()
