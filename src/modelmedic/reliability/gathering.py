"""One capture under way: what may take long is read beside it and waited for until a deadline.

What did not come by then, or failed, has the value "not known", and a note says so.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

from modelmedic.facts import proxy
from modelmedic.findings import EnhancedErrorCategory
from modelmedic.healing import classify
from modelmedic.reliability import (
    chains,
    correlation,
    environment_names,
    gpu_notes,
    machine,
    observations,
    remediation,
    summaries,
)
from modelmedic.reliability.error_context import (
    EnhancedErrorContext,
    HardwareProfile,
    NetworkStatus,
    ResourceSnapshot,
    SystemInfo,
)
from modelmedic.reliability.interfaces import StrategyAttempt
from modelmedic.reliability.readings import Reading
from modelmedic.reliability.sources import Sources
from modelmedic.reliability.veil import Veil

DEADLINE_SECONDS = 0.15  # half of what a first capture may take; the rest is our own work
_FRAMES = {"standard": 3, "full": 20}
_MOST_NAME, _MOST_SENTENCE, _MOST_TRACE = 300, 1_000, 20_000
_NO_MACHINE = machine.Unchanging("", "", "", -1, math.nan, "")
_NO_SPACE = machine.Space(math.nan, math.nan)
_NO_NETWORK = NetworkStatus(True, math.nan, math.nan, False, True)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """The failed call, as `ErrorCapture.capture` is given it."""

    component: str
    method: str
    phase: str
    task: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    retry_count: int
    previous_errors: Sequence[Any]
    recovery_attempts: Sequence[Any]
    correlation_id: str


class Gathering:
    """Gathers the context of one error.

    Args:
        sources: What stays between two errors.
        error: What the call raised.
        call: The call.
        level: One of `capture.LEVELS`.
        begun: `time.monotonic` when the capture began.
    """

    def __init__(
        self, sources: Sources, error: BaseException, call: Call, level: str, begun: float
    ) -> None:
        self._begun, self._ends_at = begun, begun + DEADLINE_SECONDS
        self._sources, self._error, self._call, self._level = sources, error, call, level
        self._has_more = level != "minimal"
        self._faults: list[str] = []
        if self._has_more:
            sources.disk.start()
            sources.packages.start()
        # Without a veil no text leaves.
        self._veil: Veil | None = self.part("masking", self._find_veil, None)
        self._trace = self.part("stack trace", self._start_trace, None)

    def context(self) -> EnhancedErrorContext:
        """Return the context."""
        call = self._call
        return EnhancedErrorContext(
            timestamp=datetime.now(timezone.utc),
            phase=self._text(call.phase, _MOST_NAME),
            task=self._text(call.task, _MOST_NAME),
            component=self._text(call.component, _MOST_NAME),
            method=self._text(call.method, _MOST_NAME),
            retry_count=call.retry_count,
            previous_errors=[self._told(entry) for entry in call.previous_errors],
            recovery_attempts=[self._told(entry) for entry in call.recovery_attempts],
            correlation_id=call.correlation_id or correlation.current_id(),
            error_id=correlation.new_id(),
            **self._of_error(),
            **self._of_machine(),
            **self._of_values(),  # last: it says what could not be had, and how long it took
        )

    def part(self, name: str, make: Callable[[], T], otherwise: T) -> T:
        """Return what ``make`` makes; what fails is noted and is ``otherwise``."""
        try:
            return make()
        except Exception as fault:  # noqa: BLE001 - whatever fails here, the error must get out
            self._faults.append(f"{name}: {type(fault).__name__}")
            return otherwise

    def _of_error(self) -> dict[str, Any]:
        veil, error = self._veil, self._error
        links: list[tuple[str, BaseException]] = self.part(
            "chain", lambda: list(chains.links(error)), []
        )
        all_of_it = [error, *(link for _kind, link in links)]
        self.part("network", lambda: observations.note_errors(all_of_it), None)
        category = self.part("category", self._category, None)
        remedies: list[str] = self.part(
            "remediation", lambda: remediation.sentences(all_of_it, category), []
        )
        return {
            "category": category.value if category else None,
            "error": self._told(error),
            "chain": [f"{kind}: {self._told(link)}" for kind, link in links] if veil else [],
            "stack_trace": self._stack_trace(),
            "remediation": [self._text(sentence, _MOST_SENTENCE) for sentence in remedies],
        }

    def _of_machine(self) -> dict[str, Any]:
        part = self.part
        known = part("machine", self._sources.machine, _NO_MACHINE)
        total_gb, available_gb = part("memory", machine.own_memory_gb, (math.nan, math.nan))
        busy = part("processors", self._sources.cpu.percent, math.nan)
        resident_mb, files = part("process", machine.own_process, (-1, -1))
        gpu = part("graphics card", gpu_notes.KNOWN.latest, None)
        space = self._read(self._sources.disk) or _NO_SPACE
        packages = self._read(self._sources.packages) or {}
        return {
            "hardware_profile": HardwareProfile(
                known.cpu_model, known.cpu_count, total_gb, known.architecture, gpu
            ),
            "system_info": SystemInfo(
                os_version=known.os_version,
                python_version=known.python_version,
                available_memory_gb=available_gb,
                available_disk_gb=space.free_gb,
                cpu_usage_percent=busy,
                gpu_info=gpu,
                installed_packages=dict(packages),
            ),
            "system_resources": ResourceSnapshot(
                memory_usage_mb=resident_mb,
                disk_usage_gb=space.used_gb,
                cpu_usage_percent=busy,
                gpu_memory_usage_mb=gpu.memory_used_mb if gpu else -1,
                network_bandwidth_mbps=observations.recent_mbps(),
                open_file_handles=files,
            ),
            "network_status": part("network", _network_status, _NO_NETWORK),
        }

    def _of_values(self) -> dict[str, Any]:
        """Return variables and the summary; then the graphics card is read, for the next error."""
        variables: dict[str, str] = {}
        summary: dict[str, Any] = {}
        if self._has_more and (veil := self._veil) is not None:
            variables = self.part(
                "variables", lambda: environment_names.kept(os.environ, veil), variables
            )
            summary = self.part("summary", lambda: self._summary(veil), summary)
        if self._has_more:
            self.part("graphics card", gpu_notes.KNOWN.refresh, None)
        return {
            "environment_vars": variables,
            "summary": {**summary, "capture_faults": self._faults},
            "seconds": time.monotonic() - self._begun,
        }

    def _find_veil(self) -> Veil:
        frames = summaries.secrets_in_frames(self._error, _FRAMES["full"])
        return self._sources.veil().over_call({**frames, **self._call.kwargs})

    def _start_trace(self) -> Reading[str] | None:
        error, veil = self._error, self._veil
        if veil is None or not self._sources.may_read_code:
            return None
        trace = Reading("lines of code", lambda: chains.stack_trace(error, veil))
        trace.start()
        return trace

    def _stack_trace(self) -> str:
        """Return the traceback; without lines of code where they do not come in time."""
        if self._trace is not None:
            text = self._read(self._trace)
            if text is not None:
                return text
            if not self._trace.fault:
                self._sources.note_code_hangs()
        lines: list[str] = self.part("stack trace", lambda: chains.bare_frames(self._error), [])
        return self._text("\n".join(lines), _MOST_TRACE)

    def _category(self) -> EnhancedErrorCategory | None:
        """Return the category; what only plugins or words can say, once those are loaded."""
        classifiers = self._sources.classifiers
        if math.isinf(classifiers.age_seconds):
            if (found := classify.by_facts(self._error)) is not None:
                return found
            classifiers.start()
            self._read(classifiers)
        if math.isinf(classifiers.age_seconds):
            return None  # not in time: the next error will have it
        return classify.classify(self._error)

    def _read(self, reading: Reading[T]) -> T | None:
        """Return what a reading has by the deadline; an older value where it has no newer one."""
        if not self._has_more and reading in {self._sources.disk, self._sources.packages}:
            return None
        if not reading.wait(self._ends_at) or reading.fault:
            self._faults.append(f"{reading.name}: {reading.fault or 'not in time'}")
        return reading.value

    def _summary(self, veil: Veil) -> dict[str, Any]:
        return {
            "arguments": summaries.of_call(self._call.args, self._call.kwargs, veil),
            "locals": summaries.of_frames(self._error, _FRAMES[self._level], veil),
            "packages_age_seconds": self._sources.packages.age_seconds,
            "disk_age_seconds": self._sources.disk.age_seconds,
        }

    def _told(self, entry: object) -> str:
        """Return an error, an attempt or a sentence in words."""
        veil = self._veil
        if isinstance(entry, BaseException):
            error = entry
            return "" if veil is None else self.part("words", lambda: chains.words(error, veil), "")
        if isinstance(entry, StrategyAttempt):
            entry = f"{entry.strategy}: {entry.verdict}. {entry.note}".strip()
        return self._text(entry, _MOST_SENTENCE)

    def _text(self, given: object, most: int) -> str:
        """Return a text masked and cut; nothing where it is none, or cannot be masked."""
        veil = self._veil
        if veil is None or not isinstance(given, str):
            return ""
        return self.part("masking", lambda: veil.cut(given, most), "")


def _network_status() -> NetworkStatus:
    settings = proxy.read_environment(os.environ).settings
    return observations.status(proxy_configured=bool(settings))
