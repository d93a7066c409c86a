"""Ask NVML everything at once and print it as one line of JSON. Runs as a child, never in ours.

A wedged driver leaves its caller in uninterruptible sleep, so NVML is only ever called from a
process that can be given up: ``python -I -S -B nvml_reader.py PATH-OF-pynvml.py``. Standard
library and NVIDIA's one-file binding only, loaded by path, because ``site`` would double the cost.

A value is either there or it is ``None`` with a reason in ``unknown``: an old driver lacks
functions (13) and a GeForce has no ECC (3); neither is a fault. Codes of `nvmlReturn_t`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

ANSWER_SCHEMA = "modelmedic-nvml-1"  # the parent looks for the line that carries this word
SUCCESS = 0
NOT_FOUND = 6
LIBRARY_NOT_FOUND = 12
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LINUX_LIBRARY = "libnvidia-ml.so.1"  # the name the binding itself asks the loader for

# Arguments of NVML: nvml.h names them NVML_TEMPERATURE_GPU, _MEMORY_ERROR_TYPE_UNCORRECTED,
# _VOLATILE_ECC.
_GPU_SENSOR = 0
_UNCORRECTED = 1
_SINCE_START = 0

Ask = Callable[..., Any]


def main(binding_path: str) -> int:
    """Print the answer to standard output and return the exit code, always 0."""
    answer = {"schema": ANSWER_SCHEMA, **read_all(load_binding(binding_path))}
    # On a line of its own: a chatty driver library may have printed without ending its line.
    sys.stdout.write(f"\n{json.dumps(answer)}\n")
    return 0


def load_binding(path: str) -> ModuleType:
    """Return NVIDIA's binding from the file at ``path``.

    Raises:
        ImportError: The file is not there or is not Python.
    """
    spec = importlib.util.spec_from_file_location("pynvml", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["pynvml"] = module
    spec.loader.exec_module(module)
    return module


def read_all(nvml: ModuleType) -> dict[str, Any]:
    """Return versions and GPUs, or ``{"error": {"code", "detail"}}`` when NVML does not start."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return {"error": _start_failure(error)}
    answer: dict[str, Any] = {"error": None, "unknown": {}, "gpus": []}
    _fill(answer, "driver_version", _asker(nvml, "nvmlSystemGetDriverVersion"))
    _fill(answer, "nvml_version", _asker(nvml, "nvmlSystemGetNVMLVersion"))
    _fill(answer, "cuda_version", lambda: _cuda_words(nvml.nvmlSystemGetCudaDriverVersion()))
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return {**answer, "error": {"code": error.value, "detail": str(error)}}
    answer["gpus"] = [_read_gpu(nvml, index) for index in range(count)]
    nvml.nvmlShutdown()
    return answer


def _start_failure(error: Any) -> dict[str, Any]:
    """Say why NVML did not start; the binding reports an unloadable library as a missing one."""
    load_error = _load_error() if error.value == LIBRARY_NOT_FOUND else ""
    return {"code": error.value, "detail": str(error), "load_error": load_error}


def _load_error() -> str:
    """Return why a library that is there cannot be loaded; empty when there is none."""
    if sys.platform == "win32":
        paths = [
            os.path.join(os.environ.get(root, default), *tail)  # noqa: PTH118 - no pathlib here
            for root, default, tail in (
                ("WINDIR", "C:/Windows", ("System32", "nvml.dll")),
                ("ProgramFiles", "C:/Program Files", ("NVIDIA Corporation", "NVSMI", "nvml.dll")),
            )
        ]
        paths = [path for path in paths if os.path.exists(path)]  # noqa: PTH110
    else:
        paths = [LINUX_LIBRARY]
    for path in paths:
        try:
            ctypes.CDLL(path)
        except OSError as error:
            # "libnvidia-ml.so.1: cannot open shared object file: No such file or directory" is
            # what glibc says of a missing one; a missing *dependency* begins with another name.
            if str(error).startswith(f"{LINUX_LIBRARY}: cannot open") and "No such" in str(error):
                return ""
            return str(error) or type(error).__name__
    return ""


def _read_gpu(nvml: ModuleType, index: int) -> dict[str, Any]:
    """Return one GPU; one that is lost keeps its index and says so, the others are read on."""
    gpu: dict[str, Any] = {"index": index, "error": None, "unknown": {}}
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError as error:
        gpu["error"] = {"code": error.value, "detail": str(error)}
        return gpu
    for field, ask in _questions(nvml, handle).items():
        _fill(gpu, field, ask)
    return gpu


