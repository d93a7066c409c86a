"""Following logs: growth, cuts, rotations, replacements, endless lines, pipes; bounded memory."""

from __future__ import annotations

import os
import sys
import threading
import tracemalloc

import pytest

from modelmedic.monitor import log_tail
from modelmedic.monitor.log_tail import LogTail

pytestmark = pytest.mark.once
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["held open", "let go after each look"], autouse=True)
def how(request, monkeypatch):
    """Both ways to follow a file: that of Linux and macOS, and that of Windows."""
    monkeypatch.setattr(log_tail, "_HOLDS_OPEN", request.param == "held open")
    return request.param


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "app.log"
    path.write_text("old\n")
    return path


def append(path, text):
    with path.open("ab") as stream:
        stream.write(text if isinstance(text, bytes) else text.encode())


def texts(tail):
    return [line.text for line in tail.read()]


def test_what_is_there_is_passed_over_and_what_comes_is_read_once(log, clock):
    tail = LogTail(log, clock=clock)
    assert texts(tail) == []
    append(log, "one\ntwo\n")
    (one, two) = tail.read()
    assert (one.text, one.path, one.at, one.is_clipped) == ("one", str(log), 1000.0, False)
    assert two.text == "two"
    assert texts(tail) == []
    tail.close()


def test_from_the_start_all_of_it_is_read(log):
    assert texts(LogTail(log, from_start=True)) == ["old"]


def test_a_partial_line_is_whole_when_its_end_comes_or_nothing_more_for_a_while(log, clock):
    tail = LogTail(log, clock=clock)
    append(log, "begin")
    assert texts(tail) == []
    append(log, "ning\nrest")
    assert texts(tail) == ["beginning"]
    clock.now += 4
    assert texts(tail) == []
    clock.now += 2
    assert texts(tail) == ["rest"]
    append(log, "\nnext\n")
    assert texts(tail) == ["next"]


def test_a_cut_file_is_read_from_its_beginning(log):
    tail = LogTail(log)
    append(log, "a long line before the cut\n")
    texts(tail)
    log.write_text("new\n")
    assert texts(tail) == ["new"]


def test_a_cut_file_that_has_grown_past_the_place_is_noticed_too(log):
    tail = LogTail(log)
    append(log, "before\n")
    texts(tail)
    log.write_text("something else that is longer\nthan before\n")
    assert texts(tail) == ["something else that is longer", "than before"]


def test_a_rotated_file_gives_its_last_lines_where_it_is_held_open_then_the_new_one(log, how):
    tail = LogTail(log)
    append(log, "before\n")
    assert texts(tail) == ["before"]
    append(log, "last\n")
    log.rename(log.with_suffix(".1"))
    log.write_text("first of the new\n")
    last = ["last"] if how == "held open" else []
    assert texts(tail) == [*last, "first of the new"]
    append(log, "second\n")
    assert texts(tail) == ["second"]


def test_a_replaced_file_is_read_from_its_beginning(log, tmp_path):
    tail = LogTail(log)
    other = tmp_path / "other"
    other.write_text("other\n")
    other.replace(log)
    assert texts(tail) == ["other"]


def test_a_deleted_file_is_let_go_and_read_when_it_comes_again(log):
    tail = LogTail(log)
    log.unlink()
    assert texts(tail) == []
    assert tail.trouble == "it cannot be looked at: No such file or directory"
    assert tail._handle is None
    log.write_text("again\n")
    assert texts(tail) == ["again"]
    assert tail.trouble == ""


def test_a_file_that_appears_later_is_read_from_its_beginning(tmp_path):
    tail = LogTail(tmp_path / "later.log")
    assert texts(tail) == []
    (tmp_path / "later.log").write_text("first\n")
    assert texts(tail) == ["first"]


@on_posix
def test_a_link_that_is_turned_to_another_file_is_followed(tmp_path):
    (tmp_path / "1").write_text("")
    (tmp_path / "2").write_text("of the second\n")
    link = tmp_path / "current"
    link.symlink_to("1")
    tail = LogTail(link)
    append(tmp_path / "1", "of the first\n")
    assert texts(tail) == ["of the first"]
    link.unlink()
    link.symlink_to("2")
    assert texts(tail) == ["of the second"]


