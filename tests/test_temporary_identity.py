# ruff: noqa: F401, F811 - fixtures are imported from temporary_support
"""Temporary files of killed runs: whose they are, when names, numbers and moments coincide."""

from __future__ import annotations

import errno
import json
import os
import select
import sys
from pathlib import Path

import pytest
from machine_support import needs_root, tmpfs
from temporary_support import all_below, births, child, dead_record, line, place, records_in, state

from modelmedic import machine_id as machine
from modelmedic.machine_id import machine_id
from modelmedic.reliability import temporary, temporary_lock, temporary_record
from modelmedic.reliability.temporary import Swept, TemporaryFiles, sweep
from modelmedic.reliability.temporary_tree import TemporaryTree

IS_REFUSED = """
import sys
from pathlib import Path
from modelmedic.reliability.temporary import TemporaryFiles
temporary = TemporaryFiles(Path(sys.argv[1]), state_dir=Path(sys.argv[2]))
for register in (temporary.file, temporary.folder):
    try:
        register(f"sub/{register.__name__}")
    except FileNotFoundError:
        pass
print("refused", flush=True)
sys.stdin.readline()
"""


def test_what_a_killed_run_was_refused_is_not_its_own(place, state):
    with child(IS_REFUSED, place, state):
        (place / "sub/folder").mkdir(parents=True)
        (place / "sub/file").touch()
    assert len(records_in(state)) == 1
    assert sweep([place], state) == Swept()
    assert {"sub/folder", "sub/file"} <= all_below(place)
    assert records_in(state) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize(("kind", "maker"), [("file", "make_file"), ("folder", "make_folder")])
def test_what_was_made_before_an_interruption_is_removed(
    place, state, monkeypatch, kind, maker, error
):
    make = getattr(TemporaryTree, maker)

    def interrupted(*args, **options):
        make(*args, **options)
        raise error

    monkeypatch.setattr(TemporaryTree, maker, interrupted)
    with TemporaryFiles(place, state_dir=state) as it:
        with pytest.raises(error):
            getattr(it, kind)("new")
        assert (place / "new").exists()
    assert all_below(place) == {"models", "precious"}
    assert records_in(state) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, PermissionError])
def test_what_an_interruption_kept_from_being_made_is_taken_back(place, state, monkeypatch, error):
    def interrupted(*_, **__):
        raise error

    monkeypatch.setattr(TemporaryTree, "make_folder", interrupted)
    with TemporaryFiles(place, state_dir=state) as it:
        with pytest.raises(error):
            it.folder("new")
        (place / "new").mkdir()
        ((_, _, entries),) = temporary_record.records(state)
        assert entries == []
    assert (place / "new").exists()


# -- another one under the same number --------------------------------------------------------------


def made_under_the_number(path, make, inode):
    """Make something at ``path`` that has the number of what was deleted there."""
    others = []
    for number in range(500):
        make(path)
        if os.lstat(path).st_ino == inode:
            return
        others.append(path.rename(path.parent / f"other-{number}"))
    pytest.skip("this file system did not give the number of a deleted file anew")


@pytest.mark.usefixtures("births")
@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_what_another_program_made_under_the_same_number_is_let_alone(place, state, make):
    path = place / "x.part"
    make(path)
    record = dead_record(state, line(path, place))
    inode = os.lstat(path).st_ino
    path.rmdir() if path.is_dir() else path.unlink()
    made_under_the_number(path, make, inode)
    data = path / "data" if path.is_dir() else path
    data.write_text("of somebody else")
    swept = sweep([place], state)
    assert data.read_text() == "of somebody else"
    assert "under a number that was given anew" in swept.left[0]
    assert not record.exists()


@pytest.mark.parametrize("parts", [[], [""]])
@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_where_nothing_tells_the_registered_one_it_is_let_alone(place, state, make, parts):
    path = place / "x.part"
    make(path)
    mark = TemporaryTree(place).mark("x.part")
    dead_record(state, line(path, place, identity=[mark.device, mark.inode, *parts]))
    (left,) = sweep([place], state).left
    assert path.exists()
    assert "nothing tells whether it is the registered one" in left


@needs_root
@pytest.mark.once
def test_without_generations_a_run_removes_its_own_and_nothing_of_killed_ones():
    with tmpfs("size=1m") as small:
        install, state = small / "install", small / "state"
        install.mkdir()
        (install / "a.part").write_text("x")
        dead_record(state, line(install / "a.part", install))
        with TemporaryFiles(install, state_dir=state) as it:
            it.file("b.part").write_text("x")
            (it.folder("work") / "c").write_text("x")
            assert "nothing tells" in it.swept.left[0]
        assert all_below(install) == {"a.part"}
        assert records_in(state) == []


# -- two at once -----------------------------------------------------------------------------------

