# ruff: noqa: F401, F811 - fixtures are imported from engine_support
"""Full disks, read-only disks, no more descriptors: a clear answer, and nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_support import GOOD, hub, install, operation, plan_of, snapshot, was
from support import make_context

from modelmedic.errors import ModelmedicError, RecoveryFailed, RecoveryRefused
from modelmedic.healing import journal as journals
from modelmedic.healing.engine import Engine, undo_run
from modelmedic.operations import durable
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.kinds import MakeDir, Rename, ReplaceFile, SetAside
from modelmedic.operations.tree import Tree
from modelmedic.testing.hub import LoopbackHub

LARGE = "x" * 300_000
CHILD = Path(__file__).with_name("limit_support.py")


def mount(*arguments):
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is denied: {done.stderr.decode(errors='replace').strip()}")


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 400 KB; only root may."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=400k", "tmpfs", folder)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Leave not one block on a disk."""
    with (folder / "ballast").open("wb", buffering=0) as stream:
        try:
            while stream.write(b"x" * 4096) == 4096:
                pass
        except OSError:
            pass


def make_install(root):
    root.mkdir()
    (root / "settings.json").write_text("{broken")
    (root / "stale.lock").write_text("")
    (root / "misplaced.bin").write_bytes(b"misplaced")
    return root


def heal(install):
    return plan_of(
        MakeDir("outputs"),
        SetAside("stale.lock", was(install, "stale.lock")),
        Rename("misplaced.bin", "outputs/b.bin", was(install, "misplaced.bin")),
        ReplaceFile("settings.json", LARGE, was(install, "settings.json")),
    )


def engine_with(install, state):
    return Engine(make_context(install, state_dir=state))


def test_a_disk_that_fills_up_while_a_file_is_written_loses_nothing(small_disk, tmp_path):
    root = make_install(small_disk / "install")
    (small_disk / "ballast").write_bytes(b"x" * 200_000)
    before = snapshot(root)
    engine = engine_with(root, tmp_path / "state")
    with engine.locked(), pytest.raises(RecoveryFailed, match="No space left") as failed:
        engine.apply(heal(root))
    assert "What had been done was put back" in str(failed.value)
    assert "Free space" in failed.value.next_step
    assert snapshot(root) == before
    assert journals.pending(tmp_path / "state", root) == []
    (small_disk / "ballast").unlink()
    with engine.locked():
        engine.keep(engine.apply(heal(root)))  # the half-written private file did no harm
    assert (root / "settings.json").read_text() == LARGE


def test_a_full_disk_under_the_journal_refuses_before_anything_is_touched(small_disk, install):
    engine = engine_with(install, small_disk / "state")
    before = snapshot(install)
    with engine.locked():
        fill(small_disk)
        with pytest.raises(RecoveryRefused, match=r"No space left.*nothing was touched"):
            engine.apply(plan_of(operation("replace_file", install, None)))
    assert snapshot(install) == before


def test_a_disk_that_fills_up_under_the_journal_between_two_steps_undoes_the_first(
    small_disk, install
):
    engine = engine_with(install, small_disk / "state")
    before = snapshot(install)
    plan = plan_of(*(MakeDir(f"{number:03}-{'x' * 200}") for number in range(400)))
    with engine.locked():
        (small_disk / "ballast").write_bytes(b"x" * 330_000)
        with pytest.raises(RecoveryFailed, match="No space left") as failed:
            engine.apply(plan)
    assert "What had been done was put back" in str(failed.value)
    assert snapshot(install) == before
    (small_disk / "ballast").unlink()
    with engine.locked():
        engine.finish_interrupted()
    assert journals.pending(small_disk / "state", install) == []
    assert snapshot(install) == before


