"""The inventory of a run is cheap, honest about what it cannot tell, and equal for equal machines."""

from __future__ import annotations

import os
import threading

import pytest
from machine_support import preset
from support import make_context

from modelmedic import inventory
from modelmedic.errors import CannotTell
from modelmedic.facts import driver, gpu
from modelmedic.facts.book import FactBook
from modelmedic.profile.loader import load_profile

PROC_VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32\n"


@pytest.fixture
def place(tmp_path):
    site = tmp_path / ".venv" / "lib" / "python3.12" / "site-packages"
    site.mkdir(parents=True)
    for name in (
        *("torch-2.8.0+cu128.dist-info", "Pillow-11.0.0.dist-info", "old_one-1.2-py3.12.egg-info"),
        *("~roken-1.0.dist-info", "torch"),
    ):
        (site / name).mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.12.7\n")
    (tmp_path / ".venv" / "bin").mkdir()
    (tmp_path / ".venv" / "bin" / "python").write_text("")
    return tmp_path


def facts_of(place, **values):
    python = place / ".venv" / "bin" / "python"
    return FactBook(make_context(place, target_python=python, **values))


def test_packages_and_python_are_read_from_names_and_a_small_file(place):
    told = inventory.read(facts_of(place))
    assert told["packages"] == {"old-one": "1.2", "pillow": "11.0.0", "torch": "2.8.0+cu128"}
    assert told["python"] == "3.12.7"
    assert told["memory_bytes"] > 1 << 28


def test_the_sizes_of_the_files_that_are_there_are_told(place):
    facts = facts_of(place, profile=load_profile("demo", cwd=place))
    first, *_rest = facts.context.expected_files()
    first.path.parent.mkdir(parents=True, exist_ok=True)
    first.path.write_bytes(b"x" * 123)
    assert inventory.read(facts)["files"] == {first.subject: 123}


def test_what_the_run_has_read_of_the_cards_is_used_and_nothing_is_asked_for_it(place):
    cards = gpu.Gpus(source="nvml", driver_version="550.54", gpus=(gpu.Gpu(0, name="RTX 4090"),))
    told = inventory.read(preset(facts_of(place), gpu.read_gpus, cards))
    assert (told["driver"], told["gpus"]) == ("550.54", ["RTX 4090"])
    facts = preset(facts_of(place), gpu.read_gpus, CannotTell("It hangs."))
    assert inventory.read(facts)["gpus"] == []


def test_without_it_the_drivers_own_files_tell(place, tmp_path, monkeypatch):
    version = tmp_path / "version"
    version.write_text(PROC_VERSION)
    card = tmp_path / "gpus" / "0000:01:00.0" / "information"
    card.parent.mkdir(parents=True)
    card.write_text("Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   \t\t 16\n")
    monkeypatch.setattr(driver, "PROC_VERSION", version)
    monkeypatch.setattr(inventory, "_PROC_GPUS", tmp_path / "gpus")
    told = inventory.read(facts_of(place))
    assert (told["driver"], told["gpus"]) == ("535.129.03", ["NVIDIA GeForce RTX 4090"])


def test_a_drive_that_does_not_answer_costs_the_inventory_and_no_time(place, monkeypatch):
    is_over = threading.Event()
    monkeypatch.setattr(inventory, "_files", lambda _facts: is_over.wait(30))
    assert inventory.read(facts_of(place), deadline_seconds=0.1) is None
    is_over.set()


def test_what_fails_costs_the_inventory_only(place, monkeypatch):
    monkeypatch.setattr(inventory, "_packages", lambda _target: 1 / 0)
    assert inventory.read(facts_of(place)) is None


def test_equal_inventories_have_one_hash_and_others_another(place):
    told = inventory.read(facts_of(place))
    one = inventory.hashed(told)
    assert one == inventory.hashed(dict(reversed(told.items()))) | one
    assert one["hash"] != inventory.hashed(told | {"driver": "1"})["hash"]


def test_a_fact_that_was_not_read_is_not_begun(place):
    begun = []

    def read_slowly(_facts):
        begun.append(1)
        return 7

    facts = facts_of(place)
    assert facts.known(read_slowly) is None
    assert begun == []
    assert facts.get(read_slowly) == 7
    assert facts.known(read_slowly) == 7


def test_the_machine_has_a_name_that_tells_nothing_and_needs_the_state_folder(tmp_path):
    name = inventory.machine_name(tmp_path)
    assert name == inventory.machine_name(tmp_path)
    assert name.startswith("machine:")
    assert name != inventory.machine_name(tmp_path / "other")
    assert os.uname().nodename not in name if hasattr(os, "uname") else True
    (tmp_path / "file").write_text("")
    assert inventory.machine_name(tmp_path / "file") == ""
