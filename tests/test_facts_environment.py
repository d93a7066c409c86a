from __future__ import annotations

import os
from pathlib import Path

import pytest
from python_support import POSIX, make_venv, program

from modelmedic.errors import CannotTell
from modelmedic.facts import environment
from modelmedic.facts import program as programs


def test_a_real_environment_names_the_python_it_was_made_from(tmp_path):
    target = make_venv(tmp_path / "env")
    found = environment.look_at_environment(target)
    assert found.folder == tmp_path / "env"
    assert Path(found.home).is_dir()
    assert found.has_home
    assert found.maker == "venv"
    assert found.version.startswith("3.")
    assert not found.lets_outside_in
    assert all(script.is_own for script in found.scripts)


def test_a_python_outside_of_an_environment_has_no_folder(tmp_path):
    assert environment.look_at_environment(tmp_path / "bin" / "python").folder is None


def test_settings_are_read_as_other_makers_write_them():
    text = "home=/opt/py/bin\nuv = 0.5.1\nversion_info = 3.12.1\nInclude-System-Site-Packages = true\nodd\n"
    assert environment.parse_settings(text) == {
        "home": "/opt/py/bin",
        "uv": "0.5.1",
        "version_info": "3.12.1",
        "include-system-site-packages": "true",
    }


@pytest.mark.parametrize("maker", ["uv", "virtualenv", "venv"])
def test_the_maker_is_told(tmp_path, maker):
    line = "" if maker == "venv" else f"{maker} = 20.1\n"
    (tmp_path / "pyvenv.cfg").write_text(
        f"home = {tmp_path}\nversion_info = 3.10.13.final.0\n{line}"
    )
    found = environment.look_at_environment(tmp_path / "bin" / "python")
    assert found.maker == maker
    assert found.version == "3.10.13.final.0"
    assert not found.has_home


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path):
    (tmp_path / "pyvenv.cfg").write_bytes(b"\xff\xfe\x00home\nhome = /x\n")
    assert environment.look_at_environment(tmp_path / "bin" / "python").home == "/x"


@POSIX
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="Root reads every file.")
def test_settings_that_may_not_be_read_are_unknown(tmp_path):
    (tmp_path / "pyvenv.cfg").touch(mode=0)
    with pytest.raises(CannotTell, match="cannot be read"):
        environment.look_at_environment(tmp_path / "bin" / "python")


@pytest.mark.parametrize(
    ("head", "interpreter"),
    [
        (b"#!/env/bin/python3.10\nimport x\n", "/env/bin/python3.10"),
        (b"#!/env/bin/python -I\r\n", "/env/bin/python"),
        (b"#!/usr/bin/env python3\n", "/usr/bin/env"),
        (
            b"#!/bin/sh\n'''exec' \"/an env/bin/python\" \"$0\" \"$@\"\n' '''\n",
            "/an env/bin/python",
        ),
        (b"#!/bin/sh\n'''exec' /long/bin/python \"$0\" \"$@\"\n' '''\n", "/long/bin/python"),
        (
            b"MZ" + bytes(90) + b"#!C:\\env\\Scripts\\python.exe\r\nPK\x03\x04",
            r"C:\env\Scripts\python.exe",
        ),
        (b'MZ\0#!"C:\\an env\\python.exe" -I\nPK\x03\x04', r"C:\an env\python.exe"),
        (b"\x7fELF", ""),
        (b"", ""),
    ],
)
def test_the_interpreter_of_a_program_is_read_from_its_first_bytes(head, interpreter):
    assert environment.parse_interpreter(head) == interpreter


@POSIX
def test_only_programs_that_start_another_python_are_foreign(tmp_path):
    target = make_venv(tmp_path / "env")
    folder = target.parent
    program(folder / "own", f"#!{folder}/python\n")
    program(folder / "linked", f"#!{tmp_path}/link/python3\n")
    (tmp_path / "link").symlink_to(folder)
    program(folder / "gone", "#!/no/such/env/bin/python3.10\n")
    program(folder / "shell", "#!/bin/bash\n")
    program(folder / "by-env", "#!/usr/bin/env python3\n")
    scripts = {s.name: s for s in environment.look_at_environment(target).scripts}
    assert {name: s.is_own for name, s in scripts.items()} == {
        "own": True,
        "linked": True,
        "gone": False,
    }
    assert not scripts["gone"].has_interpreter


@POSIX
def test_a_loop_of_links_ends(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert environment.last_link(tmp_path / "a").name in {"a", "b"}
    (tmp_path / "c").symlink_to("d/e")
    assert environment.last_link(tmp_path / "c") == tmp_path / "d" / "e"


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (3, "ended with exit code 3"),
        (127, "ended with exit code 127"),
        (200, "ended with exit code 200"),
        (0xC0000005, "was ended by Windows with 0xC0000005: it touched memory that is not its own"),
        (0xC0FFEE00, "was ended by Windows with 0xC0FFEE00"),
    ],
)
def test_an_exit_code_in_words(returncode, words):
    assert programs.end_words(returncode) == words


@POSIX
@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (-9, "was ended by SIGKILL: it was killed from outside, most often for lack of memory"),
        (137, "was ended by SIGKILL: it was killed from outside, most often for lack of memory"),
        (-99, "was ended by signal 99"),
    ],
)
def test_a_signal_in_words(returncode, words):
    assert programs.end_words(returncode) == words


def test_a_windows_error_number_speaks_where_the_text_is_localised():
    error = OSError(8, "%1 ist keine zulässige Win32-Anwendung")
    error.winerror = 193
    assert programs.start_error_words(error) == "it is made for another processor"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\x00", "a program for x86-64"),
        (b"\x7fELF\x02\x02" + bytes(12) + b"\x00\x15", "a program for 64-bit PowerPC"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\xff\x7f", "a program for machine type 32767"),
        (b"\x7fELF", "a program that is cut short"),
        (b"#!/bin/\x1b[31msh\n", r"a script for /bin/\x1b[31msh"),
    ],
)
def test_a_program_is_known_by_its_first_bytes(head, words):
    assert programs.describe_head(head) == words