def test_a_disk_that_turns_read_only_during_a_repair_is_put_in_order_later(
    small_disk, tmp_path, monkeypatch
):
    """A kernel does that after an error of the disk.

    We may not while the lock is open for writing, but a read-only mount over the folder looks the
    same to everything that is opened after it.
    """
    root = make_install(small_disk / "install")
    engine = engine_with(root, tmp_path / "state")
    before = snapshot(root)
    real, renamed = durable.rename_new, []

    def rename_then_turn(*given):
        real(*given)
        renamed.append(given)
        if len(renamed) == 1:  # one file is set aside by now
            mount("--bind", root, root)
            mount("-o", "remount,bind,ro", root)

    with engine.locked(), monkeypatch.context() as patch:
        patch.setattr("modelmedic.operations.tree.rename_new", rename_then_turn)
        with pytest.raises(RecoveryFailed, match="Read-only file system") as failed:
            engine.apply(heal(root))
        assert "not everything could be put back" in str(failed.value)
        (told,) = engine.finish_interrupted()  # the next run, and the disk is still read-only
        assert "is not put back yet" in told
        subprocess.run(["umount", str(root)], check=True)
        (told,) = engine.finish_interrupted()  # the run after the disk was put right
    assert "was undone" in told
    assert snapshot(root) == before
    assert journals.pending(tmp_path / "state", root) == []


def test_an_install_on_a_read_only_disk_is_refused_with_words(small_disk, tmp_path):
    root = make_install(small_disk / "install")
    engine = engine_with(root, tmp_path / "state")
    with engine.locked():
        engine.keep(engine.apply(plan_of(MakeDir("outputs"))))
    mount("-o", "remount,ro", small_disk)
    with pytest.raises(RecoveryRefused, match="Read-only file system") as refused:
        undo_run(tmp_path / "state", root)
    assert "nothing was touched" in str(refused.value)
    with pytest.raises(RecoveryRefused, match="Read-only file system"), engine.locked():
        pass
    told = []
    assert engine.expire(told.append) == 0
    assert "Read-only file system" in told[0]
    mount("-o", "remount,rw", small_disk)
    undo_run(tmp_path / "state", root)
    assert not (root / "outputs").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limits")
@pytest.mark.parametrize("limit", ["files", "bytes"])
def test_a_limit_of_the_process_met_at_any_step_loses_nothing(install, limit):
    """Descriptors run out, or a file may not grow: one more than before in each round."""
    before = snapshot(install)
    outcomes = []
    for room in (0, 1, 2, 3, 4, 10) if limit == "files" else (0, 60, 400, 900, 9_000, 400_000):
        told = run_limited(install, limit, room)
        outcomes.append(told["outcome"])
        assert told["error"] in {"", "RecoveryRefused", "CannotWrite", "RecoveryFailed"}, told
        engine = Engine(make_context(install))
        with engine.locked():
            engine.finish_interrupted()
        assert snapshot(install) == before, told
        assert journals.pending(engine.context.state_dir, install) == []
    assert outcomes[0] == "stopped"
    assert outcomes[-1] == "done"


def run_limited(install, limit, room):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, str(CHILD), str(install), limit, str(room)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_of_two_plans_that_fit_alone_and_not_together_the_second_refuses_before_a_byte(
    small_disk, tmp_path
):
    """Each plan was checked when the disk was empty; free space is looked at again at its turn."""
    root = make_install(small_disk / "install")
    files = {name: name[:1].encode() * 220_000 for name in ("a.bin", "b.bin")}
    with LoopbackHub() as served:
        served.add_repo("org/model", files)
        first, second = (plan_of(fetch_of(served, name, data)) for name, data in files.items())
        engine = engine_with(root, tmp_path / "state")
        with engine.locked():
            engine.keep(engine.apply(first))
            kept = snapshot(root)
            served.clear()
            with pytest.raises(
                RecoveryRefused, match=r"b\.bin was not fetched: it needs"
            ) as refused:
                engine.apply(second)
        assert "are free" in str(refused.value)
        assert not served.requests
        assert snapshot(root) == kept
        assert (root / "a.bin").read_bytes() == files["a.bin"]
        other = make_install(tmp_path / "other")  # where there is room for it
        engine = engine_with(other, tmp_path / "state")
        with engine.locked():
            engine.keep(engine.apply(second))
        assert (other / "b.bin").read_bytes() == files["b.bin"]


def fetch_of(served, name, data):
    url = f"{served.endpoint}/org/model/resolve/main/{name}"
    return FetchFile(name, len(data), hashlib.sha256(data).hexdigest(), "", (url,), None)
