"""Compiled files read without loading them: real libraries, PE files of bytes, hostile ones."""

from __future__ import annotations

import os
import platform
import random
import struct
import subprocess
import sys
from pathlib import Path

import binary_support
import pytest
from python_support import POSIX
from support import make_facts

from modelmedic.facts import binaries

libraries = binary_support.libraries


def written(folder: Path, content: bytes) -> binaries.Binary:
    path = folder / "x.bin"
    path.write_bytes(content)
    found = binaries.look_at(path)
    assert found is not None
    return found


def test_a_library_tells_its_processor_its_needs_and_the_c_library(libraries):
    found = binaries.look_at(libraries / "whole.so")
    assert found.kind == "elf"
    assert found.machine == binaries.same_machine(platform.machine())
    assert found.bits == (64 if sys.maxsize > 2**32 else 32)
    assert "libm.so.6" in found.needed
    assert binaries.version_key(found.glibc) >= (2, 0)
    assert not found.is_cut
    assert found.problem == ""


def test_a_library_of_ours_is_named_among_the_needs(libraries):
    assert "libpart.so" in binaries.look_at(libraries / "needy.so").needed


def test_every_cut_of_a_library_is_seen_and_none_crashes(libraries, tmp_path):
    content = (libraries / "whole.so").read_bytes()
    whole = written(tmp_path, content)
    assert whole.end_bytes <= len(content)
    for length in {0, 4, 15, 16, 63, 64, 200, 1000, len(content) // 2, whole.end_bytes - 1}:
        found = written(tmp_path, content[:length])
        assert found.is_cut or found.problem, length


def test_a_cut_is_seen_without_a_table_of_sections(libraries, tmp_path):
    """strip leaves none; the segments tell as well."""
    content = bytearray((libraries / "whole.so").read_bytes())
    struct.pack_into("<Q", content, 40, 0)
    struct.pack_into("<HHH", content, 58, 0, 0, 0)
    whole = written(tmp_path, bytes(content))
    assert not whole.is_cut
    assert whole.end_bytes > len(content) // 2
    assert "libm.so.6" in whole.needed
    assert written(tmp_path, bytes(content[: whole.end_bytes - 1])).is_cut


def test_a_tail_of_zeros_behind_a_whole_library_is_no_cut(libraries, tmp_path):
    content = (libraries / "whole.so").read_bytes()
    assert not written(tmp_path, content + bytes(100)).is_cut


def test_random_damage_never_crashes(libraries, tmp_path):
    """Any byte may be anything: what comes out is a value or a stated problem."""
    content = (libraries / "needy.so").read_bytes()
    dice = random.Random(5)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(dice.randint(1, 40)):
            damaged[dice.randrange(4, 4096 if dice.random() < 0.7 else len(content))] = (
                dice.randrange(256)
            )
        found = written(tmp_path, bytes(damaged))
        assert found.kind == "elf"
        assert len(found.needed) < 5000


def test_a_table_of_versions_without_end_is_left(libraries, tmp_path):
    """65,535 versions announced, each one byte behind the one before."""
    content = bytearray((libraries / "whole.so").read_bytes())
    section = _section(bytes(content), ".gnu.version_r")
    first = section + struct.unpack_from("<I", content, section + 8)[0]
    struct.pack_into("<H", content, section + 2, 0xFFFF)
    struct.pack_into("<I", content, first + 12, 1)
    found = written(tmp_path, bytes(content))
    assert found.kind == "elf"
    assert found.problem or len(found.glibc) < 10


def _section(content: bytes, name: str) -> int:
    """Return the offset of a section of a 64-bit little-endian ELF file."""
    (table,) = struct.unpack_from("<Q", content, 40)
    each, count, names = struct.unpack_from("<HHH", content, 58)
    strings = struct.unpack_from("<Q", content, table + names * each + 24)[0]
    for number in range(count):
        at = table + number * each
        text = content[strings + struct.unpack_from("<I", content, at)[0] :]
        if text.partition(b"\0")[0].decode() == name:
            return struct.unpack_from("<Q", content, at + 24)[0]
    raise AssertionError(name)


def test_the_newest_c_library_is_found_by_number_not_by_text():
    versions = ("GLIBC_2.4", "GLIBC_2.32", "GLIBC_2.9", "GLIBCXX_3.4.26", "GLIBC_PRIVATE")
    assert binaries.newest_glibc(versions) == "2.32"
    assert binaries.newest_glibc(("CXXABI_1.3",)) == ""


def test_it_agrees_with_readelf_where_that_is_there(libraries):
    try:
        done = subprocess.run(
            ["readelf", "-dW", libraries / "whole.so"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("There is no readelf.")
    listed = [line.partition("[")[2][:-1] for line in done.stdout.splitlines() if "NEEDED" in line]
    assert list(binaries.look_at(libraries / "whole.so").needed) == listed


@pytest.mark.parametrize(("machine", "name"), [(0x8664, "x86_64"), (0xAA64, "aarch64")])
def test_a_dll_tells_its_processor_and_its_needs(tmp_path, machine, name):
    content = binary_support.pe("VCRUNTIME140_1.dll", "python311.dll", machine=machine)
    found = written(tmp_path, content)
    assert (found.kind, found.machine, found.bits) == ("pe", name, 64)
    assert found.needed == ("VCRUNTIME140_1.dll", "python311.dll")
    assert not found.is_cut


def test_a_cut_dll_is_seen(tmp_path):
    content = binary_support.pe("c10.dll")
    assert written(tmp_path, content[:-1]).is_cut
    for length in (2, 0x3C, 0x41, 0x50, 0x150):
        found = written(tmp_path, content[:length])
        assert found.is_cut or found.problem, length


def test_random_damage_of_a_dll_never_crashes(tmp_path):
    content = binary_support.pe("a.dll", "b.dll")
    dice = random.Random(6)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(dice.randint(1, 20)):
            damaged[dice.randrange(2, len(content))] = dice.randrange(256)
        assert written(tmp_path, bytes(damaged)).kind == "pe"


@pytest.mark.parametrize("content", [b"", b"import os\n", b"MZ", b"\x7fELF", b"PK\x03\x04"])
def test_what_is_no_program_has_no_machine(tmp_path, content):
    found = written(tmp_path, content)
    assert found.machine == ""
    assert found.needed == ()


@POSIX
def test_a_fifo_and_a_missing_file_are_left_out(tmp_path):
    os.mkfifo(tmp_path / "x.so")
    facts = make_facts(tmp_path)
    paths = (str(tmp_path / "x.so"), str(tmp_path / "none.so"), sys.executable)
    [found] = facts.get(binaries.read_binaries, paths)
    assert found.path == sys.executable
