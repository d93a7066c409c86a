"""What the checks of permissions say to real users in front of real closed folders."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from machine_support import Losses, as_nobody, names_in, needs_root, open_folder, preset, tmpfs
from support import make_context, make_profile

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import filesystem, permissions
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import ModelFile, ModelRepo, ModelSource, PythonNeeds

INSTALL = "test_install_folder_can_be_written"
CACHE = "test_hub_cache_can_be_written"
TEMP = "test_temporary_folder_can_be_written"
OWNER = "test_files_belong_to_this_user"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX users and modes")


class Bench:
    """One install folder seen by one user."""

    def __init__(self, place, *files, needs_python=True, **overrides):
        source = ModelSource("hub", "Wan-AI/Wan2.2", "main", "hub")
        model = ModelRepo("weights", ("weights",), "native", files, sources=(source,))
        python = PythonNeeds(is_required=needs_python)
        self.profile = make_profile(models=(model,), python=python)
        self.context = make_context(place, self.profile, **overrides)
        self.facts = FactBook(self.context)
        self.losses = Losses()

    def run(self, name):
        function = getattr(rooms.load("checks", "test_permissions"), name)
        known = {
            "facts": self.facts,
            "profile": self.profile,
            "context": self.context,
            "degraded": self.losses,
        }
        wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
        return function(**{key: known[key] for key in wanted})

    def fails(self, name):
        with pytest.raises(Unhealthy) as caught:
            self.run(name)
        return caught.value


@pytest.mark.parametrize("name", [INSTALL, CACHE, TEMP, OWNER])
def test_a_folder_of_our_own_is_healthy_and_stays_as_it_was(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home" / "hf"))
    bench = Bench(tmp_path, ModelFile("a", size_bytes=1))
    bench.run(name)
    assert bench.losses.said == []
    assert names_in(tmp_path) == []


@needs_root
def test_a_closed_folder_names_user_owner_mode_and_a_way_out():
    with open_folder() as place, as_nobody():
        said = Bench(place, stage="preflight").fails(INSTALL)
    assert "nobody cannot make a folder" in said.what
    assert "Permission denied" in said.what
    assert "belongs to root and has the mode 0755" in said.why
    assert "mkdir -p" in said.next_step
    assert "chown" not in said.next_step


@needs_root
def test_a_place_that_is_to_be_made_gets_the_command_that_makes_it():
    with open_folder() as folder, as_nobody():
        said = Bench(folder / "new one", stage="preflight").fails(INSTALL)
    assert said.next_step.startswith("`sudo mkdir -p '")
    assert "chown -R" not in said.next_step


@needs_root
def test_an_install_of_root_gets_the_command_that_gives_it_back():
    with open_folder() as place, as_nobody():
        said = Bench(place).fails(INSTALL)
    assert f'sudo chown -R "$(id -un)" {place}' in said.next_step


@needs_root
@pytest.mark.parametrize("folder", ["/", "/usr", "/opt", "/usr/local", "/var/lib"])
def test_no_message_ever_gives_away_a_system_folder(folder):
    with as_nobody():
        bench = Bench(Path(folder))
        said = bench.fails(INSTALL)
    assert "chown" not in said.next_step


@needs_root
def test_our_own_folder_without_the_right_mode_gets_chmod():
    with open_folder() as folder:
        place = folder / "mine"
        place.mkdir()
        os.chown(place, 65534, 65534)
        place.chmod(0o500)
        with as_nobody():
            said = Bench(place).fails(INSTALL)
            command = said.next_step.strip("`.")
            assert command == f"chmod u+rwx {place}"
        subprocess.run(command, shell=True, check=True, user=65534)
        with as_nobody():
            Bench(place).run(INSTALL)


@needs_root
def test_a_closed_model_folder_inside_an_open_install_is_found():
    with open_folder() as place:
        (place / "weights").mkdir()
        place.chmod(0o777)
        with as_nobody():
            said = Bench(place, ModelFile("a", size_bytes=1)).fails(INSTALL)
    assert "weights" in said.what
    assert said.failure_id == "cache-owned-by-root"


@needs_root
def test_a_read_only_disk_fails_while_files_are_missing_and_degrades_when_all_are_there():
    with tmpfs("size=1m") as place:
        (place / "weights").mkdir()
        (place / "weights" / "a").write_bytes(b"1")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        whole = Bench(place, ModelFile("a", size_bytes=1))
        whole.run(INSTALL)
        assert "HF_HUB_OFFLINE=1" in whole.losses.text
        said = Bench(place, ModelFile("a", size_bytes=2)).fails(INSTALL)
        assert said.failure_id == "read-only-model-store"
        command = said.next_step.split("`")[1]
        subprocess.run(command, shell=True, check=True, capture_output=True)


@needs_root
def test_noexec_fails_where_the_environment_would_go_and_degrades_elsewhere():
    with tmpfs("size=1m,noexec") as place:
        assert "noexec" in Bench(place).fails(INSTALL).why
        existing = Bench(place, target_python=Path("/usr/bin/python3"))
        existing.run(INSTALL)
        assert "may not be run" in existing.losses.text
        without = Bench(place, needs_python=False)
        without.run(INSTALL)
        assert without.losses.said == []


@needs_root
def test_a_full_disk_leaves_the_permission_unknown():
    with tmpfs("size=1m,nr_inodes=2") as place:
        (place / "last").write_text("")
        with pytest.raises(CannotTell, match="full"):
            Bench(place).run(INSTALL)


def test_a_scratch_folder_that_stays_is_told(tmp_path):
    bench = Bench(tmp_path)
    (real,) = bench.facts.get(filesystem.read_weight_scratches)
    stuck = dataclasses.replace(real, leftover="Device or resource busy")
    preset(bench.facts, filesystem.read_weight_scratches, (stuck,))
    assert "cannot be removed" in bench.fails(INSTALL).what


@needs_root
def test_a_cache_of_root_is_named_with_its_setting_and_never_made(monkeypatch):
    with open_folder() as home:
        monkeypatch.setenv("HF_HOME", str(home / "hf"))
        with as_nobody():
            said = Bench(home).fails(CACHE)
        assert said.failure_id == "cache-owned-by-root"
        assert "HF_HOME" in said.what
        assert f'sudo mkdir -p {home}/hf && sudo chown "$(id -un)" {home}/hf' in said.next_step
        assert names_in(home) == []
        (home / "hf").mkdir()
        with as_nobody():
            said = Bench(home).fails(CACHE)
        assert f'sudo chown -R "$(id -un)" {home}/hf' in said.next_step


@needs_root
def test_a_closed_folder_deep_in_an_open_cache_is_found(monkeypatch):
    with open_folder() as home:
        hub = home / "hub"
        (hub / "models--Wan-AI--Wan2.2").mkdir(parents=True)
        hub.chmod(0o777)
        home.chmod(0o777)
        monkeypatch.setenv("HF_HOME", str(home))
        with as_nobody():
            said = Bench(home).fails(CACHE)
    assert "models--Wan-AI--Wan2.2 belongs to root" in said.what
    assert said.failure_id == "cache-owned-by-root"


def test_a_profile_without_a_hub_needs_no_cache(tmp_path):
    bench = Bench(tmp_path)
    bench.profile = make_profile()
    with pytest.raises(pytest.skip.Exception, match="nothing from a Hub"):
        bench.run(CACHE)


@contextlib.contextmanager
def temporary(options):
    """Let a small file system be the temporary folder."""
    with tmpfs(options) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        yield folder


@needs_root
def test_a_temporary_folder_with_noexec_is_a_stated_loss(tmp_path):
    with temporary("size=1m,noexec"):
        bench = Bench(tmp_path)
        bench.run(TEMP)
    assert "noexec" in bench.losses.text
    assert "export TMPDIR=" in bench.losses.text


@needs_root
def test_a_temporary_folder_that_is_full_is_told_as_full(tmp_path):
    with temporary("size=1m,nr_inodes=2") as temp:
        (temp / "last").write_text("")
        said = Bench(tmp_path).fails(TEMP)
    assert said.failure_id == "no-space-on-tmp"
    assert "No space left" in said.what


@needs_root
def test_a_temporary_folder_that_is_closed_to_this_user_is_told(tmp_path):
    with temporary("size=1m,mode=755") as temp, as_nobody():
        bench = Bench(temp)
        said = bench.fails(TEMP)
    assert "Permission denied" in said.what
    assert said.failure_id is None


@needs_root
def test_files_of_root_in_an_install_are_told_with_their_number():
    with open_folder() as place:
        os.chown(place, 65534, 65534)
        for name in "abcde":
            (place / name).write_text("")
        with as_nobody():
            said = Bench(place).fails(OWNER)
    assert "5 files and folders of the install cannot be changed by nobody" in said.what
    assert "belong to root" in said.what
    assert "and 2 more" in said.what
    assert f'sudo chown -R "$(id -un)" {place}' in said.next_step


@needs_root
def test_root_in_the_folder_of_another_is_a_stated_loss():
    with open_folder() as place:
        os.chown(place, 65534, 65534)
        bench = Bench(place)
        bench.run(OWNER)
    assert "runs as root" in bench.losses.text
    assert "sudo -u nobody pytest checks/" in bench.losses.text


def test_a_folder_open_to_all_is_a_stated_loss_and_its_cure_runs(tmp_path):
    place = tmp_path / "an install"
    place.mkdir()
    place.chmod(0o777)
    bench = Bench(place)
    bench.run(OWNER)
    command = bench.losses.said[0][2].strip("`.")
    subprocess.run(command, shell=True, check=True)
    again = Bench(place)
    again.run(OWNER)
    assert again.losses.said == []


@needs_root
def test_hostile_names_are_shown_escaped():
    with open_folder() as place:
        os.chown(place, 65534, 65534)
        (place / "a\x1b[31m\n<script>").write_text("")
        with as_nobody():
            said = Bench(place).fails(OWNER)
    assert "\x1b" not in said.what
    assert "\n" not in said.what
    assert "\\x1b[31m\\n<script>" in said.what


def test_the_owner_of_a_place_that_is_gone_is_that_of_its_ancestor(tmp_path):
    bench = Bench(tmp_path / "not" / "yet", stage="preflight")
    bench.run(OWNER)
    assert bench.facts.get(permissions.read_owners).looked_at == 1
