"""What a new environment gets, and which Python makes it: from what lies on the disk and the index."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from environment_support import (
    ENV,
    MAKER,
    VERSION,
    lose_python,
    make_install,
    pip_wheel,
    says,
    shared_wheels,
)
from python_support import POSIX, add_package, program, site_packages
from support import make_facts, make_profile
from wheel_support import make_wheel

from modelmedic.compat.stack import Card, Machine
from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.facts import makers
from modelmedic.facts.installed_on_disk import read_installed
from modelmedic.healing.engine import Engine, Plan
from modelmedic.installer.report import Pinned
from modelmedic.profile.model import Hardware, PythonNeeds, Requirement
from modelmedic.strategies import recreation, torch_choice

pytestmark = POSIX
MINOR = f"3.{sys.version_info[1]}"


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A folder of wheels that is all the index there is."""
    folder = tmp_path / "house"
    folder.mkdir()
    for wheel in (*shared_wheels().values(), pip_wheel()):
        shutil.copy(wheel, folder)
    for name, value in {
        "PATH": str(MAKER.parent), "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def install(tmp_path):
    return make_install(tmp_path, shared_wheels()["moon1"], shared_wheels()["sun"])


def needs(*specs, requires=f">={MINOR},<4"):
    return make_profile(
        python=PythonNeeds(requires=requires, requirements=tuple(map(Requirement, specs)))
    )


def facts_of(install, *specs, **changed):
    target = install / ENV / "bin/python"
    given = target if os.path.lexists(target) else None
    return make_facts(install, needs(*specs), **{"target_python": given, **changed})


def planned(facts):
    (operation,) = recreation.plan_recreation(facts)
    return operation


def names(operation):
    return [f"{row[0]}=={row[1]}" for row in operation.install if row[0] != "pip"]


def site(install):
    return site_packages(install / ENV / "bin/python")


def test_a_dead_environment_tells_from_its_metadata_what_it_held(install):
    lose_python(install)
    folder = add_package(site(install), "mars", "2.1", "moon<2")
    (folder / "direct_url.json").write_text(
        '{"url": "file:///home/me/mars", "dir_info": {"editable": true}}'
    )
    add_package(site(install), "venus", "3.0", metadata="")
    add_package(site(install), "~umpy", "1.0")
    found = {item.key: item for item in read_installed(install / ENV)}
    assert {key: item.version for key, item in found.items()} == {
        "mars": "2.1", "moon": "1.0", "sun": "1.0", "venus": "3.0"
    }  # fmt: skip
    assert found["mars"].is_editable
    assert found["mars"].origin == "file:///home/me/mars"
    assert found["mars"].requires == ("moon<2",)
    assert found["sun"].folder == f"lib/python{MINOR}/site-packages"
    assert found["venus"].pin == "venus==3.0"
    assert read_installed(install / "nothing") == ()


def test_what_was_there_keeps_its_version_although_there_is_a_newer_one(install, house):
    lose_python(install)
    operation = planned(facts_of(install, "sun", "moon"))
    assert names(operation) == ["moon==1.0", "sun==1.0"]
    assert operation.path == ENV
    assert operation.python == str(MAKER)
    assert operation.version == VERSION
    assert operation.held == ("moon==1.0", "sun==1.0")
    assert operation.imports == ("moon", "sun")
    assert operation.left_out == ()
    assert operation.cost().fetch_bytes == 0  # the wheels lie on this machine


def test_the_profile_wins_over_what_was_there(install, house):
    assert names(planned(facts_of(install, "moon>=2"))) == ["moon==2.0", "sun==1.0"]


def test_the_plan_is_applied_as_it_is_and_settings_of_pip_go_along(install, house):
    lose_python(install)
    settings = "[global]\ntimeout = 33\n"
    (install / ENV / "pip.conf").write_text(settings)
    facts = facts_of(install, "sun")
    engine = Engine(facts.context)
    with engine.locked():
        engine.keep(engine.apply(Plan("r", "c", "n", operations=[planned(facts)])))
    assert says(install / ENV / "bin/sun") == "sun 1.0"
    assert says(install / ENV / "bin/pip", "--version").startswith("pip ")
    assert (install / ENV / "pip.conf").read_text() == settings


def test_what_exists_as_no_wheel_any_more_is_another_version_or_left_out_and_said(install, house):
    add_package(site(install), "mars", "9.9")  # nobody has it
    add_package(site(install), "pluto", "1.0")
    make_wheel(house, "pluto", "1.1")
    editable = add_package(site(install), "app", "0.1")
    (editable / "direct_url.json").write_text(
        '{"url": "file:///src/app", "dir_info": {"editable": true}}'
    )
    operation = planned(facts_of(install, "sun"))
    assert names(operation) == ["moon==1.0", "pluto==1.1", "sun==1.0"]
    assert operation.left_out == (
        "app (editable from file:///src/app)", "mars (there is no wheel of it for this Python)"
    )  # fmt: skip
    assert "pluto 1.0 becomes 1.1" in operation.describe()
    assert "mars goes" in operation.describe()


def test_what_the_profile_cannot_do_without_is_never_left_out(install, house):
    with pytest.raises(RecoveryRefused, match="no wheel that meets mars>=3"):
        planned(facts_of(install, "sun", "mars>=3"))


def test_another_build_of_torch_is_refused_with_the_index_that_may_have_it(install, house):
    add_package(site(install), "torch", "2.8.0+cu128")
    make_wheel(house, "torch", "2.9.0")
    with pytest.raises(
        RecoveryRefused,
        match=r"(?s)torch==2\.8\.0\+cu128 is not to be had.*https://download\.pytorch\.org/whl/cu128",
    ):
        planned(facts_of(install, "torch>=2.4"))


def test_versions_that_contradict_each_other_are_let_go_but_not_that_of_torch(install, house):
    add_package(site(install), "torch", "2.8.0")
    add_package(site(install), "jupiter", "1.0", "moon>=2")
    make_wheel(house, "torch", "2.8.0")
    make_wheel(house, "torch", "2.9.0")
    make_wheel(house, "jupiter", "1.0", "moon>=2")
    assert names(planned(facts_of(install, "sun", "torch"))) == [
        "jupiter==1.0", "moon==2.0", "sun==1.0", "torch==2.8.0"
    ]  # fmt: skip


def test_an_environment_elsewhere_and_a_python_without_one_are_refused(install, house, tmp_path):
    elsewhere = make_install(tmp_path / "other")
    with pytest.raises(RecoveryRefused, match="it lies outside of the install"):
        planned(facts_of(install, target_python=elsewhere / ENV / "bin/python"))
    with pytest.raises(RecoveryRefused, match="is in no environment of its own"):
        planned(facts_of(install, target_python=MAKER))


def test_without_a_fitting_python_nothing_is_made_and_none_is_downloaded(install, house):
    facts = make_facts(
        install,
        needs("sun", requires=">=3.12,<3.12.0.1"),
        target_python=install / ENV / "bin/python",
    )
    with pytest.raises(
        RecoveryRefused, match=r"(?s)No Python .* was found.*uv python install 3\.12"
    ):
        planned(facts)


def test_the_first_environment_holds_what_the_profile_asks_for(tmp_path, house):
    place = tmp_path / "install"
    place.mkdir()
    facts = facts_of(place, "sun")
    (operation,) = recreation.plan_first(facts)
    assert names(operation) == ["moon==2.0", "sun==1.0"]
    assert operation.was is None
    assert "kept aside" not in operation.describe()
    (place / ENV).mkdir()
    with pytest.raises(RecoveryRefused, match="something lies there"):
        list(recreation.plan_first(facts_of(place, "sun")))


def test_a_first_environment_never_gets_a_torch_that_cannot_use_the_card(tmp_path, monkeypatch):
    facts = make_facts(tmp_path, make_profile(hardware=Hardware(needs_gpu=True)))
    monkeypatch.setattr(recreation.sys, "platform", "win32")

    def torch(version):
        return (Pinned("torch", version, "torch.whl", "", ""),)

    recreation._refuse_less_able(facts, torch("2.8.0+cu128"))
    with pytest.raises(RecoveryRefused, match="torch without CUDA only"):
        recreation._refuse_less_able(facts, torch("2.9.0"))


def test_a_first_environment_gets_the_torch_that_the_driver_and_the_card_can_run():
    """compat.toml, torch 2.8.0 and 2.11: CUDA 12.8 needs driver 525 or 570, CUDA 13 needs 580."""
    asked = {"torch": "torch>=2.4", "torchvision": "torchvision>=0.19", "tqdm": "tqdm"}
    card = Card("RTX 4090", (8, 9))
    old = Machine("linux", "x86_64", "3.11.7", "550.54.14", (card,), "2.35")
    pins, pages = torch_choice.choose(old, asked, make_profile())
    assert set(pins) == {"torch", "torchvision"}
    assert pins["torch"].startswith("torch==2.")
    tag = pages[0].split("/")[-3]
    assert tag.startswith("cu12")  # what a driver below 580 serves
    assert pages == tuple(
        f"https://download.pytorch.org/whl/{tag}/{name}/" for name in ("torch", "torchvision")
    )
    mute = make_facts(Path("/nowhere"), make_profile())
    assert torch_choice.read_choice(mute, makers.Maker(MAKER, VERSION), asked) == ({}, ())


def test_it_is_no_answer_to_what_a_smaller_repair_cures():
    recreation.refuse_other("python.target")
    with pytest.raises(NotItsCase):
        recreation.refuse_other("python.package[numpy]")


def test_a_python_of_the_preferred_version_comes_first_and_none_of_the_environment(
    tmp_path, monkeypatch
):
    folder = tmp_path / "bin"
    for name, version in (("python3", "3.11.4"), ("python3.12", "3.12.1"), ("python", "3.10.0")):
        real = program(tmp_path / "real" / f"of-{version}", "")
        program(folder / name, f'#!/bin/sh\necho \'["{real}", "{version}", "cpython"]\'\n')
    program(folder / "python3.13", '#!/bin/sh\necho \'["/x", "3.13.0", "pypy"]\'\n')
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    facts = make_facts(tmp_path)

    def found(*given):
        maker = makers.read_maker(facts, *given)
        return maker.version if maker else None

    assert found(">=3.10", "", "") == "3.11.4"
    assert found(">=3.10", "3.12", "") == "3.12.1"
    assert found(">=3.10", "3.9", "") == "3.11.4"
    assert found(">=3.10,<3.11", "3.12", "") == "3.10.0"
    assert found(">=3.15", "", "") is None
    assert found(">=3.10", "", str(tmp_path / "real")) == VERSION  # the one that runs us
    kept = tmp_path / "uv" / "cpython-3.15.0-linux" / "bin" / "python3"
    program(kept, f'#!/bin/sh\necho \'["{kept}", "3.15.0", "cpython"]\'\n')
    assert found(">=3.15", "", "") == "3.15.0"


def test_the_kind_of_program_behind_an_answer_is_told(tmp_path):
    assert makers.ask(Path(sys.executable)) == makers.Maker(MAKER, VERSION)
    assert makers.ask(program(tmp_path / "python", "#!/bin/sh\necho hello\n")) is None
    assert makers.ask(tmp_path / "nothing") is None
