"""What a target Python tells about itself, its packages and its pip."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import interpreter_support
import pytest
from interpreter_support import ask
from python_support import POSIX, add_package, make_venv, program, site_packages
from support import make_facts

from modelmedic.facts import interpreter

venv = interpreter_support.venv
own_venv = interpreter_support.own_venv


def test_a_real_environment_tells_what_it_is(venv):
    found = ask(venv)
    assert found.version == platform.python_version()
    assert found.is_venv
    assert not found.is_externally_managed
    assert Path(found.prefix) == venv.parent.parent
    assert Path(found.purelib).is_dir()
    assert found.bits == (64 if sys.maxsize > 2**32 else 32)
    assert found.distributions == ()
    assert found.noise == ""
    assert found.marker_environment["sys_platform"] == sys.platform


def test_the_markers_are_those_that_packaging_would_find(venv):
    from packaging.markers import default_environment

    expected = {k: v for k, v in default_environment().items() if k != "extra"}
    assert ask(venv).marker_environment == expected


def test_the_packages_are_those_that_importlib_metadata_finds():
    """Beside the standard's own reader, on the environment the tests run in."""
    from importlib.metadata import distributions

    expected = {(d.metadata["Name"], d.version, len(d.requires or ())) for d in distributions()}
    found = {(d.name, d.version, len(d.requires)) for d in ask(Path(sys.executable)).distributions}
    assert len(found) > 10
    assert found == expected


def test_packages_are_read_from_their_metadata(own_venv):
    folder = site_packages(own_venv)
    add_package(folder, "numpy", "1.26.4")
    add_package(folder, "opencv-python", "4.11", "numpy>=1.21; python_version >= '3.8'")
    (folder / "six.egg-info").write_text("Name: six\nVersion: 1.16\n")
    installed = ask(own_venv).installed
    assert {key: item.version for key, item in installed.items()} == {
        "numpy": "1.26.4",
        "opencv-python": "4.11",
        "six": "1.16",
    }
    assert installed["opencv-python"].requires == ("numpy>=1.21; python_version >= '3.8'",)
    assert installed["numpy"].installer == "pip"
    assert installed["numpy"].has_record
    assert not installed["numpy"].problem


def test_a_folded_header_does_not_end_the_metadata(own_venv):
    """Licences stand in the headers, their empty lines as lines of spaces (pytest-xdist 3.6.1)."""
    text = "Name: x\nVersion: 1\nLicense: MIT\n        \n        more\nRequires-Dist: y\n\nBody\n"
    add_package(site_packages(own_venv), "x", "1", metadata=text)
    assert ask(own_venv).installed["x"].requires == ("y",)


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ("", "it has no METADATA file"),
        ("Version: 1\n", "METADATA has no Name"),
        ("Name: x\n", "METADATA has no Version"),
        ("\n\nName: x\nVersion: 1\n", "METADATA has no Name and no Version"),
    ],
)
def test_metadata_that_cannot_be_believed_says_why(own_venv, metadata, problem):
    add_package(site_packages(own_venv), "numpy", "2.1", metadata=metadata)
    [item] = ask(own_venv).distributions
    assert item.problem == problem
    assert item.version in {"1", "2.1"}


def test_what_an_aborted_pip_left_is_told_and_is_no_package(own_venv):
    folder = site_packages(own_venv)
    (folder / "~umpy").mkdir()
    (folder / "~umpy-2.1.dist-info").mkdir()
    found = ask(own_venv)
    assert [Path(path).name for path in found.leftovers] == ["~umpy", "~umpy-2.1.dist-info"]
    assert found.distributions == ()


@POSIX
def test_a_fifo_in_the_place_of_metadata_holds_nobody(own_venv):
    place = add_package(site_packages(own_venv), "numpy", metadata="")
    os.mkfifo(place / "METADATA")
    assert ask(own_venv).distributions[0].problem == "it has no METADATA file"


@POSIX
def test_hostile_names_come_out_printable(own_venv):
    metadata = "Name: evil\x1b[2J<script>\nVersion: 1\x07\n"
    add_package(site_packages(own_venv), "evil", metadata=metadata)
    (site_packages(own_venv) / os.fsdecode(b"a\xff\n.dist-info")).mkdir()
    for item in ask(own_venv).distributions:
        assert item.name.isprintable()
        assert item.version.isprintable()


