"""An archive from a stranger is read in memory, within bounds, or refused in words."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
import tracemalloc
import zipfile
import zlib

import pytest
from bundle_support import raw_zip, zip_of

from modelmedic.bundle.archive import MOST_FILE_BYTES, Archive
from modelmedic.errors import CannotTell

pytestmark = pytest.mark.once  # struct and zlib are the same on every Python


def plain(name=b"a.txt", data=b"hello", **values):
    return {"name": name, "data": data, **values}


def test_an_ordinary_archive_is_read():
    data = zip_of(("a.txt", b"hello"), ("logs/b.json", b"{}" * 5000), ("empty", b""))
    archive = Archive(data, "x.zip")
    assert list(archive.entries) == ["a.txt", "logs/b.json", "empty"]
    assert archive.read("a.txt") == b"hello"
    assert archive.read("logs/b.json") == b"{}" * 5000
    assert archive.read("empty") == b""


def test_an_archive_that_another_program_packed_again_is_read():
    """Written to a pipe: sizes follow the bytes (data descriptors), and there is a folder."""

    class Pipe(io.RawIOBase):
        data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("logs/", b"")
        archive.writestr("logs/a.txt", b"hello" * 100)
        archive.writestr("b.txt", b"b")
    read = Archive(pipe.data, "x.zip")
    assert read.read("logs/a.txt") == b"hello" * 100
    assert read.entries["logs/"].is_folder


NAMES = {
    "absolute": b"/etc/passwd",
    "drive": b"C:/windows/x",
    "parent": b"../x",
    "parent inside": b"logs/../../x",
    "backslash": b"..\\x",
    "empty part": b"logs//x",
    "empty": b"",
    "hidden": b".bashrc",
    "ansi": b"a\x1b[31m.txt",
    "newline": b"a\nb",
    "nul": b"a\x00.txt",
    "right to left": "a\u202etxt.exe".encode(),
    "no utf-8": b"a\xff",
    "stream": b"a.txt:evil",
    "deep": b"a/b/c/d/e",
    "long": b"a" * 300,
    "space at the end": b"a.txt ",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_no_bundle_has_is_refused_and_shown_printable(name):
    with pytest.raises(CannotTell, match="as no file of a bundle is") as caught:
        Archive(raw_zip(plain(name)), "x.zip")
    assert str(caught.value).isprintable()


BOMB = b"\0" * 10_000_000
LINK = (stat.S_IFLNK | 0o777) << 16
TRICKS = {
    "two of one name": (raw_zip(plain(), plain(data=b"other")), "two members are called"),
    "symlink": (raw_zip(plain(data=b"/etc/passwd", attributes=LINK)), "a link or a device"),
    "device": (raw_zip(plain(attributes=(stat.S_IFCHR | 0o666) << 16)), "a link or a device"),
    "encrypted": (raw_zip(plain(flags=1)), "encrypted"),
    "strongly encrypted": (raw_zip(plain(flags=0x41)), "encrypted"),
    "masked directory": (raw_zip(plain(flags=0x2000)), "encrypted"),
    "method": (raw_zip(plain(method=14)), "packed by method 14"),
    "bomb": (raw_zip(plain(data=BOMB, method=8)), "more than 200 times its bytes"),
    "many": (raw_zip(*(plain(f"f{n}".encode()) for n in range(501))), "501 members"),
    "large": (raw_zip(plain(size=17 << 20, packed=17 << 20)), "17.0 MiB unpacked"),
    "large in all": (
        raw_zip(*(plain(f"f{n}".encode(), size=15 << 20, packed=1 << 20, method=8)
                  for n in range(5))),
        "75.0 MiB unpacked",
    ),
    "stored with two sizes": (raw_zip(plain(size=4)), "two sizes"),
    "another name inside": (raw_zip(plain(local_name=b"b.txt")), "two headers that differ"),
    "another method inside": (raw_zip(plain(local_method=8)), "two headers that differ"),
    "another size inside": (raw_zip(plain(local_size=6)), "two headers that differ"),
    "overlapping": (raw_zip(plain(), plain(b"b.txt", offset=0)), "overlaps|headers that differ"),
    "the same bytes twice": (
        raw_zip(plain(), plain(local_name=b"a.txt", name=b"a.txt2", offset=0)),
        "overlaps|headers that differ",
    ),
    "bytes before the first": (raw_zip(plain(offset=10_000)), "bytes lie before it"),
    "inside the directory": (raw_zip(plain(packed=60, size=60)), "headers|between|cut"),
    "zip64 size": (raw_zip(plain(size=0xFFFFFFFF)), "zip64"),
    "zip64 offset": (raw_zip(plain(offset=0xFFFFFFFF)), "zip64"),
    "comment": (zip_of(("a", b"a"))[:-2] + b"\x05\x00hello", "no ZIP file"),
    "bytes before": (b"MZ" + zip_of(("a", b"a")), "does not lie where"),
    "cut short": (zip_of(("a", b"a" * 100))[:-30], "no ZIP file"),
    "empty": (b"", "no ZIP file"),
    "text": (b"hello" * 100, "no ZIP file"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "words"), TRICKS.values(), ids=TRICKS)
def test_a_trick_is_refused_before_anything_is_unpacked(data, words):
    with pytest.raises(CannotTell, match=words):
        Archive(data, "x.zip")


def moved(data: bytes, by: int, fill: bytes) -> bytes:
    """Put bytes between the members and the directory, which says so truly."""
    start = struct.unpack_from("<L", data, len(data) - 6)[0]
    end = data[:-6] + struct.pack("<LH", start + by, 0)
    return end[:start] + fill + end[start:]


def test_bytes_that_belong_to_no_member_are_refused():
    with pytest.raises(CannotTell, match="bytes lie between"):
        Archive(moved(zip_of(("a", b"a")), 4, b"evil"), "x.zip")
    shifted = raw_zip(plain(offset=0), plain(b"b.txt", offset=0))
    with pytest.raises(CannotTell):
        Archive(shifted, "x.zip")


def test_the_end_of_a_zip64_archive_is_refused():
    data = zip_of(("a", b"a"))
    locator = b"PK\x06\x07" + b"\0" * 16
    place = len(data) - 22
    with pytest.raises(CannotTell, match="zip64"):
        Archive(data[:place] + locator + data[place:], "x.zip")


def test_a_part_of_several_is_refused():
    data = bytearray(zip_of(("a", b"a")))
    struct.pack_into("<H", data, len(data) - 18, 1)
    with pytest.raises(CannotTell, match="part of several"):
        Archive(bytes(data), "x.zip")


LIES = {
    "wrong checksum": (plain(crc=1), "its checksum differs"),
    "longer than said": (plain(data=b"x" * 100, method=8, size=50), "another size"),
    "shorter than said": (plain(data=b"x" * 100, method=8, size=150), "another size"),
    "no deflate": (plain(data=b"x" * 100, method=8, raw=b"\xff" * 80), "is damaged"),
    "bytes behind": (plain(data=b"x" * 9, method=8, raw=b"KL\x82\x02\0evil"), "another size|damag"),
    "stops early": (plain(data=b"xyz" * 500, method=8, raw=b"\xab"), "another size"),
}


@pytest.mark.parametrize(("entry", "words"), LIES.values(), ids=LIES)
def test_a_member_that_is_not_what_the_directory_says_is_refused(entry, words):
    archive = Archive(raw_zip(entry), "x.zip")
    with pytest.raises(CannotTell, match=words):
        archive.read("a.txt")


def test_a_bomb_that_lies_about_its_size_takes_no_more_memory_than_it_said():
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    raw = packer.compress(b"\0" * 100_000_000) + packer.flush()
    archive = Archive(raw_zip(plain(data=b"", size=60_000, method=8, raw=raw)), "x.zip")
    tracemalloc.start()
    with pytest.raises(CannotTell, match="another size"):
        archive.read("a.txt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_an_archive_in_an_archive_is_bytes_and_nothing_else():
    inner = zip_of(("bomb", b"\0" * 1000))
    assert Archive(zip_of(("inner.zip", inner)), "x.zip").read("inner.zip") == inner


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    with pytest.raises(CannotTell, match=r"no regular file|cannot be read"):
        Archive.open(tmp_path)
    with pytest.raises(CannotTell, match="cannot be read"):
        Archive.open(tmp_path / "none.zip")
    with pytest.raises(CannotTell, match="cannot be read"):
        Archive.open(tmp_path / "a\0b")
    huge = tmp_path / "huge.zip"
    with huge.open("wb") as stream:
        stream.truncate(MOST_FILE_BYTES + 1)
    with pytest.raises(CannotTell, match=r"has more than 32\.0 MiB"):
        Archive.open(huge)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CannotTell, match="no regular file"):
        Archive.open(tmp_path / "pipe")


def test_any_damage_is_refused_in_words_or_read_unchanged():
    """3,000 archives with bytes changed, cut out or put in; the seed is printed."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - what failed can be had again
    chance = random.Random(seed)
    members = (("manifest.json", b'{"a": 1}' * 20), ("logs/x.jsonl", b"line\n" * 30), ("e", b""))
    good = zip_of(*members)
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data))
            what = chance.randrange(3)
            if what == 0:
                data[at] = chance.randrange(256)
            elif what == 1:
                del data[at : at + chance.randint(1, 20)]
            else:
                data[at:at] = chance.randbytes(chance.randint(1, 20))
        try:
            archive = Archive(bytes(data), "x.zip")
            read = {name: archive.read(name) for name in archive.entries}
        except CannotTell:
            continue
        assert list(read.values()) == [content for _name, content in members]
