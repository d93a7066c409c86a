"""Categories by number: errno, Windows error, HTTP status, exit code.

Texts are translated; numbers are not.
"""

from __future__ import annotations

import errno
import signal
import sys

from modelmedic.findings import EnhancedErrorCategory as Category

# By name: the numbers differ between systems, and not every system has every one.
_ERRNO = {
    Category.RESOURCE_EXHAUSTION: "ENOSPC EDQUOT EMFILE ENFILE ENOMEM",
    Category.PERMISSION: "EACCES EPERM EROFS",
    Category.TIMEOUT: "ETIMEDOUT ETIME",
    Category.NETWORK: "ECONNREFUSED ECONNRESET ECONNABORTED EHOSTUNREACH EHOSTDOWN ENETUNREACH "
    "ENETDOWN ENETRESET ENOTCONN EPIPE EADDRNOTAVAIL",
    Category.CONFIGURATION: "EADDRINUSE",
    Category.SYSTEM: "EIO ENODEV ENXIO EBUSY ETXTBSY ENAMETOOLONG EFBIG ELOOP EXDEV ENOLCK ENOSYS "
    "ENOTSUP EOPNOTSUPP ENOEXEC ESTALE EUCLEAN EREMOTEIO",
}
# Source: Microsoft, "System Error Codes" and "Windows Sockets Error Codes".
_WINDOWS = {
    Category.RESOURCE_EXHAUSTION: (4, 8, 14, 39, 112, 1295, 1450, 1453, 1455, 1816, 10024, 10055),
    Category.PERMISSION: (5, 19, 65, 225, 740, 1260, 1307, 1314, 1920, 10013),
    Category.TIMEOUT: (121, 258, 1460, 10060),
    Category.NETWORK: (
        51, 53, 59, 64, 67, 1222, 1225, 1231, 1232, 1236,
        10050, 10051, 10052, 10053, 10054, 10057, 10061, 10064, 10065, 11001, 11002, 11003, 11004,
    ),
    Category.CONFIGURATION: (123, 10048, 10049),
    # 32, 33: another process holds the file; Python calls it PermissionError.
    Category.SYSTEM: (21, 23, 32, 33, 111, 142, 170, 193, 206, 216, 483, 998, 1006, 1117, 1142),
    Category.DEPENDENCY: (126, 1114, 1157, 14001),
    Category.VERSION_MISMATCH: (127, 182),
    Category.CORRUPTION: (1392, 1393),
    Category.AUTHENTICATION: (86, 1326, 1327, 1330),
}  # fmt: skip
# Source: RFC 9110 and RFC 6585; 52x are a CDN's (Cloudflare): the server behind it did not answer.
_STATUS = {
    **dict.fromkeys((401, 403, 407), Category.AUTHENTICATION),
    **dict.fromkeys((408, 504, 522, 524), Category.TIMEOUT),
    **dict.fromkeys((404, 410), Category.CONFIGURATION),  # the address asked for is the wrong one
    **dict.fromkeys((416, 421, 425, 429, 451), Category.NETWORK),
}
# The number on Linux stands for a system without the signal: a log of WSL or of a container.
_SIGNALS = {
    ("SIGKILL", 9): Category.RESOURCE_EXHAUSTION,  # what ends a program unasked is the memory guard
    ("SIGXCPU", 24): Category.RESOURCE_EXHAUSTION,
    ("SIGXFSZ", 25): Category.RESOURCE_EXHAUSTION,
    ("SIGALRM", 14): Category.TIMEOUT,
    ("SIGILL", 4): Category.SYSTEM,
    ("SIGTRAP", 5): Category.SYSTEM,
    ("SIGABRT", 6): Category.SYSTEM,
    ("SIGBUS", 7): Category.SYSTEM,
    ("SIGFPE", 8): Category.SYSTEM,
    ("SIGSEGV", 11): Category.SYSTEM,
    ("SIGSYS", 31): Category.SYSTEM,
}
# Source: Microsoft, [MS-ERREF] NTSTATUS values.
_NTSTATUS = {
    0xC0000005: Category.SYSTEM,  # access violation
    0xC0000006: Category.SYSTEM,  # a page of a mapped file could not be read
    0xC000001D: Category.SYSTEM,  # illegal instruction
    0xC00000FD: Category.SYSTEM,  # stack overflow
    0xC0000374: Category.SYSTEM,  # damaged heap
    0xC0000409: Category.SYSTEM,  # the program stopped itself
    0xC0000420: Category.SYSTEM,  # assertion
    0x80000003: Category.SYSTEM,  # breakpoint: how abort ends in a debug build
    0xC0000017: Category.RESOURCE_EXHAUSTION,
    0xC000007F: Category.RESOURCE_EXHAUSTION,  # disk full
    0xC000009A: Category.RESOURCE_EXHAUSTION,
    0xC000012D: Category.RESOURCE_EXHAUSTION,  # commit limit
    0xC0000022: Category.PERMISSION,
    0xC0000135: Category.DEPENDENCY,  # a DLL is missing
    0xC0000142: Category.DEPENDENCY,  # a DLL did not start
    0xC000007B: Category.VERSION_MISMATCH,  # 32 and 64 bits mixed
    0xC0000138: Category.VERSION_MISMATCH,  # the DLL lacks a numbered function
    0xC0000139: Category.VERSION_MISMATCH,  # the DLL lacks a named function
}
# What shells and timeout(1) answer for the program. Source: POSIX, "Exit Status for Commands".
_SHELL = {
    124: Category.TIMEOUT,
    126: Category.PERMISSION,
    127: Category.DEPENDENCY,
}
_SIGNAL_BASE = 128
_SERVER_ERROR = range(500, 600)
_FIRST_WINDOWS_ONLY = 200  # no POSIX system of ours has an errno that high


