"""The second way to ask the driver: ``nvidia-smi``, for when NVML cannot be loaded from here.

Its answer is given in the shape of `nvml_reader`, so the facts are made in one place. One field
that a driver does not know fails a whole query, so the questions go in small groups, and a
failed group costs only its own fields.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from modelmedic.commands import run
from modelmedic.errors import CannotTell
from modelmedic.facts.nvml_reader import GPU_IS_LOST, RESET_REQUIRED

WSL_PROGRAM = Path("/usr/lib/wsl/lib/nvidia-smi")  # WSL mounts it there and not on every PATH
_MIB = 1 << 20

# What stands in place of a value, and the nvmlReturn_t it means.
# Source: nvidia-smi's own output, as in the manual page ("N/A" = not supported).
PLACEHOLDERS: Mapping[str, int] = MappingProxyType(
    {
        "N/A": 3,
        "Not Supported": 3,
        "Insufficient Permissions": 4,
        "GPU is lost": GPU_IS_LOST,
        "GPU requires reset": RESET_REQUIRED,
        "Requested functionality has been deprecated": 3,
        "Unknown Error": 999,
    }
)
# Source: section "RETURN VALUE" of the manual page; the numbers are nvmlReturn_t's. 18 is not in
# it and is what comes with "Driver/library version mismatch" (failure nvml-version-mismatch).
DRIVER_EXIT_CODES = frozenset({4, 8, 9, 10, 12, 13, 14, 15, 18, 255})


@dataclass(frozen=True, slots=True)
class Group:
    """Fields of one query, in order; a free text comes last because it may hold commas."""

    columns: tuple[str, ...]
    convert: Callable[[list[str]], dict[str, Any]]
    fields: tuple[str, ...]  # keys of nvml_reader that it answers


def _identity(row: list[str]) -> dict[str, Any]:
    return {"uuid": row[0], "pci_address": row[1], "name": row[2]}


def _memory(row: list[str]) -> dict[str, Any]:
    return {"memory_bytes": [int(cell) * _MIB for cell in row]}


def _capability(row: list[str]) -> dict[str, Any]:
    return {"compute_capability": [int(part) for part in row[0].split(".")]}


def _throttle(row: list[str]) -> dict[str, Any]:
    return {"throttle_reasons": int(row[0], 16)}


def _pcie(row: list[str]) -> dict[str, Any]:
    return {"pcie_width": int(row[0]), "pcie_width_max": int(row[1])}


def _ecc(row: list[str]) -> dict[str, Any]:
    return {"ecc_uncorrected": int(row[0])}


def _retirement(row: list[str]) -> dict[str, Any]:
    return {"is_retirement_pending": _is_on(row[0])}


def _mig(row: list[str]) -> dict[str, Any]:
    return {"mig_mode": _is_on(row[0])}


def _is_on(word: str) -> bool:
    return {"Enabled": True, "Yes": True, "Disabled": False, "No": False}[word]


_OLD_THROTTLE = Group(("clocks_throttle_reasons.active",), _throttle, ("throttle_reasons",))
GROUPS = (
    Group(("uuid", "pci.bus_id", "name"), _identity, ("uuid", "pci_address", "name")),
    Group(("memory.total", "memory.used", "memory.free"), _memory, ("memory_bytes",)),
    Group(("compute_cap",), _capability, ("compute_capability",)),
    Group(("clocks_event_reasons.active",), _throttle, ("throttle_reasons",)),
    Group(
        ("pcie.link.width.current", "pcie.link.width.max"),
        _pcie,
        ("pcie_width", "pcie_width_max"),
    ),
    Group(("ecc.errors.uncorrected.volatile.total",), _ecc, ("ecc_uncorrected",)),
    Group(("retired_pages.pending",), _retirement, ("is_retirement_pending",)),
    Group(("mig.mode.current",), _mig, ("mig_mode",)),
)


def find_program() -> str | None:
    """Return the path of nvidia-smi; None when there is none."""
    if found := shutil.which("nvidia-smi"):
        return found
    if sys.platform == "linux" and os.access(WSL_PROGRAM, os.X_OK):
        return str(WSL_PROGRAM)
    if sys.platform == "win32":
        return _old_windows_program(Path(os.environ.get("PROGRAMFILES", "C:/Program Files")))
    return None


def _old_windows_program(programs: Path) -> str | None:
    """Return where drivers before DCH put it on Windows, outside PATH."""
    found = programs / "NVIDIA Corporation" / "NVSMI" / "nvidia-smi.exe"
    return str(found) if found.is_file() else None


def ask_smi(program: str, *, deadline_seconds: float) -> dict[str, Any]:
    """Return what nvidia-smi tells, in the shape of `nvml_reader.read_all`.

    Values nvidia-smi was not asked for are absent; those it refused are in ``unknown``.

    Raises:
        CannotTell: nvidia-smi gave no list of GPUs and no exit code that says why.
    """
    ends = time.monotonic() + deadline_seconds
    listed = _query(program, ("index", "driver_version"), ends)
    if listed.error:
        return {"error": listed.error}
    gpus: dict[int, dict[str, Any]] = {
        index: {"index": index, "error": None, "unknown": {}} for index in listed.rows
    }
    versions = [row[0] for row in listed.rows.values() if not code_of(row[0])]
    for group in GROUPS:
        answer = _query(program, ("index", *group.columns), ends)
        if answer.error and group.fields == _OLD_THROTTLE.fields:  # a driver before 535.54.03
            answer = _query(program, ("index", *_OLD_THROTTLE.columns), ends)
        for index, gpu in gpus.items():
            _merge(gpu, group, answer, index)
    return {"error": None, "driver_version": next(iter(versions), None), "gpus": [*gpus.values()]}


@dataclass(frozen=True, slots=True)
class Rows:
    """The cells of each GPU by its index, or the error that came instead."""

    rows: dict[int, list[str]]
    error: dict[str, Any] | None = None


def _query(program: str, columns: tuple[str, ...], ends: float) -> Rows:
    """Ask one group.

    Raises:
        CannotTell: nvidia-smi could not be started or did not end in time.
    """
    done = run(
        [program, f"--query-gpu={','.join(columns)}", "--format=csv,noheader,nounits"],
        deadline_seconds=max(0.5, ends - time.monotonic()),
    )
    return parse_rows(done.stdout, done.returncode, len(columns))


def parse_rows(stdout: str, returncode: int, columns: int) -> Rows:
    """Return the rows of one query; ``columns`` counts the leading index.

    Raises:
        CannotTell: It said success and printed something else than rows.
    """
    text = stdout.strip()
    if returncode != 0 and returncode not in DRIVER_EXIT_CODES:
        return Rows({}, {"code": None, "detail": text or f"exit code {returncode}"})
    if returncode != 0 and not _is_row(text.partition("\n")[0], columns):
        return Rows({}, {"code": returncode, "detail": text or f"exit code {returncode}"})
    if text == "No devices were found":
        return Rows({})
    rows = {}
    for line in text.splitlines():
        if not _is_row(line, columns):
            raise CannotTell(f"nvidia-smi printed {line[:80]!r} where a row of values is expected.")
        cells = [cell.strip() for cell in line.split(",", columns - 1)]
        rows[int(cells[0])] = cells[1:]
    return Rows(rows)


def _is_row(line: str, columns: int) -> bool:
    return line.count(",") >= columns - 1 and line.partition(",")[0].strip().isdecimal()


def code_of(cell: str) -> int | None:
    """Return the nvmlReturn_t a placeholder stands for; None for a real value."""
    return PLACEHOLDERS.get(cell.strip("[]"))


def _merge(gpu: dict[str, Any], group: Group, answer: Rows, index: int) -> None:
    """Put one group's values into ``gpu``, or the reason why they are not known."""
    row = answer.rows.get(index)
    if row is None:
        why = answer.error or {"code": None, "detail": "nvidia-smi left this GPU out"}
        gpu["unknown"].update(dict.fromkeys(group.fields, why))
        return
    refused = next((cell for cell in row if code_of(cell)), None)
    if refused is not None:
        why = {"code": code_of(refused), "detail": f"nvidia-smi says {refused}"}
        gpu["unknown"].update(dict.fromkeys(group.fields, why))
        if why["code"] in {GPU_IS_LOST, RESET_REQUIRED}:
            gpu["error"] = why
        return
    try:
        gpu.update(group.convert(row))
    except (ValueError, KeyError, IndexError):
        why = {"code": None, "detail": f"nvidia-smi says {', '.join(row)[:80]!r}"}
        gpu["unknown"].update(dict.fromkeys(group.fields, why))
