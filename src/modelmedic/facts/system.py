"""The machine itself: operating system, container, processor features."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook, probe

_CPUINFO = Path("/proc/cpuinfo")
_SYSCTL_SECONDS = 4.0

# Source: winnt.h, the PF_* values of IsProcessorFeaturePresent, under /proc/cpuinfo's names.
_WINDOWS_FEATURES = {
    "sse2": 10,
    "pni": 13,
    "ssse3": 36,
    "sse4_1": 37,
    "sse4_2": 38,
    "avx": 39,
    "avx2": 40,
    "avx512f": 41,
}
_SYSCTL_NAMES = (
    "machdep.cpu.features",
    "machdep.cpu.leaf7_features",
    "machdep.cpu.extfeatures",
)
_CONTAINER_WORDS = {"docker": "Docker", "kubepods": "Kubernetes", "lxc": "LXC", "libpod": "Podman"}


@dataclass(frozen=True, slots=True)
class System:
    """The operating system as this process sees it.

    ``family`` is `sys.platform` ("linux", "win32", "darwin"). ``wsl`` is 1 or 2 under the Windows
    Subsystem for Linux, else None. ``container`` names the kind of container, "" outside one.
    """

    family: str
    release: str
    machine: str  # lower case: "x86_64", "amd64", "arm64"
    wsl: int | None
    container: str


@dataclass(frozen=True, slots=True)
class Processor:
    """What the processor can do, in the names of /proc/cpuinfo.

    ``askable`` holds the names this platform can say yes or no to; None means any name.
    """

    features: frozenset[str]
    askable: frozenset[str] | None = None

    def has(self, feature: str) -> bool | None:
        """Return whether it has ``feature``; None when this platform cannot say."""
        if feature in self.features:
            return True
        return False if self.askable is None or feature in self.askable else None


@probe("local_read")
def read_system(facts: FactBook) -> System:  # noqa: ARG001 - a probe's signature
    """Return the operating system, and whether it is a container or WSL."""
    release = platform.release()
    is_linux = sys.platform.startswith("linux")
    return System(
        family="linux" if is_linux else sys.platform,
        release=release,
        machine=platform.machine().lower(),
        wsl=wsl_version(release) if is_linux else None,
        container=container_kind(Path("/")) if is_linux else "",
    )


@probe("local_read", spawns=("sysctl",))
def read_processor(facts: FactBook) -> Processor:  # noqa: ARG001 - a probe's signature
    """Return the features of the processor.

    Raises:
        CannotTell: The system does not list them.
    """
    if sys.platform == "win32":
        return _windows_processor()
    if sys.platform == "darwin":
        argv = ["/usr/sbin/sysctl", *_SYSCTL_NAMES, "hw.optional"]
        return parse_sysctl(commands.run(argv, deadline_seconds=_SYSCTL_SECONDS).stdout)
    try:
        return parse_cpuinfo(_CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise CannotTell(f"{_CPUINFO} cannot be read: {error.strerror}.") from error


def parse_cpuinfo(text: str) -> Processor:
    """Return the features that every processor of a /proc/cpuinfo text has.

    Raises:
        CannotTell: No line lists features ("flags" on x86, "Features" on Arm, "isa" elsewhere).
    """
    lines = re.findall(r"^(?:flags|Features)[ \t]*:(.*)$", text, re.MULTILINE)
    if not lines:
        raise CannotTell("/proc/cpuinfo lists no processor features here.")
    return Processor(frozenset.intersection(*(frozenset(line.split()) for line in lines)))


def parse_sysctl(text: str) -> Processor:
    """Return the features that macOS' sysctl prints, renamed as in /proc/cpuinfo.

    Raises:
        CannotTell: There are none in the text.
    """
    names = re.findall(r"^machdep\.cpu\.\w+: (.*)$", text, re.MULTILINE)
    features = {_linux_name(word) for line in names for word in line.split()}
    features |= set(re.findall(r"^hw\.optional\.(?:arm\.)?(?:FEAT_)?(\w+): 1$", text, re.MULTILINE))
    if not features:
        raise CannotTell("sysctl lists no processor features here.")
    return Processor(frozenset(name.lower() for name in features))


def wsl_version(release: str) -> int | None:
    """Return 1 or 2 for a kernel release of WSL, None for any other.

    Source: WSL 1 reports "4.4.0-19041-Microsoft", WSL 2 "5.15.90.1-microsoft-standard-WSL2".
    """
    if "microsoft" not in release.lower():
        return None
    return 1 if release.endswith("-Microsoft") else 2


def container_kind(root: Path) -> str:
    """Return the kind of container that ``root`` is seen from, "" outside one.

    Source: /.dockerenv and /run/.containerenv are made by Docker and Podman; systemd-nspawn and
    LXC write /run/systemd/container; Kubernetes shows in the cgroup of process 1.
    """
    if (root / ".dockerenv").exists():
        return "Docker"
    if (root / "run/.containerenv").exists():
        return "Podman"
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "Kubernetes"
    if name := _text(root / "run/systemd/container").strip():
        return "LXC" if name.startswith("lxc") else name
    cgroup = _text(root / "proc/self/cgroup")
    return next((kind for word, kind in _CONTAINER_WORDS.items() if word in cgroup), "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _linux_name(word: str) -> str:
    name = word.lower().replace(".", "_")
    return {"avx1_0": "avx", "sse3": "pni"}.get(name, name)


def _windows_processor() -> Processor:
    import ctypes

    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    present = {n for n, k in _WINDOWS_FEATURES.items() if kernel.IsProcessorFeaturePresent(k)}
    return Processor(frozenset(present), askable=frozenset(_WINDOWS_FEATURES))