def test_nothing_is_written_into_the_environment(own_venv):
    (site_packages(own_venv) / "sitecustomize.py").write_text("import helper_of_site\n")
    (site_packages(own_venv) / "helper_of_site.py").write_text("")
    before = sorted(own_venv.parent.parent.rglob("*"))
    ask(own_venv)
    assert sorted(own_venv.parent.parent.rglob("*")) == before


def test_garbage_that_is_printed_at_every_start_is_told_apart(own_venv):
    (site_packages(own_venv) / "sitecustomize.py").write_text(
        "import atexit\nprint('<report 0>{}</report 0>\\n\\x1b[31mhello')\natexit.register(print, 'bye')\n"
    )
    found = ask(own_venv)
    assert found.is_venv
    assert found.noise == "<report 0>{}</report 0>"


def test_a_broken_pth_file_is_heard(own_venv):
    (site_packages(own_venv) / "odd.pth").write_text("import no_such_module\n")
    assert "Error processing line 1" in ask(own_venv).noise


@pytest.mark.parametrize("name", ["sitecustomize.py", "json.py", "platform.py"])
def test_a_python_file_in_the_install_folder_never_runs(own_venv, tmp_path, monkeypatch, name):
    witness = tmp_path / "it-ran"
    (tmp_path / name).write_text(f"open({str(witness)!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where children start
    assert ask(own_venv).is_venv
    assert not witness.exists()


@pytest.mark.parametrize("option", [(), ("--system-site-packages",)])
def test_the_user_site_counts_only_where_an_ordinary_start_searches_it(
    tmp_path, monkeypatch, option
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "home"))
    target = make_venv(tmp_path / "env", *option)
    add_package(Path(ask(target).user_site), "triton", "3.0")
    found = ask(target)
    assert found.is_user_site_active == bool(option)
    assert [d.name for d in found.distributions if d.folder == found.user_site] == (
        ["triton"] if option else []
    )
    assert "triton" not in found.installed


def test_a_search_path_entry_that_leads_nowhere_is_told(own_venv):
    (site_packages(own_venv) / "x.pth").write_text(
        "import sys; sys.path.append('/no/such/place')\n"
    )
    assert "/no/such/place" in ask(own_venv).missing_path_entries


def _pythons() -> list[str]:
    return [f"python3.{minor}" for minor in (6, 7, 8, 9, 10, 11, 12, 13, 14)]


@pytest.mark.parametrize("name", _pythons())
def test_every_supported_python_answers(name):
    found = shutil.which(name)
    command = [found or name, "-I", "-c", "print(1)"]
    if not found or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(f"There is no {name} here.")
    assert ask(Path(found)).version.startswith(name.removeprefix("python") + ".")


def test_pip_of_the_target_is_the_one_that_is_started(own_venv):
    module = site_packages(own_venv) / "pip"
    module.mkdir()
    (module / "__init__.py").write_text("")
    (module / "__main__.py").write_text("print('pip 24.0 from ' + __file__ + ' (python 3.10)')\n")
    facts = make_facts(own_venv.parent, target_python=own_venv)
    pip = facts.get(interpreter.read_pip)
    assert pip.version == "24.0"
    assert Path(pip.location) == module / "__main__.py"
    assert not (module / "__pycache__").exists()


def test_a_missing_pip_is_told_with_its_own_words(venv):
    pip = make_facts(venv.parent, target_python=venv).get(interpreter.read_pip)
    assert pip.version == ""
    assert pip.returncode == 1
    assert "No module named pip" in pip.error


def test_a_python_that_can_make_environments_is_found_by_its_range(tmp_path):
    facts = make_facts(tmp_path)
    assert facts.get(interpreter.read_suitable_python, ">=3.8")
    assert facts.get(interpreter.read_suitable_python, "<3") == ""


@POSIX
def test_a_python_without_ensurepip_is_not_suggested(tmp_path, monkeypatch):
    for name in ("python3", "python", *_pythons()):
        program(tmp_path / name, "#!/bin/sh\necho 'No module named ensurepip' >&2\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert make_facts(tmp_path).get(interpreter.read_suitable_python, "") == ""
