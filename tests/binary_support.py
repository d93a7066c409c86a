"""Real compiled files: libraries made by this machine's compiler, and PE files made of bytes."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS_REQUIRED = "MODELMEDIC_TOOLS_REQUIRED"
SUFFIX = ".so"
# An extension module without Python's headers: what is missing is found when it is loaded.
EXTENSION = """
extern void *{symbol}(void);
__attribute__((visibility("default"))) void *PyInit_{name}(void) {{ return {symbol}(); }}
"""


def compiler() -> str:
    """Return the C compiler; skip without one, unless the tools are required."""
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None or sys.platform != "linux":
        if os.environ.get(TOOLS_REQUIRED) and sys.platform == "linux":
            pytest.fail("There is no C compiler, and the tools are required.")
        pytest.skip("Needs a C compiler on Linux.")
    return found


def compile_library(target: Path, source: str, *options: str) -> Path:
    """Compile a shared library from C."""
    text = target.with_suffix(".c")
    text.write_text(source, encoding="utf-8")
    command = [compiler(), "-shared", "-fPIC", "-O1", "-o", str(target), str(text), *options]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    text.unlink()
    return target


@pytest.fixture(scope="session")
def libraries(tmp_path_factory) -> Path:
    """A folder of real libraries; no test writes into it."""
    folder = tmp_path_factory.mktemp("libraries")
    compile_library(folder / "libpart.so", "int part(void) { return 7; }")
    math = "#include <math.h>\ndouble f(double x) { return pow(x, 2.5) + exp(x); }"
    compile_library(folder / "whole.so", math, "-lm")
    broken = EXTENSION.format(name="broken", symbol="_ZN3c106detail14torchCheckFailEv")
    compile_library(folder / "broken.so", broken)
    needy = EXTENSION.format(name="needy", symbol="part")
    options = (f"-L{folder}", "-lpart", "-Wl,-soname,needy.so")
    compile_library(folder / "needy.so", needy, *options)
    return folder


def pe(*dlls: str, machine: int = 0x8664, section_bytes: int = 512) -> bytes:
    """Return a small DLL for Windows: headers and one section that imports other DLLs."""
    address, raw = 0x1000, 0x200
    table = 20 * (len(dlls) + 1)
    names, at = b"", address + table
    rows = b""
    for dll in dlls:
        rows += struct.pack("<IIIII", 0, 0, 0, at + len(names), 0)
        names += dll.encode() + b"\0"
    section = (rows + bytes(20) + names).ljust(section_bytes, b"\0")
    optional = struct.pack("<H", 0x20B).ljust(108, b"\0") + struct.pack("<I", 16)
    optional += struct.pack("<IIII", 0, 0, address if dlls else 0, table) + bytes(112)
    coff = struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, len(optional), 0x2022)
    header = struct.pack("<8sIIII", b".idata", section_bytes, address, section_bytes, raw)
    start = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    head = start + b"PE\0\0" + coff + optional + header.ljust(40, b"\0")
    return head.ljust(raw, b"\0") + section