def test_a_huge_file_begins_at_its_end_and_what_comes_too_fast_is_skipped_and_counted(log):
    with log.open("ab") as stream:
        stream.truncate(1 << 40)  # a sparse terabyte
    tail = LogTail(log)
    append(log, "\nnew\n")
    assert texts(tail) == ["new"]
    with log.open("ab") as stream:
        for number in range(4000):
            stream.write(b"%08d" % number + b"x" * 4096 + b"\n")
    lines = tail.read()
    assert tail.skipped_bytes > log_tail.MOST_BEHIND_BYTES
    assert lines[0].is_clipped  # the end of a line
    while more := tail.read():
        lines += more
    assert lines[-1].text.startswith("00003999")


def test_a_line_of_ten_megabytes_is_clipped_and_takes_no_memory(log):
    tail = LogTail(log)
    tracemalloc.start()
    found = []
    piece = b"x" * (1 << 20)
    for _ in range(10):
        append(log, piece)
        for _look in range(4):
            found += tail.read()
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 << 20  # the megabyte that this test writes among them
    append(log, b"\nnext\n")
    while not found or found[-1].text != "next":
        found += tail.read()
    (long, _next) = found
    assert long.is_clipped
    assert long.text == "x" * log_tail.MOST_LINE_BYTES


def test_bytes_that_are_no_text_are_replaced_and_utf_16_is_readable(log):
    tail = LogTail(log)
    append(log, b"\xff\xfe\x80 broken\n")
    append(log, "ERROR: full\r\n".encode("utf-16-le"))
    first, second = texts(tail)
    assert first.endswith(" broken")
    assert second == "ERROR: full"


def test_a_progress_bar_is_lines_of_its_own(log):
    tail = LogTail(log)
    append(log, "10%\r20%\r30%\r\nERROR\r\n\n\n")
    assert texts(tail) == ["10%", "20%", "30%", "ERROR"]


def test_one_look_returns_a_bounded_number_of_lines_and_none_is_lost(log):
    tail = LogTail(log)
    append(log, "".join(f"{number}\n" for number in range(30_000)))
    found, looks = [], 0
    while lines := texts(tail):
        assert len(lines) <= log_tail.LINES_IN_ONE_LOOK + log_tail._READ_BYTES
        found += lines
        looks += 1
    assert found == [str(number) for number in range(30_000)]
    assert looks > 1


@on_posix
def test_pipes_devices_and_folders_are_refused_without_waiting(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null", tmp_path):
        tail = LogTail(path)
        assert texts(tail) == []
        assert tail.trouble == "it is no regular file"
    path = tmp_path / "app.log"
    path.write_text("")
    tail = LogTail(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(log_tail.os, "open", None)  # it is not even opened
    assert texts(tail) == []
    assert tail.trouble == "it is no regular file"


@pytest.mark.parametrize("name", ["no\0path", "x" * 5000, "", "missing/folder/app.log"])
def test_names_that_are_no_files_are_troubles_not_errors(name):
    tail = LogTail(name)
    assert texts(tail) == []
    assert tail.trouble.startswith("it cannot be looked at")


@on_posix
def test_a_file_that_may_not_be_read_is_said(log):
    log.chmod(0)
    tail = LogTail(log)
    append_later = texts(tail)
    assert append_later == []
    if os.getuid() != 0:
        assert tail.trouble.startswith("it cannot be opened")


def test_nothing_is_lost_while_a_thread_writes_and_rotates(tmp_path):
    """Where it is held open: the other way loses what comes between a look and a rotation."""
    path = tmp_path / "app.log"
    path.write_text("")
    tail = LogTail(path)
    total, found = 3000, []

    def write():
        for start in range(0, total, 300):
            with path.open("a") as stream:
                for number in range(start, start + 300):
                    stream.write(f"{number}\n")
                    stream.flush()
            if start % 1500 == 0:
                path.rename(path.with_suffix(f".{start}"))
                path.write_text("")
                for _ in range(2):  # one rotation between two looks is what can be followed
                    looked.clear()
                    looked.wait(30)

    looked = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        found += texts(tail)
        looked.set()
    writer.join()
    found += texts(tail)
    assert len(set(found)) == len(found)
    if log_tail._HOLDS_OPEN:
        assert [int(text) for text in found] == list(range(total))
