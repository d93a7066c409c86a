"""The kit catches a wrong recovery of each sort, says which promise it broke, and passes a right one."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from project_copy import copy_project
from support import CHECKOUT, child_env

from modelmedic.testing.conformance import PROMISES, Case, prepare_demo
from modelmedic.testing.conformance.snapshot import SAME, UNTOUCHED, differences, take

pytestmark = pytest.mark.slow

WRONG = Path(__file__).with_name("wrong_recoveries")
# What is wrong, the promise that must catch it, and what the message must say.
CAUGHT = [
    ("claims_success", "heals", r"is healed by claims_success.*\n.*letter\.claims_success: failed"),
    ("writes_when_planning", "plans-without-writing", r"plan\.log appeared \(file of 8 bytes"),
    ("deletes_first", "survives-a-kill", r"letter\.txt is gone"),
    ("deletes_first", "is-undone", r"Undo of the repair"),
    ("repairs_again_and_again", "heals-once", r"for letter\.\w+: healed"),
    ("hangs", "plans-without-writing", r"Every run ends within 10 s\.\n.*It hangs"),
    ("tidies_up", "changes-nothing-else", r"outputs/diary\.txt is gone"),
    ("leaves_a_note", "changes-nothing-else", r"outputs/note\.txt appeared"),
    ("locks_readers_out", "changes-nothing-else", r"outputs/letter\.txt changed in mode"),
    ("escapes_by_a_link", "follows-no-link", r"outputs/letter\.txt changed in content"),
]  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the recoveries of letters.py and their checks in its rooms."""
    copy = copy_project(tmp_path_factory.mktemp("copy") / "project")
    for source, target in (("letters", "recoveries/letters"), ("letter_checks", "checks/test_letter"),
                           ("letter_cases", "test_letter_cases")):  # fmt: skip
        (copy / f"{target}.py").write_text((WRONG / f"{source}.py").read_text())
    return copy


def run(project, folder, *options, file="test_letter_cases.py"):
    """Run the kit in the copy; return code, output and the message of each test (None: passed)."""
    entry = f"import sys; sys.path.insert(0, {str(project / 'src')!r}); import pytest; "
    done = subprocess.run(
        [
            sys.executable, "-c", entry + "sys.exit(pytest.main(sys.argv[1:]))", "-c",
            str(project / "pyproject.toml"), f"--rootdir={project}", f"--confcutdir={project / 'checks'}",
            f"--basetemp={folder / 'base'}", f"--junitxml={folder / 'junit.xml'}", "-q",
            "-o", f"cache_dir={folder / 'pytest-cache'}", str(project / file), *options,
        ],
        cwd=folder,
        env=child_env(MODELMEDIC_STATE_DIR=str(folder / "state"), MODELMEDIC_CACHE_DIR=str(folder / "cache")),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )  # fmt: skip
    messages = {}
    if (folder / "junit.xml").exists():
        for case in ET.parse(folder / "junit.xml").iter("testcase"):
            failure = case.find("failure")
            messages[case.get("name")] = None if failure is None else failure.text
    return done.returncode, done.stdout + done.stderr, messages


@pytest.fixture(scope="module")
def judged(project, tmp_path_factory):
    """One run of the kit: what is wrong in one promise each, and the right recovery in all."""
    wrong = [f"({name} and {promise})" for name, promise, _says in CAUGHT]
    chosen = " or ".join(["writes_the_letter", *wrong])
    return run(project, tmp_path_factory.mktemp("judged"), "-k", chosen)


@pytest.mark.parametrize(("name", "promise", "says"), CAUGHT)
def test_a_wrong_recovery_is_caught(judged, name, promise, says):
    code, out, messages = judged
    assert code == 1, out
    message = messages[f"test_{name}[{promise}]"]
    assert f"{name} does not keep the promise {promise}" in message
    assert re.search(says, message), message
    assert "Traceback" not in message


def test_a_right_recovery_keeps_every_promise(judged):
    _code, out, messages = judged
    kept = {test: told for test, told in messages.items() if "writes_the_letter" in test}
    assert kept == {f"test_writes_the_letter[{promise.name}]": None for promise in PROMISES}, out
    assert re.search(r"^ +\d+\.\d s  writes_the_letter \(", out, re.MULTILINE), out


