"""What it means that there is no card, or no working driver, in words for a person at home.

Nothing named here is done by us: drivers, keys and reboots are never ours to apply.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from modelmedic.facts.driver import Driver
from modelmedic.facts.pci import Bus, Card
from modelmedic.text import printable

GET_DRIVER = "https://www.nvidia.com/drivers"
_CONTAINER_START = (
    "on the host install the NVIDIA Container Toolkit and start the container again with "
    "`--gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility`."
)
_BASIC_DISPLAY = 28  # Windows device manager: no driver is installed for this device


@dataclass(frozen=True, slots=True)
class Words:
    """The three parts of a message and the known failure it is, if one."""

    what: str
    why: str = ""
    next_step: str = ""
    failure_id: str | None = None


def of_no_card(bus: Bus) -> Words:
    """Return what it means that no NVIDIA card is seen."""
    if bus.platform == "macos":
        return Words(
            "This Mac has no NVIDIA graphics card.",
            "macOS has no NVIDIA driver; this model needs CUDA.",
            "use a computer with Linux or Windows and an NVIDIA card.",
            "non-cuda-platform",
        )
    if bus.platform == "wsl":
        return _no_wsl_card(bus)
    others = sorted({card.vendor for card in bus.cards})
    if others:
        return Words(
            f"This computer has no NVIDIA graphics card; it has one of {' and '.join(others)}.",
            "The model runs on CUDA, which only NVIDIA's cards have.",
            "use a computer with an NVIDIA card; on a laptop with two cards, switch the NVIDIA "
            "one on in its firmware settings.",
            "non-cuda-platform",
        )
    return Words(
        "This computer has no NVIDIA graphics card.",
        "No graphics card of any maker is on its PCI bus. A card that is built in is then most "
        "often not seated, not powered, or not handed to this virtual machine.",
        "check the card and its power cables; of a cloud service, choose a machine with a GPU.",
    )


def _no_wsl_card(bus: Bus) -> Words:
    if not bus.has_wsl_device:
        return Words(
            "WSL gives this Linux no graphics card: /dev/dxg is not there.",
            "This is WSL 1, an old WSL 2, or GPU support is switched off in .wslconfig.",
            "in a Windows terminal run `wsl --update`, then `wsl --set-version` with this "
            "distribution's name and 2.",
        )
    return Words(
        "WSL shows a graphics card but no NVIDIA library in /usr/lib/wsl/lib.",
        "The Windows side has no NVIDIA card, or its driver is not installed there.",
        f"install the NVIDIA driver in Windows ({GET_DRIVER}) and run `wsl --shutdown`; never "
        "install a Linux driver inside WSL.",
    )


def of_driver(bus: Bus, driver: Driver) -> Words | None:
    """Return what is wrong with the driver as files tell it; None when nothing is."""
    if bus.platform == "windows":
        return _of_windows_driver(bus, driver)
    # WSL's driver is in Windows, a Jetson's is built in.
    return _of_linux_driver(bus, driver) if bus.is_conclusive else None


def _of_linux_driver(bus: Bus, driver: Driver) -> Words | None:
    if driver.is_container and (driver.library is None or not driver.module_version):
        return of_missing_library(driver)
    if driver.is_container and driver.is_control_blocked:
        return of_lost_devices()
    if driver.is_container and "/dev/nvidiactl" not in driver.device_nodes:
        return _no_nodes(driver)
    if driver.module_version is None:
        return _no_module(bus.nvidia_cards, driver)
    if driver.library is None:
        return of_missing_library(driver)
    return _of_versions(driver.module_version, driver.library_version)


def _of_versions(module: str, library: str | None) -> Words | None:
    if library is None or library == module:
        return None
    return Words(
        f"The running NVIDIA driver is {module}, its libraries are {library}.",
        "The driver was updated and the old one is still running.",
        "restart the computer.",
        "nvml-version-mismatch",
    )


def _of_windows_driver(bus: Bus, driver: Driver) -> Words | None:
    broken = next((card for card in bus.nvidia_cards if card.problem_code), None)
    if broken and broken.problem_code != _BASIC_DISPLAY:
        return Words(
            f"Windows reports problem {broken.problem_code} with {printable(broken.name)!r}.",
            "The device manager shows the card with a yellow mark.",
            f"install the NVIDIA driver again from {GET_DRIVER} and restart.",
        )
    if broken or driver.library is None:
        return Words(
            "The NVIDIA card has no NVIDIA driver.",
            "Windows then shows it as a basic display adapter.",
            f"install the driver from {GET_DRIVER} and restart.",
        )
    return None


def of_missing_library(driver: Driver) -> Words:
    """Return what it means that the driver's library is nowhere."""
    if driver.is_container:
        host = (
            f"The host's driver is {driver.module_version}."
            if driver.module_version
            else "The host itself shows no running NVIDIA driver."
        )
        return Words(
            "This container was started without the GPU.",
            f"It has no NVIDIA driver library of its own and was handed none. {host}",
            _CONTAINER_START,
            "container-without-gpu",
        )
    if driver.module_version:
        return Words(
            f"The NVIDIA driver {driver.module_version} runs, but its libraries are missing.",
            "libnvidia-ml.so.1 is in none of the places programs look in.",
            "install the driver's user packages of the same version (Ubuntu: "
            f"`nvidia-utils-{driver.module_version.partition('.')[0]}`).",
        )
    return _not_installed()


