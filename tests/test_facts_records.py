"""What a report tells of installed files: RECORDs judged, owners of modules, what comes first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import binary_support
import interpreter_support
import pytest
from interpreter_support import ask
from python_support import POSIX, add_package, install, make_venv, site_packages

from modelmedic.facts import interpreter, record_report

libraries = binary_support.libraries
own_venv = interpreter_support.own_venv


@pytest.fixture
def site(own_venv) -> Path:
    return site_packages(own_venv)


def of(target: Path, name: str, **more):
    return ask(target, **more).installed[name]


def test_a_whole_distribution_is_judged_whole(own_venv, site):
    files = {
        "acme/__init__.py": "",
        "acme/_core.cpython-311-x86_64-linux-gnu.so": b"\x7fELF" + bytes(100),
        "acme/with, comma.txt": "x",
        "_acme.abi3.so": b"x",
        "shared/acme/part.py": "",
    }
    scripts = "[console_scripts]\nacme = acme:run\nacme-two=acme:run\n[other]\nno = acme:run\n"
    install(site, "Acme_Tools", "2.1", files=files, tag="cp311-abi3-linux_x86_64",
            entry_points=scripts)  # fmt: skip
    item = of(own_venv, "acme-tools")
    assert item.is_judged
    assert (item.missing, item.missing_count, item.short, item.short_count) == ((), 0, (), 0)
    assert item.modules == ("_acme", "acme")
    assert item.namespaces == ("shared",)
    assert item.tags == ("cp311-abi3-linux_x86_64",)
    assert item.scripts == ("acme", "acme-two")
    assert item.extensions == ("_acme.abi3.so", "acme/_core.cpython-311-x86_64-linux-gnu.so")
    assert item.direct == ""


def test_missing_and_short_files_are_told_and_caches_do_not_count(own_venv, site):
    files = {f"acme/{name}": "x" * 50 for name in ("__init__.py", "a.py", "b.so", "c.py")}
    record = "acme/__pycache__/a.cpython-311.pyc,,\nacme/old.pyc,,\n"
    install(site, "acme", files=files, record=record)
    (site / "acme" / "a.py").unlink()
    (site / "acme" / "b.so").write_bytes(b"x" * 49)
    (site / "acme" / "c.py").write_text("y" * 51)
    item = of(own_venv, "acme")
    assert item.is_judged
    assert item.missing == ("acme/a.py",)
    assert item.short == ("acme/b.so",)


def test_a_thousand_missing_files_are_counted_and_a_few_are_listed(own_venv, site):
    record = "".join(f"acme/part{n}.py,sha256=x,10\n" for n in range(1000))
    install(site, "acme", record=record)
    item = of(own_venv, "acme")
    assert item.missing_count == 1000
    assert len(item.missing) == record_report.MAX_LISTED


def test_a_cut_library_is_seen_where_record_tells_no_size(own_venv, site, libraries):
    whole = (libraries / "whole.so").read_bytes()
    for name, content in (("whole.so", whole), ("cut.so", whole[: len(whole) // 2])):
        (site / name).write_bytes(content)
    install(site, "acme", record="whole.so,,\ncut.so,,\n")
    assert of(own_venv, "acme").short == ("cut.so",)


@POSIX
def test_entries_that_lead_out_of_the_environment_are_not_looked_at(own_venv, site, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("")
    climb = "../" * 20
    record = (
        f"{climb}{str(outside)[1:]},,9\n{outside},,9\n{climb}etc/no-such-file,,\n//host/share/x,,\n"
        f"C:\\\\x\\\\y.dll,,\nacme/../../../../../../../../../no-such,,\n../../../bin/acme,,\n"
    )
    install(site, "acme", record=record)
    item = of(own_venv, "acme")
    assert item.outside_count == 6
    assert item.missing == ("../../../bin/acme",)
    assert item.short == ()


def test_garbage_for_a_record_is_no_fault_of_a_file(own_venv, site):
    place = add_package(site, "acme", record=False)
    (place / "RECORD").write_bytes(
        b"\0\0,,\n\xff\xfe\n,,,,\n\n"
        + b"a" * 100_000
        + b'\n"unclosed,sha256=x,1\n'
        + b"x.py,h,9999999999999999999\n"
    )
    item = of(own_venv, "acme")
    assert item.is_judged
    assert item.short == ()
    assert item.missing_count <= 20


def test_metadata_of_ten_megabytes_is_read_no_further_than_its_headers(own_venv, site):
    place = install(site, "acme", files={"acme.py": ""})
    text = "Name: acme\nVersion: 1.0\nRequires-Dist: six\n" + "\n" + "x" * (10 << 20)
    (place / "METADATA").write_text(text)
    endless = install(site, "endless", files={"endless.py": ""})
    (endless / "METADATA").write_text("Name: endless\nVersion: 1.0\n" + "Keywords: x\n" * (1 << 20))
    found = ask(own_venv).installed
    assert found["acme"].requires == ("six",)
    assert found["endless"].version == "1.0"


@POSIX
def test_links_in_a_circle_are_passed_over(own_venv, site):
    (site / "loop").symlink_to("loop")
    (site / "acme.dist-info").symlink_to("acme.dist-info")
    install(site, "other", record="loop,,\nloop/x.py,,\n")
    assert of(own_venv, "other").missing_count == 0


@pytest.mark.parametrize(
    ("text", "direct"),
    [
        ('{"url": "file:///x", "dir_info": {"editable": true}}', "editable"),
        ('{"url": "file:///x", "dir_info": {}}', "folder"),
        ('{"url": "https://x/y.whl", "archive_info": {}}', "archive"),
        ('{"url": "https://x/y.git", "vcs_info": {"vcs": "git"}}', "vcs"),
        ("[" * 10_000, "folder"),
        ("7", "folder"),
    ],
)
def test_how_a_distribution_came_is_told_without_its_address(own_venv, site, text, direct):
    install(site, "acme", direct_url=text)
    assert of(own_venv, "acme").direct == direct


def test_two_owners_of_one_module_are_told_and_shared_ones_are_not(own_venv, site):
    install(site, "pynvml", "11.5.3", files={"pynvml/__init__.py": "old"})
    install(site, "nvidia-ml-py", "13.0", files={"pynvml.py": "new"})
    same = {"backports/__init__.py": "__path__ = 1"}
    install(site, "backports.one", files=same | {"backports/one.py": ""})
    install(site, "backports.two", files=same | {"backports/two.py": ""})
    for name in ("cublas", "cudnn"):
        install(site, f"nvidia-{name}", files={f"nvidia/{name}/__init__.py": name})
    found = ask(own_venv)
    assert found.clashes == (("pynvml", ("nvidia-ml-py", "pynvml")),)
    assert found.module_owners["pynvml"] == ("nvidia-ml-py", "pynvml")
    assert "nvidia" not in found.module_owners


def test_owners_of_one_module_in_two_folders_hide_each_other_and_do_not_clash(
    own_venv, site, tmp_path
):
    other = tmp_path / "other"
    other.mkdir()
    (site / "more.pth").write_text(f"{other}\n")
    install(site, "opencv-python", files={"cv2/__init__.py": "one"})
    install(other, "python3-opencv", files={"cv2/__init__.py": "two"})
    assert ask(own_venv).clashes == ()


def test_the_app_and_pythonpath_are_searched_for_what_hides_packages(
    own_venv, site, tmp_path, monkeypatch
):
    install(site, "diffusers", files={"diffusers/__init__.py": ""})
    install(site, "torch", files={"torch/__init__.py": ""})
    app, elsewhere = tmp_path / "app", tmp_path / "elsewhere"
    for folder in (app / "diffusers", app / "torch", app / "wan", elsewhere / "torch"):
        folder.mkdir(parents=True)
    (app / "diffusers" / "__init__.py").write_text("raise SystemExit")
    (app / "torch" / "weights.pth").write_text("")  # no code: Python passes it by
    (app / "queue.py").write_text("")
    (elsewhere / "torch" / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", f"{elsewhere}{os.pathsep}relative")
    found = ask(own_venv, place=app)
    told = [(each.module, each.owner, each.is_app) for each in found.shadows]
    assert told == [
        ("diffusers", "diffusers", True),
        ("queue", "", True),
        ("torch", "torch", False),
    ]
    assert found.path_variable == (str(elsewhere), "relative")
    assert ask(own_venv).shadows[0].module == "torch"


def test_the_variables_of_an_ordinary_start_are_told(own_venv, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONHOME", "/opt/other")
    found = ask(own_venv)
    assert found.home_variable == "/opt/other"
    assert found.is_venv
    assert found.encoding.lower().replace("-", "") == "utf8"
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "base"))
    assert ask(own_venv).user_site.startswith(str(tmp_path / "base"))


def test_the_switch_against_user_packages_is_obeyed(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "base"))
    target = make_venv(tmp_path / "env", "--system-site-packages")
    Path(ask(target).user_site).mkdir(parents=True)
    assert ask(target).is_user_site_active
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    assert not ask(target).is_user_site_active


@pytest.mark.skipif(sys.platform != "linux", reason="The GNU C library.")
def test_the_c_library_is_the_one_that_the_system_names(own_venv):
    assert ask(own_venv).glibc == os.confstr("CS_GNU_LIBC_VERSION").split()[1]


def test_the_question_fits_into_the_command_line_of_windows(tmp_path):
    """CreateProcess takes 32,767 characters, after quoting."""
    question = '{"variables": {"PYTHONPATH": "' + "x" * 2000 + '"}, "place": "' + "y" * 260 + '"}'
    argv = ["C:\\" + "z" * 250, "-I", "-B", "-c", interpreter.script(), question, "n" * 32]
    assert len(subprocess.list2cmdline(argv)) < 32_000
