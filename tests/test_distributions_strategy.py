"""What is planned for packages that are torn, doubled, missing or at odds, from a real index."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys

import pytest
from distributions_support import ENV, says
from python_support import POSIX, make_venv, site_packages
from support import make_context, make_profile
from wheel_support import LocalIndex, make_wheel, pip_venv

from modelmedic import cli
from modelmedic.compat.oracle import Change
from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.facts.book import FactBook
from modelmedic.installer.pip import Installer
from modelmedic.installer.words import InstallerRefused
from modelmedic.profile.model import Endpoint, PythonNeeds, Requirement
from modelmedic.strategies import distributions, environment, stacks, wheelhouse

pytestmark = POSIX


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    made = [
        make_wheel(folder, "moon", "1.0"),
        make_wheel(folder, "moon", "2.0", "star>=2"),
        make_wheel(folder, "star", "1.0"),
        make_wheel(folder, "star", "2.0"),
        make_wheel(folder, "torch", "1.0"),
        make_wheel(folder, "torch", "2.0"),
        make_wheel(folder, "lens", "1.0", "torch>=2"),
    ]
    return {"-".join(path.name.split("-")[:2]): path for path in made}


@pytest.fixture(scope="session")
def index(wheels):
    served = LocalIndex(wheels["moon-1.0"].parent)
    yield served
    served.stop()


@pytest.fixture
def planned(tmp_path, wheels, index):
    """Make an install with some wheels in its environment; return what plans on it."""

    def make(*names, needs=(), url=index.url, endpoints=(), **more):
        place = tmp_path / "install"
        place.mkdir(exist_ok=True)
        python = pip_venv(place / ENV, *(wheels[name] for name in names), index=url)
        profile = make_profile(
            python=PythonNeeds(requirements=tuple(map(Requirement, needs))), endpoints=endpoints
        )
        context = make_context(place, profile, target_python=python, **more)
        return context, FactBook(context)

    return make


def plan(strategy, found, subject):
    context, facts = found
    (operation,) = list(strategy(facts, context, subject))
    return operation


def names(operation):
    return [f"{item.name} {item.version}" for item in operation.items]


def test_the_fewest_packages_change_until_all_agree(planned):
    found = planned("moon-2.0", "star-1.0", "torch-1.0", needs=["moon", "star", "torch"])
    operation = plan(distributions.plan_settle_versions, found, "moon")
    assert names(operation) == ["star 2.0"]
    assert [entry for entry, _sha in operation.remove] == ["star-1.0.dist-info"]
    assert operation.cost().fetch_bytes > 0  # the index told the size
    assert not environment.touches_torch(operation)


def test_another_torch_is_never_chosen_without_being_told(planned):
    found = planned("lens-1.0", "torch-1.0", needs=["lens"])
    operation = plan(distributions.plan_settle_versions, found, "lens")
    assert names(operation) == ["torch 2.0"]
    assert environment.touches_torch(operation)


def test_a_torch_that_is_missing_is_a_persons_choice(planned):
    found = planned("star-1.0", needs=["torch"])
    with pytest.raises(RecoveryRefused, match="depends on the card"):
        plan(distributions.plan_install_missing, found, "torch")


def test_what_is_missing_is_installed_only_if_nothing_else_changes(planned):
    found = planned("star-1.0", needs=["moon>=2", "star"])
    with pytest.raises(RecoveryRefused, match=r"star would become 2\.0"):
        plan(distributions.plan_install_missing, found, "moon")
    operation = plan(distributions.plan_settle_versions, found, "moon")
    assert sorted(names(operation)) == ["moon 2.0", "star 2.0"]


def test_what_would_break_something_else_is_refused(planned):
    found = planned("moon-2.0", "star-2.0", needs=["star<2"])
    with pytest.raises(RecoveryRefused, match=r"requires star>=2, but star 1\.0"):
        plan(distributions.plan_settle_versions, found, "star")


def test_flash_attn_is_refused_by_name_with_its_cure(planned):
    found = planned("star-1.0", needs=["flash_attn"])
    with pytest.raises(InstallerRefused, match="flash-attention/releases") as caught:
        plan(distributions.plan_install_missing, found, "flash-attn")
    assert (caught.value.kind, caught.value.subject) == ("source-only", "flash-attn")


def test_a_torn_package_is_installed_again_in_its_own_version(planned):
    found = planned("moon-1.0", "star-2.0", needs=["moon"])
    site = site_packages(found[0].target_python)
    (site / "moon" / "__init__.py").unlink()
    operation = plan(distributions.plan_reinstall, found, "moon")
    assert names(operation) == ["moon 1.0"]
    with pytest.raises(NotItsCase):
        plan(distributions.plan_reinstall, found, "star")


def test_another_index_of_the_profile_is_asked_only_when_the_configured_one_fails(planned, index):
    mirror = Endpoint("mirror", index.url, "wheels")
    dead = "http://127.0.0.1:9/simple/"
    found = planned("star-1.0", needs=["moon"], url=dead, endpoints=(mirror,))
    operation = plan(distributions.plan_elsewhere, found, "moon")
    assert operation.index == index.url
    assert all(item.url.startswith(index.url.partition("/simple")[0]) for item in operation.items)
    context, _facts = found
    shutil.rmtree(context.place / ENV)
    with pytest.raises(NotItsCase):
        plan(
            distributions.plan_elsewhere,
            planned("star-1.0", needs=["moon"], endpoints=(mirror,)),
            "moon",
        )


def test_offline_nothing_is_asked_of_an_index(planned, index):
    found = planned("star-1.0", needs=["moon"], offline=True)
    with pytest.raises(RecoveryRefused, match="--offline"):
        plan(distributions.plan_settle_versions, found, "moon")


def test_an_environment_outside_the_install_is_left_alone(planned, tmp_path):
    context, _facts = planned("star-1.0", needs=["moon"])
    (context.place / ENV).rename(tmp_path / "elsewhere")
    moved = dataclasses.replace(context, target_python=tmp_path / "elsewhere/bin/python")
    with pytest.raises(RecoveryRefused, match="outside of the install") as caught:
        plan(distributions.plan_install_missing, (moved, FactBook(moved)), "moon")
    assert "-m pip install" in caught.value.next_step


def test_without_pip_in_the_environment_our_own_works_for_it(planned, tmp_path, index, wheels):
    install = tmp_path / "bare"
    install.mkdir()
    python = make_venv(install / ENV)
    (install / ENV / "pip.conf").write_text("[global]\nfind-links =\nextra-index-url =\n")
    context = make_context(
        install,
        make_profile(python=PythonNeeds(requirements=(Requirement("star"),))),
        target_python=python,
    )
    place = environment.target(FactBook(context), context)
    assert place.tool == "own pip"
    installer = Installer(python, Installer.of(python, has_pip=False).host, index=index.url)
    found = installer.resolve(["star<2"])
    assert [item.pin for item in found.items] == ["star==1.0"]
    assert says(python, "print(1)") == "1"


def test_a_pip_that_is_too_old_to_tell_is_not_asked(tmp_path):
    install = tmp_path / "old"
    install.mkdir()
    python = make_venv(install / ENV)
    module = site_packages(python) / "pip" / "__main__.py"
    module.parent.mkdir()
    module.write_text("print('pip 20.3.4 from /x/pip (python 3.11)')\n")
    context = make_context(install, target_python=python)
    assert environment.target(FactBook(context), context).tool == "own pip"


def test_a_loss_that_the_table_proposes_is_refused_unless_there_is_another_way():
    change = Change(pins=("torch==2.8.0",), removed=("flash-attn",), lost=("no wheel fits.",))
    assert stacks.without_loss(change, is_needed=False) is None
    with pytest.raises(RecoveryRefused, match=r"flash-attn was not removed.*no wheel fits"):
        stacks.without_loss(change, is_needed=True)
    kept = dataclasses.replace(change, removed=())
    assert stacks.without_loss(kept, is_needed=True) is kept


@pytest.fixture
def house(planned, tmp_path, wheels):
    context, _facts = planned(needs=["moon>=2", "flash_attn"])
    folder = tmp_path / "wheelhouse"
    told = []
    found, left_out = wheelhouse.make(context.profile, context.target_python, folder, told.append)
    assert left_out == ("flash_attn",)
    assert sorted(told) == ["moon 2.0", "star 2.0"]
    assert len(found.items) == 2
    return folder, dataclasses.replace(context, offline=True, wheelhouse=str(folder))


def test_a_wheelhouse_serves_an_install_without_any_network(house):
    folder, context = house
    listed = json.loads((folder / "wheelhouse.json").read_text())
    assert listed["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert {row["filename"] for row in listed["wheels"]} == {p.name for p in folder.glob("*.whl")}
    operation = plan(distributions.plan_offline, (context, FactBook(context)), "moon")
    assert operation.is_offline
    assert sorted(names(operation)) == ["moon 2.0", "star 2.0"]
    assert operation.cost().fetch_bytes == 0


def test_the_command_makes_a_wheelhouse_and_says_how_to_use_it(planned, tmp_path, capsys):
    context, _facts = planned()
    profile = tmp_path / "small.toml"
    profile.write_text(
        'name = "small"\ntitle = "Small"\n[python]\nrequirements = [{ spec = "moon>=2" }]\n'
    )
    python, folder = context.target_python, tmp_path / "house"
    arguments = ["profile", "wheelhouse", str(profile), "--target-python", str(python)]
    assert cli.main([*arguments, "--output", str(folder)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{folder}: 2 wheels. Use it with --wheelhouse={folder}\n"
    assert "moon 2.0" in said.err
    assert len(list(folder.glob("*.whl"))) == 2
    assert cli.main([*arguments[:3], "--target-python", "/no/python", "--output", str(folder)]) == 1
    assert "There is no Python at" in capsys.readouterr().err


def test_an_exchanged_wheel_of_a_wheelhouse_is_refused(house):
    folder, context = house
    make_wheel(folder, "star", "2.0", files={"star/__init__.py": "evil = 1\n"})
    with pytest.raises(RecoveryRefused, match="other bytes"):
        plan(distributions.plan_offline, (context, FactBook(context)), "moon")


def test_a_wheelhouse_for_another_python_is_refused(house):
    folder, context = house
    path = folder / "wheelhouse.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"python": "3.2"}))
    with pytest.raises(RecoveryRefused, match=r"3\.2"):
        plan(distributions.plan_offline, (context, FactBook(context)), "moon")
