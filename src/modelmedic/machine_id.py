"""Which machine this is: two can have one host name and share a state folder."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from pathlib import Path

_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")


@cache
def machine_id() -> str:
    """Return what no other machine has; "" where the system does not say.

    A hash of it: the number itself is not to be handed on.

    Source: machine-id(5), section "Confidentiality"; gethostuuid(2) of macOS; on Windows the number
    that its setup writes into the registry.
    """
    told = _told()
    return hashlib.sha256(f"modelmedic:{told}".encode()).hexdigest()[:32] if told else ""


def _told() -> str:
    try:
        if sys.platform == "win32":
            return _of_windows()
        return _of_macos() if sys.platform == "darwin" else _of_files()
    except (OSError, AttributeError, ValueError):
        return ""


def _of_files() -> str:
    for path in _FILES:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if text and text != "uninitialized":  # so written before the first start of an image
            return text
    return ""


def _of_macos() -> str:
    import ctypes

    number = (ctypes.c_ubyte * 16)()
    wait = (ctypes.c_long * 2)(1, 0)  # struct timespec: one second
    if ctypes.CDLL(None).gethostuuid(number, wait):
        return ""
    return bytes(number).hex()


def _of_windows() -> str:
    if sys.platform != "win32":
        return ""
    import winreg

    access = winreg.KEY_READ | winreg.KEY_WOW64_64KEY
    name = r"SOFTWARE\Microsoft\Cryptography"
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, name, 0, access) as key:
        return str(winreg.QueryValueEx(key, "MachineGuid")[0])
