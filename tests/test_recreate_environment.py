# ruff: noqa: F401, F811 - the fixture is imported from test_crash
"""An environment is made anew at its place, or the old one is there, whole; never a half one."""

from __future__ import annotations

import errno
import os
import sys

import pytest
from engine_support import engine_for, later_engine, plan_of
from environment_support import (
    ENV,
    MAKER,
    anew,
    lose_python,
    make_install,
    pinned,
    says,
    shared_wheels,
)
from python_support import POSIX
from support import make_context
from test_crash import run_child
from test_engine_in_use import READY, stranger
from wheel_support import make_wheel

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.healing.engine import Engine, undo_run
from modelmedic.operations import environment_making, expiry, kinds, mounts
from modelmedic.operations.set_distributions import row
from modelmedic.testing.conformance.snapshot import UNTOUCHED, differences, take

pytestmark = POSIX
PARTS = ".modelmedic/parts"


@pytest.fixture
def wheels():
    return shared_wheels()


@pytest.fixture
def install(tmp_path, wheels):
    return make_install(tmp_path, wheels["moon1"])


def look(install):
    return take(install, without=(".modelmedic",))


def apply(install, operation, *, keep=True):
    engine = engine_for(install)
    with engine.locked():
        applied = engine.apply(plan_of(operation))
        if keep:
            engine.keep(applied)
    return engine


def parts(install):
    folder = install / PARTS
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_dead_environment_is_made_anew_and_undo_brings_every_byte_back(install, wheels):
    lose_python(install)
    before = look(install)
    operation = anew(install, wheels["sun"], wheels["moon2"])
    engine = apply(install, operation)
    assert says(install / ENV / "bin/sun") == "sun 2.0"  # started by its own path
    assert f"{install / ENV}/bin" in (install / ENV / "bin/sun").read_text()
    assert len(parts(install)) == 2  # the wheels; rehearsal and stage are gone
    undo_run(engine.context.state_dir, install)
    assert differences(before, look(install), UNTOUCHED) == []
    assert len(parts(install)) == 2


def test_a_first_environment_is_made_and_undo_takes_it_away(tmp_path, wheels):
    install = tmp_path / "install"
    install.mkdir()
    before = look(install)
    engine = apply(install, anew(install, wheels["sun"], wheels["moon1"]))
    assert says(install / ENV / "bin/sun") == "sun 1.0"
    undo_run(engine.context.state_dir, install)
    assert differences(before, look(install), UNTOUCHED) == []


def test_the_plan_survives_json_and_tells_every_version_that_changes(install, wheels):
    operation = anew(install, wheels["sun"], wheels["moon2"], left_out=("mars (editable)",))
    assert kinds.from_json(operation.to_json()) == operation
    told = operation.describe()
    assert "moon 1.0 becomes 2.0" in told
    assert "sun 1.0 is new" in told
    assert "left out: mars (editable)" in told
    assert "the old one is kept aside whole" in told
    remote = (*row(pinned(wheels["sun"]))[:4], "https://index.invalid/sun.whl", "4000000000")
    costly = anew(install, wheels["moon2"], install=(remote,), is_offline=False)
    assert costly.cost().risk == "costly"
    assert costly.cost().disk_bytes == 20_000_000_000
    assert operation.cost().fetch_bytes == 0


KILLS = [
    ("os.mkdir", "-trial'", 1),  # before the rehearsal
    ("os.rename", "'.venv', '", 1),  # before the old one goes
    ("os.rename", "-new', '.venv'", 1),  # there is no environment
    ("os.mkdir", "-stage'", 2),  # a Python without packages
    ("os.rename", "'sun.py'", 2),  # packages in part
    ("os.rmdir", "-stage'", 2),  # all, not proven
]


