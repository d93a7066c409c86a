"""A plan that was seen is applied exactly, or not at all; a stranger's may only leave out."""

from __future__ import annotations

import json
import os
import shutil
from types import SimpleNamespace

import jsonschema
import pytest
from demo_support import Desk, snapshot
from support import CHECKOUT

from modelmedic import __version__, jsonshape
from modelmedic.errors import CannotTell, RecoveryRefused
from modelmedic.healing import planfile
from modelmedic.healing.engine import Plan
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.kinds import MakeDir, ReplaceFile

pytestmark = pytest.mark.once

SCHEMA = json.loads((CHECKOUT / "reports/plan.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("healthy") / "desk")
    desk.folder.mkdir()
    run = desk.run("--heal", "--stage=installed", "--allow=costly")
    assert run.code == 0, run.out
    return desk.install


@pytest.fixture
def desk(healthy, tmp_path):
    folder = tmp_path / "desk"
    folder.mkdir()
    shutil.copytree(healthy, folder / "demo-install", ignore=shutil.ignore_patterns(".modelmedic"))
    return Desk(folder)


@pytest.fixture
def plan(desk, tmp_path):
    """Two breakages that share a missing folder, and the plan for them."""
    shard = next(desk.install.rglob("*.safetensors"))
    shutil.rmtree(shard.parent)
    path = tmp_path / "plan.json"
    run = desk.run("--heal=plan", "--stage=installed", f"--plan-file={path}")
    assert run.code == 1
    return path


def heal(desk, plan, *options):
    return desk.run("--heal", "--stage=installed", f"--plan-file={plan}", *options)


@pytest.mark.parametrize("options", [[], ["-n2"]], ids=["alone", "workers"])
def test_a_plan_is_applied_whole_and_once(desk, plan, options):
    """The port of the embedded Hub differs, and one repair makes the folder of the others."""
    jsonschema.validate(json.loads(plan.read_text()), SCHEMA)
    run = heal(desk, plan, *options)
    assert run.code == 0, run.out
    assert "healed" in run.outcomes().values()
    before = snapshot(desk.install)
    again = heal(desk, plan, *options)
    assert again.code == 0, again.out
    assert "not needed" in again.out
    assert snapshot(desk.install) == before


def test_what_is_not_in_the_plan_is_left_alone(desk, plan):
    document = json.loads(plan.read_text())
    left, *rest = document["plans"]
    assert rest
    document["plans"] = [left]
    plan.write_text(json.dumps(document))
    run = heal(desk, plan)
    assert run.code == 1
    assert run.finding(left["check"])["outcome"] == "healed"
    for entry in rest:
        refused = run.finding(entry["check"])["attempts"]
        assert {attempt["verdict"] for attempt in refused} == {"refused"}
        assert "the plan file does not hold it" in refused[-1]["error"]


def test_what_drifted_is_refused_by_name_and_untouched(desk, tmp_path):
    settings = next(desk.install.rglob("settings.json"))
    settings.write_text('{"broken": ')
    path = tmp_path / "plan.json"
    assert desk.run("--heal=plan", f"--plan-file={path}").code == 1
    settings.write_text('{"broken": 5, ')
    before = snapshot(desk.install)
    run = heal(desk, path)
    assert run.code == 1
    (attempt,) = [a for f in run.record["findings"] for a in f["attempts"]]
    assert attempt["verdict"] == "refused"
    assert "settings.json" in attempt["error"]
    assert "not as it was when the plan was made" in attempt["error"]
    assert snapshot(desk.install) == before


def test_a_strangers_address_is_refused(desk, plan):
    document = json.loads(plan.read_text())
    for entry in document["plans"]:
        for operation in entry["operations"]:
            if "sources" in operation:
                operation["sources"].append("http://127.0.0.1:9/evil")
    plan.write_text(json.dumps(document))
    run = heal(desk, plan)
    assert run.code == 1
    assert "none of the profile's: 1 address of the file" in run.out
    assert list((desk.install / "model").iterdir()) == []


def other(document, name):
    return {**document, **{
        "version": {"modelmedic": "0.0.0"}, "profile": {"profile": "wan2.2-ti2v-5b"},
        "install": {"install_dir": "/elsewhere"}, "extra": {"more": 1}, "schema": {"schema": 2},
        "plans": {"plans": [{"recovery": 3}]},
    }[name]}  # fmt: skip


@pytest.mark.parametrize("name", ["version", "profile", "install", "extra", "schema", "plans"])
def test_a_plan_of_something_else_is_refused(tmp_path, name):
    context = SimpleNamespace(
        run_id="r", profile=SimpleNamespace(name="demo"), place=tmp_path / "install"
    )
    document = planfile.document([], context, None)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    assert planfile.read(path, context).plans == []
    path.write_text(json.dumps(other(document, name)))
    with pytest.raises(CannotTell, match="cannot be used"):
        planfile.read(path, context)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\x00", '"x"'])
def test_garbage_is_refused(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(CannotTell, match="cannot be used"):
        planfile.read(path, SimpleNamespace())


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("none", "pipe", ".", "a\0b"):
        with pytest.raises(CannotTell, match="cannot be used"):
            planfile.read(tmp_path / name, SimpleNamespace())


@pytest.mark.parametrize("options", [["--plan-file=none.json"], ["--heal", "--plan-file=none.json"]])  # fmt: skip
def test_a_plan_file_that_cannot_be_used_is_wrong_use(desk, options):
    run = desk.run(*options)
    assert run.code == 4
    assert "plan" in run.out
    assert "INTERNALERROR" not in run.out


def test_the_schema_speaks_of_what_we_judge_by():
    def keywords(value):
        if isinstance(value, dict):
            for key, part in value.items():
                if key in {"properties", "$defs"}:
                    yield from (word for entry in part.values() for word in keywords(entry))
                else:
                    yield key
                    yield from keywords(part)

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(keywords(SCHEMA)) <= jsonshape.KEYWORDS | jsonshape.ANNOTATIONS


# --- binding


def fetch(**changes):
    values = {
        "path": "a/b.bin", "size_bytes": 5, "sha256": "0" * 64, "git_blob": "",
        "sources": ("http://127.0.0.1:7/a", "http://127.0.0.1:7/b"), "was": (5, 6),
    }  # fmt: skip
    return FetchFile(**{**values, **changes})


def bound(planned, now):
    path = SimpleNamespace()
    plan = Plan("repair", "check", "node", operations=list(planned))
    file = planfile.PlanFile(path, [plan.to_json()])
    local = Plan("repair", "check", "node", operations=list(now))
    file.bind(local)
    return local.operations


def test_the_same_plan_stays():
    assert bound([MakeDir("a"), fetch()], [MakeDir("a"), fetch()]) == [MakeDir("a"), fetch()]


def test_a_folder_another_repair_made_is_passed_over():
    assert bound([MakeDir("a"), fetch()], [fetch()]) == [fetch()]


def test_sources_can_be_taken_out():
    few = fetch(sources=("http://127.0.0.1:7/b",))
    assert bound([few], [fetch()]) == [few]


@pytest.mark.parametrize(
    ("planned", "now", "said"),
    [
        ([fetch(was=(5, 7))], [fetch()], "is another one"),
        ([fetch(sha256="1" * 64)], [fetch()], "sha256 was"),
        ([fetch(path="a/c.bin")], [fetch()], "path was"),
        ([fetch(sources=("http://evil/",))], [fetch()], "1 address of the file"),
        ([fetch(sources=())], [fetch()], "not as it was"),
        ([fetch()], [MakeDir("a"), fetch()], "kind was fetch_file"),
        ([fetch()], [fetch(), MakeDir("b")], "needs more now"),
        ([fetch(), ReplaceFile("x", "y", None)], [fetch()], "done already"),
        ([ReplaceFile("x", "y", None)], [ReplaceFile("x", "z", None)], "something else"),
    ],
)
def test_whatever_differs_is_refused(planned, now, said):
    with pytest.raises(RecoveryRefused, match=said):
        bound(planned, now)


def test_the_version_stands_in_the_file(tmp_path):
    context = SimpleNamespace(run_id="r", profile=SimpleNamespace(name="demo"), place=tmp_path)
    assert planfile.document([], context, None)["modelmedic"] == __version__


def test_the_next_command_of_a_plan_keeps_what_bounds_it(desk):
    (desk.install / "outputs").rmdir()
    run = desk.run("--heal=plan", "--stage=installed", "--heal-budget-count=3")
    (line,) = (line for line in run.out.splitlines() if line.startswith("Next:"))
    assert "--heal-budget-count=3" in line
