"""Which graphics cards are on the bus, asked without any driver of NVIDIA's.

This separates "no card" from "no driver": sysfs on Linux and CIM on Windows list a card that
nothing drives. Inside WSL the card is behind ``/dev/dxg`` and never on a bus; macOS has none.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from modelmedic.commands import Completed, run
from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook, probe

SYSFS_DEVICES = Path("/sys/bus/pci/devices")
WSL_DEVICE = Path("/dev/dxg")  # the paravirtual GPU that WSL 2 gives its guests
KERNEL_RELEASE = Path("/proc/sys/kernel/osrelease")
DEVICE_TREE = Path("/proc/device-tree/compatible")

NVIDIA = 0x10DE
VENDORS: Mapping[int, str] = MappingProxyType(
    {NVIDIA: "NVIDIA", 0x1002: "AMD", 0x8086: "Intel", 0x1414: "Microsoft (virtual)"}
)
_DISPLAY_CLASS = 0x03  # PCI base class; 0x0403 is the card's sound function
_LINK_WIDTHS = frozenset({1, 2, 4, 8, 12, 16, 32})  # a card off the bus reads all ones: 63 or 255
# Three quarters of the "gpu_query" limit that the probe has, so that our message wins.
_POWERSHELL_SECONDS = 15.0
_POWERSHELL_QUERY = (
    "Get-CimInstance Win32_VideoController | Select-Object Name,PNPDeviceID,DriverVersion,"
    "ConfigManagerErrorCode | ConvertTo-Json -Compress"
)


@dataclass(frozen=True, slots=True)
class Card:
    """One display controller. What the platform does not tell is None or empty."""

    address: str  # "0000:01:00.0"; on Windows the PnP id
    vendor_id: int
    device_id: int
    name: str = ""
    driver: str = ""  # the kernel driver bound to it: "nvidia", "nouveau", "vfio-pci"
    driver_version: str | None = None  # Windows: NVIDIA's own number, "560.94"
    problem_code: int = 0  # Windows device manager's; 0 is none
    link_width: int | None = None
    link_width_max: int | None = None

    @property
    def vendor(self) -> str:
        """Return the maker's name, or its PCI number when it is not one we know."""
        return VENDORS.get(self.vendor_id, f"vendor {self.vendor_id:04x}")


@dataclass(frozen=True, slots=True)
class Bus:
    """The cards seen, and whether seeing none means that there is none."""

    platform: str  # "linux", "wsl", "windows", "macos"
    cards: tuple[Card, ...] = ()
    is_conclusive: bool = True
    reason: str = ""  # why it is not conclusive
    has_wsl_device: bool = False

    @property
    def nvidia_cards(self) -> tuple[Card, ...]:
        """Return NVIDIA's cards, in the order of the bus."""
        return tuple(card for card in self.cards if card.vendor_id == NVIDIA)


@probe("gpu_query", spawns=("powershell",))
def read_bus(facts: FactBook) -> Bus:  # noqa: ARG001 - every probe is given the book
    """Return the display controllers of this machine.

    Raises:
        CannotTell: The bus of this platform could not be read.
    """
    if sys.platform == "win32":
        return windows_bus(_ask_windows())
    if sys.platform == "darwin":
        return Bus("macos")
    return linux_bus()


def linux_bus() -> Bus:
    """Return the cards of sysfs; not conclusive in WSL, on a Jetson, and without sysfs."""
    if is_wsl():
        reason = "WSL shows the card through the Windows driver, not on a bus."
        return Bus("wsl", (), False, reason, WSL_DEVICE.exists())
    if "nvidia,tegra" in text_of(DEVICE_TREE):
        return Bus("linux", (), False, "On a Jetson the GPU is part of the chip, not on a bus.")
    if not SYSFS_DEVICES.is_dir():
        return Bus("linux", (), False, f"{SYSFS_DEVICES} is not there: no PCI bus is shown to us.")
    return Bus("linux", sysfs_cards(SYSFS_DEVICES))