@pytest.mark.parametrize("when", KILLS, ids=lambda when: f"{when[0]}-{when[1].strip()}-{when[2]}")
def test_killed_at_any_step_the_next_run_finds_or_restores_the_old_one(
    install, wheels, run_child, when
):
    before = look(install)
    change = anew(install, wheels["sun"], wheels["moon2"])
    done = run_child(install, [change.to_json()], 0, kill_when=when)
    assert done.returncode == -9, done.stderr
    engine = later_engine(install)
    if when[2] == 1:
        with engine.locked():
            assert "was undone" in engine.finish_interrupted()[0]
    else:
        undo_run(engine.context.state_dir, install)
    assert differences(before, look(install), UNTOUCHED) == []
    assert says(install / ENV / "bin/python", "-c", "import moon; print(moon.__version__)") == "1.0"
    assert not [name for name in parts(install) if len(name) != 64]


def test_undo_killed_again_and_again_ends_with_the_old_one(install, wheels, run_child):
    before = look(install)
    apply(install, anew(install, wheels["sun"], wheels["moon2"]))
    kills = 0
    for kill_at in (3, 5, 7, 9, 11, 15, 25, 0):
        done = run_child(install, [], kill_at, undo=True)
        if done.returncode == 0:
            break
        kills += 1
        assert done.returncode == -9, done.stderr
    assert kills > 2
    assert differences(before, look(install), UNTOUCHED) == []


def test_what_cannot_be_imported_in_the_rehearsal_leaves_the_old_one_untouched(
    install, wheels, tmp_path
):
    broken = make_wheel(
        tmp_path / "w", "moon", "3.0", files={"moon/__init__.py": "raise OSError('no GPU')"}
    )
    before = look(install)
    with pytest.raises(RecoveryFailed, match=r"(?s)Not everything can be imported.*no GPU"):
        apply(install, anew(install, wheels["sun"], broken, script=""))
    assert differences(before, look(install), UNTOUCHED) == []
    assert not [name for name in parts(install) if len(name) != 64]


def test_what_fails_at_the_final_place_brings_the_old_one_back(install, wheels, monkeypatch):
    real = environment_making.prove

    def prove(folder, *rest):
        real(folder, *rest)
        if folder.name == ENV:
            raise RecoveryFailed("The program sun does not start.")

    monkeypatch.setattr(environment_making, "prove", prove)
    before = look(install)
    with pytest.raises(RecoveryFailed, match="sun does not start"):
        apply(install, anew(install, wheels["sun"], wheels["moon2"]))
    assert differences(before, look(install), UNTOUCHED) == []


def test_a_wheel_with_other_bytes_than_planned_is_not_used(install, wheels, tmp_path):
    planned = anew(install, wheels["sun"], wheels["moon2"])
    lies = [(*planned.install[0][:3], "0" * 64, *planned.install[0][4:])]
    before = look(install)
    with pytest.raises(RecoveryFailed, match=r"sun-1\.0-py3-none-any\.whl has other bytes"):
        apply(install, anew(install, wheels["moon2"], install=tuple(lies)))
    assert differences(before, look(install), UNTOUCHED) == []


def refused(install, operation, match):
    before = look(install)
    with pytest.raises(RecoveryRefused, match=match):
        apply(install, operation)
    assert differences(before, look(install), UNTOUCHED) == []


def test_a_link_another_set_of_packages_and_a_vanished_maker_are_refused(install, wheels):
    planned = anew(install, wheels["sun"], wheels["moon2"])
    refused(install, anew(install, wheels["sun"], held=("moon==0.9",)), "holds other packages")
    refused(
        install, anew(install, wheels["sun"], python="/nowhere/python"), "is not there any more"
    )
    refused(install, anew(install), "it would hold nothing")
    (install / ENV).rename(install / "elsewhere")
    (install / ENV).symlink_to("elsewhere")
    refused(install, planned, "is a link to another folder")
    (install / ENV).unlink()
    refused(install, planned, "changed since it was checked")


def test_another_mount_too_little_disk_and_our_own_environment_are_refused(
    install, wheels, monkeypatch
):
    planned = anew(install, wheels["sun"], wheels["moon2"])
    with monkeypatch.context() as patched:
        patched.setattr(mounts, "_mount", lambda path: (1, str(path)))
        refused(install, planned, "is another disk or mount")
    with monkeypatch.context() as patched:
        patched.setattr(mounts, "free_bytes", lambda _tree: 10)
        refused(install, planned, "it needs .* more on this disk and 10 bytes are free")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "prefix", str(install / ENV))
        refused(install, planned, "modelmedic itself runs in it")