def of_errno(number: int) -> Category | None:
    """Return the category of an errno of this system; None when it says too little."""
    for category, names in _ERRNO.items():
        if any(getattr(errno, name, None) == number for name in names.split()):
            return category
    return None


def of_windows_error(number: int) -> Category | None:
    """Return the category of a Windows error number; None when it says too little.

    ``HRESULT`` forms (0x80070005) are taken for the number they hold.
    """
    unsigned = number & 0xFFFFFFFF
    if unsigned >> 16 == 0x8007:  # noqa: PLR2004 - HRESULT_FROM_WIN32
        unsigned &= 0xFFFF
    return next((found for found, numbers in _WINDOWS.items() if unsigned in numbers), None)


def of_os_error(number: int) -> Category | None:
    """Return the category of a number that is either: Rust prints both as "(os error N)"."""
    if sys.platform == "win32" or number >= _FIRST_WINDOWS_ONLY:
        return of_windows_error(number)
    return of_errno(number)


def of_status(status: int) -> Category | None:
    """Return the category of an HTTP status; None for what is no failure or says too little."""
    return _STATUS.get(status, Category.NETWORK if status in _SERVER_ERROR else None)


def of_signal(number: int) -> Category | None:
    """Return the category of the signal that ended a program; None for one that a person sent."""
    for (name, on_linux), category in _SIGNALS.items():
        if number == getattr(signal, name, on_linux):
            return category
    return None


def of_exit_code(code: int) -> Category | None:
    """Return the category of how a program ended; None for its own codes, such as 1 or 2.

    Args:
        code: As `subprocess` gives it (-9: ended by signal 9), as a shell gives it (137 = 128 + 9),
            or a Windows status, signed or not (3221225477 = -1073741819 = 0xC0000005).
    """
    if status := _NTSTATUS.get(code & 0xFFFFFFFF):
        return status
    if code < 0:
        return of_signal(-code)
    if code > _SIGNAL_BASE:
        return of_signal(code - _SIGNAL_BASE)
    return _SHELL.get(code)