def of_lost_devices() -> Words:
    """Return what it means that a container may no longer reach the cards it was given."""
    return Words(
        "The container has lost its GPU: /dev/nvidiactl is there and may not be opened.",
        "Most often `systemctl daemon-reload` on the host dropped the container's device "
        "rules; it worked when the container started.",
        "remove the container and create it again; to make it last, give the host's Docker "
        'the "cgroupfs" driver or use CDI.',
        "container-lost-gpu",
    )


def _no_nodes(driver: Driver) -> Words:
    setting = driver.container_devices
    hides = setting in {"", "void", "none"}
    return Words(
        "This container has the driver's library and no device of it: /dev/nvidiactl is missing.",
        f"NVIDIA_VISIBLE_DEVICES is {printable(repr(setting))} here, "
        f"{'which hands it no card' if hides else 'and no card was handed to it'}.",
        _CONTAINER_START,
        "container-without-gpu",
    )


def _not_installed() -> Words:
    how = {
        "win32": f"install it from {GET_DRIVER} and restart.",
        "linux": "install it with your distribution's tool (Ubuntu: `sudo ubuntu-drivers install`)"
        " and restart.",
    }
    return Words(
        "The NVIDIA driver is not installed.",
        "Neither its kernel module nor its libraries are on this computer.",
        how.get(sys.platform, how["linux"]),
    )


def _no_module(cards: Sequence[Card], driver: Driver) -> Words:
    """Say why NVIDIA's kernel module does not run although the card is there."""
    bound = {card.driver for card in cards}
    if bound == {"vfio-pci"}:
        return Words(
            "The NVIDIA card is set aside for a virtual machine (driver vfio-pci).",
            "This system may not use it while it is.",
            "run this inside that virtual machine, or give the card back to this system.",
        )
    if "nouveau" in bound:
        return Words(
            "The NVIDIA card is run by the driver nouveau, which has no CUDA.",
            "It takes the card at start when NVIDIA's own driver is missing or not allowed to.",
            "install NVIDIA's driver (Ubuntu: `sudo ubuntu-drivers install`) and restart; its "
            "installer switches nouveau off.",
        )
    if driver.library is None and not driver.is_module_on_disk:
        return _not_installed()
    if driver.is_module_on_disk and driver.has_secure_boot:
        return Words(
            "The NVIDIA driver is installed but not running.",
            "Secure Boot is on: most often the firmware refused the module because its key is "
            "not enrolled.",
            "run `sudo mokutil --import /var/lib/shim-signed/mok/MOK.der`, restart, choose "
            '"Enroll MOK"; or switch Secure Boot off.',
        )
    if driver.is_module_on_disk:
        return Words(
            "The NVIDIA driver is installed but not running.",
            f"Its module is there for kernel {driver.kernel} and is not loaded.",
            "restart the computer; the kernel log (`journalctl -k -g NVRM`) says more.",
        )
    return Words(
        f"The NVIDIA driver is installed but has no module for the running kernel {driver.kernel}.",
        "Most often the kernel was updated and the module was not built again.",
        "install the headers of this kernel, run `sudo dkms autoinstall`, restart.",
    )