SWEEPS_AND_MAKES = """
import sys
from pathlib import Path
from modelmedic.reliability.temporary import TemporaryFiles
print("ready", flush=True)
sys.stdin.readline()
with TemporaryFiles(Path(sys.argv[1]), state_dir=Path(sys.argv[2])) as temporary:
    temporary.file("x.part").write_text("of a living process")
    print("made", flush=True)
    sys.stdin.readline()
"""
HOLDS = """
import sys
from pathlib import Path
from modelmedic.reliability.temporary_lock import registering
with registering(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.usefixtures("births")
def test_while_one_sweeps_another_neither_sweeps_nor_makes_anything(place, state, monkeypatch):
    (place / "x.part").write_text("x")
    dead_record(state, line(place / "x.part", place))
    with child(SWEEPS_AND_MAKES, place, state) as other:

        def read_while_another_begins(state_dir):
            found = list(temporary_record.records(state_dir))
            other.stdin.write(b"\n")
            assert select.select([other.stdout], [], [], 0.5)[0] == []  # it waits
            return found

        monkeypatch.setattr(temporary, "records", read_while_another_begins)
        assert sweep([place], state).removed == (f"{place}/x.part",)
        assert other.stdout.readline() == b"made\n"
        monkeypatch.undo()
        assert sweep([place], state) == Swept()
        assert (place / "x.part").read_text() == "of a living process"


def test_while_another_holds_the_records_nothing_is_swept_or_made(place, state, monkeypatch):
    monkeypatch.setattr(temporary_lock, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(temporary_lock, "REGISTER_SECONDS", 0.1)
    (place / "empty.part").touch()
    (place / "own").touch()
    record = dead_record(state, line(place / "empty.part", place, identity=None))
    with child(HOLDS, place, state), TemporaryFiles(place, state_dir=state) as it:
        (left,) = it.swept.left
        assert "another process has held the lock" in left
        for register, name in ((it.file, "a"), (it.folder, "a"), (it.add, "own")):
            with pytest.raises(TimeoutError, match="another process has held the lock"):
                register(name)
    assert all_below(place) == {"models", "precious", "empty.part", "own"}
    assert records_in(state) == [record]
    assert sweep([place], state).removed == (f"{place}/empty.part",)


def test_what_a_living_process_registered_too_is_let_alone(place, state):
    with TemporaryFiles(place, state_dir=state) as it:
        it.file("x.part")
        it.folder("work")
        (it.folder("work/inner") / "data").write_text("x")
        it.keep("work")
        dead_record(
            state,
            line(place / "x.part", place, identity=None),
            line(place / "work", place),
        )
        swept = sweep([place], state)
        assert swept.removed == ()
        assert len([left for left in swept.left if "may run registered it, too" in left]) == 2
        assert {"x.part", "work/inner/data"} <= all_below(place)


def test_where_nothing_can_be_locked_nothing_is_swept_and_files_are_made(place, state, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (place / "empty.part").touch()
    dead_record(state, line(place / "empty.part", place, identity=None))
    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    with TemporaryFiles(place, state_dir=state) as it:
        assert it.swept.removed == ()
        assert it.file("a.part").exists()
    assert all_below(place) == {"models", "precious", "empty.part"}


# -- another machine of the same name --------------------------------------------------------------


def test_of_an_older_record_nothing_tells_the_machine(place, state):
    machine_id() or pytest.skip("nothing tells this machine from others of its name")
    (place / "a.part").touch()
    record = dead_record(state, line(place / "a.part", place))
    maker, *others = [json.loads(told) for told in record.read_text().splitlines()]
    del maker["maker"]["machine"]
    record.write_text("".join(f"{json.dumps(told)}\n" for told in (maker, *others)))
    assert len(list(temporary_record.records(state))) == 1
    assert sweep([place], state) == Swept()
    assert (place / "a.part").exists()
    assert record.exists()


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["0123\n", None], "0123"),
        ([None, "4567\n"], "4567"),
        (["uninitialized\n", "4567"], "4567"),
        (["", None], ""),
        (["\xff", None], ""),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="it is told in files on Linux only")
def test_the_machine_is_told_by_its_files_and_only_by_a_hash(tmp_path, monkeypatch, texts, told):
    files = [tmp_path / str(number) for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        if text is not None:
            file.write_text(text)
    monkeypatch.setattr(machine, "_FILES", [str(file) for file in files])
    found = machine_id.__wrapped__()
    assert len(found) == (32 if told else 0)
    assert machine._told() == told
    assert not told or told not in found


@pytest.mark.usefixtures("births")
def test_without_a_number_of_the_machine_its_name_decides(place, state, monkeypatch):
    monkeypatch.setattr(temporary_record, "machine_id", lambda: "")
    (place / "a.part").touch()
    dead_record(state, line(place / "a.part", place))
    assert sweep([place], state).removed == (f"{place}/a.part",)