@pytest.mark.skipif(sys.platform != "linux", reason="maps are read from /proc")
@pytest.mark.parametrize("way", ["by path", "activated", "stands", "opened"])
def test_an_environment_in_use_is_refused(install, wheels, way, monkeypatch):
    planned = anew(install, wheels["sun"], wheels["moon2"])
    python, folder = install / ENV / "bin/python", install / ENV
    command, said = {
        "by path": ((python, "-c", READY), "runs from it"),
        "activated": (("python", "-c", READY), "runs from it"),
        "stands": (
            (sys.executable, "-c", f"import os; os.chdir({str(folder / 'bin')!r}); {READY}"),
            "has it as its current folder",
        ),
        "opened": (
            (sys.executable, "-c", f"held = open({str(folder / 'pyvenv.cfg')!r}); {READY}"),
            "has a file of it open",
        ),
    }[way]
    if way == "activated":
        monkeypatch.setenv("VIRTUAL_ENV", str(folder))
        monkeypatch.setenv("PATH", f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    with stranger(*command) as pid:
        refused(install, planned, rf"\.venv was not touched: process {pid} .* {said}")


def test_what_was_installed_after_the_repair_is_not_thrown_away_by_undo(install, wheels):
    engine = apply(install, anew(install, wheels["sun"], wheels["moon2"]))
    make_info = install / ENV / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    (make_info / "mars-1.0.dist-info").mkdir()
    with pytest.raises(RecoveryRefused, match=r"(?s)mars==1\.0.*is kept at \.modelmedic/aside"):
        undo_run(engine.context.state_dir, install)
    assert says(install / ENV / "bin/sun") == "sun 2.0"
    (make_info / "mars-1.0.dist-info").rmdir()
    undo_run(engine.context.state_dir, install)
    assert not (install / ENV / "bin/sun").exists()


def test_an_old_environment_is_kept_as_one_and_goes_as_one(install, wheels, monkeypatch):
    monkeypatch.setattr(expiry, "KEEP_BYTES", 3)
    engine = apply(install, anew(install, wheels["sun"], wheels["moon2"]))
    told = []
    assert engine.expire(told.append) == 0  # what the newest run kept stays, though it is old
    assert "more than the 3 bytes" in told[0]
    kept = next((install / ".modelmedic/aside").glob("*/*"))
    assert (kept / "pyvenv.cfg").is_file()
    newer = later_engine(install)
    (install / "a.lock").write_text("x")
    with newer.locked():
        was = (1, (install / "a.lock").stat().st_mtime_ns)
        newer.keep(newer.apply(plan_of(kinds.SetAside("a.lock", was))))
    assert newer.expire() > 5_000
    assert not kept.exists()
    assert parts(install) == []
    with pytest.raises(RecoveryRefused, match="undo expired"):
        undo_run(engine.context.state_dir, install, engine.context.run_id)
    assert says(install / ENV / "bin/sun") == "sun 2.0"


def test_half_of_an_expired_environment_is_not_taken_for_the_whole(install, wheels, monkeypatch):
    engine = apply(install, anew(install, wheels["sun"], wheels["moon2"]))
    monkeypatch.setattr(expiry, "KEEP_SECONDS", -1.0)
    newer = Engine(make_context(install, run_id="20260103-000000-newer"))
    (install / "a.lock").write_text("x")
    with newer.locked():
        was = (1, (install / "a.lock").stat().st_mtime_ns)
        newer.keep(newer.apply(plan_of(kinds.SetAside("a.lock", was))))
    real = os.unlink

    def unlink(name, **given):
        if name == "pyvenv.cfg":
            raise OSError(errno.EACCES, "Permission denied", name)
        real(name, **given)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        told = []
        newer.expire(told.append)
    assert "could not be deleted" in told[0]
    with pytest.raises(RecoveryRefused, match="undo expired"):
        undo_run(engine.context.state_dir, install, engine.context.run_id)
    newer.expire()
    assert parts(install) == []


def test_the_maker_is_no_part_of_an_environment():
    assert MAKER.is_file()
    assert not (MAKER.parent.parent / "pyvenv.cfg").exists()
