"""NVIDIA's driver as files tell it: kernel module, libraries, device nodes, container, WSL.

Nothing here calls the driver, so nothing here can hang in it.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.pci import text_of

PROC_VERSION = Path("/proc/driver/nvidia/version")
PROC_MODULES = Path("/proc/modules")
MODULE_TREES = Path("/lib/modules")
DEVICE_NODES = Path("/dev")
CONTROL_NODE = "nvidiactl"  # opening it wakes no card
LOADER_CACHE = Path("/etc/ld.so.cache")
SECURE_BOOT = Path("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
INIT_CGROUP = Path("/proc/1/cgroup")

LIBRARY = "libnvidia-ml.so.1"
# Where the loader looks by itself, and where WSL and container runtimes put the library.
LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
    "/lib",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
)
_CONTAINER_WORDS = ("docker", "kubepods", "containerd", "libpod", "lxc")


@dataclass(frozen=True, slots=True)
class Driver:
    """What is installed and loaded. None: not there, or this platform does not tell."""

    module_version: str | None = None  # of the loaded kernel module
    is_open_module: bool = False
    loaded_modules: tuple[str, ...] = ()  # "nvidia", "nouveau"
    is_module_on_disk: bool | None = None  # built for the running kernel
    library: Path | None = None  # libnvidia-ml.so.1 or nvml.dll
    library_version: str | None = None  # from the name of the file it links to
    device_nodes: tuple[str, ...] = ()  # "/dev/nvidiactl", "/dev/nvidia0"
    denied_nodes: tuple[str, ...] = ()  # of those, the ones we may not open
    is_control_blocked: bool = False  # /dev/nvidiactl is there and its device may not be reached
    is_container: bool = False
    container_devices: str | None = None  # NVIDIA_VISIBLE_DEVICES
    container_capabilities: str | None = None  # NVIDIA_DRIVER_CAPABILITIES
    has_secure_boot: bool | None = None
    kernel: str = ""


@probe("local_read")
def read_driver(facts: FactBook) -> Driver:  # noqa: ARG001 - every probe is given the book
    """Return what the files of this machine tell of NVIDIA's driver."""
    library = find_library(os.environ)
    if sys.platform == "win32":
        return Driver(library=library)
    if sys.platform == "darwin":
        return Driver()
    nodes = tuple(sorted(str(p) for p in _globbed(DEVICE_NODES, "nvidia*") if not p.is_dir()))
    kernel = os.uname().release
    return Driver(
        module_version=parse_module_version(text_of(PROC_VERSION)),
        is_open_module="Open Kernel Module" in text_of(PROC_VERSION),
        loaded_modules=loaded_modules(text_of(PROC_MODULES)),
        is_module_on_disk=is_module_built(MODULE_TREES / kernel),
        library=library,
        library_version=version_of_library(library),
        device_nodes=nodes,
        denied_nodes=tuple(n for n in nodes if not os.access(n, os.R_OK | os.W_OK)),
        is_control_blocked=is_blocked(DEVICE_NODES / CONTROL_NODE),
        is_container=is_container(),
        container_devices=os.environ.get("NVIDIA_VISIBLE_DEVICES"),
        container_capabilities=os.environ.get("NVIDIA_DRIVER_CAPABILITIES"),
        has_secure_boot=has_secure_boot(SECURE_BOOT),
        kernel=kernel,
    )


def parse_module_version(text: str) -> str | None:
    """Return the version in /proc/driver/nvidia/version; None when no module is loaded.

    Source: "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 ..." and
    "... Open Kernel Module for x86_64  560.35.03  Release Build ...".
    """
    found = re.search(r"^NVRM version:.*?\s(\d+(?:\.\d+)+)\s", f"{text}\n", re.MULTILINE)
    return found.group(1) if found else None


def loaded_modules(text: str) -> tuple[str, ...]:
    """Return which kernel modules that can drive an NVIDIA card are in /proc/modules."""
    names = {line.split(maxsplit=1)[0] for line in text.splitlines() if line.strip()}
    return tuple(sorted(names & {"nvidia", "nouveau", "nova_core"}))


def is_module_built(tree: Path) -> bool | None:
    """Return whether nvidia.ko exists for a kernel; None when its list cannot be read."""
    listing = text_of(tree / "modules.dep")
    if not listing:
        return None
    return re.search(r"(?:^|/)nvidia\.ko(?:\.\w+)?:", listing, re.MULTILINE) is not None


def version_of_library(library: Path | None) -> str | None:
    """Return "535.129.03" for a link to libnvidia-ml.so.535.129.03; None for a plain file."""
    if library is None:
        return None
    found = re.search(r"\.so\.(\d+\.\d+(?:\.\d+)*)$", os.path.realpath(library))
    return found.group(1) if found else None


def find_library(env: Mapping[str, str]) -> Path | None:
    """Return where NVML's library lies, without loading it; None when it is nowhere."""
    candidates = _windows_libraries(env) if sys.platform == "win32" else _linux_libraries(env)
    return next((path for path in candidates if os.path.lexists(path)), None)


def _linux_libraries(env: Mapping[str, str]) -> Iterator[Path]:
    for folder in env.get("LD_LIBRARY_PATH", "").split(":"):
        if folder:
            yield Path(folder) / LIBRARY
    for folder in LIBRARY_FOLDERS:
        yield Path(folder) / LIBRARY
    try:
        cache = LOADER_CACHE.read_bytes()
    except OSError:
        return
    for match in re.finditer(rb"(/[^\0]*/libnvidia-ml\.so\.1)\0", cache):
        yield Path(os.fsdecode(match.group(1)))


def _windows_libraries(env: Mapping[str, str]) -> Iterator[Path]:
    """Yield the two places NVIDIA's binding looks in."""
    yield Path(env.get("WINDIR", "C:/Windows")) / "System32" / "nvml.dll"
    programs = Path(env.get("ProgramFiles", "C:/Program Files"))
    yield programs / "NVIDIA Corporation" / "NVSMI" / "nvml.dll"


def is_container() -> bool:
    """Return whether we run in a container (Docker, Podman, Kubernetes, LXC)."""
    if any(mark.exists() for mark in CONTAINER_MARKS):
        return True
    return any(word in text_of(INIT_CGROUP) for word in _CONTAINER_WORDS)


def is_blocked(node: Path) -> bool:
    """Return whether a device node is there and the kernel keeps its device away.

    The rights of the file do not tell: a device rule of the control group answers EPERM.
    Source: Documentation/admin-guide/cgroup-v2.rst, "Device controller".
    """
    try:
        os.close(os.open(node, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
    except OSError as error:
        return error.errno == errno.EPERM
    return False


def has_secure_boot(variable: Path) -> bool | None:
    """Return whether the firmware refuses unsigned modules; None when it does not say.

    Source: UEFI 2.10 section 3.3, variable SecureBoot; efivarfs puts four attribute bytes first.
    """
    try:
        data = variable.read_bytes()
    except OSError:
        return None
    return data[4] == 1 if len(data) == 5 else None  # noqa: PLR2004 - four attributes, one value


def _globbed(folder: Path, pattern: str) -> list[Path]:
    try:
        return list(folder.glob(pattern))
    except OSError:
        return []
