"""A list of requirements that pip cannot install gets a clean copy; the list itself is not touched."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import make_facts

from modelmedic.errors import RecoveryRefused
from modelmedic.facts import requirement_files
from modelmedic.facts.requirement_files import judge_file, read_requirement_files
from modelmedic.healing.engine import Engine, Plan, undo_run
from modelmedic.strategies import requirement_lines

BAD = (
    "# what the app needs\n"
    "torch>=2.4.0\n"
    "argparse\n"
    "numpy>=1.23.5,<2#no wheel for 3.13\n"
    "flash_attn\n"
    "decord --extra-index-url https://wheels.invalid/simple\n"
    "git+https://git.invalid/sam2.git\n"
    "-e .\n"
    "tqdm \\\n"
    "  >=4\n"
)
GOOD = (
    "# what the app needs\n"
    "torch>=2.4.0\n"
    "# argparse  (a module of Python itself)\n"
    "numpy>=1.23.5,<2  # no wheel for 3.13\n"
    "# flash_attn  (the index has its source only; install a built wheel of it by itself)\n"
    "--extra-index-url https://wheels.invalid/simple\n"
    "decord\n"
    "git+https://git.invalid/sam2.git\n"
    "-e .\n"
    "tqdm \\\n"
    "  >=4\n"
)


@pytest.fixture
def install(tmp_path):
    folder = tmp_path / "install"
    folder.mkdir()
    (folder / "requirements.txt").write_text(BAD)
    return folder


def operations(install):
    return list(requirement_lines.plan_clean_copies(make_facts(install)))


def apply(install):
    facts = make_facts(install)
    engine = Engine(facts.context)
    plan = Plan("r", "c", "n", operations=list(requirement_lines.plan_clean_copies(facts)))
    with engine.locked():
        engine.keep(engine.apply(plan))
    return engine


def test_bad_lines_are_mended_or_become_comments_and_all_others_stay():
    found = judge_file("requirements.txt", BAD.encode())
    assert [fault.kind for fault in found.faults] == ["standard-module", "glued-comment", "option"]
    assert requirement_lines.clean(BAD, found.faults) == GOOD
    assert judge_file("requirements.txt", GOOD.encode()).faults == ()


def test_pip_reads_the_copy(install):
    (install / "requirements.txt").write_text("argparse\npip>=1#any\n")
    apply(install)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-index", "--dry-run", "-r",
         str(install / "requirements.modelmedic.txt")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_copy_lies_beside_the_list_which_stays_and_undo_takes_it_away(install):
    engine = apply(install)
    assert (install / "requirements.txt").read_text() == BAD
    first, _, rest = (install / "requirements.modelmedic.txt").read_text().partition("\n")
    assert first.startswith("# Made by modelmedic: a copy that pip can install of requirements.txt")
    assert rest == GOOD
    (file,) = make_facts(install).get(read_requirement_files)  # the copy is no list of the app's
    assert file.is_mended
    assert operations(install) == []
    undo_run(engine.context.state_dir, install)
    assert sorted(path.name for path in install.glob("*.txt")) == ["requirements.txt"]


def test_the_plan_shows_a_unified_diff(install):
    (operation,) = operations(install)
    told = operation.describe().splitlines()
    assert told[0].endswith("as a clean copy of requirements.txt:")
    assert "--- requirements.txt" in told
    assert "+++ requirements.modelmedic.txt" in told
    assert "-argparse" in told
    assert "+# argparse  (a module of Python itself)" in told


def test_a_copy_of_what_the_list_was_once_is_made_again(install):
    apply(install)
    (install / "requirements.txt").write_text(BAD + "optparse\n")
    (file,) = make_facts(install).get(read_requirement_files)
    assert not file.is_mended
    (operation,) = operations(install)
    assert operation.was is not None
    assert "# optparse" in operation.content


def test_each_list_gets_its_own_copy(install):
    (install / "requirements_s2v.txt").write_text("pathlib\n")
    (install / "requirements_good.txt").write_text("tqdm\n")
    assert [each.path for each in operations(install)] == [
        "requirements.modelmedic.txt", "requirements_s2v.modelmedic.txt"
    ]  # fmt: skip


def test_what_nobody_can_understand_and_files_of_others_are_refused(install):
    (install / "requirements.modelmedic.txt").write_text("mine\n")
    with pytest.raises(RecoveryRefused, match="a file that modelmedic did not make lies there"):
        operations(install)
    (install / "requirements.txt").write_text("argparse\n=?\n")
    with pytest.raises(RecoveryRefused, match=r"line 2, '=\?', cannot be understood"):
        operations(install)
    (install / "requirements.txt").write_bytes(b"argparse\nnumpy # f\xfcr alle\n")
    with pytest.raises(RecoveryRefused, match="its encoding cannot be understood"):
        operations(install)


def test_lines_that_go_on_are_counted_from_their_first():
    assert list(requirement_files.numbered("a \\\n b\nc\nd \\\n")) == [
        (1, "a   b", ["a \\", " b"]), (3, "c", ["c"]), (4, "d  ", ["d \\"])
    ]  # fmt: skip