def test_a_case_that_breaks_nothing_or_names_no_check_is_told(project, tmp_path):
    (project / "test_bad_cases.py").write_text(
        "from test_letter_cases import *\n"
        "import dataclasses\n"
        "for name in NAMES: del globals()[f'test_{name}']\n"
        "good = case('writes_the_letter')\n"
        "test_nothing = conformance(dataclasses.replace(good, break_install=lambda install: None))\n"
        "test_nobody = conformance(dataclasses.replace(good, check='letter.nobody'))\n"
        "test_other = conformance(dataclasses.replace(good, category='network'))\n"
        "def say_no(install): raise AssertionError(f'no reader opens {install.name}')\n"
        "test_read = conformance(dataclasses.replace(good, agrees=say_no))\n"
    )
    _code, out, messages = run(
        project,
        tmp_path,
        "-k",
        "is-detected or leaves or (test_read and heals and not once)",
        "--import-mode=prepend",
        file="test_bad_cases.py",
    )
    assert "break_install changes the install" in messages["test_nothing[is-detected]"], out
    assert "is there a check of that id?" in messages["test_nobody[leaves-the-healthy-alone]"]
    assert "has the category network" in messages["test_other[is-detected]"]
    assert "It has validation" in messages["test_other[is-detected]"]
    assert "Other readers agree with a healed install" in messages["test_read[heals]"]
    assert "no reader opens install" in messages["test_read[heals]"]


@pytest.mark.parametrize(
    ("more", "says"),
    [({"category": "bad luck"}, "known are"), ({"spoil": None}, "a way to make it refuse")],
)
def test_a_case_without_sense_is_refused(more, says):
    values = {"recovery": "r", "check": "c", "category": "validation", "break_install": print,
              "spoil": print}  # fmt: skip
    with pytest.raises(ValueError, match=says):
        Case(**values | more)


def test_the_prepared_demo_install_is_whole(tmp_path):
    prepare_demo(tmp_path / "install")
    names = set(take(tmp_path / "install"))
    assert {"outputs", "settings.json", "model/config.json"} <= names


def test_snapshots_differ_in_what_counts(tmp_path):
    (tmp_path / "file").write_text("a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    before = take(tmp_path)
    (tmp_path / "folder" / "scratch").touch()
    (tmp_path / "folder" / "scratch").unlink()
    assert differences(before, take(tmp_path), UNTOUCHED) == []
    copy = tmp_path / "copy"
    copy.write_bytes((tmp_path / "file").read_bytes())
    copy.replace(tmp_path / "file")
    told = differences(before, take(tmp_path), UNTOUCHED)
    assert len(told) == 1
    assert "file changed in time, inode" in told[0]
    (tmp_path / "link").unlink()
    (tmp_path / "new").touch()
    told = differences(before, take(tmp_path), SAME)
    assert any(each == "link is gone" for each in told)
    assert any(each.startswith("new appeared (file of 0 bytes") for each in told)


EXAMPLE = "writing-recoveries.md"


def example(page, title):
    text = (CHECKOUT / "docs" / page).read_text(encoding="utf-8")
    return re.search(
        rf"^```python title={re.escape(title)}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
    )[1]


def test_the_example_in_the_docs_runs(tmp_path):
    project = copy_project(tmp_path / "project")
    for name in ("src/modelmedic/strategies/pictures.py", "recoveries/pictures.py",
                 "tests/test_pictures_conform.py"):  # fmt: skip
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(example(EXAMPLE, name), encoding="utf-8")
    text = (CHECKOUT / "docs" / EXAMPLE).read_text(encoding="utf-8")
    marker = re.search(r"^@pytest\.mark\.recover.*$", text, re.MULTILINE)[0]
    check = example("writing-checks.md", "test_pictures.py")
    check = re.sub(r"^@pytest\.mark\.guidance.*$", marker, check, flags=re.MULTILINE)
    (project / "checks" / "test_pictures.py").write_text(check, encoding="utf-8")
    code, out, messages = run(project, tmp_path, file="tests/test_pictures_conform.py")
    assert code == 0, out
    assert len(messages) == len(PROMISES) + 1
