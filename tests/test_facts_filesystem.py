"""The scratch folder and what is tried in it, on real file systems."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from machine_support import as_nobody, names_in, needs_root, open_folder, tmpfs
from support import CHECKOUT, PYTHON, child_env, make_facts

from modelmedic.errors import CannotTell
from modelmedic.facts import disk, filesystem
from modelmedic.facts.filesystem import Trial
from modelmedic.facts.scratch import Room

TRIALS = ("create", "write", "rename", "lock", "symlink", "long_path", "large_file", "execute")


def try_in(folder):
    facts = make_facts(folder)
    return facts.get(filesystem.read_scratch, folder)


def test_everything_works_on_an_ordinary_disk_and_nothing_stays(tmp_path):
    (tmp_path / "kept").write_text("mine")
    scratch = try_in(tmp_path)
    failed = {name: getattr(scratch, name) for name in TRIALS if not getattr(scratch, name).works}
    assert failed == {}
    assert scratch.leftover == ""
    assert abs(scratch.clock_ahead_seconds) < 1
    assert names_in(tmp_path) == ["kept"]


@pytest.mark.parametrize("is_held", [True, False], ids=["held folder", "joined paths"])
def test_both_ways_of_reaching_into_the_folder_do_the_same(tmp_path, is_held):
    volume = make_facts(tmp_path).get(disk.read_volume, tmp_path)
    scratch = filesystem.try_in(Room(tmp_path, "scratch", is_held=is_held), volume)
    assert all(getattr(scratch, name).works for name in TRIALS)
    assert names_in(tmp_path) == []


def test_the_large_file_takes_no_space_and_is_gone_at_once(tmp_path, monkeypatch):
    seen = {}
    real = os.unlink

    def unlink(path, **how):
        if str(path).endswith("large"):
            info = os.stat(path, **how)  # noqa: PTH116 - relative to a descriptor
            seen.update(size=info.st_size, taken=info.st_blocks * 512)
        real(path, **how)

    monkeypatch.setattr(os, "unlink", unlink)
    assert try_in(tmp_path).large_file.works
    assert seen["size"] == filesystem.LARGE_FILE_BYTES
    assert seen["taken"] < 1 << 20


@pytest.mark.parametrize(
    ("fs_type", "works"), [("vfat", False), ("exfat", True), ("fuse.s3fs", None)]
)
def test_a_file_system_without_holes_is_judged_by_its_rule_and_never_filled(
    tmp_path, fs_type, works
):
    room = Room(tmp_path, "scratch")
    room.make()
    trial = filesystem._large_file(room, fs_type)
    assert trial.works is works
    assert names_in(room.path) == []
    room.remove()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE])
def test_what_a_full_disk_or_process_hides_is_not_held_against_the_file_system(
    tmp_path, monkeypatch, code
):
    def fail(*_given, **_named):
        raise OSError(code, os.strerror(code))

    facts = make_facts(tmp_path)
    volume = facts.get(disk.read_volume, tmp_path)
    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr(os, "symlink", fail)
    scratch = filesystem.try_in(Room(tmp_path, "scratch"), volume)
    assert (scratch.rename.works, scratch.rename.error) == (None, os.strerror(code))
    assert scratch.symlink.works is None
    assert scratch.lock.works


@pytest.mark.parametrize(("times", "leftover"), [(3, ""), (1000, os.strerror(errno.EMFILE))])
def test_a_scratch_folder_goes_when_descriptors_are_free_again(
    tmp_path, monkeypatch, times, leftover
):
    room = Room(tmp_path, "scratch")
    room.make()
    room.write("a", b"a")
    real, left = os.scandir, [times]

    def scarce(*given):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scarce)
        assert room.remove() == leftover
    assert room.path.exists() == bool(leftover)
    assert room.remove() == ""  # as at exit
    assert not room.path.exists()


def test_an_existing_scratch_folder_is_never_entered(tmp_path, monkeypatch):
    monkeypatch.setattr("modelmedic.facts.scratch._OTHER_WORKER_SECONDS", 0.1)
    facts = make_facts(tmp_path)
    theirs = tmp_path / facts.context.scratch_name
    theirs.mkdir()
    (theirs / "written").write_text("theirs")
    with pytest.raises(CannotTell, match="there already"):
        facts.get(filesystem.read_scratch, tmp_path)
    assert (theirs / "written").read_text() == "theirs"


def test_a_link_in_place_of_the_scratch_folder_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("modelmedic.facts.scratch._OTHER_WORKER_SECONDS", 0.1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = tmp_path / "place"
    place.mkdir()
    facts = make_facts(place)
    (place / facts.context.scratch_name).symlink_to(elsewhere)
    with pytest.raises(CannotTell):
        facts.get(filesystem.read_scratch, place)
    assert names_in(elsewhere) == []


def test_a_sibling_worker_of_the_same_run_is_waited_for(tmp_path):
    facts = make_facts(tmp_path)
    theirs = tmp_path / facts.context.scratch_name
    theirs.mkdir()
    timer = threading.Timer(0.3, theirs.rmdir)
    timer.start()
    assert facts.get(filesystem.read_scratch, tmp_path).create.works
    timer.join()


def test_a_file_instead_of_a_folder_cannot_be_tried(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotTell, match="not a folder"):
        try_in(tmp_path / "file")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_scratch_folder_goes_when_a_trial_blows_up(tmp_path, monkeypatch, error):
    def burst(room):
        raise error

    monkeypatch.setattr(filesystem, "_symlink", burst)
    volume = make_facts(tmp_path).get(disk.read_volume, tmp_path)
    with pytest.raises(error):
        filesystem.try_in(Room(tmp_path, "scratch"), volume)
    assert names_in(tmp_path) == []


def test_the_scratch_folder_goes_when_the_run_ends_in_the_middle(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from support import make_facts
        from modelmedic.facts import filesystem
        place = Path(sys.argv[1])
        filesystem._symlink = lambda room: time.sleep(60)
        make_facts(place).start(filesystem.read_scratch, place)
        while not list(place.glob("*/written")):
            time.sleep(0.01)
        raise KeyboardInterrupt
    """)
    path = os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT / "tests")])
    done = subprocess.run(
        [PYTHON, "-c", program, str(place)],
        env=child_env(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "KeyboardInterrupt" in done.stderr
    assert names_in(place) == []


def test_a_step_after_the_removal_writes_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "place"
    place.mkdir()
    room = Room(place, "scratch")
    room.make()
    room._delete()
    with pytest.raises(FileNotFoundError):
        room.write("written", b"late")
    room.remove()
    assert names_in(tmp_path) == ["place"]
    assert names_in(place) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's descriptors")
def test_descriptors_are_given_back(tmp_path):
    try_in(tmp_path)
    before = len(names_in("/proc/self/fd"))
    volume = make_facts(tmp_path).get(disk.read_volume, tmp_path)
    for _ in range(5):
        filesystem.try_in(Room(tmp_path, "scratch"), volume)
    assert len(names_in("/proc/self/fd")) == before


@needs_root
def test_a_read_only_file_system_is_recorded():
    with tmpfs("size=1m") as folder:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        scratch = try_in(folder)
    assert scratch.create.is_read_only
    assert scratch.rename.works is None


@needs_root
def test_a_folder_of_another_user_is_recorded():
    with open_folder() as folder, as_nobody():
        scratch = try_in(folder)
    assert scratch.create.is_denied
    assert scratch.create.errno == errno.EACCES


@needs_root
def test_a_folder_that_may_be_written_but_not_listed_can_be_tried():
    with open_folder() as folder:
        folder.chmod(0o733)
        with as_nobody():
            scratch = try_in(folder)
        assert scratch.write.works
        assert names_in(folder) == []


@needs_root
def test_noexec_is_found_by_running_a_script():
    with tmpfs("size=1m,noexec") as folder:
        facts = make_facts(folder)
        scratch = facts.get(filesystem.read_scratch, folder)
        volume = facts.get(disk.read_volume, folder)
    assert scratch.execute == Trial(
        works=False, error=os.strerror(errno.EACCES), errno=errno.EACCES
    )
    assert volume.is_noexec


@needs_root
def test_a_full_disk_is_told_from_a_missing_permission():
    with tmpfs("size=64k") as folder:
        (folder / "fill").write_bytes(b"\0" * (64 << 10))
        scratch = try_in(folder)
        assert names_in(folder) == ["fill"]
    trial = scratch.create if scratch.create.works is False else scratch.write
    assert trial.is_full
    assert not trial.is_denied
    assert scratch.rename.works is None


@needs_root
def test_a_disk_without_inodes_is_told_as_full():
    with tmpfs("size=1m,nr_inodes=2") as folder:
        (folder / "last").write_text("")
        scratch = try_in(folder)
    assert scratch.create.is_full


def test_a_lock_that_keeps_nobody_out_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "_lock_now", lambda fd: None)
    trial = try_in(tmp_path).lock
    assert trial.works is False
    assert "second process" in trial.error


def test_a_lock_that_only_keeps_out_other_processes_works_as_on_nfs(tmp_path, monkeypatch):
    real = filesystem._lock_now
    locked = []

    def like_nfs(fd):
        if not locked:
            locked.append(fd)
            real(fd)

    monkeypatch.setattr(filesystem, "_lock_now", like_nfs)
    assert try_in(tmp_path).lock.works


def test_a_file_system_that_refuses_links_and_locks_is_recorded(tmp_path, monkeypatch):
    def refuse(*args, **how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filesystem, "_lock_now", refuse)
    monkeypatch.setattr(os, "symlink", refuse)
    scratch = try_in(tmp_path)
    assert (scratch.lock.works, scratch.lock.errno) == (False, errno.ENOLCK)
    assert scratch.symlink.works is False
    assert scratch.rename.works


def test_a_script_that_hangs_leaves_the_answer_open(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "_CHILD_SECONDS", 0.3)
    room = Room(tmp_path, "scratch")
    room.make()
    room.write("slow.sh", b"#!/bin/sh\nsleep 60\n")
    started = time.monotonic()
    with pytest.raises(CannotTell, match="did not answer"):
        filesystem._run_script(room.path / "slow.sh")
    assert time.monotonic() - started < 30
    room.remove()


def test_each_distinct_file_system_is_tried_once(tmp_path):
    facts = make_facts(tmp_path)
    assert len(facts.get(filesystem.read_weight_scratches)) == 1
    assert names_in(tmp_path) == []


def test_a_missing_temporary_folder_is_not_blamed_on_the_folder_that_is_tried(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    scratch = try_in(tmp_path)
    assert scratch.execute.works is None
    assert "temporary file" in scratch.execute.error
    assert scratch.rename.works
