from __future__ import annotations

import shlex
import subprocess

import pytest
from python_support import POSIX, distribution

from modelmedic.errors import CannotTell
from modelmedic.facts import packages

LINUX = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "python_full_version": "3.10.13",
    "python_version": "3.10",
    "sys_platform": "linux",
}


def kinds(*distributions, markers=LINUX):
    found = packages.find_conflicts(distributions, markers)
    return [(c.kind, c.name, c.other) for c in found]


def test_packages_that_agree_have_no_conflict():
    assert (
        kinds(distribution("torch", "2.8.0+cu128"), distribution("tv", "1", "torch==2.8.0")) == []
    )


def test_a_missing_dependency_is_named_with_who_asks():
    [found] = packages.find_conflicts([distribution("peft", "0.17", "accelerate>=0.21")], LINUX)
    assert (found.kind, found.name, found.other) == ("missing", "peft", "accelerate")
    assert found.words == "peft 0.17 requires accelerate>=0.21, which is not installed"
    assert found.cure == "accelerate>=0.21"


def test_a_version_out_of_range_names_both_versions():
    [found] = packages.find_conflicts(
        [
            distribution("opencv-python", "4.12.0.88", "numpy<2.3,>=2"),
            distribution("numpy", "1.26.4"),
        ],
        LINUX,
    )
    assert found.kind == "version"
    assert "opencv-python 4.12.0.88 requires numpy<2.3,>=2, but numpy 1.26.4" in found.words


def test_versions_are_not_compared_as_text():
    assert kinds(distribution("a", "1", "b>=3.8"), distribution("b", "3.11")) == []
    assert kinds(distribution("a", "1", "b<3.8"), distribution("b", "3.11")) == [
        ("version", "a", "b")
    ]


def test_names_are_compared_normalised():
    assert kinds(distribution("a", "1", "Flash.Attn"), distribution("flash_attn")) == []


def test_an_installed_prerelease_counts():
    assert kinds(distribution("a", "1", "b>=2"), distribution("b", "2.1rc1")) == []


@pytest.mark.parametrize(
    ("line", "is_asked"),
    [
        ("b ; sys_platform == 'win32'", False),
        ("b ; sys_platform == 'linux'", True),
        ("b ; python_version < '3.11'", True),
        ("b ; python_version >= '3.11'", False),
        ("b ; extra == 'test'", False),
        ("b ; python_version < '3.11' and extra == 'test'", False),
        ("b ; extra == 'test' or sys_platform == 'linux'", True),
        ("b ; extra != 'test'", True),
        ("b ; 'test' == extra", False),
        ("not a requirement at all!", False),
    ],
)
def test_markers_are_judged_in_the_target_not_here(line, is_asked):
    names = [need.name for need in packages.dependencies(distribution("a", "1", line), LINUX)]
    assert names == (["b"] if is_asked else [])


def test_a_url_requirement_is_met_by_any_version():
    assert kinds(distribution("a", "1", "b @ https://example.org/b-9.whl"), distribution("b")) == []


def test_a_version_that_is_none_is_no_conflict():
    assert kinds(distribution("a", "1", "b>=2"), distribution("b", "0.1ubuntu-odd")) == []


def test_two_copies_in_one_folder_are_a_duplicate():
    assert kinds(distribution("numpy", "1.26.4"), distribution("numpy", "2.1.0")) == [
        ("duplicate", "numpy", "numpy")
    ]


def test_a_copy_in_a_later_folder_is_only_hidden():
    assert kinds(distribution("numpy", "1.26.4"), distribution("numpy", "2", folder="/usr")) == []


def test_the_first_copy_on_the_search_path_is_the_one_that_counts():
    asks = distribution("a", "1", "numpy<2")
    first, later = distribution("numpy", "1.26"), distribution("numpy", "2.1", folder="/usr")
    assert kinds(asks, first, later) == []
    assert kinds(asks, later, first) == [("version", "a", "numpy")]


def test_two_opencv_packages_share_one_module():
    assert kinds(distribution("opencv-python"), distribution("opencv-python-headless")) == [
        ("shared-module", "opencv-python", "opencv-python-headless")
    ]


