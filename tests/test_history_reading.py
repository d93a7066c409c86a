"""Many records are read by a process beside us, to the same rows, and in their order."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
from history_support import attempt, finding, inventory, record, written

from modelmedic import commands
from modelmedic.errors import CannotTell, ModelmedicError
from modelmedic.history import reading
from modelmedic.history.store import History


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """More files than a helper is begun for; some are no records, one has half a character."""
    folder = tmp_path_factory.mktemp("many")
    found = [finding("a", "healed", attempts=[attempt()]), finding("b", what="x\ud800y\u2028z")]
    made = [
        record(number=number, found=found, kept=inventory() if number % 2 else None)
        for number in range(80)
    ]
    files = sorted(written(folder / "in", *made).rglob("report.json"))
    for number in (3, 70):
        files[number].write_text('{"schema": 1}')
    files[5].unlink()
    return files


def plain(found):
    return [str(each) if isinstance(each, ModelmedicError) else each for each in found]


def here(paths):
    return plain(map(reading._tried, paths))


def children():
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_the_helper_reads_what_would_be_read_here(paths):
    found = plain(reading.read_all(paths))
    assert found == here(paths)
    assert [type(each) for each in found].count(str) == 3


def test_few_records_begin_no_helper(paths, monkeypatch):
    monkeypatch.setattr(commands, "begin", None)
    assert plain(reading.read_all(paths[:20])) == here(paths[:20])


def test_without_a_helper_all_is_read_here(paths, monkeypatch):
    def refuse(argv):
        raise CannotTell("No process can be started.")

    monkeypatch.setattr(commands, "begin", refuse)
    assert plain(reading.read_all(paths)) == here(paths)


@pytest.mark.parametrize("after", [0, 1, 30, 79])
def test_a_helper_that_is_killed_loses_no_record(paths, after):
    before = children()
    found = []
    for each in reading.read_all(paths):
        if len(found) == after:
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)
        found.append(each)
    assert plain(found) == here(paths)


def test_who_stops_in_the_middle_leaves_no_process(paths):
    before = children()
    reader = reading.read_all(paths)
    next(reader)
    reader.close()
    deadline = time.monotonic() + 5
    while children() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert children() <= before


def test_a_folder_of_many_is_stored_whole(paths, tmp_path):
    with History.open(tmp_path / "state") as history:
        done = history.import_paths([paths[0].parents[2]])
        # One file is not there, and so is not found.
        assert (done.stored, len(done.refused)) == (77, 2)
