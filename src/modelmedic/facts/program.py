"""Why a program does not start and how it ended, in words: ELF heads, errno, signals, NTSTATUS."""

from __future__ import annotations

import errno
import signal
import struct
from collections.abc import Mapping
from pathlib import Path

from modelmedic.text import printable

_HEAD_BYTES = 256
# e_machine. Source: the System V gABI's registry, elf.h of the Linux kernel (elf-em.h).
_ELF_MACHINES: Mapping[int, str] = {
    3: "32-bit x86",
    22: "s390",
    21: "64-bit PowerPC",
    40: "32-bit ARM",
    62: "x86-64",
    183: "64-bit ARM (aarch64)",
    243: "RISC-V",
    258: "LoongArch",
}
_MAGIC: Mapping[bytes, str] = {
    b"MZ": "a Windows program",
    b"\xcf\xfa\xed\xfe": "a macOS program",
    b"\xca\xfe\xba\xbe": "a macOS program",
    b"PK\x03\x04": "a zip file",
    b"\x1f\x8b": "a gzip file",
}
_SIGNAL_WORDS: Mapping[str, str] = {
    "SIGSEGV": "it touched memory that is not its own",
    "SIGBUS": "a file it had mapped was cut short or its disk failed",
    "SIGILL": "it used an instruction that this processor does not have",
    "SIGFPE": "it divided by zero",
    "SIGABRT": "it stopped itself after an error",
    "SIGKILL": "it was killed from outside, most often for lack of memory",
    "SIGTERM": "it was asked from outside to end",
    "SIGINT": "it was interrupted",
    "SIGSYS": "a sandbox forbade what it asked of the system",
}
# Source: Microsoft's list of NTSTATUS values ([MS-ERREF] 2.3.1).
_NTSTATUS: Mapping[int, str] = {
    0xC0000005: "it touched memory that is not its own",
    0xC000001D: "it used an instruction that this processor does not have",
    0xC000007B: "32-bit and 64-bit parts are mixed",
    0xC0000135: "a DLL it needs was not found",
    0xC0000139: "a DLL it needs is of another version",
    0xC0000142: "a DLL could not be set up",
    0xC0000409: "it stopped itself after a damaged stack",
}
_FIRST_NTSTATUS = 0xC0000000
_SHELL_SIGNAL_BASE = 128  # a shell reports a child ended by signal n as 128 + n
_WIN_BAD_EXE = frozenset({193, 216})  # ERROR_BAD_EXE_FORMAT, ERROR_EXE_MACHINE_TYPE_MISMATCH
_MAC_BAD_CPU = 86  # EBADARCH, not in Python's errno on other systems


def describe(path: Path) -> str:
    """Return what kind of program a file is, from its first bytes: "a program for x86-64"."""
    try:
        with path.open("rb") as stream:
            return describe_head(stream.read(_HEAD_BYTES))
    except OSError as error:
        return f"a file that cannot be read ({error.strerror or error})"


def describe_head(head: bytes) -> str:
    """Return what kind of program begins with these bytes."""
    if not head:
        return "an empty file"
    if head.startswith(b"\x7fELF"):
        return _elf(head)
    if head.startswith(b"#!"):
        line = head[2:].split(b"\n", 1)[0].decode("utf-8", "replace").strip()
        return f"a script for {printable(line)}"
    known = next((words for magic, words in _MAGIC.items() if head.startswith(magic)), "")
    return known or f"no program (it begins with {head[:16]!r})"


def start_error_words(error: OSError) -> str:
    """Return why a program could not be started, from the system's error number."""
    if getattr(error, "winerror", None) in _WIN_BAD_EXE or error.errno == _MAC_BAD_CPU:
        return "it is made for another processor"
    if error.errno == errno.ENOEXEC:
        return "this system cannot run a file of its kind (exec format error)"
    if error.errno == errno.ENOENT:
        return "the loader or the program named in its first line does not exist"
    return printable(error.strerror or error)


def end_words(returncode: int) -> str:
    """Return how a program ended: "ended with exit code 3", "was ended by SIGSEGV: ..."."""
    if returncode < 0 or _is_shell_signal(returncode):
        number = -returncode if returncode < 0 else returncode - _SHELL_SIGNAL_BASE
        name = _signal_name(number)
        words = _SIGNAL_WORDS.get(name, "")
        return f"was ended by {name}" + (f": {words}" if words else "")
    if returncode >= _FIRST_NTSTATUS:
        words = _NTSTATUS.get(returncode, "")
        return f"was ended by Windows with 0x{returncode:X}" + (f": {words}" if words else "")
    return f"ended with exit code {returncode}"


def _elf(head: bytes) -> str:
    # e_ident[5] is the byte order; e_machine lies at offset 18 in both word sizes.
    if len(head) < 20:  # noqa: PLR2004 - the end of e_machine
        return "a program that is cut short"
    order = ">" if head[5] == 2 else "<"  # noqa: PLR2004 - ELFDATA2MSB
    (machine,) = struct.unpack_from(f"{order}H", head, 18)
    return f"a program for {_ELF_MACHINES.get(machine, f'machine type {machine}')}"


def _is_shell_signal(returncode: int) -> bool:
    name = _signal_name(returncode - _SHELL_SIGNAL_BASE)
    return returncode > _SHELL_SIGNAL_BASE and name in _SIGNAL_WORDS


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
