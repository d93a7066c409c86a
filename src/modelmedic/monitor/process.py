"""The monitor's own process: samples by the clock, answers who began it, and ends with them.

It is begun as ``python -I -S -B -c ... `` (`link`), gets its `Settings` as the first line of
standard input and then questions, one a line. It ends when standard input does, when the process
that began it is gone, or by SIGTERM. Standard library and psutil only.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, Any

from modelmedic.monitor.advice import Advice
from modelmedic.monitor.components import Components
from modelmedic.monitor.foresight import Foresight
from modelmedic.monitor.looks import Disks, Gpus
from modelmedic.monitor.reader import Reader
from modelmedic.monitor.rules import RULES
from modelmedic.monitor.sampler import Sampler
from modelmedic.monitor.settings import Settings
from modelmedic.monitor.thresholds import Thresholds
from modelmedic.monitor.trees import Trees
from modelmedic.monitor.watch import Watch
from modelmedic.monitor.writing import Writer

_DISK_SECONDS = 5.0  # who writes fast watches by itself (`reliability.disk_watch`)
_LOG_SECONDS = 1.0
_IDLE_SECONDS = 5.0  # without logs only announcements are read
_STATE_SECONDS = 5.0  # the state of a parent on Windows is asked for no more often
_MOST_HEARD = 100


class Monitor:
    """Everything the process does.

    Args:
        settings: What it was told.
        questions: One JSON object a line.
        answers: One JSON object a line.
    """

    def __init__(self, settings: Settings, questions: IO[bytes], answers: IO[bytes]) -> None:
        self._settings = settings
        self._questions, self._answers = questions, answers
        self._stopped = threading.Event()
        self._lock = threading.Lock()  # a step and a report never at once
        self._heard: deque[list[dict[str, Any]]] = deque(maxlen=_MOST_HEARD)
        self._parent_asked_at = 0.0
        state_dir, interval = Path(settings.state_dir), settings.interval_seconds
        self._writer = Writer(state_dir)
        self._components = Components()
        pause = max(_LOG_SECONDS if settings.logs else _IDLE_SECONDS, interval)
        self._reader = Reader(settings.logs, state_dir, interval_seconds=pause)
        self._looks = [Disks(settings.disks, max(_DISK_SECONDS, interval))]
        self._gpus = [Gpus(settings.gpu)] if settings.gpu else []
        advice = Advice(settings.invoked_as, settings.install_dir)
        foresight = Foresight(lambda: self._reader.announced)
        self.watch = Watch(
            [
                Sampler(settings.memory_limit),
                *self._looks,
                *self._gpus,
                Trees(settings.trees, without=frozenset({os.getpid()})),
            ],
            [
                Thresholds(RULES, advice.command, is_patient=settings.is_patient),
                foresight,
                self._reader,
                self._components,
            ],
            self._writer,
            since=time.time(),
            blind=settings.blind,
            in_form=advice.in_form,
        )

    def run(self) -> None:
        """Watch until there is nobody to watch for."""
        threading.Thread(target=self._answer_all, name="answers", daemon=True).start()
        self._reader.start()
        self._writer.open()
        next_at = time.monotonic()
        try:
            while not self._stopped.wait(max(0.0, next_at - time.monotonic())):
                if self._is_orphan():
                    break
                self._step()
                next_at += self._settings.interval_seconds
                if next_at < time.monotonic():  # the machine slept, or is very busy
                    next_at = time.monotonic() + self._settings.interval_seconds
        finally:
            self._close()

    def stop(self, *_: object) -> None:
        """End soon."""
        self._stopped.set()

    def _step(self) -> None:
        with self._lock:
            while self._heard:
                self._components.hear(time.time(), self._heard.popleft())
            self.watch.step(time.monotonic(), time.time())
            self._writer.add_components(self._components.take_rows())

    def _close(self) -> None:
        self._reader.stop()
        with self._lock:
            self.watch.close()
        for look in (*self._looks, *self._gpus):
            look.prober.close()
        self._writer.close()

    def _is_orphan(self) -> bool:
        if sys.platform != "win32":
            return os.getppid() != self._settings.parent
        if time.monotonic() - self._parent_asked_at < _STATE_SECONDS:
            return False
        import psutil

        self._parent_asked_at = time.monotonic()
        return not psutil.pid_exists(self._settings.parent)

    def _answer_all(self) -> None:
        """Answer until the questions end: who asked is gone then, or wants us to end."""
        with contextlib.suppress(OSError, ValueError):
            while line := self._questions.readline():
                with contextlib.suppress(TypeError, KeyError, RecursionError):
                    self._answer(json.loads(line))
        self.stop()

    def _answer(self, question: dict[str, Any]) -> None:
        if question.get("components"):
            self._heard.append(question["components"])
        with self._lock:
            told = self.watch.report(int(question.get("after", 0)))
        kept = {"lines": self._writer.lines, "rows": self._writer.rows}
        answer = {"number": question.get("number"), "kept": kept, **told}
        self._answers.write(json.dumps(answer).encode() + b"\n")
        self._answers.flush()


def _without_openssl() -> None:
    """Let `hashlib` use Python's own SHA-2: the library of OpenSSL holds 3 MB and is not needed."""
    names = ("_sha2", "_sha256")  # from 3.12 on, and before; some distributions have neither
    if any(importlib.util.find_spec(name) for name in names):
        sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type]


def main() -> int:
    """Run until told to end; return the exit code, always 0."""
    questions = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _without_openssl()
    monitor = Monitor(Settings.from_json(json.loads(questions.readline())), questions, answers)
    signal.signal(signal.SIGTERM, monitor.stop)
    monitor.run()
    sys.stderr.flush()
    os._exit(0)  # a thread that hangs at a dead disk must not keep us
