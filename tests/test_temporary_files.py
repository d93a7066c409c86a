# ruff: noqa: F401, F811 - fixtures are imported from temporary_support
"""Temporary files: gone at the end, on failure, when the disk is full, and after a kill."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from machine_support import needs_root, tmpfs
from temporary_support import (
    FIND_US,
    all_below,
    births,
    dead_record,
    line,
    place,
    records_in,
    state,
)

from modelmedic.errors import RecoveryRefused
from modelmedic.reliability import temporary_record
from modelmedic.reliability.temporary import TemporaryFiles, sweep
from modelmedic.reliability.temporary_record import FOLDER

CHILD = Path(__file__).parent / "temporary_kills.py"


# -- in one process --------------------------------------------------------------------------------


def test_nothing_is_written_before_something_is_registered(place, state):
    with TemporaryFiles(place, state_dir=state):
        pass
    assert not state.exists()


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_at_the_end_all_is_gone_but_what_is_kept(place, state, error):
    before = all_below(place)

    def work():
        with TemporaryFiles(place, state_dir=state) as temporary:
            part = temporary.file("models/a.part")
            part.write_bytes(b"x" * 100)
            folder = temporary.folder("work")
            (folder / "deep").mkdir()
            (folder / "deep" / "file").write_text("x")
            own = place / "own.tmp"
            own.write_text("x")
            temporary.add(own)
            kept = temporary.file("models/kept.bin")
            temporary.keep(kept)
            assert len(records_in(state)) == 1
            if error:
                raise error
            return kept

    if error:
        with pytest.raises(error):
            work()
    else:
        work()
    assert all_below(place) == before | {"models/kept.bin"}
    assert records_in(state) == []


def test_a_file_and_a_record_are_for_this_user_only(place, state):
    with TemporaryFiles(place, state_dir=state) as temporary:
        file = temporary.file("a.part")
        (record,) = records_in(state)
        assert (file.stat().st_mode & 0o777, record.stat().st_mode & 0o777) == (0o600, 0o600)


def test_nothing_is_made_over_something_or_outside_or_through_a_link(place, state, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (place / "link").symlink_to(outside)
    with TemporaryFiles(place, state_dir=state) as temporary:
        with pytest.raises(FileExistsError):
            temporary.file("precious")
        for path in ("../outside/a", str(outside / "a"), "models/../../outside/a"):
            with pytest.raises(RecoveryRefused, match="outside the install and state folder"):
                temporary.file(path)
        with pytest.raises(RecoveryRefused, match="is a link"):
            temporary.file("link/a")
        with pytest.raises(FileNotFoundError):
            temporary.add("nothing")
    assert list(outside.iterdir()) == []
    assert (place / "precious").read_text() == "of the user"


def test_a_link_in_a_temporary_folder_is_removed_and_not_followed(place, state):
    with TemporaryFiles(place, state_dir=state) as temporary:
        folder = temporary.folder("work")
        (folder / "link").symlink_to(place / "models")
        (place / "models" / "weights").write_text("x")
    assert all_below(place) == {"models", "models/weights", "precious"}


def test_another_file_under_the_name_is_let_alone_and_told_of(place, state):
    temporary = TemporaryFiles(place, state_dir=state)
    file = temporary.file("a.part")
    other = place / "other"
    other.write_text("of somebody else")
    other.rename(file)
    (left,) = temporary.close()
    assert "is another one than was registered" in left
    assert file.read_text() == "of somebody else"


def test_at_the_end_of_the_process_all_is_gone(place, state):
    before = all_below(place)
    done = subprocess.run(
        [sys.executable, CHILD, place, state, "exit"],
        env=FIND_US,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (3, [b"1"]), done.stderr
    assert all_below(place) == before | {"models/1.bin"}


def test_a_fork_removes_nothing_of_its_parent(place, state):
    with TemporaryFiles(place, state_dir=state) as temporary:
        file = temporary.file("a.part")
        temporary._pid = 1  # as in the child
        assert temporary.close() == ()
        assert file.exists()
        temporary._pid = os.getpid()


# -- after a kill ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("births")
def test_what_killed_runs_left_is_removed_by_the_next_one(place, state):
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)
    for _kill in range(8):
        process = subprocess.Popen(
            [sys.executable, CHILD, place, state, "loop"], env=FIND_US, stdout=subprocess.PIPE
        )
        with process:
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
        with TemporaryFiles(place, state_dir=state) as temporary:
            assert temporary.swept.left == ()
        names = {path for path in all_below(place) if not path.endswith(".bin")}
        assert names == {"models", "precious"}
        assert records_in(state) == []
        for path in (place / "models").glob("*.bin"):
            path.unlink()
    assert (place / "precious").read_text() == "of the user"


def test_a_living_process_keeps_its_files(place, state):
    with subprocess.Popen(
        [sys.executable, CHILD, place, state, "loop"], env=FIND_US, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.send_signal(19)  # SIGSTOP: it lives, and makes nothing new
        try:
            before = all_below(place)
            assert sweep([place], state).removed == ()
            assert all_below(place) == before
        finally:
            process.kill()


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "another.example"},
        {"machine": "another", "boot": "another"},
        {"machine": "another"},
        {"space": "pid:[1]"},
        {"pid": os.getppid()},
    ],
)
def test_what_may_belong_to_a_living_process_elsewhere_is_let_alone(place, state, changes):
    (place / "a.part").write_text("x")
    if "pid" in changes:
        changes = {**changes, "started": temporary_record.started(changes["pid"])}
    record = dead_record(state, line(place / "a.part", place), **changes)
    sweep([place], state)
    assert (place / "a.part").exists()
    assert record.exists()


@pytest.mark.usefixtures("births")
def test_a_number_given_anew_and_a_start_of_the_machine_end_a_process(place, state):
    for changes in ({"pid": os.getpid()}, {"boot": "another", "pid": os.getpid()}):
        (place / "a.part").write_text("x")
        dead_record(state, line(place / "a.part", place), **changes)
        assert sweep([place], state).removed == (f"{place}/a.part",)
        assert not (place / "a.part").exists()


def test_only_what_is_provably_the_registered_thing_is_removed(place, state, tmp_path):
    (place / "grown.part").write_text("somebody wrote here")
    (place / "empty.part").touch()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_text("x")
    (place / "way").symlink_to(outside)
    inode = line(place / "precious", place)["identity"][1] + 1
    dead_record(
        state,
        line(place / "grown.part", place, identity=None),
        line(place / "empty.part", place, identity=None),
        line(place / "precious", place, identity=[os.lstat(place).st_dev, inode, "x"]),
        {"root": str(place), "path": "way/a", "identity": [1, 2], "is_folder": False},
        {"root": str(place), "path": "../outside/a", "identity": [1, 2], "is_folder": False},
        {"root": str(place), "path": "gone", "identity": [1, 2], "is_folder": False},
    )
    swept = sweep([place], state)
    assert f"{place}/empty.part" in swept.removed
    assert not (place / "empty.part").exists()
    assert len(swept.left) == 4
    assert (outside / "a").exists()
    assert (place / "grown.part").exists()
    assert (place / "precious").exists()
    assert records_in(state) == []  # told once


@pytest.mark.usefixtures("births")
def test_files_of_another_install_wait_for_it(place, state, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.part").write_text("x")
    record = dead_record(state, line(other / "a.part", other))
    assert sweep([place], state).removed == ()
    assert record.exists()
    assert sweep([other], state).removed == (f"{other}/a.part",)
    assert not record.exists()


@pytest.mark.parametrize(
    "text", ["", "\0\0", "[]\n", '{"maker": {}}\n', '{"maker": 1}\n', "{" * 5000, '{"pid": 1}\nxx']
)
def test_a_damaged_record_removes_nothing(place, state, text):
    (state / FOLDER).mkdir(parents=True)
    (state / FOLDER / "1-dead.jsonl").write_text(text)
    assert sweep([place], state).removed == ()


def test_a_record_that_is_a_link_is_not_read(place, state, tmp_path):
    (place / "a.part").write_text("x")
    record = dead_record(state, line(place / "a.part", place))
    record.rename(tmp_path / "elsewhere")
    record.symlink_to(tmp_path / "elsewhere")
    sweep([place], state)
    assert (place / "a.part").exists()


# -- a full disk -----------------------------------------------------------------------------------


@needs_root
@pytest.mark.once
def test_on_a_full_disk_what_was_made_is_removed_and_nothing_more_is_made():
    with tmpfs("size=1m") as small:
        install, state = small / "install", small / "state"
        install.mkdir()

        def fill(path):
            with path.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 512)

        with (
            pytest.raises(OSError, match="No space"),
            TemporaryFiles(install, state_dir=state) as it,
        ):
            fill(it.file("a.part"))
        assert all_below(install) == set()
        assert records_in(state) == []
        with pytest.raises(OSError, match="No space"):
            fill(install / "filler")
        with (
            pytest.raises(OSError, match="No space"),
            TemporaryFiles(install, state_dir=state) as it,
        ):
            it.file("b.part")
        assert all_below(install) == {"filler"}
