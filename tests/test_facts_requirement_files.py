"""The app's lists of requirements: which lines pip cannot install, and how they would read."""

from __future__ import annotations

import pytest
from support import make_facts

from modelmedic.facts import requirement_files
from modelmedic.facts.requirement_files import judge_file, judge_line


@pytest.mark.parametrize(
    "line",
    [
        "torch>=2.4.0", "imageio[ffmpeg]", "numpy>=1.23.5,<2  # not 2", "# only a comment", "",
        "-r requirements_s2v.txt", "--index-url https://example.org/simple", "-e git+https://x/y#egg=y",
        "flash_attn; sys_platform == 'linux'", "sam2 @ git+https://example.org/sam2@v1#egg=sam2",
        "./wheels/x-1.0-py3-none-any.whl", "https://example.org/x-1.0.tar.gz", "x.whl", "../local",
        "six --hash=sha256:abcd", "six==1.16 --global-option=a", "torch==2.8.0+cu128", "${NAME}==1",
    ],
)  # fmt: skip
def test_lines_that_pip_reads_are_left_alone(line):
    assert judge_line("r.txt", 1, line) is None


@pytest.mark.parametrize(
    ("line", "kind", "cure"),
    [
        ("argparse", "standard-module", ()),
        ("pickle>=1", "standard-module", ()),
        ("numpy<2#not 2", "glued-comment", ("numpy<2  # not 2",)),
        ("torch --index-url https://x/whl", "option", ("--index-url https://x/whl", "torch")),
        ("torch>=2 -f https://x", "option", ("-f https://x", "torch>=2")),
        ("torch => 2", "unreadable", ()),
        ("<<<<<<< HEAD", "unreadable", ()),
        ("pip install torch", "unreadable", ()),
        ("torch 2.4", "unreadable", ()),
    ],
)
def test_other_lines_are_told_with_what_would_stand_there(line, kind, cure):
    found = judge_line("r.txt", 7, line)
    assert (found.kind, found.cure, found.line) == (kind, cure, 7)


def test_what_is_proposed_is_read_by_pip():
    for line in ("numpy<2#x", "torch --index-url https://x/whl"):
        for better in judge_line("r.txt", 1, line).cure:
            assert judge_line("r.txt", 1, better) is None


def test_a_line_goes_on_behind_a_backslash():
    found = judge_file("r.txt", b"six \\\n  --hash=sha256:ab \\\n  --hash=sha256:cd\ntorch#x\n")
    assert [(fault.line, fault.kind) for fault in found.faults] == [(4, "glued-comment")]


def test_letters_beyond_ascii_are_told():
    assert judge_file("r.txt", "torch  # größer\n".encode()).is_ascii is False
    assert judge_file("r.txt", b"\xef\xbb\xbftorch\n").faults == ()
    assert judge_file("r.txt", "torch  # größer\n".encode("latin-1")).encoding == ""


def test_the_files_of_the_install_are_read_by_name(tmp_path):
    (tmp_path / "requirements.txt").write_text("torch\n")
    (tmp_path / "requirements_s2v.txt").write_text("wave\n")
    (tmp_path / "notes.txt").write_text("wave\n")
    (tmp_path / "requirements-folder.txt").mkdir()
    found = make_facts(tmp_path).get(requirement_files.read_requirement_files)
    assert [each.path for each in found] == ["requirements.txt", "requirements_s2v.txt"]
    assert [fault.kind for each in found for fault in each.faults] == ["standard-module"]


def test_a_huge_file_of_garbage_is_bounded(tmp_path):
    found = judge_file("r.txt", b"=\n" * requirement_files.MAX_BYTES)
    assert len(found.faults) == requirement_files.MAX_FAULTS