def test_broken_metadata_is_said_with_the_folder():
    item = distribution("numpy", "2.1", problem="it has no METADATA file")
    [found] = packages.find_conflicts([item], LINUX)
    assert found.kind == "broken"
    assert found.words.endswith("is not whole: it has no METADATA file")
    assert found.cure == "numpy==2.1"


def test_a_name_that_would_be_an_option_is_never_a_cure():
    item = distribution("--index-url", "1", problem="odd", entry="x.dist-info")
    assert packages.find_conflicts([item], LINUX)[0].cure == ""


@pytest.mark.parametrize(("installer", "is_told"), [("pip", True), ("uv", True), ("debian", False)])
def test_no_record_matters_only_where_pip_would_need_it(installer, is_told):
    found = kinds(distribution("numpy", has_record=False, installer=installer))
    assert found == ([("no-record", "numpy", "")] if is_told else [])


def test_the_extras_of_a_requirement_are_judged():
    item = distribution("imageio", "2.35", "imageio-ffmpeg ; extra == 'ffmpeg'", "numpy")
    asked = packages.parsed("imageio[ffmpeg]")
    found = packages.effective([item])
    assert [c.other for c in packages.unmet_extras(asked, found, LINUX)] == ["imageio-ffmpeg"]
    assert packages.unmet_extras(packages.parsed("imageio"), found, LINUX) == ()
    whole = packages.effective([item, distribution("imageio-ffmpeg")])
    assert packages.unmet_extras(asked, whole, LINUX) == ()


def test_old_requires_txt_becomes_pep_508():
    text = (
        'numpy>=1\n\n[fast]\nnumba\n\n[:python_version < "3.11"]\ntomli\n\n[x:os_name=="nt"]\nw\n'
    )
    lines = packages.requires_from_egg(text)
    names = [n.name for n in packages.dependencies(distribution("a", "1", *lines), LINUX)]
    assert names == ["numpy", "tomli"]
    extra = [n.name for n in packages.dependencies(distribution("a", "1", *lines), LINUX, "fast")]
    assert extra == ["numba"]
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("numpy-1.26.4.dist-info", ("numpy", "1.26.4")),
        ("six-1.16-py3.10.egg-info", ("six", "1.16")),
        ("EGG-INFO", ("EGG", "INFO")),
        ("odd.dist-info", ("odd", "")),
    ],
)
def test_a_metadata_folder_tells_name_and_version(entry, name):
    assert packages.name_from_entry(entry) == name


def test_a_range_that_is_none_cannot_be_compared():
    with pytest.raises(CannotTell, match="compared"):
        packages.in_range("3.12.1", "newer than 3")
    with pytest.raises(CannotTell, match="compared"):
        packages.in_range("three", ">=3")
    assert packages.in_range("3.12.1", "")
    assert packages.in_range("3.13.0rc1", ">=3.10")
    assert not packages.in_range("3.13.0", ">=3.10,<3.13")


WORDS = [
    "/a b/py",
    "numpy<2,>=1.23",
    "it's",
    "",
    "a\nb",
    "\x1b[31m",
    "ü",
    "x\\y",
    "$HOME",
    "\udcff",
]


@POSIX
def test_posix_words_come_back_from_a_shell_as_they_were():
    line = packages.shell_words(["printf", "%s\\0", *WORDS], windows=False)
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    expected = [word.encode("utf-8", "surrogateescape") for word in WORDS]
    assert done.stdout.split(b"\0")[:-1] == expected


def test_a_plain_posix_command_is_not_quoted():
    argv = ["/x/bin/python", "-m", "pip", "install", "numpy==1.26.4"]
    assert packages.shell_words(argv, windows=False) == " ".join(argv) == shlex.join(argv)


def test_cmd_words_hide_what_cmd_would_read():
    line = packages.shell_words([r"C:\a b\python.exe", "-m", "numpy<2", "a&b"], windows=True)
    assert line == r'"C:\a b\python.exe" -m "numpy<2" "a&b"'
