"""The checks of model files, called on real files in every state."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os

import pytest
import support

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.profile.model import ModelFile, ModelRepo
from modelmedic.testing.specimens import checkpoint_bytes, safetensors_bytes, seeded_tensor

SHARDS = {
    f"m-{number:05}-of-00002.safetensors": {
        f"layer.{number}.weight": seeded_tensor(f"w{number}", "F32", (8, 8)),
        f"layer.{number}.bias": seeded_tensor(f"b{number}", "BF16", (8,)),
    }
    for number in (1, 2)
}
INDEX = "m.safetensors.index.json"
VAE = "vae.pth"


def index_text(**changes) -> str:
    weight_map = {name: shard for shard, tensors in SHARDS.items() for name in tensors}
    total = sum(len(t.data) for tensors in SHARDS.values() for t in tensors.values())
    return json.dumps(
        {"metadata": {"total_size": total}, "weight_map": weight_map | changes.pop("map", {})}
        | changes
    )


class Patient:
    """A small real model in ``model/`` of an install, its profile, and its checks."""

    def __init__(self, place):
        self.place = place
        self.folder = place / "model"
        self.folder.mkdir(parents=True)
        contents = {shard: safetensors_bytes(tensors) for shard, tensors in SHARDS.items()}
        contents |= {
            INDEX: index_text().encode(),
            VAE: checkpoint_bytes(SHARDS[next(iter(SHARDS))]),
        }
        for name, data in contents.items():
            (self.folder / name).write_bytes(data)
        self.files = {
            name: ModelFile(name, len(data), hashlib.sha256(data).hexdigest())
            for name, data in contents.items()
        }
        self.losses = []
        self.checks = rooms.load("checks", "test_weights")

    def change(self, name, **changes):
        known = self.files.get(name) or ModelFile(name)
        self.files[name] = dataclasses.replace(known, **changes)

    def facts(self, **more):
        model = ModelRepo("demo", ("model",), "native", tuple(self.files.values()))
        return support.make_facts(self.place, support.make_profile(models=(model,)), **more)

    def degraded(self, what, why="", next_step="", failure_id=None):
        self.losses.append(what)

    def judge(self, name, *, check="intact", **more):
        facts = self.facts(**more)
        (expected,) = [e for e in facts.context.expected_files() if e.file.path == name]
        self.checks.warm(facts)
        if check == "present":
            return self.checks.test_model_file_is_present(
                facts, facts.context, expected, self.degraded
            )
        return self.checks.test_model_file_is_intact(facts, facts.context, expected, self.degraded)

    def judge_index(self):
        facts = self.facts()
        (model,) = facts.profile.models
        self.checks.test_index_agrees_with_the_shards(facts, facts.context, model, self.degraded)


@pytest.fixture
def patient(tmp_path):
    return Patient(tmp_path / "install")


SHARD = next(iter(SHARDS))


def test_a_healthy_model_passes_every_check(patient):
    for name in patient.files:
        for check in ("present", "intact"):
            patient.judge(name, check=check)
    patient.judge_index()
    assert patient.losses == []


# --- weights.listed


def test_a_model_without_a_file_list_is_unknown(patient):
    patient.checks.test_profile_lists_the_files(patient.facts().profile.models[0])
    with pytest.raises(CannotTell, match="The profile has no file list for empty"):
        patient.checks.test_profile_lists_the_files(ModelRepo("empty", (".",), "native", ()))


# --- weights.present


def test_a_missing_file_fails_and_an_optional_one_is_skipped(patient):
    (patient.folder / SHARD).unlink()
    with pytest.raises(Unhealthy) as failed:
        patient.judge(SHARD, check="present")
    assert failed.value.what == f"Shard 1 of 2 is not there: model/{SHARD} is missing."
    assert failed.value.failure_id == "missing-shard-or-component"
    assert failed.value.subject == f"model/{SHARD}"
    assert "`pytest checks/ --heal` fetches it" in failed.value.next_step
    patient.change(SHARD, is_optional=True)
    for check in ("present", "intact"):
        with pytest.raises(pytest.skip.Exception):
            patient.judge(SHARD, check=check, deep=True)


def test_a_missing_file_of_gigabytes_needs_leave_to_be_fetched(patient):
    (patient.folder / SHARD).unlink()
    patient.change(SHARD, size_bytes=11_000_000_000)
    with pytest.raises(Unhealthy) as failed:
        patient.judge(SHARD, check="present")
    assert "`pytest checks/ --heal --allow costly`" in failed.value.next_step
    assert "10.2 GiB" in failed.value.next_step


def test_a_file_of_that_name_and_size_elsewhere_is_pointed_out(patient):
    (patient.place / "downloads").mkdir()
    (patient.folder / SHARD).rename(patient.place / "downloads" / SHARD)
    with pytest.raises(Unhealthy) as failed:
        patient.judge(SHARD, check="present")
    assert f"lies at downloads/{SHARD}" in failed.value.why
    assert "moves it home" in failed.value.next_step
    (patient.place / "downloads" / SHARD).write_bytes(b"another size")
    with pytest.raises(Unhealthy) as failed:
        patient.judge(SHARD, check="present")
    assert failed.value.why == ""


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
@pytest.mark.parametrize(
    ("make", "verdict", "words"),
    [
        (lambda path: path.symlink_to("gone"), Unhealthy, "nothing is there"),
        (lambda path: path.symlink_to(path.name), Unhealthy, "circle"),
        (lambda path: os.mkfifo(path), Unhealthy, "named pipe"),  # noqa: PLW0108 - not on Windows
        (lambda path: path.mkdir(), Unhealthy, "is a folder"),
        (lambda path: path.symlink_to("/etc/hosts"), CannotTell, "leads out of the install"),
    ],
    ids=["dangling", "loop", "pipe", "folder", "outside"],
)
def test_what_is_no_file_of_the_install_is_told_apart(patient, make, verdict, words):
    (patient.folder / SHARD).unlink()
    make(patient.folder / SHARD)
    with pytest.raises(verdict, match=words):
        patient.judge(SHARD, check="present")
    with pytest.raises(CannotTell, match=words):
        patient.judge(SHARD)


# --- weights.intact


def test_a_cut_shard_names_both_sizes_and_the_lost_tensors(patient):
    size = patient.files[SHARD].size_bytes
    os.truncate(patient.folder / SHARD, size - 10)
    with pytest.raises(Unhealthy) as failed:
        patient.judge(SHARD)
    assert failed.value.what == (
        f"Shard 1 of 2 is cut short: model/{SHARD} has {size - 10} bytes; the profile says {size}."
    )
    assert "layer.1.bias" in failed.value.why
    assert failed.value.failure_id == "truncated-safetensors"
    assert failed.value.evidence["size_bytes"] == size - 10
    assert failed.value.evidence["tensors_cut"] == 1


def test_a_cut_shard_is_seen_without_any_size_in_the_profile(patient):
    size = patient.files[SHARD].size_bytes
    os.truncate(patient.folder / SHARD, size - 10)
    patient.change(SHARD, size_bytes=None)
    with pytest.raises(Unhealthy, match=f"Its header promises {size} bytes"):
        patient.judge(SHARD)


def test_a_cut_checkpoint_is_seen(patient):
    os.truncate(patient.folder / VAE, 1000)
    with pytest.raises(Unhealthy, match="cut short") as failed:
        patient.judge(VAE)
    assert failed.value.failure_id == "truncated-pth"


def test_a_flip_in_the_header_is_seen_though_the_size_is_right(patient):
    path = patient.folder / SHARD
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"F3x"'))
    with pytest.raises(Unhealthy, match="is damaged") as failed:
        patient.judge(SHARD)
    assert "F3x" in failed.value.why
    assert failed.value.failure_id is None


def test_bytes_too_many_are_seen(patient):
    with (patient.folder / SHARD).open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(Unhealthy, match="is too long") as failed:
        patient.judge(SHARD)
    assert failed.value.failure_id == "consistency-check-size"


def test_a_whole_file_of_another_size_is_another_file(patient):
    """A model that loads and is not the one asked for must never pass."""
    other = safetensors_bytes({"layer.1.weight": seeded_tensor("x", "F32", (4, 8))})
    (patient.folder / SHARD).write_bytes(other)
    with pytest.raises(Unhealthy, match="another file than the profile means") as failed:
        patient.judge(SHARD)
    assert "another version or variant" in failed.value.why


@pytest.mark.parametrize(
    ("name", "data", "failure_id", "words"),
    [
        (SHARD, b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64
         + b"\nsize 77\n", "lfs-pointer-instead-of-weights", "has 77 bytes"),
        (VAE, b"<!DOCTYPE html><title>\x1b[1mLogin</title>", "error-page-saved-as-weight", "Login"),
        (SHARD, b'{"error": "Not found"}', "error-page-saved-as-weight", "Not found"),
        (INDEX, b"<html>", "error-page-saved-as-weight", "html"),
        (SHARD, bytes(5000), None, "reserved the space"),
    ],
    ids=["pointer", "page", "error", "page-for-json", "zeros"],
)  # fmt: skip
def test_what_a_failed_download_leaves_is_named(patient, name, data, failure_id, words):
    (patient.folder / name).write_bytes(data)
    with pytest.raises(Unhealthy) as failed:
        patient.judge(name)
    assert failed.value.failure_id == failure_id
    assert words in failed.value.why
    assert "\x1b" not in str(failed.value)
    assert f"the profile says {patient.files[name].size_bytes:,}" in failed.value.what


def test_a_readme_that_begins_with_markup_is_no_error_page(patient):
    page = b'<p align="center"><html>'
    (patient.folder / "README.md").write_bytes(page)
    patient.change("README.md", size_bytes=len(page))
    patient.judge("README.md")


def test_an_uncertain_size_only_degrades(patient):
    patient.change(SHARD, size_bytes=9999, is_certain=False)
    patient.judge(SHARD)
    assert "9,999" in patient.losses[0]
    os.truncate(patient.folder / SHARD, 300)
    with pytest.raises(Unhealthy):
        patient.judge(SHARD)


def test_a_file_without_structure_and_without_a_size_is_unknown(patient):
    (patient.folder / "old.bin").write_bytes(b"\x80\x02old pickle")
    patient.change("old.bin")
    with pytest.raises(CannotTell, match="cannot be judged"):
        patient.judge("old.bin")
    patient.change("old.bin", size_bytes=12)
    patient.judge("old.bin")


def test_settings_of_the_model_that_do_not_parse_are_damaged(patient):
    (patient.folder / "config.json").write_bytes(b'{"dim": 1,,,,}')
    patient.change("config.json", size_bytes=14)
    with pytest.raises(Unhealthy, match="is damaged"):
        patient.judge("config.json")


# --- weights.index


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (index_text(map={"ghost": SHARD}), "ghost among them"),
        (index_text(map={"layer.1.bias": "m-00002-of-00002.safetensors"}), "layer.1.bias among"),
        (index_text(map={"ghost": "m-00003-of-00003.safetensors"}), "m-00003-of-00003.safetensors is missing"),
        (index_text(map={"ghost": "../../secret.safetensors"}), "points out of the install"),
        (index_text(map={"ghost": VAE}), "no readable header"),
        ("{", "not JSON"),
    ],
    ids=["ghost", "moved", "shard", "escape", "no-header", "cut"],
)  # fmt: skip
def test_an_index_that_disagrees_with_its_shards_fails(patient, text, words):
    (patient.folder / INDEX).write_text(text)
    with pytest.raises(Unhealthy) as failed:
        patient.judge_index()
    assert words in failed.value.why
    assert failed.value.subject == f"model/{INDEX}"


def test_a_tensor_that_the_index_forgot_fails(patient):
    lost = json.loads(index_text())
    del lost["weight_map"]["layer.2.bias"]
    (patient.folder / INDEX).write_text(json.dumps(lost))
    with pytest.raises(Unhealthy) as failed:
        patient.judge_index()
    assert "1 tensor that the index does not put there" in failed.value.why


def test_a_wrong_total_is_a_stated_loss(patient):
    (patient.folder / INDEX).write_text(index_text(metadata={"total_size": 1}))
    patient.judge_index()
    assert "says its shards hold 1 bytes" in patient.losses[0]


def test_a_model_without_index_is_skipped(patient):
    del patient.files[INDEX]
    with pytest.raises(pytest.skip.Exception):
        patient.judge_index()
