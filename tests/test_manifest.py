"""Manifests: written of good installs only, read as what a stranger wrote."""

from __future__ import annotations

import copy
import hashlib
import json
import os

import pytest
import support

from modelmedic import cli
from modelmedic.facts import known_digests, manifest, seals
from modelmedic.facts.digests import BLOCK_BYTES, Blocks, Digests
from modelmedic.profile.loader import load_profile

SHA = hashlib.sha256(b"x").hexdigest()
ONE = Digests(5, SHA, Blocks("sha256", BLOCK_BYTES, b"d" * 32))
MADE = manifest.Manifest(
    "demo", "a/b", "main", "now", (manifest.ManifestFile("sub/x", ONE, "0" * 40),)
)
PROFILE = """
title = "T"
[[models]]
name = "one"
folders = ["model"]
layout = "native"
manifest = "one.json"
files = [{{ path = "w.bin", size_bytes = 5, sha256 = "{sha256}" }}, {{ path = "extra.bin", optional = true }}]
"""


def written(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_a_manifest_comes_back(tmp_path):
    assert manifest.read(written(tmp_path / "m.json", manifest.to_json(MADE))) == MADE


def changed(**changes):
    value = copy.deepcopy(manifest.to_json(MADE))
    file = value["files"][0]
    for key, new in changes.items():
        holder = file["blocks"] if key in file["blocks"] else file if key in file else value
        holder[key] = new
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "no JSON"), ("[" * 100_000, "no JSON"), ("[]", "list"), ("{}", "modelmedic_manifest"),
        (changed(modelmedic_manifest=2), "version 2"), (changed(unheard=1), "unheard"),
        (changed(path="../x"), "no path inside"), (changed(path="/x"), "no path inside"),
        (changed(path="c:/x"), "no path inside"), (changed(path="a\\..\\b"), "no path inside"),
        (changed(path="a//b"), "no path inside"), (changed(path="a\0"), "no path inside"),
        (changed(sha256="X" * 64), "sha256"), (changed(size_bytes=-1), "size_bytes"),
        (changed(size_bytes=BLOCK_BYTES + 1), "number of blocks"), (changed(algorithm="crc32"), "algorithm"),
        (changed(block_bytes=1), "block_bytes"), (changed(digests="zz"), "digests"), (changed(digests="00"), "digests"),
        (changed(files=[manifest.to_json(MADE)["files"][0]] * 2), "one name"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused_by_name(tmp_path, value, reason):
    with pytest.raises(manifest.BadManifest, match=reason):
        manifest.read(written(tmp_path / "m.json", value))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_too_much_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(manifest.BadManifest, match="no file"):
        manifest.read(tmp_path / "pipe")
    with pytest.raises(manifest.BadManifest, match="cannot be read"):
        manifest.read(tmp_path / "none")
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(manifest.MAX_BYTES + 1)
    with pytest.raises(manifest.BadManifest, match="are allowed"):
        manifest.read(tmp_path / "large")


def test_known_digests_come_from_a_manifest_else_from_own_proofs(tmp_path):
    plain = support.make_context(tmp_path)
    assert known_digests.known(plain, SHA) is None
    assert known_digests.known(support.make_context(tmp_path, manifests=(MADE,)), SHA) == ONE
    seals.keep_blocks(plain.state_dir, ONE)
    assert known_digests.known(plain, SHA) == ONE


# --- modelmedic profile seal


@pytest.fixture
def install(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "install/model").mkdir(parents=True)
    (tmp_path / "install/model/w.bin").write_bytes(b"hello")
    text = PROFILE.format(sha256=hashlib.sha256(b"hello").hexdigest())
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    return tmp_path / "install"


def test_a_good_install_is_sealed_by_its_profile(install, capsys):
    assert cli.main(["profile", "seal", str(install), "--profile", "./p.toml"]) == 0
    (path,) = capsys.readouterr().out.split()
    made = manifest.read(install.parent / path)
    assert (made.name, [file.path for file in made.files]) == ("one", ["w.bin"])
    assert made.files[0].digests.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert made.files[0].digests.blocks.count == 1


@pytest.mark.parametrize("spoil", [lambda p: p.write_bytes(b"hellO"), lambda p: p.unlink()])
def test_what_is_not_as_the_profile_says_is_not_sealed(install, capsys, spoil):
    spoil(install / "model/w.bin")
    assert cli.main(["profile", "seal", str(install), "--profile", "./p.toml"]) == 1
    assert "Nothing was sealed" in capsys.readouterr().err
    assert not list(install.parent.glob("*.json"))


def test_without_a_profile_all_files_of_a_folder_are_sealed(install, capsys):
    (install / "model/.cache").mkdir()
    (install / "model/.cache/left").write_bytes(b"no part of the model")
    output = install.parent / "out.json"
    assert cli.main(["profile", "seal", str(install / "model"), "--output", str(output)]) == 0
    assert [file.path for file in manifest.read(output).files] == ["w.bin"]
    (install / "model/w.bin").unlink()
    assert cli.main(["profile", "seal", str(install / "model")]) == 1
    assert "no file to be sealed" in capsys.readouterr().err


def test_a_profile_names_its_manifest_beside_it_also_for_those_that_extend_it(install, tmp_path):
    (tmp_path / "sub").mkdir()
    child = written(tmp_path / "sub/child.toml", 'extends = "../p.toml"\ntitle = "C"\n')
    for file in (tmp_path / "p.toml", child):
        (model,) = load_profile(str(file), cwd=tmp_path).models
        assert os.path.realpath(model.manifest) == os.path.realpath(tmp_path / "one.json")
