"""The scan of places and its command: what it reads, what it refuses, what it says and returns."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from machine_support import as_nobody, needs_root, open_folder
from support import CHECKOUT, child_env

from modelmedic import cli, jsonshape
from modelmedic.errors import BadInstall
from modelmedic.facts.app_code import MAX_FILE_BYTES
from modelmedic.findings import Outcome
from modelmedic.scan import examine, scan, sources

SCHEMA = json.loads((CHECKOUT / "reports/scan.schema.json").read_text(encoding="utf-8"))
FAULT = "try:\n    go()\nexcept NoSuchError:\n    pass\n"
LOST = "scan.could-not-look"


@pytest.fixture
def app(tmp_path, monkeypatch):
    """An empty folder of an app, which is the current one."""
    place = tmp_path / "app"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def write(place, **files):
    for name, text in files.items():
        (place / f"{name}.py").write_text(text, encoding="utf-8")


def run(capfdbinary, *arguments):
    """Return the exit code and both outputs of the command."""
    code = cli.main(["scan", *map(str, arguments)])
    out, err = capfdbinary.readouterr()
    return code, out.decode(), err.decode()


# --- what it says


def test_a_finding_names_place_cause_and_next_step(app, capfdbinary):
    write(app, main=FAULT)
    code, out, err = run(capfdbinary, ".")
    assert (code, err) == (1, "")
    first, last = out.splitlines()
    assert first.startswith("main.py:3:8: The except clause names NoSuchError, which is bound nowh")
    assert " if that is meant, else import or define NoSuchError. [scan.undefined-exce" in first
    assert last == "1 file, 4 lines: 1 fault."


def test_healthy_code_ends_with_0_and_says_how_much_was_read(app, capfdbinary):
    write(app, main="x = 1\n", other="y = 2\nz = 3\n")
    assert run(capfdbinary, ".") == (0, "2 files, 3 lines: no fault found.\n", "")


def test_the_nearest_names_are_offered(app):
    write(app, main="class A:\n    def verify(self): pass\n\nA().verfy()\n")
    (found,) = scan([app])
    assert found.nearest == ("verify",)
    assert found.next == "call verify, which it has, or define verfy in A."
    assert "main.py line 1" in found.why


def test_json_keeps_to_its_schema_with_faults_and_unread_files(app, capfdbinary):
    write(app, main=FAULT, broken="def (:\n")
    (app / ".venv").mkdir()
    (app / ".venv/pyvenv.cfg").write_text("")
    code, out, _err = run(capfdbinary, "--json", ".")
    value = json.loads(out)
    jsonschema.validate(value, SCHEMA)
    assert jsonshape.first_fault(value, SCHEMA) is None
    assert code == 1
    assert (value["outcome"], value["files"], value["left_out"]) == ("failed", 2, [".venv"])
    assert [each["rule"] for each in value["findings"]] == [LOST, "scan.undefined-exception"]
    value["findings"][0]["rule"] = "scan.nonsense"
    assert jsonshape.first_fault(value, SCHEMA)


def test_outputs_are_masked(app, capfdbinary, monkeypatch):
    token = "hf_" + "a1B2c3D4e5F6"
    write(app, main=f"try:\n    go()\nexcept '{token}':\n    pass\n")
    for arguments in ((".",), (".", "--json")):
        code, out, _err = run(capfdbinary, *arguments)
        assert code == 1
        assert token not in out
        assert "hf_***" in out


def test_every_way_to_the_same_files_gives_the_same_findings_in_order(app):
    names = [f"part{number}" for number in range(9)]
    write(app, **dict.fromkeys(names, FAULT))
    wanted = [(f"part{number}.py", 3) for number in range(9)]
    for seed in range(5):
        paths = [app / f"{name}.py" for name in names]
        random.Random(seed).shuffle(paths)
        assert [(each.path, each.line) for each in scan([*paths, app])] == wanted, seed


def test_a_file_elsewhere_is_named_from_the_scanned_folder(app, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write(other, main=FAULT)
    assert [each.path for each in scan([other])] == ["other/main.py"]
    assert [each.path for each in scan([other / "main.py"])] == ["other/main.py"]


# --- what it never does


def test_nothing_of_the_code_runs(app, tmp_path):
    sprung = tmp_path / "sprung"
    trap = f"open({str(sprung)!r}, 'a').write(__name__)\n"
    traps = ("conftest", "sitecustomize", "json", "ast", "setup", "__main__", "__init__")
    write(app, **dict.fromkeys(traps, trap), main=FAULT)
    done = subprocess.run(
        [sys.executable, "-m", "modelmedic", "scan", "."], cwd=app, text=True, check=False,
        env=child_env(PYTHONPATH=str(CHECKOUT / "src")), capture_output=True, timeout=60,
    )  # fmt: skip
    assert not sprung.exists(), sprung.read_text()
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("[scan.") == 1
    assert not list(app.rglob("__pycache__"))


# --- wrong use


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["empty"], [".", "nowhere"]], ids=str)
def test_wrong_use_ends_with_4_and_says_what_to_do(app, capfdbinary, arguments):
    (app / "empty").mkdir()
    write(app, main="x = 1\n")
    try:
        code, out, err = run(capfdbinary, *arguments)
    except SystemExit as error:
        code, out, err = error.code, "", capfdbinary.readouterr()[1].decode()
    assert code == 4
    assert out == ""
    assert "Traceback" not in err
    assert "PATH" in err or "Next: name a f" in err


def test_to_exclude_everything_is_wrong_use_too(app):
    write(app, main=FAULT)
    with pytest.raises(BadInstall, match="no Python file"):
        scan([app], exclude=["*.py"])


# --- what cannot be looked at


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"def (:\n", "invalid syntax"),
        (b"print 'python 2'\n", "Missing parentheses"),
        (b"x = '\xff\xfe'\n", "utf-8"),
        (b"# coding: nonsense\nx = 1\n", "nonsense"),
        (b"x = 1\0\n", "null bytes"),
        (b"x = " + b"(" * 5000 + b")" * 5000, ""),
        (b"x = " + b"-" * 90_000 + b"1\n", ""),
        (b"x = 1" + b" + 1" * 60_000 + b"\n", ""),
        (b"x" + b".a" * 60_000 + b"\n", ""),
        (b"x = 1 #" + b"#" * MAX_FILE_BYTES, "the most"),
    ],
    ids=["syntax", "python-2", "utf-8", "coding", "null", "brackets", "minus", "sum", "dots",
         "large"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_unknown_and_the_others_are_scanned(
    app, capfdbinary, content, words
):
    (app / "bad.py").write_bytes(content)
    write(app, main="x = 1\n")
    code, out, err = run(capfdbinary, ".")
    if not words and code == 0:  # this Python can read as deep a nesting
        return
    assert (code, err) == (1, "")
    assert "bad.py could not be looked at." in out
    assert words in out
    assert f"[{LOST}, unknown]" in out
    assert out.endswith("no fault found; 1 file could not be looked at.\n")
    assert examine([app]).outcome is Outcome.UNKNOWN


def test_a_thousand_classes_above_each_other_are_not_followed_for_ever(app):
    lines = ["class C0:\n    pass\n"]
    lines += [f"class C{n}(C{n - 1}):\n    pass\n" for n in range(1, 1000)]
    write(app, main="".join(reversed(lines)) + "C999().run()\n")
    assert scan([app]) == ()


def test_circles_of_imports_and_of_classes_end(app):
    write(
        app,
        a="from b import A\nclass B(A):\n    def run(self):\n        self.walk()\nB().run()\n",
        b="from a import B as A\nfrom c import D\n",
        c="from b import D\nclass E(E):\n    pass\nclass F(G): pass\nclass G(F): pass\nG().run()\n",
    )
    assert scan([app]) == ()


def test_an_encoding_that_the_file_names_is_used(app):
    (app / "main.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n")
    assert scan([app]) == ()


@pytest.mark.skipif(os.name == "nt", reason="links and pipes are made as on POSIX")
def test_links_are_read_inside_and_never_followed_out(app, tmp_path, capfdbinary):
    (tmp_path / "secret.py").write_text(FAULT)
    write(app, main=FAULT)
    (app / "same.py").symlink_to("main.py")
    (app / "out.py").symlink_to(tmp_path / "secret.py")
    (app / "gone.py").symlink_to("nowhere.py")
    (app / "loop.py").symlink_to("loop.py")
    (app / "round").symlink_to(app, target_is_directory=True)
    os.mkfifo(app / "pipe.py")
    found = {each.path: each.rule for each in scan([app])}
    assert found == {
        "main.py": "scan.undefined-exception",
        "same.py": "scan.undefined-exception",
        "out.py": LOST,
        "gone.py": LOST,
        "loop.py": LOST,
        "pipe.py": LOST,
    }
    (named,) = scan([app / "out.py"])  # who names a link means what it leads to
    assert named.path.endswith("/secret.py")


@needs_root
def test_what_may_not_be_read_is_unknown(monkeypatch):
    with open_folder() as place:
        write(place, main="x = 1\n", closed="x = 1\n")
        (place / "closed.py").chmod(0)
        (place / "locked").mkdir(mode=0)
        with as_nobody():
            report = examine([place])
    assert report.outcome is Outcome.UNKNOWN
    lost = {each.path.rpartition("/")[2]: each.why for each in report.findings}
    assert set(lost) == {"closed.py", "locked"}
    assert "may not be" in lost["closed.py"]
    assert "may not be listed" in lost["locked"]


def test_too_many_files_are_said_to_be_left_out(app, monkeypatch):
    monkeypatch.setattr(sources, "MAX_FILES", 2)
    write(app, a="x = 1\n", b="x = 1\n", c="x = 1\n", d="x = 1\n")
    report = examine([app])
    assert report.outcome is Outcome.UNKNOWN
    assert "2 files" in report.findings[0].why


# --- what is left out


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("tests", ["deep/main.py", "main.py"]),
        ("tests/", ["deep/main.py", "main.py"]),
        ("deep/tests", ["deep/main.py", "main.py", "tests/main.py"]),
        ("main.py", []),
        ("*/main.py", ["main.py"]),
        ("[dt]e*", ["main.py"]),
    ],
)
def test_patterns_leave_out_folders_and_files(app, pattern, left):
    for folder in (".", "tests", "deep", "deep/tests"):
        (app / folder).mkdir(exist_ok=True)
        write(app / folder, main=FAULT)
    write(app, kept="x = 1\n")
    assert [each.path for each in scan([app], exclude=[pattern])] == left


def test_environments_and_caches_below_a_folder_are_left_out_and_named(app, capfdbinary):
    for folder in (".git", "node_modules", "env/lib", "lib/site-packages"):
        (app / folder).mkdir(parents=True)
        write(app / folder, main=FAULT)
    (app / "env/pyvenv.cfg").write_text("")
    write(app, main="x = 1\n")
    code, out, _err = run(capfdbinary, ".")
    assert code == 0
    assert out.endswith("left out: .git, env, lib/site-packages, node_modules.\n")
    assert [each.path for each in scan([app / "lib/site-packages"])] == [
        "lib/site-packages/main.py"
    ]


def test_a_name_that_no_terminal_shows_is_escaped(app, capfdbinary):
    name = "bad\x1b[31m\u202e.py"
    try:
        Path(app, name).write_text(FAULT)
    except OSError:
        pytest.skip("This file system refuses such a name.")
    code, out, _err = run(capfdbinary, ".")
    assert code == 1
    assert "\x1b" not in out
    assert "\u202e" not in out


# --- our own code


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("folder", ["src", "checks", "recoveries", "plugins", "benchmarks"])
def test_our_own_code_has_no_finding(folder):
    report = examine([CHECKOUT / folder])
    assert report.findings == ()
    assert report.lines > 200
