"""Owners, closed folders and the place of the Hub's cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from machine_support import NOBODY, as_nobody, needs_root, open_folder
from support import make_facts, make_profile

from modelmedic.errors import CannotTell
from modelmedic.facts import permissions
from modelmedic.profile.model import ModelFile, ModelRepo


@pytest.mark.parametrize(
    ("env", "path", "reason"),
    [
        ({"HF_HUB_CACHE": "/a/b", "HF_HOME": "/c"}, "/a/b", "HF_HUB_CACHE"),
        ({"HUGGINGFACE_HUB_CACHE": "/old"}, "/old", "HUGGINGFACE_HUB_CACHE"),
        ({"HF_HOME": "/c", "XDG_CACHE_HOME": "/d"}, "/c/hub", "HF_HOME"),
        ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub", "XDG_CACHE_HOME"),
        ({}, "/home/ada/.cache/huggingface/hub", "the default"),
        ({"HF_HOME": "~/hf"}, "/home/ada/hf/hub", "HF_HOME"),
        ({"HF_HOME": "$HOME/hf"}, "/home/ada/hf/hub", "HF_HOME"),
        ({"HF_HOME": ""}, "/home/ada/.cache/huggingface/hub", "the default"),
    ],
)
def test_the_cache_lies_where_the_hub_client_puts_it(monkeypatch, env, path, reason):
    monkeypatch.setenv("HOME", "/home/ada")
    found = permissions.cache_folder(env)
    assert (found.path, found.reason) == (Path(path), reason)


@pytest.mark.parametrize("name", ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", ""])
def test_the_cache_is_the_one_the_installed_client_uses(tmp_path, name):
    import subprocess

    from support import PYTHON, child_env

    unset = dict.fromkeys(("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HUGGINGFACE_HUB_CACHE"))
    env = {k: v for k, v in child_env().items() if k not in unset} | {"HOME": str(tmp_path)}
    if name:
        env[name] = str(tmp_path / "chosen")
    ours = "from modelmedic.facts.permissions import cache_folder; import os; "
    theirs = "from huggingface_hub.constants import HF_HUB_CACHE; "
    program = f"{theirs}{ours}print(HF_HUB_CACHE); print(cache_folder(os.environ).path)"
    env["PYTHONPATH"] = str(Path(permissions.__file__).parents[2])
    done = subprocess.run(
        [PYTHON, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    client, found = done.stdout.split()
    assert found == client


def test_a_user_without_a_home_is_unknown(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)
    with pytest.raises(CannotTell, match="home folder"):
        permissions.cache_folder({})


@needs_root
def test_files_of_another_user_are_found_with_their_owner(tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "theirs").write_text("")
    (weights / "ours").write_text("")
    os.chown(weights / "theirs", 4242, 4242)
    model = ModelRepo("weights", ("weights",), "native", (ModelFile("theirs"), ModelFile("ours")))
    facts = make_facts(tmp_path, make_profile(models=(model,)))
    owners = facts.get(permissions.read_owners)
    (found,) = owners.by_others
    assert (found.path.name, found.uid, found.owner, found.is_writable) == (
        "theirs",
        4242,
        "4242",
        True,
    )
    assert owners.is_root
    assert owners.is_complete


@needs_root
def test_what_another_user_may_not_write_is_seen_with_that_users_eyes():
    with open_folder() as folder:
        (folder / "closed").mkdir()
        (folder / "open").mkdir()
        (folder / "open").chmod(0o777)
        with as_nobody():
            owners = make_facts(folder).get(permissions.read_owners)
        assert owners.uid == NOBODY
        writable = {entry.path.name: entry.is_writable for entry in owners.by_others}
        assert writable == {folder.name: False, "closed": False, "open": True}
        assert owners.open_to_all == (folder / "open",)


def test_links_are_not_followed_and_the_sticky_bit_protects(tmp_path):
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    (tmp_path / "link").symlink_to("/")
    owners = make_facts(tmp_path).get(permissions.read_owners)
    assert owners.open_to_all == ()
    assert owners.looked_at == 2


def test_before_an_install_only_the_place_itself_is_looked_at(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other").chmod(0o777)
    owners = make_facts(tmp_path / "none", stage="preflight").get(permissions.read_owners)
    assert (owners.looked_at, owners.open_to_all) == (1, ())


def test_a_folder_of_very_many_files_is_looked_at_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr(permissions, "MAX_ENTRIES", 10)
    for number in range(30):
        (tmp_path / str(number)).write_text("")
    owners = make_facts(tmp_path).get(permissions.read_owners)
    assert owners.looked_at == 11
    assert not owners.is_complete


@needs_root
def test_folders_that_may_not_be_written_are_named():
    with open_folder() as folder:
        (folder / "models").mkdir()
        model = ModelRepo("m", ("models",), "native", (ModelFile("deep/a"), ModelFile("b")))
        with as_nobody():
            facts = make_facts(folder, make_profile(models=(model,)))
            closed = facts.get(permissions.read_closed_folders)
        assert closed == (folder, folder / "models")
        assert make_facts(folder).get(permissions.read_closed_folders) == ()


def test_hub_folders_that_do_not_exist_have_no_owners(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    owners = make_facts(tmp_path).get(permissions.read_cache_owners)
    assert owners.looked_at == 0
    assert not (tmp_path / "none").exists()
