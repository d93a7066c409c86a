"""The readings of what may hang, made of the answers of the helpers: disks and graphics cards."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmedic.monitor.probes import Prober
from modelmedic.monitor.series import Ring

_CHILD = str(Path(__file__).with_name("probe_child.py"))
_DISK_DEADLINE_SECONDS = 5.0  # `limits`: local_read
_GPU_DEADLINE_SECONDS = 20.0  # a machine with many cards and persistence off takes 3 s for each
_GPU_EVERY_SECONDS = 10.0
_RATE_SECONDS = 10.0
_MOST_DISKS = 64
_STALE_ANSWERS = 3  # after so many that did not come, the last one is not shown any more
_NO_LIBRARY = 12  # NVML_ERROR_LIBRARY_NOT_FOUND
_LOST = frozenset({15, 16})  # NVML_ERROR_GPU_IS_LOST, NVML_ERROR_RESET_REQUIRED
_TOO_HOT = 0x20 | 0x40  # nvmlClocksEventReasonSwThermalSlowdown, HwThermalSlowdown

Answer = Mapping[str, Any]


def helper_argv(kind: str, *details: str) -> tuple[str, ...]:
    """Return the command of a helper: our Python, nothing of its surroundings."""
    return (sys.executable, "-I", "-S", "-B", _CHILD, kind, *details)


class Looks:
    """Keeps the newest answers of a prober, for as long as they are fresh."""

    def __init__(self, prober: Prober, every_seconds: float) -> None:
        self.prober = prober
        self._stale_seconds = _STALE_ANSWERS * max(every_seconds, 1.0)
        self._answers: dict[str, tuple[float, Answer]] = {}
        self.blind: dict[str, str] = {}

    @property
    def is_complete(self) -> bool:
        """Return whether there is a first answer, or a reason for none, of everything."""
        seen = {*self._answers, *self.blind}
        return all(subject in seen for subject in self.prober.subjects)

    def fresh(self, now: float) -> dict[str, Answer]:
        """Return the answers, by subject; errors are in ``blind`` and not among them."""
        for subject, answer in self.prober.step(now).items():
            self._answers[subject] = now, answer
        self._answers = {
            subject: (at, answer)
            for subject, (at, answer) in self._answers.items()
            if now - at <= self._stale_seconds
        }
        self.blind = dict(self.prober.blind)
        return {subject: answer for subject, (_, answer) in self._answers.items()}


class Disks(Looks):
    """The room of the file systems of some paths; two paths of one are one."""

    def __init__(self, paths: tuple[str, ...], every_seconds: float) -> None:
        self._rings: dict[str, Ring] = {}
        super().__init__(
            Prober(
                helper_argv("disk"),
                paths,
                every_seconds=every_seconds,
                deadline_seconds=_DISK_DEADLINE_SECONDS,
            ),
            every_seconds,
        )

    def read(self, now: float) -> dict[str, float]:
        """Return by mount point: free bytes, how fast they get less, free parts of the whole."""
        found: dict[str, float] = {}
        for path, answer in self.fresh(now).items():
            if told := answer.get("error"):
                self.blind[path] = f"The disk of {path} cannot be read: {told}."
                continue
            point, total = answer["point"], answer["total"]
            found[f"disk.free_bytes[{point}]"] = float(answer["free"])
            found[f"disk.filled_bytes_per_second[{point}]"] = self._rate(point, now, answer["free"])
            if total:
                found[f"disk.free_ratio[{point}]"] = answer["free"] / total
            if answer["inodes"]:
                share = answer["inodes_free"] / answer["inodes"]
                found[f"disk.inodes_free_ratio[{point}]"] = share
        return found

    def _rate(self, point: str, now: float, free: float) -> float:
        """Return how many bytes were written more than removed, for each of the last seconds."""
        ring = self._rings.get(point)
        if ring is None:
            if len(self._rings) >= _MOST_DISKS:  # mounts that come and go
                self._rings.clear()
            ring = self._rings[point] = Ring()
        if not ring.newest_at > now - 1:  # two paths of one disk, or samples faster than answers
            ring.add(now, free)
        rate = ring.change_per_second(_RATE_SECONDS)
        return 0.0 if math.isnan(rate) else -rate


class Gpus(Looks):
    """Memory and temperature of NVIDIA's cards; no card is a normal state."""

    def __init__(self, argv: tuple[str, ...]) -> None:
        super().__init__(
            Prober(
                argv,
                ("NVIDIA's driver",),
                every_seconds=_GPU_EVERY_SECONDS,
                deadline_seconds=_GPU_DEADLINE_SECONDS,
            ),
            _GPU_EVERY_SECONDS,
        )
        self._is_there = True

    def read(self, now: float) -> dict[str, float]:
        """Return what is known of each card, by its number."""
        if not self._is_there:
            return {}
        found: dict[str, float] = {}
        for answer in self.fresh(now).values():
            error = answer.get("error") or {}
            if error.get("code") == _NO_LIBRARY and not error.get("load_error"):
                self._is_there = False
                self.prober.subjects.clear()
                self.prober.close()
            elif error:
                self.blind["gpu"] = f"NVIDIA's driver answers with an error: {error.get('detail')}"
            for card in answer.get("gpus", ()):
                found |= _of_card(card)
        return found


def _of_card(card: Mapping[str, Any]) -> dict[str, float]:
    number = card["index"]
    error = card.get("error") or {}
    found = {f"gpu.is_lost[{number}]": float(error.get("code") in _LOST)}
    if (memory := card.get("memory_bytes")) and memory[0]:
        found[f"gpu.memory_used_bytes[{number}]"] = float(memory[1])
        found[f"gpu.memory_used_ratio[{number}]"] = memory[1] / memory[0]
    if (heat := card.get("temperature_celsius")) is not None:
        found[f"gpu.temperature_celsius[{number}]"] = float(heat)
    if (reasons := card.get("throttle_reasons")) is not None:
        found[f"gpu.is_too_hot[{number}]"] = float(bool(reasons & _TOO_HOT))
    return found