def _questions(nvml: ModuleType, handle: Any) -> dict[str, Ask]:
    def plain(name: str, *args: object) -> Ask:
        return _asker(nvml, f"nvmlDeviceGet{name}", handle, *args)

    return {
        "name": lambda: _text(plain("Name")()),
        "uuid": lambda: _text(plain("UUID")()),
        "pci_address": lambda: _text(plain("PciInfo")().busId),
        "memory_bytes": lambda: _memory(plain("MemoryInfo")()),
        "compute_capability": plain("CudaComputeCapability"),
        "throttle_reasons": _first(  # renamed by driver 535; the old name still answers
            plain("CurrentClocksEventReasons"), plain("CurrentClocksThrottleReasons")
        ),
        "temperature_celsius": _first(
            plain("Temperature", _GPU_SENSOR), plain("TemperatureV", _GPU_SENSOR)
        ),
        "pcie_width": plain("CurrPcieLinkWidth"),
        "pcie_width_max": plain("MaxPcieLinkWidth"),
        "pcie_generation": plain("CurrPcieLinkGeneration"),
        "pcie_generation_max": plain("MaxPcieLinkGeneration"),
        "ecc_uncorrected": plain("TotalEccErrors", _UNCORRECTED, _SINCE_START),
        "remapped_rows": plain("RemappedRows"),
        "is_retirement_pending": plain("RetiredPagesPendingStatus"),
        "mig_mode": lambda: plain("MigMode")()[0],
        "slices": lambda: _slices(nvml, handle),
        "persistence_mode": plain("PersistenceMode"),
        "display_active": plain("DisplayActive"),
        "processes": lambda: _processes(
            plain("ComputeRunningProcesses"), plain("GraphicsRunningProcesses")
        ),
    }


def _slices(nvml: ModuleType, handle: Any) -> list[dict[str, Any]]:
    """Return the slices of a divided card; empty where MIG is off or has none."""
    if not nvml.nvmlDeviceGetMigMode(handle)[0]:
        return []
    found: list[dict[str, Any]] = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            device = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError as error:
            if error.value == NOT_FOUND:  # the numbers in between may be free
                continue
            raise
        found.append({"uuid": _text(nvml.nvmlDeviceGetUUID(device)), "memory_bytes": None})
        try:
            info = nvml.nvmlDeviceGetMemoryInfo(device)
        except nvml.NVMLError:  # a cgroup may keep it away; the slice is there all the same
            continue
        found[-1]["memory_bytes"] = [info.total, info.free]
    return found


def _asker(nvml: ModuleType, name: str, *args: object) -> Ask:
    """Return a call of the binding's function; an old binding may lack it."""
    return lambda: getattr(nvml, name)(*args)


def _first(new: Ask, old: Ask) -> Ask:
    """Ask ``new``; where this driver or binding does not know it, ask ``old``."""

    def ask() -> Any:
        try:
            return new()
        except Exception as error:  # NVMLError lives in the binding given by path
            if getattr(error, "value", None) in {GPU_IS_LOST, RESET_REQUIRED}:
                raise
            return old()

    return ask


def _fill(into: dict[str, Any], field: str, ask: Ask) -> None:
    """Set ``into[field]``, or None and the reason: the fault of one field ends with it."""
    into[field] = None
    try:
        into[field] = ask()
    except AttributeError as error:
        into["unknown"][field] = {"code": None, "detail": f"this nvidia-ml-py lacks it: {error}"}
    except Exception as error:  # noqa: BLE001 - NVMLError, or bytes the binding cannot decode
        code = getattr(error, "value", None)
        into["unknown"][field] = {"code": code, "detail": f"{type(error).__name__}: {error}"}
        if code in {GPU_IS_LOST, RESET_REQUIRED}:
            into["error"] = {"code": code, "detail": str(error)}


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _cuda_words(number: int) -> str:
    """Return "12.2" for NVML's 12020."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _memory(info: Any) -> list[int]:
    return [info.total, info.used, info.free]


def _processes(compute: Ask, graphics: Ask) -> list[dict[str, Any]]:
    """Return each process once: a program that computes and draws is in both lists of NVML."""
    found: dict[int, dict[str, Any]] = {}
    for is_compute, listed in ((True, compute()), (False, graphics())):
        for entry in listed:
            known = found.setdefault(
                entry.pid, {"pid": entry.pid, "used_bytes": None, "is_compute": is_compute}
            )
            if entry.usedGpuMemory is not None:
                known["used_bytes"] = max(known["used_bytes"] or 0, entry.usedGpuMemory)
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
