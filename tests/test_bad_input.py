"""Bad input is normal input: a clear message or finding, the right exit code, no traceback."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys

import pytest
from demo_support import SHORT_PROBES, START, Desk, snapshot
from support import CHECKOUT, child_env

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "desk").mkdir()
    return Desk(tmp_path / "desk")


def assert_clear(run, code, *words):
    assert run.code == code, run.out
    assert "Traceback" not in run.out
    assert "INTERNALERROR" not in run.out
    for word in words:
        assert word in run.out, f"{word!r} not in {run.out[-3000:]}"


def test_an_unknown_profile_names_the_nearest(desk):
    assert_clear(desk.run(profile="wan2.2-ti2v-5bb"), 4, "wan2.2-ti2v-5b")


LEAVES = """name = "x"
title = "X"
[[models]]
name = "m"
folders = ["m"]
layout = "native"
[[models.files]]
path = "../out"
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "x"\ntitle = \n', ["own.toml", "2"]),
        ('name = "x"\ntitle = "X"\nhardwear = {}\n', ["own.toml", "3", "hardware"]),
        ('name = "x"\ntitle = 5\n', ["own.toml", "2", "title"]),
        (
            LEAVES,
            ["own.toml", "8", "../out"],
        ),
    ],
    ids=["syntax", "typo", "type", "leaves"],
)
def test_a_wrong_profile_names_file_line_and_key(desk, text, words):
    (desk.folder / "own.toml").write_text(text)
    assert_clear(desk.run(profile="./own.toml"), 4, *words)


def test_a_profile_that_cannot_be_read(desk):
    (desk.folder / "own.toml").mkdir()
    assert_clear(desk.run(profile="./own.toml"), 4, "own.toml")
    assert_clear(desk.run(profile="./none.toml"), 4, "none.toml")
    (desk.folder / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    assert_clear(desk.run(profile="./bytes.toml"), 4, "bytes.toml")


def test_an_install_folder_that_is_a_file(desk):
    (desk.folder / "file").write_text("x")
    assert_clear(desk.run("--install-dir=file"), 4, "file")


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("--stage=nonsense", "preflight"),
        ("--allow=nonsense", "costly"),
        ("--heal-budget-bytes=abc", "whole number"),
        ("--heal-budget-seconds=²", "whole number"),
        ("--bandwidth=1M", "whole number"),
        ("--retry-tries=0", "a whole number from 1 to"),
        ("--retry-most-seconds=-1", "a number from 0 to"),
        ("--bandwidth=100", "16,384 bytes a second or more"),
        (f"--heal-budget-count={'9' * 5000}", "whole number"),
        ("--heal=maybe", "--heal"),
        ("--nonsense", "unrecognized"),
    ],
)
def test_wrong_options(desk, option, word):
    assert_clear(desk.run(option), 4, word)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("MODELMEDIC_STAGE", "nonsense", "preflight"),
        ("MODELMEDIC_BANDWIDTH", "fast", "whole number"),
        ("MODELMEDIC_HEAL", "maybe", "apply"),
        ("MODELMEDIC_OFFLINE", "maybe", "MODELMEDIC_OFFLINE=maybe"),
        ("MODELMEDIC_ALLOW", "all", "destructive"),
        ("MODELMEDIC_HEAL_BUDGET_BYTES", "1 GB", "whole number"),
        ("MODELMEDIC_INSTALL_DIR", "/dev/null", "/dev/null"),
        ("MODELMEDIC_PROFILE", "nonsense", "wan2.2-ti2v-5b"),
    ],
)
def test_wrong_variables(desk, name, value, word):
    desk.env = {name: value}
    profile = None if name == "MODELMEDIC_PROFILE" else "demo"
    assert_clear(desk.run(profile=profile), 4, word)


def test_two_modes_of_healing_are_refused(desk):
    run = desk.run("--heal=plan", "--heal", "--stage=installed")
    assert_clear(run, 4, "--heal=apply and --heal=plan")
    assert not desk.install.exists()


@pytest.mark.parametrize("plugin", ["xdist", "html", "timeout", "cacheprovider", "capture"])
def test_checks_run_without_a_plugin_of_pytest(desk, plugin):
    assert_clear(desk.run("--offline", "-p", f"no:{plugin}"), 0, "Verdict: this machine can")


def program(desk, text):
    path = desk.folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f"--target-python={path}"


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts stand in for interpreters")
@pytest.mark.parametrize(
    ("text", "outcome"),
    [("exec sleep 600", "unknown"), ("kill -SEGV $$", "failed"), ("echo garbage", "failed")],
    ids=["hangs", "crashes", "garbage"],
)
def test_a_target_python_that_is_none(desk, text, outcome):
    (desk.folder / "own.toml").write_text(
        'name = "own"\ntitle = "X"\n[python]\nrequires = ">=3.10"\n'
    )
    desk.first = SHORT_PROBES
    run = desk.run(program(desk, text), "--install-dir=.", "--stage=installed", "--offline", "-k", "python",
                   profile="./own.toml")  # fmt: skip
    assert_clear(run, 1)
    assert run.finding("python.target")["outcome"] == outcome
    assert run.outcomes()["python.version"] == "blocked"


