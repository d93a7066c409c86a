"""``modelmedic monitor``: watch the machine, an install and processes, and say what goes wrong."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import select
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from modelmedic.cli.parsing import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_OWN_FAULT,
    EXIT_USAGE,
    Commands,
)

if TYPE_CHECKING:
    from modelmedic.commands import Child
    from modelmedic.monitor.interfaces import HealthReport
    from modelmedic.monitor.monitor import DiagnosticMonitor

_REDRAW_SECONDS = 1.0
_SUMMARY_COLUMNS = 120  # where no terminal is
_ONCE_SECONDS = 2.0  # a rate needs two samples
_ONCE_DEADLINE_SECONDS = 25.0  # a graphics driver that does not answer is given up after 20 s


def add(commands: Commands) -> None:
    """Add the command and its options."""
    monitor = commands.add_parser(
        "monitor", help="watch the machine, an install and processes; say what goes wrong"
    )
    monitor.add_argument("--install-dir", type=Path, metavar="D", help="the install to watch")
    monitor.add_argument(
        "--pid", type=int, action="append", default=[], metavar="N",
        help="a process to watch with all it starts (may be repeated)",
    )  # fmt: skip
    monitor.add_argument(
        "--log", type=Path, action="append", default=[], metavar="FILE",
        help="a log whose new lines are judged (may be repeated)",
    )  # fmt: skip
    monitor.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="S",
        help="seconds from one sample to the next (default: 1, least: 0.1)",
    )  # fmt: skip
    monitor.add_argument(
        "--for", type=_seconds, dest="span", metavar="S", help="end after so many seconds"
    )
    monitor.add_argument("--once", action="store_true", help="print one health report and end")
    monitor.add_argument("--json", action="store_true", help="print JSON, one value a line")
    monitor.add_argument("command", nargs="*", help="after --: a command to run and watch")
    monitor.set_defaults(call=_monitor)


def _seconds(text: str) -> float:
    from modelmedic.monitor.settings import LEAST_INTERVAL_SECONDS, MOST_INTERVAL_SECONDS

    with contextlib.suppress(ValueError):
        if LEAST_INTERVAL_SECONDS <= (value := float(text)) <= MOST_INTERVAL_SECONDS:
            return value
    raise argparse.ArgumentTypeError(
        f"{text!r} is no number of seconds from {LEAST_INTERVAL_SECONDS:g} to "
        f"{MOST_INTERVAL_SECONDS:.0f}"
    )


def _monitor(options: argparse.Namespace) -> int:
    import psutil

    for pid in options.pid:
        if pid <= 0 or not psutil.pid_exists(pid):
            print(f"modelmedic monitor: there is no process {pid}", file=sys.stderr)
            return EXIT_USAGE
    if options.once and options.command:
        print("modelmedic monitor: --once runs no command", file=sys.stderr)
        return EXIT_USAGE
    return _once(options) if options.once else _Front(options).run()


def _made(options: argparse.Namespace, **more: Any) -> DiagnosticMonitor:
    from modelmedic.monitor.monitor import DiagnosticMonitor

    return DiagnosticMonitor(
        install_dir=options.install_dir,
        logs=options.log,
        interval_seconds=options.interval,
        watches_self=False,
        invoked_as=_invoked_as(sys.argv[0], sys.orig_argv[0]),
        **more,
    )


def _invoked_as(script: str, python: str) -> str:
    """Return how the person started us, as they can type it again.

    Args:
        script: The file that was started.
        python: The interpreter, as it was typed.
    """
    from modelmedic.text import quoted

    path = Path(script)
    if path.stem == "modelmedic":
        return "modelmedic" if _is_found(path) else quoted(script)
    name = Path(python).name
    return f"{name if _is_found(Path(sys.executable), name) else quoted(python)} -m modelmedic"


def _is_found(path: Path, name: str = "modelmedic") -> bool:
    """Return whether typing a name alone starts this file: links are others, as of a venv."""
    found = shutil.which(name)
    return found is not None and Path(found).absolute() == path.absolute()


def _once(options: argparse.Namespace) -> int:
    from modelmedic.monitor import answers, telling

    began = time.monotonic()
    with _made(options, pids=options.pid, is_patient=False) as monitor:
        while True:
            time.sleep(min(0.3, options.interval))
            found, past = monitor.generate_health_report(), time.monotonic() - began
            is_ready = past >= max(_ONCE_SECONDS, options.interval) and monitor.is_complete
            if is_ready or past > _ONCE_DEADLINE_SECONDS or monitor.pid is None:
                break
    if options.json:
        print(json.dumps(answers.as_json(found)))
    else:
        print(telling.readings_table(found))
        print(telling.summary(found))
    return EXIT_FAILED if found.status.value in {"failing", "unknown"} else EXIT_OK


class _Front:
    """The command while it runs: alerts as they come, a line of numbers, a summary at the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._out = sys.stderr if options.command and not options.json else sys.stdout
        self._is_drawn = not options.command and not options.json and self._out.isatty()
        self._lock = threading.Lock()
        self._drawn = ""
        self._critical = 0
        self._ended = threading.Event()
        self._is_interrupted = self._is_broken = self._is_unread = False
        self._child: Child | None = None

    def run(self) -> int:
        """Watch to the end and return the exit code."""
        with self._hearing_signals():
            pids = [*self._options.pid, *self._started()]
            with _made(self._options, pids=pids, on_alert=self._told) as monitor:
                self._say_beginning(monitor)
                self._watch(monitor)
                found = monitor.generate_health_report()
        self._finish(found)
        if self._is_interrupted and self._child is None:
            return EXIT_INTERRUPTED
        if self._is_broken:
            return EXIT_OWN_FAULT
        return EXIT_FAILED if self._critical or self._code() else EXIT_OK

    def _code(self) -> int:
        return self._child.returncode or 0 if self._child is not None else 0

    def _started(self) -> list[int]:
        if not self._options.command:
            return []
        from modelmedic import commands

        self._child = commands.begin_for_person(self._options.command)
        # A thread waits: a wait with a deadline would wake twenty times a second.
        threading.Thread(target=self._wait, args=(self._child,), daemon=True).start()
        return [self._child.pid]

    def _wait(self, child: Child) -> None:
        child.wait()
        self._ended.set()

    def _watch(self, monitor: DiagnosticMonitor) -> None:
        span = self._options.span
        until = math.inf if span is None or self._child else time.monotonic() + span
        while not self._ended.is_set():
            left = until - time.monotonic()
            if left <= 0 or (self._child is None and self._has_no_reader()):
                return
            self._ended.wait(min(left, _REDRAW_SECONDS))
            if monitor.pid is None:
                self._is_broken = True
                self._say("The monitor's process has ended; nothing is watched any more.")
                if self._child is not None:
                    self._child.wait()
                return
            if self._is_drawn:
                self._draw(monitor.generate_health_report())

    def _has_no_reader(self) -> bool:
        return self._is_unread or _is_closed_pipe(self._out)

    # -- what is printed --------------------------------------------------------------------------

    def _say_beginning(self, monitor: DiagnosticMonitor) -> None:
        if self._options.json:
            return
        what = ["this machine"]
        if self._options.install_dir:
            what.append(f"the install {os.path.abspath(self._options.install_dir.expanduser())}")  # noqa: PTH100 - its disk may not answer
        what += [f"process {pid}" for pid in self._options.pid]
        what += [f"process {self._child.pid}"] if self._child else []
        from modelmedic.monitor.alerts import at_home

        until = "" if self._child or self._options.span else " Ctrl-C ends it."
        told = ", ".join(map(at_home, what))
        self._say(f"Watching {told} every {self._options.interval:g} s (process {monitor.pid}, "
                  f"which repairs nothing).{until}")  # fmt: skip

    def _told(self, event: dict[str, Any]) -> None:
        self._critical += event["severity"] == "critical" and event["event"] != "end"
        if self._options.json:
            event = {name: value for name, value in event.items() if name != "line"}
        self._say(json.dumps(event) if self._options.json else event["line"])

    def _say(self, line: str) -> None:
        with self._lock:
            self._wipe()
            self._print(f"{line}\n{self._drawn}")

    def _draw(self, found: HealthReport) -> None:
        from modelmedic.monitor import telling

        columns = shutil.get_terminal_size().columns - 1
        line = telling.status_line(found, columns)
        with self._lock:
            self._print("\r" + line.ljust(len(self._drawn))[:columns])
            self._drawn = line

    def _wipe(self) -> None:
        if self._drawn:
            self._print("\r" + " " * len(self._drawn) + "\r")

    def _print(self, text: str) -> None:
        """Print; where nobody reads it any more (``| head``), a watched command still runs on."""
        try:
            print(text, end="", file=self._out, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
            self._is_unread = True

    def _finish(self, found: HealthReport) -> None:
        from modelmedic.monitor import answers, telling
        from modelmedic.text import counted

        if self._options.json:
            told = answers.as_json(found)
            if self._child is not None:
                told["command"] = {"exit_code": self._child.returncode}
            self._say(json.dumps(told))
            return
        self._wipe()
        self._drawn = ""
        if self._child is not None:
            self._say(_ending(self._child.returncode))
        columns = shutil.get_terminal_size().columns if self._out.isatty() else _SUMMARY_COLUMNS
        self._say(telling.closing(found, columns))
        if self._critical:
            given = counted(self._critical, "critical alert")
            self._say(f"{given} {'was' if self._critical == 1 else 'were'} given.")

    # -- signals ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _hearing_signals(self) -> Iterator[None]:
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        # What is ignored stays so: by nohup, or in the background of a script.
        heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Hand a signal to the command; without one, end."""
        self._is_interrupted = True
        if self._child is None:
            self._ended.set()
        elif not (number == signal.SIGINT and _terminal_tells_both()):
            with contextlib.suppress(OSError):
                self._child.send_signal(number)


def _is_closed_pipe(out: TextIO) -> bool:
    """Return whether nobody reads a pipe any more: ``| head -1`` would wait for an alert else."""
    if sys.platform == "win32" or not stat.S_ISFIFO(os.fstat(out.fileno()).st_mode):
        return False
    poll = select.poll()
    poll.register(out.fileno(), 0)
    return bool(poll.poll(0))


def _terminal_tells_both() -> bool:
    """Return whether Ctrl-C on the terminal reaches the command without us, as one of our group."""
    if sys.platform == "win32":
        return True  # all programs of a console hear it
    try:
        handle = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(handle) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(handle)


def _ending(code: int) -> str:
    if code >= 0:
        return f"The command has ended with exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"The command was ended by {name}."