def is_wsl() -> bool:
    """Return whether the kernel is Microsoft's for WSL."""
    return sys.platform == "linux" and "microsoft" in text_of(KERNEL_RELEASE).lower()


def sysfs_cards(root: Path) -> tuple[Card, ...]:
    """Return the display controllers below ``root``, in bus order; empty when there are none.

    Raises:
        CannotTell: A device's files hold no numbers.
        OSError: ``root`` or a device may not be read.
    """
    cards = []
    for folder in sorted(root.iterdir()):
        try:
            if _number(folder / "class") >> 16 == _DISPLAY_CLASS:
                cards.append(_sysfs_card(folder))
        except FileNotFoundError:
            continue  # unplugged between listing and reading
    return tuple(cards)


def _sysfs_card(folder: Path) -> Card:
    driver = folder / "driver"
    return Card(
        address=folder.name,
        vendor_id=_number(folder / "vendor"),
        device_id=_number(folder / "device"),
        driver=driver.resolve().name if driver.is_symlink() else "",
        link_width=_width(folder / "current_link_width"),
        link_width_max=_width(folder / "max_link_width"),
    )


def _number(path: Path) -> int:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        return int(text, 16)
    except ValueError as error:
        raise CannotTell(f"{path} holds {text[:40]!r} where a number is expected.") from error


def _width(path: Path) -> int | None:
    """Return a PCIe width, None where the device has no PCIe link or does not answer."""
    text = text_of(path).strip()
    return int(text) if text.isdecimal() and int(text) in _LINK_WIDTHS else None


def text_of(path: Path) -> str:
    """Return what a small file says; empty when it is not there or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _ask_windows() -> Completed:
    return run(
        ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", _POWERSHELL_QUERY],
        deadline_seconds=_POWERSHELL_SECONDS,
    )


def windows_bus(answer: Completed) -> Bus:
    """Return the cards of PowerShell's answer.

    Raises:
        CannotTell: PowerShell failed or printed no JSON.
    """
    if answer.returncode != 0:
        raise CannotTell(
            f"PowerShell ended with code {answer.returncode} when asked for the graphics cards.",
            "Most often a policy that blocks it, or Windows Management Instrumentation is stopped.",
        )
    try:
        listed = json.loads(answer.stdout or "[]")
    except ValueError as error:
        raise CannotTell("PowerShell's list of graphics cards is no JSON.") from error
    # ConvertTo-Json prints a lone object without its list.
    entries = listed if isinstance(listed, list) else [listed]
    return Bus("windows", tuple(card for entry in entries if (card := _windows_card(entry))))


def _windows_card(entry: Any) -> Card | None:
    """Return a card, None for a display that is not on PCI (remote desktop, virtual)."""
    if not isinstance(entry, dict):
        return None
    device = str(entry.get("PNPDeviceID") or "")
    ids = re.match(r"PCI\\VEN_([0-9A-F]{4})&DEV_([0-9A-F]{4})", device, re.IGNORECASE)
    if not ids:
        return None
    problem = entry.get("ConfigManagerErrorCode")
    return Card(
        address=device,
        vendor_id=int(ids.group(1), 16),
        device_id=int(ids.group(2), 16),
        name=str(entry.get("Name") or ""),
        driver_version=nvidia_version_of(str(entry.get("DriverVersion") or "")),
        problem_code=problem if isinstance(problem, int) else 0,
    )


def nvidia_version_of(windows_version: str) -> str | None:
    """Return "560.94" for Windows's "32.0.15.6094", None for a version of another form.

    Source: the last five digits of the Windows number are NVIDIA's own, as its release notes
    list both (R560: 32.0.15.6094 = 560.94).
    """
    parts = windows_version.split(".")
    # Windows's own basic display driver has the build of Windows there: 10.0.19041.3636.
    if len(parts) != 4 or not all(p.isdecimal() for p in parts) or len(parts[2]) != 2:  # noqa: PLR2004 - a.b.15.d
        return None
    digits = f"{parts[2]}{parts[3]:0>4}"[-5:]
    return f"{int(digits[:3])}.{digits[3:]}"
