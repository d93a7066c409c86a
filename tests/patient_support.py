"""An install with its target Python, and how to run one check of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from python_support import add_package, make_venv, site_packages
from support import make_facts, make_profile

from modelmedic import rooms
from modelmedic.errors import Unhealthy
from modelmedic.profile.model import Component, PythonNeeds, Requirement

CHECKS = {
    "target": ("test_python", "test_target_python_answers"),
    "version": ("test_python", "test_python_version_fits"),
    "environment": ("test_python", "test_environment_is_whole"),
    "pip": ("test_python", "test_pip_works"),
    "managed": ("test_python", "test_pip_may_install_here"),
    "package": ("test_packages", "test_package_is_installed_and_fits"),
    "conflicts": ("test_packages", "test_installed_packages_agree"),
    "files": ("test_package_files", "test_installed_packages_are_whole"),
    "leftovers": ("test_package_files", "test_no_interrupted_pip_left_folders_behind"),
    "owners": ("test_package_files", "test_every_module_has_one_owner"),
    "shadowing": ("test_package_files", "test_nothing_comes_before_the_packages"),
    "encoding": ("test_package_files", "test_texts_are_read_as_they_are_written"),
    "binaries": ("test_binaries", "test_compiled_parts_fit_this_machine"),
    "imports": ("test_imports", "test_package_can_be_imported"),
    "addons": ("test_imports", "test_addons_can_be_imported"),
    "undeclared": ("test_app_code", "test_every_module_of_the_start_is_installed"),
    "attention": ("test_app_code", "test_attention_has_a_way_without_flash_attn"),
    "app-code": ("test_app_code", "test_the_app_code_is_of_one_piece"),
    "app-package": ("test_app_code", "test_the_installed_app_is_complete"),
    "requirement-lines": ("test_app_code", "test_every_requirement_line_names_a_package"),
}


class Patient:
    """An install with its target Python, and how to run one check on it."""

    def __init__(self, place: Path, target: Path | None, **needs) -> None:
        self.place = place
        self.target = target
        self.losses: list[tuple[str, ...]] = []
        self.overrides: dict[str, object] = {}
        self.needs = {"requires": ">=3.8"} | needs
        self.components: tuple[Component, ...] = ()

    def check(self, name: str, requirement: Requirement | None = None) -> None:
        room, function = CHECKS[name]
        profile = make_profile(python=PythonNeeds(**self.needs), components=self.components)
        facts = make_facts(self.place, profile, target_python=self.target, **self.overrides)
        given = {
            "facts": facts,
            "profile": profile,
            "context": facts.context,
            "degraded": lambda *words: self.losses.append(words),
            "requirement": requirement,
        }
        check = getattr(rooms.load("checks", room), function)
        names = check.__code__.co_varnames[: check.__code__.co_argcount]
        check(**{name: given[name] for name in names})

    def fails(self, name: str, requirement: Requirement | None = None) -> Unhealthy:
        with pytest.raises(Unhealthy) as caught:
            self.check(name, requirement)
        assert str(caught.value).isprintable()
        assert caught.value.next_step
        return caught.value

    def skips(self, name: str, requirement: Requirement | None = None) -> str:
        with pytest.raises(pytest.skip.Exception) as caught:
            self.check(name, requirement)
        return str(caught.value)

    def add(self, *args, **more) -> Path:
        return add_package(site_packages(self.target), *args, **more)


@pytest.fixture(scope="session")
def healthy_python(tmp_path_factory) -> Path:
    return make_venv(tmp_path_factory.mktemp("whole") / "app" / ".venv")


@pytest.fixture
def whole(healthy_python) -> Patient:
    """An install with a healthy environment; no test writes into it."""
    return Patient(healthy_python.parents[2], healthy_python)


@pytest.fixture
def patient(tmp_path) -> Patient:
    """An install with an environment of its own, to be broken."""
    place = tmp_path / "my app"
    return Patient(place, make_venv(place / ".venv"))
