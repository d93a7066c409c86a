"""Temporary files: gone at the end, on failure, when the disk is full, and after a kill."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from machine_support import needs_root, tmpfs
from support import CHECKOUT

from modelmedic.errors import RecoveryRefused
from modelmedic.reliability import temporary, temporary_lock, temporary_record
from modelmedic.reliability.temporary import Swept, TemporaryFiles, sweep
from modelmedic.reliability.temporary_record import FOLDER, Maker
from modelmedic.reliability.temporary_tree import TemporaryTree

FIND_US = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}
CHILD = Path(__file__).parent / "temporary_kills.py"


@pytest.fixture
def place(tmp_path):
    install = tmp_path / "install"
    (install / "models").mkdir(parents=True)
    (install / "precious").write_text("of the user")
    return install


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def births(place):
    """Skip where the next run cannot tell a file from a later one; there it removes nothing."""
    if not TemporaryTree(place).mark("precious").birth:
        pytest.skip("this file system tells no generation of an inode and no time of birth")


def all_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def records_in(state):
    return sorted((state / FOLDER).glob("*")) if (state / FOLDER).is_dir() else []


def dead_record(state, *lines, **changes):
    """Write the record of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    maker = Maker.this()
    told = {"pid": process.pid, "started": "1", "host": maker.host, "boot": maker.boot}
    told |= {"space": maker.space} | changes
    (state / FOLDER).mkdir(parents=True, exist_ok=True)
    path = state / FOLDER / "1-dead.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in ({"maker": told}, *lines)))
    return path


def line(path, root, **changes):
    mark = TemporaryTree(root).mark(path.relative_to(root).as_posix())
    identity = [mark.device, mark.inode, mark.birth]
    is_folder = path.is_dir() and not path.is_symlink()
    told = {"root": str(root), "path": path.relative_to(root).as_posix(), "identity": identity}
    return told | {"is_folder": is_folder} | changes


@contextlib.contextmanager
def child(text, place, state):
    """Run a program that reads lines and writes some; it is ended at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", text, place, state],
        env=FIND_US,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


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
    "changes", [{"host": "another.example"}, {"space": "pid:[1]"}, {"pid": os.getppid()}]
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
