"""The checks of the install folder, called on real folders, locks, sockets and processes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import pytest
import support

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import processes
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.profile.model import ModelFile, ModelRepo, ModelSource, Port, Program

CHECKS = rooms.load("checks", "test_install")
DOWNLOAD = "model/.cache/huggingface/download"
FILES = tuple(
    ModelFile(path, size_bytes=10) for path in ("vae.pth", "low/a.safetensors", "config.json")
)
NATIVE = ModelRepo("demo", ("model",), "native", FILES)
PIPELINE_FILES = tuple(
    ModelFile(path, size_bytes=10) for path in ("model_index.json", "transformer/a.safetensors")
)
PIPELINE = ModelRepo("demo", ("model",), "diffusers", PIPELINE_FILES)


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "near" / "install"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def losses():
    return []


@pytest.fixture
def degraded(losses):
    def record(what, why="", next_step="", failure_id=None):
        losses.append((what, why, next_step, failure_id))

    return record


def facts_of(place, *models, **more):
    return support.make_facts(place, support.make_profile(models=models), **more)


def put(place, *paths, data=b"0123456789"):
    for path in paths:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)


# --- folders


def test_the_install_folder_is_a_folder_or_fails(place):
    CHECKS.test_install_folder_exists(*_facts_and_context(place))
    with pytest.raises(Unhealthy, match="is missing") as failed:
        CHECKS.test_install_folder_exists(*_facts_and_context(place / "gone"))
    assert failed.value.subject == "."
    assert "`pytest checks/ --heal` creates it" in failed.value.next_step
    with pytest.raises(Unhealthy, match="is missing") as failed:
        CHECKS.test_install_folder_exists(*_facts_and_context(place / "gone" / "further"))
    assert failed.value.next_step == f"Correct the path, or create {place / 'gone'} yourself."
    put(place, "file")
    with pytest.raises(Unhealthy, match="is a file, not a folder"):
        CHECKS.test_install_folder_exists(*_facts_and_context(place / "file"))


def test_folders_of_the_app_exist_or_fail(place):
    facts, context = _facts_and_context(place)
    (place / "outputs").mkdir()
    CHECKS.test_folder_of_the_app_exists(facts, context, "outputs")
    with pytest.raises(Unhealthy, match=r"a/b in .* is missing") as failed:
        CHECKS.test_folder_of_the_app_exists(facts, context, "a/b")
    assert failed.value.subject == "a/b"
    put(place, "inputs")
    with pytest.raises(Unhealthy, match="is a file, not a folder") as failed:
        CHECKS.test_folder_of_the_app_exists(facts, context, "inputs")
    assert "--heal" not in failed.value.next_step


def test_a_folder_on_another_disk_by_link_is_fine_and_a_file_there_is_not(place, tmp_path):
    facts, context = _facts_and_context(place)
    (tmp_path / "big").mkdir()
    (place / "outputs").symlink_to(tmp_path / "big")
    CHECKS.test_folder_of_the_app_exists(facts, context, "outputs")
    (place / "inputs").symlink_to("/etc/hosts")
    with pytest.raises(CannotTell, match="leads out"):
        CHECKS.test_folder_of_the_app_exists(facts, context, "inputs")


def _facts_and_context(place):
    facts = facts_of(place)
    return facts, facts.context


# --- layout


def judge_layout(place, model, degraded):
    facts = facts_of(place, model)
    CHECKS.test_layout_is_the_one_of_the_profile(facts, facts.context, model, degraded)


@pytest.mark.parametrize("model", [NATIVE, PIPELINE], ids=["native", "diffusers"])
def test_the_right_layout_passes(place, model, degraded, losses):
    put(place / "model", *(file.path for file in model.files))
    judge_layout(place, model, degraded)
    assert losses == []


def test_files_that_are_just_missing_are_not_a_wrong_layout(place, degraded):
    judge_layout(place, NATIVE, degraded)
    put(place / "model", "config.json")
    judge_layout(place, NATIVE, degraded)


def test_a_diffusers_repo_for_native_code_is_named(place, degraded):
    put(place / "model", *(file.path for file in PIPELINE_FILES))
    with pytest.raises(Unhealthy) as failed:
        judge_layout(place, NATIVE, degraded)
    assert failed.value.failure_id == "diffusers-repo-for-native-code"
    assert "--heal --allow costly" in failed.value.next_step


def test_a_native_repo_for_diffusers_code_is_named(place, degraded):
    put(place / "model", *(file.path for file in FILES))
    with pytest.raises(Unhealthy) as failed:
        judge_layout(place, PIPELINE, degraded)
    assert failed.value.failure_id == "native-repo-for-diffusers-code"


def test_both_layouts_in_one_folder_are_a_stated_loss(place, degraded, losses):
    put(place / "model", *(file.path for file in FILES + PIPELINE_FILES))
    judge_layout(place, NATIVE, degraded)
    assert "also holds a Diffusers pipeline" in losses[0][0]


def test_files_with_a_bf16_mark_are_named(place, degraded):
    put(place / "model", "vae.pth", "config.json", "low/a-00001-of-00002-bf16.safetensors")
    with pytest.raises(Unhealthy, match="bf16 mark") as failed:
        judge_layout(place, NATIVE, degraded)
    assert failed.value.failure_id == "modelscope-bf16-suffix"


@pytest.mark.parametrize(
    ("where", "failure_id"),
    [
        ("model/demo", "ckpt-dir-relative-wrong"),
        ("../demo", "ckpt-dir-relative-wrong"),
        ("Org/De___mo", "modelscope-dir-names"),
    ],
)
def test_a_model_in_another_folder_is_named(place, degraded, where, failure_id):
    put(place / where, *(file.path for file in FILES))
    with pytest.raises(Unhealthy) as failed:
        judge_layout(place, NATIVE, degraded)
    assert failed.value.failure_id == failure_id
    assert f"lie in {where}" in failed.value.what
    assert f"move {where} to model" in failed.value.next_step


# --- leftovers, locks, scratch


def judge_leftovers(place, degraded, *models):
    facts = facts_of(place, *models)
    CHECKS.test_no_download_was_left_unfinished(facts, facts.context, degraded)


def test_unfinished_downloads_are_counted_with_their_bytes(place, degraded, losses):
    put(place, "downloads/a.part", "downloads/b.aria2", data=b"x" * 2048)
    os.utime(place / "downloads/a.part", (1, 1))
    judge_leftovers(place, degraded)
    ((what, why, _, failure_id),) = losses
    assert "2 unfinished downloads take 4.0 KiB" in what
    assert "may still run" in why
    assert failure_id == "orphan-incomplete-files"
    os.utime(place / "downloads/b.aria2", (1, 1))
    judge_leftovers(place, degraded)
    assert "killed" in losses[1][1]


def test_parts_of_the_hub_client_that_nobody_fills_are_orphaned(place, degraded, losses):
    put(place, f"{DOWNLOAD}/a.incomplete", f"{DOWNLOAD}/b.incomplete", data=b"x" * 2048)
    os.utime(place / f"{DOWNLOAD}/a.incomplete", (1, 1))
    with pytest.raises(Unhealthy, match="1 orphaned part of Hub downloads takes") as failed:
        judge_leftovers(place, degraded)
    assert failed.value.subject == f"{DOWNLOAD}/a.incomplete"
    assert failed.value.failure_id == "orphan-incomplete-files"
    assert failed.value.evidence["parts"] == 1
    assert "b.incomplete" in losses[0][0]


@pytest.mark.skipif(os.name == "nt", reason="flock")
def test_no_part_is_orphaned_while_a_download_holds_a_lock(place, degraded, losses):
    import fcntl

    put(place, f"{DOWNLOAD}/a.incomplete", f"{DOWNLOAD}/other.lock")
    os.utime(place / f"{DOWNLOAD}/a.incomplete", (1, 1))
    with (place / f"{DOWNLOAD}/other.lock").open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        judge_leftovers(place, degraded)
    assert "1 unfinished download" in losses[0][0]


def test_an_unfinished_download_of_modelscope_is_told_apart(place, degraded, losses):
    put(place, "model/._____temp/vae.pth")
    judge_leftovers(place, degraded)
    assert "1 ModelScope download did not end: model/._____temp" in losses[0][0]
    assert "goes on" in losses[0][2]


def test_a_fetched_file_that_undo_kept_is_no_unfinished_download(place, degraded, losses):
    whole, cut = ModelFile("a", 10, sha256="a" * 64), ModelFile("b", 10, git_blob="b" * 40)
    parts = [
        FetchFile(each.path, 10, each.sha256 or "", each.git_blob or "", (), None).private
        for each in (whole, cut)
    ]
    put(place, *parts)
    model = ModelRepo("demo", ("model",), "native", (whole, cut))
    judge_leftovers(place, degraded, model)
    assert losses == []
    put(place, parts[1], data=b"012345678")  # the next repair goes on from it
    judge_leftovers(place, degraded, model)
    assert losses == []


def test_a_clean_install_has_nothing_left_over(place, degraded, losses):
    put(place, "model/vae.pth", f"{DOWNLOAD}/vae.pth.lock", data=b"")
    facts = facts_of(place)
    CHECKS.warm(facts)
    CHECKS.test_no_download_was_left_unfinished(facts, facts.context, degraded)
    CHECKS.test_no_stale_lock_blocks_downloads(facts, facts.context, degraded)
    CHECKS.test_no_scratch_folder_was_left(facts, degraded)
    assert losses == []


def test_a_walk_that_was_cut_is_a_stated_loss(place, degraded, losses, monkeypatch):
    monkeypatch.setattr(
        CHECKS.install_scan.scan,
        "__kwdefaults__",
        {"max_entries": 3, "max_seconds": 5, "folders": ("",)},
    )
    put(place, *(f"{index}.txt" for index in range(9)))
    judge_leftovers(place, degraded)
    assert "more than 3 names" in losses[0][0]


def test_a_stale_lock_fails_and_names_the_oldest(place, degraded, losses):
    for name in ("new", "old"):
        put(place, f"{DOWNLOAD}/{name}.lock", data=f"999999\n{socket.gethostname()}\n".encode())
    moment = time.time() - 7200
    os.utime(place / f"{DOWNLOAD}/old.lock", (moment, moment))
    facts = facts_of(place)
    with pytest.raises(Unhealthy) as failed:
        CHECKS.test_no_stale_lock_blocks_downloads(facts, facts.context, degraded)
    assert failed.value.subject == f"{DOWNLOAD}/old.lock"
    assert failed.value.failure_id == "stale-lock-infinite-wait"
    assert "process 999999, which is gone, left it 2 h" in failed.value.what
    assert "1 other lock" in failed.value.what
    assert failed.value.evidence["locks"] == 2
    assert losses == []


@pytest.mark.skipif(os.name == "nt", reason="flock")
def test_a_lock_in_use_is_a_stated_loss(place, degraded, losses):
    put(place, f"{DOWNLOAD}/a.lock", data=b"")
    script = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [support.PYTHON, "-c", script, place / f"{DOWNLOAD}/a.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=support.child_env(),
    )
    try:
        child.stdout.readline()
        facts = facts_of(place)
        CHECKS.test_no_stale_lock_blocks_downloads(facts, facts.context, degraded)
    finally:
        child.kill()
        child.communicate()
    assert "is in use" in losses[0][0]


def test_a_scratch_folder_of_a_killed_run_is_told_and_a_fresh_one_is_not(place, degraded, losses):
    scratch = place / ".modelmedic-probe-killed"
    scratch.mkdir()
    CHECKS.test_no_scratch_folder_was_left(facts_of(place), degraded)
    assert losses == []
    os.utime(scratch, (1, 1))
    CHECKS.test_no_scratch_folder_was_left(facts_of(place), degraded)
    assert str(scratch) in losses[0][0]


# --- running, ports, others, programs


def test_who_uses_the_install_is_told_without_terminals(place, degraded, losses, monkeypatch):
    users = (
        processes.User(1, "bash", "bash", ("works in it",), str(place)),
        processes.User(7, "python3", "python3 app.py", ("runs from it",), f"{place}/app.py"),
    )
    running = processes.Running(users, hidden=3, is_cut=True)
    monkeypatch.setattr(CHECKS.processes, "read_running", _probe(running))
    CHECKS.test_nobody_uses_the_install(facts_of(place), degraded)
    assert (
        losses[0][0] == f"The install is in use: process 7 (python3) runs from it: {place}/app.py."
    )
    assert "not all" in losses[1][0]


def test_nobody_uses_a_fresh_folder(place, degraded, losses):
    CHECKS.test_nobody_uses_the_install(facts_of(place), degraded)
    assert losses == []


def _probe(value):
    def read_running(facts):
        return value

    return read_running


def test_a_port_is_free_or_names_who_has_it(place, degraded, losses):
    facts = facts_of(place)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = Port(server.getsockname()[1], "web page")
        server.listen()
        with pytest.raises(Unhealthy) as failed:
            CHECKS.test_port_of_the_app_is_free(facts, facts.context, port, degraded)
    assert f"Port {port.number} (web page)" in failed.value.what
    assert failed.value.failure_id == "port-7860-in-use"
    assert failed.value.evidence["port"] == port.number
    facts.forget()
    CHECKS.test_port_of_the_app_is_free(facts, facts.context, port, degraded)
    assert losses == []


def test_the_app_itself_on_its_port_is_only_a_stated_loss(place, degraded, losses, monkeypatch):
    owner = processes.User(os.getpid(), "python3", "", ("runs from it",), f"{place}/app.py")
    monkeypatch.setattr(
        CHECKS.processes, "read_running", _probe(processes.Running((owner,), hidden=0))
    )
    facts = facts_of(place)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = Port(server.getsockname()[1])
        if CHECKS.ports.read_port(facts, port.number).pid is None:
            pytest.skip("This system does not show who listens.")
        CHECKS.test_port_of_the_app_is_free(facts, facts.context, port, degraded)
    assert f"already listens on port {port.number}" in losses[0][0]


def test_other_copies_go_into_the_record(place, request, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(place.parent / "hub"))
    put(place.parent / "hub/models--o--n/snapshots/r", "vae.pth")
    model = ModelRepo(
        "demo", ("model",), "native", FILES, (ModelSource("hub", "o/n", "main", "h"),)
    )
    before = len(request.node.user_properties)
    CHECKS.test_other_copies_of_the_model_are_known(facts_of(place, model), request)
    ((name, text),) = request.node.user_properties[before:]
    assert name == "modelmedic.other_install"
    assert "1 of 2 weight files at" in text
    with pytest.raises(pytest.skip.Exception):
        CHECKS.test_other_copies_of_the_model_are_known(facts_of(place), request)


def test_a_program_is_there_or_missing_or_only_a_loss(place, degraded, losses, monkeypatch):
    monkeypatch.setenv("PATH", str(place / "bin"))
    facts = facts_of(place)
    tool = Program("ffmpeg", "sound", is_required=False)
    CHECKS.test_program_is_on_the_path(facts, facts.profile, tool, degraded)
    assert losses[0][3] == "ffmpeg-missing-s2v-muted"
    with pytest.raises(Unhealthy, match="neither on PATH") as failed:
        CHECKS.test_program_is_on_the_path(facts, facts.profile, Program("sometool"), degraded)
    assert failed.value.failure_id is None
    put(place, "bin/sometool")
    (place / "bin/sometool").chmod(0o755)
    facts.forget()
    assert shutil.which("sometool")
    CHECKS.test_program_is_on_the_path(facts, facts.profile, Program("sometool"), degraded)
