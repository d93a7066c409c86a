"""The checks that read every byte, called on real files in every state."""

from __future__ import annotations

import dataclasses
import hashlib
import os

import pytest
import support

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import digests, file_hashes, references, seals, weights
from modelmedic.facts.book import FactBook
from modelmedic.facts.manifest import Manifest, ManifestFile
from modelmedic.profile.model import ModelFile, ModelRepo
from modelmedic.testing.specimens import safetensors_bytes, seeded_tensor

TENSORS = {
    f"layer.{number}.weight": seeded_tensor(f"w{number}", "F32", (1100, 1000))
    for number in (1, 2, 3)
}
SHARD, SMALL = "m.safetensors", "config.json"
DATA = {SHARD: safetensors_bytes(TENSORS), SMALL: b'{"a": 1}'}  # the shard has four blocks


def blob_of(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Patient:
    """A model of two files, its profile, and the checks of its bytes."""

    def __init__(self, place):
        self.place, self.folder, self.said = place, place / "model", []
        self.folder.mkdir(parents=True)
        for name, data in DATA.items():
            (self.folder / name).write_bytes(data)
        self.files = {
            name: ModelFile(name, len(data), hashlib.sha256(data).hexdigest())
            for name, data in DATA.items()
        }
        self.checks = rooms.load("checks", "test_weights_bytes")

    def change(self, name, **changes):
        self.files[name] = dataclasses.replace(self.files[name], **changes)

    def damage(self, *offsets):
        with (self.folder / SHARD).open("r+b") as stream:
            for offset in offsets:
                stream.seek(offset)
                stream.write(bytes([DATA[SHARD][offset] ^ 1]))

    def facts(self, **more):
        model = ModelRepo("demo", ("model",), "native", tuple(self.files.values()))
        profile = support.make_profile(models=(model,))
        return FactBook(references.completed(support.make_context(self.place, profile, **more)))

    def judge(self, name, *, check="sha256", facts=None, **more):
        facts = facts or self.facts(**({"deep": True} | more))
        (expected,) = [e for e in facts.context.expected_files() if e.file.path == name]
        self.checks.warm(facts)
        judges = {
            "sha256": self.checks.test_model_file_has_its_hash,
            "stable": self.checks.test_two_reads_of_the_file_agree,
        }
        judges[check](facts, facts.context, expected, self.said.append)
        return facts


@pytest.fixture
def patient(tmp_path):
    return Patient(tmp_path / "install")


@pytest.mark.parametrize("check", ["sha256", "stable"])
def test_published_bytes_pass(patient, check):
    for name in DATA:
        patient.judge(name, check=check)


@pytest.mark.parametrize("check", ["sha256", "stable"])
def test_every_byte_waits_for_deep(patient, check):
    with pytest.raises(pytest.skip.Exception, match="needs --deep"):
        patient.judge(SHARD, check=check, deep=False)


@pytest.mark.parametrize("check", ["sha256", "stable"])
def test_an_optional_file_that_is_not_there_is_skipped(patient, check):
    (patient.folder / SHARD).unlink()
    patient.change(SHARD, is_optional=True)
    with pytest.raises(pytest.skip.Exception, match="optional"):
        patient.judge(SHARD, check=check)


def test_one_flipped_byte_in_the_data_is_found_by_its_hash_only(patient):
    patient.damage(-3 + len(DATA[SHARD]))
    patient.judge(SHARD, check="stable")
    with pytest.raises(Unhealthy) as failed:
        patient.judge(SHARD)
    damaged = (patient.folder / SHARD).read_bytes()
    assert hashlib.sha256(damaged).hexdigest() in failed.value.what
    assert patient.files[SHARD].sha256 in failed.value.what
    assert failed.value.subject == f"model/{SHARD}"
    assert "What differs" not in failed.value.what  # nobody told the digests of the right blocks


def test_a_small_file_is_proven_by_its_git_hash(patient):
    patient.change(SMALL, sha256=None, git_blob=blob_of(DATA[SMALL]).upper())
    patient.judge(SMALL)
    patient.change(SMALL, git_blob="0" * 40)
    patient.judge(SMALL, check="stable")
    with pytest.raises(Unhealthy, match="Git blob hash"):
        patient.judge(SMALL)


def test_without_a_hash_the_download_record_counts_and_else_it_is_unknown(patient):
    right = patient.files[SHARD].sha256
    patient.change(SHARD, sha256=None)
    for check in ("sha256", "stable"):
        with pytest.raises(CannotTell, match="No hash"):
            patient.judge(SHARD, check=check)
    record = patient.folder / f".cache/huggingface/download/{SHARD}.metadata"
    record.parent.mkdir(parents=True)
    record.write_text(f"commit\n{right}\n1.0\n")
    patient.judge(SHARD)
    record.write_text(f"commit\n{'0' * 64}\n1.0\n")
    with pytest.raises(Unhealthy, match=r"\.metadata says 0000"):
        patient.judge(SHARD)


# --- where it is damaged


def manifest_of(data, name=SHARD):
    blocks = b"".join(
        hasher.digest()
        for at in range(0, len(data), digests.BLOCK_BYTES)
        for hasher in [digests.new_hasher(digests.block_algorithm())]
        if hasher.update(data[at : at + digests.BLOCK_BYTES]) or True
    )
    found = digests.Digests(
        len(data), hashlib.sha256(data).hexdigest(),
        digests.Blocks(digests.block_algorithm(), digests.BLOCK_BYTES, blocks),
    )  # fmt: skip
    return Manifest("demo", "", "", "now", (ManifestFile(name, found),))


def test_a_manifest_says_which_tensors_are_damaged(patient):
    patient.damage(5_000_000)
    with pytest.raises(Unhealthy) as failed:
        patient.judge(SHARD, manifests=(manifest_of(DATA[SHARD]),))
    assert "bytes 4,194,304 to 8,388,607" in failed.value.what
    assert failed.value.evidence["ranges"] == "4194304-8388607"
    # The first tensor takes bytes 0 to 4.4 million: the second block holds its end, too.
    assert failed.value.evidence["tensors"] == "layer.1.weight, layer.2.weight"


def test_a_manifest_of_another_content_says_nothing(patient):
    patient.damage(5_000_000)
    with pytest.raises(Unhealthy) as failed:
        patient.judge(SHARD, manifests=(manifest_of(b"x" * len(DATA[SHARD])),))
    assert failed.value.evidence["ranges"] == ""


def test_a_lying_manifest_passes_no_damaged_file(patient):
    patient.damage(5_000_000)
    lie = manifest_of((patient.folder / SHARD).read_bytes())
    told = lie.files[0].digests
    told = dataclasses.replace(told, sha256=patient.files[SHARD].sha256)
    lie = dataclasses.replace(lie, files=(ManifestFile(SHARD, told),))
    with pytest.raises(Unhealthy):
        patient.judge(SHARD, manifests=(lie,))


# --- proven before


def keep(patient, facts, name=SHARD):
    (known,) = [v for v in facts.memo.values() if getattr(v, "subject", "") == f"model/{name}"]
    kept = digests.Digests(known.size_bytes, known.hexdigest, known.blocks)
    seals.keep_blocks(facts.context.state_dir, kept)
    return known


blake3_only = pytest.mark.skipif(
    digests.block_algorithm() != "blake3", reason="SHA-256 of blocks is no faster than of all"
)


@blake3_only
def test_kept_block_digests_prove_it_without_its_sha256(patient, monkeypatch):
    keep(patient, patient.judge(SHARD))
    monkeypatch.setattr(hashlib, "sha256", None)  # and the other one is not asked either
    monkeypatch.setattr("modelmedic.facts.resumable_sha256.ResumableSha256", None)
    patient.judge(SHARD, check="stable")
    facts = patient.judge(SHARD)
    assert "All 4 blocks" in patient.said[-1]
    (known,) = [
        v
        for v in facts.memo.values()
        if isinstance(v, file_hashes.FileHash) and v.subject.endswith(SHARD)
    ]
    assert known.is_by_blocks


@blake3_only
def test_a_damaged_file_fails_beside_kept_digests_with_its_real_hash(patient):
    keep(patient, patient.judge(SHARD))
    patient.damage(10)
    with pytest.raises(Unhealthy) as failed:
        patient.judge(SHARD)
    assert hashlib.sha256((patient.folder / SHARD).read_bytes()).hexdigest() in failed.value.what
    assert failed.value.evidence["ranges"] == "0-4194303"


def test_a_sealed_file_passes_without_deep_until_it_changes(patient):
    facts = patient.facts()
    place, state_dir = facts.context.place, facts.context.state_dir
    state = file_hashes.safe_open.look(place, f"model/{SHARD}")
    seal = seals.Seal(
        seals.identity_of(state), {"sha256": patient.files[SHARD].sha256}, "2026-11-25"
    )
    seals.keep_seals(state_dir, place, {f"model/{SHARD}": seal})
    for check in ("stable", "sha256"):
        patient.judge(SHARD, check=check, deep=False)
        assert "Sealed on 2026-11-25" in patient.said[-1]
    patient.change(SHARD, sha256="0" * 64)  # another profile wants another file
    with pytest.raises(pytest.skip.Exception):
        patient.judge(SHARD, deep=False)
    patient.change(SHARD, sha256=hashlib.sha256(DATA[SHARD]).hexdigest())
    os.utime(patient.folder / SHARD, ns=(1, 1))
    with pytest.raises(pytest.skip.Exception):
        patient.judge(SHARD, deep=False)


# --- two reads


def test_two_reads_that_disagree_are_a_fault_of_the_machine(patient, monkeypatch):
    """The disk that gives other bytes is made of a read that flips one on its way."""
    patient.damage(9_000_000)
    real = file_hashes._drop_from_memory

    def flip(file):
        real(file)
        stamp = (patient.folder / SHARD).stat()
        patient.damage(5_000_000)
        os.utime(patient.folder / SHARD, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    monkeypatch.setattr(file_hashes, "_drop_from_memory", flip)
    with pytest.raises(Unhealthy) as failed:
        patient.judge(SHARD, check="stable")
    assert "disagree" in failed.value.what
    assert "bad memory" in failed.value.why
    assert failed.value.evidence["ranges"] == "4194304-8388607"
    assert failed.value.evidence["first"] != failed.value.evidence["second"]


@blake3_only
def test_a_read_that_proves_after_one_that_did_not_is_no_proof(patient, monkeypatch):
    keep(patient, patient.judge(SHARD))
    real = file_hashes._digest
    patient.damage(5_000_000)  # what the first read, by blocks, sees

    def heal(facts, file, *rest):
        if not file.state.subject.endswith(SHARD):
            return real(facts, file, *rest)
        stamp = (patient.folder / SHARD).stat()
        (patient.folder / SHARD).write_bytes(DATA[SHARD])
        os.utime(patient.folder / SHARD, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        return real(facts, file, *rest)

    facts = patient.facts(deep=True)
    facts.get(weights.read_content, f"model/{SHARD}")  # its header, before it is written to
    monkeypatch.setattr(file_hashes, "_digest", heal)
    with pytest.raises(Unhealthy, match="disagree"):
        patient.judge(SHARD, check="stable", facts=facts)