HOSTILE = ["a\nb.bin", "<script>alert(1)<script>.bin", "\x1b[31mred.bin", "x" * 255]


def test_hostile_names_are_shown_harmless(desk):
    install = desk.install
    install.mkdir()
    for name in HOSTILE:
        (install / f"{name}.incomplete"[-255:]).write_bytes(b"x")
    (install / os.fsdecode(b"\xff\xfe.incomplete")).write_bytes(b"x")
    run = desk.run("--stage=installed", "--offline")
    assert_clear(run, 1)
    assert not CONTROL.search(run.out)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page


def test_hostile_model_files_in_a_profile(desk):
    files = "".join(
        f'[[models.files]]\npath = "{name}"\nsize_bytes = 1\n'
        for name in ("<img src=x onerror=alert(1)>.bin", "ümläut.bin")
    )
    (desk.folder / "own.toml").write_text(
        'name = "own"\ntitle = "<script>alert(2)</script>"\ninstall_dir = "here"\n'
        "[python]\nrequired = false\n"
        f'[[models]]\nname = "m"\nfolders = ["m"]\nlayout = "native"\n{files}'
    )
    (desk.folder / "here").mkdir()
    run = desk.run("--stage=installed", "--offline", profile="./own.toml")
    assert run.code in {1, 4}, run.out
    assert "Traceback" not in run.out
    if run.code == 1:
        page = (run.folder / "report.html").read_text(encoding="utf-8")
        assert "<img src=x" not in page
        assert "<script>alert(2)" not in page


def fifo(path):
    os.mkfifo(path)


def loop(path):
    path.symlink_to(path.name)


def link_out(path):
    path.symlink_to("/etc/passwd")


def device(path):
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: reading never ends


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
@pytest.mark.parametrize("make", [fifo, loop, link_out, device], ids=lambda make: make.__name__)
def test_what_is_no_file_neither_hangs_nor_escapes(desk, make):
    model = desk.install / "model"
    model.mkdir(parents=True)
    try:
        make(model / "Demo_VAE.pth")
    except PermissionError:
        pytest.skip("device nodes need root")
    before = (model / "Demo_VAE.pth").lstat()
    run = desk.run("--stage=installed", "--offline", "--deep", "-k", "weights")
    assert_clear(run, 1)
    assert run.finding("weights.present[model/Demo_VAE.pth]")["outcome"] in {"failed", "unknown"}
    assert "root:" not in (run.folder / "report.json").read_text()
    healed = desk.run("--stage=installed", "--offline", "--heal", "-k", "weights")
    assert healed.code == 1
    assert (model / "Demo_VAE.pth").lstat().st_ino == before.st_ino


@pytest.mark.once
def test_two_hundred_thousand_files_are_no_obstacle(desk):
    install = desk.install
    for number in range(20):
        folder = install / f"d{number}"
        folder.mkdir(parents=True)
        os.close(os.open(folder / "f", os.O_CREAT))
        for name in range(1, 10_000):  # more names of it: quicker made than as many files
            os.link(folder / "f", folder / f"f{name}")
    run = desk.run("--stage=installed", "--offline", timeout=280)  # how fast: benchmarks/
    shutil.rmtree(install)  # pytest would keep all of it for the last three runs
    assert_clear(run, 1)


def test_a_report_folder_that_is_a_file(desk):
    (desk.folder / "reports").write_text("mine")
    done = desk.run("--offline", f"--report-dir={desk.folder / 'reports'}")
    assert done.code in {1, 3, 4}
    assert "Traceback" not in done.out
    assert "reports" in done.out
    assert (desk.folder / "reports").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root sees all")
def test_a_folder_nobody_may_write(desk):
    """As another user: everything is judged, what may not be seen is said."""
    install = desk.install
    (install / "model").mkdir(parents=True)
    install.chmod(0o555)
    for folder in (desk.folder, *desk.folder.parents):
        if str(folder).startswith("/tmp/") and folder.owner() == "root":
            folder.chmod(folder.stat().st_mode | 0o055)
    report, state = desk.folder / "r", desk.folder / "s"
    for folder in (report, state):
        folder.mkdir()
        folder.chmod(0o777)
    other_user = "import os; os.setgid(65534); os.setuid(65534); "
    trial = [sys.executable, "-c", f"{other_user} import json, pytest, ctypes"]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("another user cannot read this Python")
    code = other_user + START
    before = snapshot(install)
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, "-c", str(CHECKOUT / "pyproject.toml"),
         f"--rootdir={CHECKOUT}", str(CHECKOUT / "checks"), "--profile=demo", "--stage=installed",
         "--offline", "--heal", f"--report-dir={report}"],
        cwd=desk.folder, env=child_env(MODELMEDIC_STATE_DIR=str(state), HOME=str(state)),
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "permissions.install-folder" in done.stdout
    assert snapshot(install) == before
