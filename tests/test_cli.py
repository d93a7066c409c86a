"""The modelmedic command: each verb's answer and exit code, from any folder."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support import CHECKOUT, child_env, make_context

from modelmedic import __version__


@pytest.fixture
def modelmedic(tmp_path):
    cwd = tmp_path / "cwd"
    cwd.mkdir()

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "modelmedic", *arguments],
            cwd=cwd, capture_output=True, text=True, timeout=100, check=False,
            env=child_env(
                PYTHONPATH=str(CHECKOUT / "src"), MODELMEDIC_STATE_DIR=str(tmp_path / "state")
            ),
        )  # fmt: skip

    run.cwd = cwd
    return run


def test_help_and_version(modelmedic):
    assert modelmedic("--version").stdout.strip() == f"modelmedic {__version__}"
    text = modelmedic("--help").stdout
    for verb in ("check", "plan", "heal", "undo", "report", "profile"):
        assert verb in text


def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path):
    argv = [sys.executable, "-m", "modelmedic", "profile", "compat"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env=child_env(PYTHONPATH=str(CHECKOUT / "src")),
    ) as process:  # fmt: skip
        process.stdout.close()  # as head does, here before the first line
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_profiles_are_listed_shown_and_their_schema_printed(modelmedic):
    listed = modelmedic("profile", "list").stdout.split()
    assert {"demo", "wan2.2-ti2v-5b", "wan2.2-t2v-a14b-diffusers"} <= set(listed)
    assert "Demo model" in modelmedic("profile", "show", "demo").stdout
    assert json.loads(modelmedic("profile", "schema").stdout)["$schema"]


def test_what_goes_together_is_printed_with_its_source_and_how_sure_it_is(modelmedic):
    text = modelmedic("profile", "compat").stdout
    assert text.startswith("What goes together, as of 2026-")
    assert "  cuda_family 13: min driver linux 580; min driver windows 580\n" in text
    assert "    not certain (memory): " in text
    assert "    certain (doc): https://docs.nvidia.com/" in text
    table = json.loads(modelmedic("profile", "compat", "--json").stdout)
    assert table["as_of"] in text
    by_cite = {row["cite"]: row for row in table["rows"]}
    assert len(by_cite) == len(table["rows"])
    assert all(f"  {cite}: " in text for cite in by_cite)
    assert by_cite["torch 2.8.0"]["cuda_tags"] == ["cu126", "cu128", "cu129"]
    assert by_cite["gpu_arch 12.0"]["is_certain"] is False


def test_an_unknown_profile_is_wrong_use(modelmedic):
    done = modelmedic("profile", "show", "nonsense")
    assert done.returncode == 4
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "COMMAND"),
        (["nonsense"], "nonsense"),
        (["report"], "run"),
        (["profile", "show"], "profile"),
        (["undo", "--nonsense"], "--nonsense"),
        (["check", "--nonsense"], "--nonsense"),
        (["undo", "--profile=nonsense"], "nonsense"),
        (["plan", "--heal", "--profile=demo"], "choose one"),
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_4(modelmedic, arguments, word):
    done = modelmedic(*arguments)
    assert done.returncode == 4
    assert word in done.stderr
    assert "Traceback" not in done.stderr


TRAPS = ("conftest.py", "pytest.py", "json.py", "argparse.py", "plugins/options.py",
         "plugins/__init__.py", "sitecustomize.py", "checks/conftest.py")  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["profile", "list"],
        ["undo"],
        ["check", "--offline", "-q", "--stage=preflight", "--report-dir=../report"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_nothing_of_the_current_folder_runs(modelmedic, arguments):
    """Python itself puts the current folder first for ``python -m``; we take it out again."""
    sprung = modelmedic.cwd.parent / "sprung"
    for name in TRAPS:
        path = modelmedic.cwd / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"open({str(sprung)!r}, 'a').write({name!r})\n")
    (modelmedic.cwd / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    done = modelmedic(*arguments)
    assert not sprung.exists(), sprung.read_text()
    assert done.returncode == (1 if arguments[0] == "check" else 0), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_it_starts_from_its_own_source_folder(modelmedic):
    done = subprocess.run(
        [sys.executable, "-m", "modelmedic", "--version"], cwd=CHECKOUT / "src",
        env=child_env(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == f"modelmedic {__version__}"


def test_check_plan_heal_report_and_undo(modelmedic):
    up = modelmedic("heal", "--profile=demo", "--stage=installed", "--report-dir=up")
    assert up.returncode == 0, up.stdout + up.stderr
    assert modelmedic("check", "--profile=demo").returncode == 0
    shard = modelmedic.cwd / "demo-install/model/diffusion_pytorch_model-00001-of-00003.safetensors"
    good = shard.read_bytes()
    shard.write_bytes(good[:1000])
    broken = modelmedic("check", "--profile=demo")
    assert broken.returncode == 1
    assert "modelmedic check --profile=demo --heal=plan" in broken.stdout
    plan = modelmedic("plan", "--profile=demo", "--report-dir=plan")
    assert plan.returncode == 1
    assert json.loads((modelmedic.cwd / "plan/plan.json").read_text())["plans"]
    assert shard.read_bytes() == good[:1000]
    assert modelmedic("heal", "--profile=demo", "--report-dir=healed").returncode == 0
    assert shard.read_bytes() == good
    page = modelmedic("report", "healed").stdout
    assert "fetch_missing_tail" in page
    assert page.lstrip().lower().startswith("<!doctype html>")
    undone = modelmedic("undo", "--profile=demo")
    assert undone.returncode == 0
    assert shard.read_bytes() == good[:1000]


def test_undo_with_nothing_to_undo_says_so(modelmedic):
    done = modelmedic("undo")
    assert done.returncode == 0
    assert "Nothing to undo" in done.stdout
    named = modelmedic("undo", "20200101-000000-abcdef")
    assert named.returncode == 1
    assert "No repair" in named.stderr


def test_a_report_that_is_none(modelmedic):
    done = modelmedic("report", "nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    (modelmedic.cwd / "report.json").write_text('{"schema": 99}')
    assert modelmedic("report", "report.json").returncode == 1


@pytest.mark.parametrize(
    ("command", "options", "typed"),
    [
        ("modelmedic plan --profile=demo", ("--heal", "--allow=costly"), "modelmedic heal --profile=demo --allow=costly"),
        ("modelmedic plan", ("--heal",), "modelmedic heal"),
        ("modelmedic plan --profile=demo", ("--deep",), "modelmedic plan --profile=demo --deep"),
        ("modelmedic check --profile=demo", ("--heal",), "modelmedic check --profile=demo --heal"),
    ],
)  # fmt: skip
def test_who_planned_is_told_to_heal(tmp_path, command, options, typed):
    context = make_context(tmp_path, command=command)
    assert context.run_command(*options) == typed
