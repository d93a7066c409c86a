"""The main job on real input: bring up, break, see, plan, heal, see again."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from demo_support import SHORT_WAITS, Desk, snapshot
from support import CHECKOUT, child_env

from modelmedic import summary

SHARD = "model/diffusion_pytorch_model-00002-of-00003.safetensors"


@pytest.fixture(scope="session")
def healthy(tmp_path_factory):
    """A demo install brought up from nothing by healing, once."""
    desk = Desk(tmp_path_factory.mktemp("healthy") / "desk")
    desk.folder.mkdir()
    run = desk.run("--stage=installed", "--heal", "--allow=costly")
    assert run.code == 0, run.out
    return desk, run


@pytest.fixture
def desk(healthy, tmp_path):
    folder = tmp_path / "desk"
    shutil.copytree(healthy[0].folder, folder, symlinks=True)
    return Desk(folder)


def test_an_empty_folder_is_brought_up_from_nothing(healthy):
    desk, run = healthy
    assert run.record["counts"]["healed"] >= 5
    assert run.record["counts"]["failed"] == 0
    assert "Verdict: the install is healthy" in run.out
    assert "Closing pass" in run.out
    assert (desk.install / SHARD).stat().st_size == 1517224


def test_a_healthy_install_is_green_and_nothing_is_written(desk):
    before = snapshot(desk.folder, without=())
    run = desk.run()
    assert run.code == 0, run.out
    assert not run.bad()
    assert snapshot(desk.folder, without=()) == before


def cut_shard(desk):
    with (desk.install / SHARD).open("r+b") as stream:
        stream.truncate(1000)


def remove_outputs(desk):
    (desk.install / "outputs").rmdir()


def misplace_shard(desk):
    (desk.install / SHARD).rename(desk.install / "wrong-name.bin")


def break_settings(desk):
    (desk.install / "settings.json").write_text('{"steps": 33, "size": "32*32", "se')


def leave_lock(desk):
    lock = desk.install / "model/.cache/huggingface/download/x.safetensors.lock"
    lock.parent.mkdir(parents=True)
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    lock.write_text(f"{ended.stdout.strip()}\n{socket.gethostname()}\n")  # filelock's soft lock
    old = time.time() - 100_000
    os.utime(lock, (old, old))


BREAKAGES = {
    "cut-shard": (cut_shard, f"weights.intact[{SHARD}]", "fetch_missing_tail"),
    "missing-folder": (remove_outputs, "install.folders[outputs]", "create_missing_folder"),
    "misplaced": (misplace_shard, f"weights.present[{SHARD}]", "move_misplaced_model_file"),
    "bad-settings": (break_settings, "config.readable[settings.json]", "restore_config"),
    "stale-lock": (leave_lock, "install.locks", "remove_stale_lock"),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=() if name in {"cut-shard", "missing-folder"} else pytest.mark.once
        )
        for name in BREAKAGES
    ],
)
def test_broken_seen_planned_healed_green(name, desk):
    break_it, check, recovery = BREAKAGES[name]
    break_it(desk)
    broken = snapshot(desk.folder, without=())

    seen = desk.run()
    assert seen.code == 1
    assert seen.finding(check)["outcome"] == "failed"
    assert "Traceback" not in seen.out
    assert "--heal=plan" in seen.out
    assert snapshot(desk.folder, without=()) == broken

    plan = desk.run("--heal=plan")
    assert plan.code == 1
    attempts = plan.finding(check)["attempts"]
    planned = [a for a in attempts if a["verdict"] == "planned"]
    assert planned[0]["recovery"] == recovery
    assert planned[0]["operations"]
    assert snapshot(desk.folder, without=()) == broken

    healed = desk.run("--heal")
    assert healed.code == 0, healed.out
    finding = healed.finding(check)
    assert finding["outcome"] == "healed"
    assert finding["attempts"][-1]["recovery"] == recovery
    assert finding["attempts"][-1]["verdict"] == "healed"
    html = (healed.folder / "report.html").read_text(encoding="utf-8")
    assert recovery in html
    assert finding["attempts"][-1]["operations"][0]["text"][:30] in html

    assert desk.run().code == 0
    again = desk.run("--heal")
    assert again.code == 0
    assert again.record["counts"]["healed"] == 0


def test_settings_keep_what_could_be_read(desk):
    break_settings(desk)
    assert desk.run("--heal").code == 0
    settings = json.loads((desk.install / "settings.json").read_text())
    assert (settings["steps"], settings["size"]) == (33, "32*32")
    assert set(settings) == {"steps", "size", "seed", "output_folder"}


def test_a_bad_copy_of_the_settings_is_kept_aside(desk):
    break_settings(desk)
    bad = (desk.install / "settings.json").read_bytes()
    assert desk.run("--heal").code == 0
    kept = [
        p.read_bytes() for p in (desk.install / ".modelmedic" / "aside").rglob("*") if p.is_file()
    ]
    assert bad in kept


@pytest.mark.parametrize("break_it", [cut_shard, lambda desk: (desk.install / SHARD).unlink()])
def test_with_the_hub_down_it_stays_failed_with_the_reason_and_old_bytes_stay(desk, break_it):
    break_it(desk)
    before = snapshot(desk.folder)
    desk.env = {"MODELMEDIC_DEMO_HUB": "http://127.0.0.1:9"}
    desk.first = SHORT_WAITS
    run = desk.run("--heal")
    assert run.code == 1
    bad = [f for f in run.record["findings"] if f["outcome"] == "failed" and SHARD in f["check"]]
    assert bad[0]["attempts"][-1]["verdict"] == "failed"
    assert "refused" in bad[0]["attempts"][-1]["error"]
    assert snapshot(desk.folder) == before
    assert "Traceback" not in run.out


def test_a_lock_somebody_holds_is_left_alone(desk):
    leave_lock(desk)
    lock = desk.install / "model/.cache/huggingface/download/x.safetensors.lock"
    with lock.open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        run = desk.run("--heal")
    assert lock.exists()
    assert run.outcomes()["install.locks"] == "degraded"


def test_undo_puts_the_broken_bytes_back(desk):
    cut_shard(desk)
    before = snapshot(desk.folder)
    assert desk.run("--heal").code == 0
    assert snapshot(desk.folder) != before
    done = subprocess.run(
        [sys.executable, "-m", "modelmedic", "undo", f"--install-dir={desk.install}"],
        env=child_env(
            MODELMEDIC_STATE_DIR=str(desk.folder.parent / "state"),
            PYTHONPATH=str(CHECKOUT / "src"),
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fetch_missing_tail" in done.stdout
    assert snapshot(desk.folder) == before


def test_a_flipped_byte_is_found_with_deep_and_healed(desk):
    path = desk.install / SHARD
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert desk.run().code == 0  # size and header are right: only hashes can tell
    run = desk.run("--deep")
    assert run.code == 1
    assert run.finding(f"weights.sha256[{SHARD}]")["outcome"] == "failed"
    (told,) = (line for line in run.out.splitlines() if line.startswith("Next:"))
    assert "--deep --heal" in told  # without --deep it would not be found again
    healed = desk.run("--deep", "--heal")
    assert healed.code == 0, healed.out
    assert healed.finding(f"weights.sha256[{SHARD}]")["outcome"] == "healed"


def test_two_workers_give_the_same_findings(desk):
    cut_shard(desk)
    alone = desk.run("--offline").outcomes()
    both = desk.run("--offline", "-n2").outcomes()
    assert both == alone


def test_a_plan_that_two_checks_share_is_shown_once_and_named_after(desk):
    other = SHARD.replace("00002-of", "00003-of")
    for shard in (SHARD, other):
        (desk.install / shard).unlink()
    run = desk.run("--heal=plan")
    assert run.out.count(f"- fetch {SHARD}") == run.out.count(f"- fetch {other}") == 1
    same = f"bring_up_model would do the same as for weights.present[{SHARD}], once."
    assert " ".join(run.out.split()).count(same) == 1, run.out
    assert "all plans together" not in run.out  # there is one
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert page.partition("What --heal would do")[2].count(f"fetch {SHARD} ") == 1


def test_different_plans_are_summed_up_at_their_end():
    fetch = {
        "recovery": "r", "risk": "safe", "fetch_bytes": 1 << 20, "disk_bytes": 0, "seconds": 0,
        "worked": "", "rate_interval": None,
    }  # fmt: skip
    one, two = ({"check": name, **fetch, "operations": [{"text": name}]} for name in "ab")
    told = dict(summary.plans_lines([one, two, {**one, "check": "c"}]))
    assert told["all plans together"] == ["fetch 2.0 MiB"]
    assert told["plan for c"] == ["r would do the same as for a, once."]
