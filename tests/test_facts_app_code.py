"""The app's code read by its syntax: what it needs at its start, what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_code_support import WAN, write
from python_support import POSIX
from support import make_facts, make_profile

from modelmedic.facts import app_code
from modelmedic.facts.app_code import look_at_code
from modelmedic.profile.model import Component


@pytest.fixture
def wan(tmp_path) -> Path:
    return write(tmp_path, WAN)


def test_what_the_start_needs_is_found_through_every_local_import(wan):
    found = look_at_code(wan, ["generate"])
    assert {each.module for each in found.imports} == {
        "argparse", "torch", "PIL", "decord", "librosa",
    }  # fmt: skip
    first = next(each.first for each in found.imports if each.module == "librosa")
    assert (first.path, first.line) == ("wan/speech2video.py", 3)
    assert "wan.modules.attention" in found.modules
    assert found.gaps == ()
    assert found.is_whole


def test_calls_that_pass_the_way_without_flash_attn_by_are_told(wan):
    calls = look_at_code(wan, ["generate"]).direct_calls
    assert [(each.path, each.line) for each in calls] == [("wan/modules/model.py", 6)]


def test_the_components_of_the_profile_are_the_starts(wan):
    profile = make_profile(components=(Component("t5", "wan.modules.model"), Component("x", "no")))
    found = make_facts(wan, profile).get(app_code.read_app_code)
    assert found.starts == ("wan.modules.model",)
    assert "librosa" in {each.module for each in found.imports}  # Python runs wan/__init__.py first


def test_without_components_the_programs_of_the_folder_are_the_starts(wan):
    write(
        wan, {"helper.py": "import nothing_started\n", "setup.py": "if __name__ == '__main__': 1"}
    )
    assert look_at_code(wan, []).starts == ("generate",)


def test_an_install_without_code_has_no_starts(tmp_path):
    assert look_at_code(tmp_path, ["generate"]) == app_code.AppCode()
    assert look_at_code(tmp_path / "none", []) == app_code.AppCode()


@pytest.mark.parametrize(
    ("text", "is_required"),
    [
        ("import needed", True),
        ("try:\n    import needed\nfinally:\n    pass", True),
        ("with x:\n    import needed", True),
        ("class A:\n    import needed", True),
        ("try:\n    import needed\nexcept ImportError:\n    pass", False),
        ("if x:\n    import needed", False),
        ("def f():\n    import needed", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import needed", False),
    ],
)
def test_only_what_always_runs_is_required(tmp_path, text, is_required):
    found = look_at_code(write(tmp_path, {"app.py": text}), ["app"])
    assert ("needed" in {each.module for each in found.imports}) == is_required


def test_a_part_that_is_not_there_is_a_gap(wan):
    (wan / "wan/configs/__init__.py").write_text("SHAPES = {}\n")
    (wan / "wan/modules/attention.py").unlink()
    gaps = {each.wanted: str(each.place) for each in look_at_code(wan, ["generate"]).gaps}
    assert gaps == {
        "wan.configs.SIZES": "generate.py line 6",
        "wan.modules.attention": "wan/modules/model.py line 3",
    }


@pytest.mark.parametrize(
    "text",
    [
        "NAME = 1", "def NAME(): ...", "class NAME: ...", "import x as NAME", "a, (NAME, b) = 1, (2, 3)",
        "from x import NAME", "from x import *", "def __getattr__(name): ...", "NAME: int = 1",
        "if x:\n    NAME = 1\nelse:\n    NAME = 2", "for NAME in (): ...", "globals()['NA' + 'ME'] = 1",
        "def f():\n    global NAME\n    NAME = 1", "try:\n    from y import NAME\nexcept E:\n    NAME = 0",
        "with open(1) as NAME: ...", "(NAME := 3)", "exec('NAME = 1')",
    ],
)  # fmt: skip
def test_a_name_that_a_module_gets_in_any_way_is_no_gap(tmp_path, text):
    files = {"app.py": "from part import NAME\n", "part.py": text}
    assert look_at_code(write(tmp_path, files), ["app"]).gaps == ()


def test_a_class_that_a_file_defines_twice_is_told(tmp_path):
    files = {"app.py": "class A: ...\nclass B: ...\nclass A: ...\n"}
    [twin] = look_at_code(write(tmp_path, files), ["app"]).twins
    assert (twin.name, twin.earlier_line, twin.place.line) == ("A", 1, 3)


def test_two_ways_to_define_a_class_are_no_twins(tmp_path):
    text = "if x:\n    class A: ...\nelse:\n    class A: ...\n"
    assert look_at_code(write(tmp_path, {"app.py": text}), ["app"]).twins == ()


@pytest.mark.parametrize(
    "content",
    [
        b"<<<<<<< HEAD\nx = 1\n", b"x = 1\0", b"\xff\xfe", b"# coding: no-such\n", b"def f(:\n",
        b"(" * 5000, b"-" * 100_000 + b"1",
    ],
)  # fmt: skip
def test_a_file_that_python_cannot_read_is_told_with_its_line(tmp_path, content):
    found = look_at_code(write(tmp_path, {"app.py": "import part\n", "part.py": content}), ["app"])
    [broken] = found.broken
    assert broken.path == "part.py"
    assert broken.words


def test_odd_style_of_the_app_is_no_warning_of_ours(tmp_path):
    look_at_code(write(tmp_path, {"app.py": "x = '\\d' is 'y'\n"}), ["app"])


def test_circles_and_endless_chains_of_imports_end(tmp_path, monkeypatch):
    monkeypatch.setattr(app_code, "MAX_MODULES", 50)
    files = {f"m{n}.py": f"import m{n + 1}, m0\n" for n in range(200)}
    found = look_at_code(write(tmp_path, files), ["m0"])
    assert len(found.modules) == 50
    assert not found.is_whole


def test_a_file_of_code_beyond_all_measure_is_left_out(tmp_path):
    files = {"app.py": "import part\n", "part.py": b"#" * (app_code.MAX_FILE_BYTES + 1)}
    found = look_at_code(write(tmp_path, files), ["app"])
    assert found.modules == ("app",)
    assert not found.is_whole


@POSIX
def test_a_link_to_itself_is_no_module(tmp_path):
    (tmp_path / "part.py").symlink_to("part.py")
    found = look_at_code(write(tmp_path, {"app.py": "import part\n"}), ["app"])
    assert [each.module for each in found.imports] == ["part"]


def test_relative_imports_beyond_the_top_are_passed_over(tmp_path):
    files = {
        "pkg/__init__.py": "from ... import x\nfrom .. import y\nfrom . import z\n",
        "pkg/z.py": "",
    }
    found = look_at_code(write(tmp_path, files), ["pkg"])
    assert found.gaps == ()
    assert "pkg.z" in found.modules
