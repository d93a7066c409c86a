"""Report folders of earlier runs: found, read as a stranger's, and only the newest kept."""

from __future__ import annotations

import copy
import json
import os
import socket
import subprocess
import sys

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_copy import copy_project
from room_support import HEAD, SEVEN
from support import CHECKOUT, child_env, make_context

from modelmedic import jsonshape, rooms, runs
from modelmedic.errors import CannotTell
from modelmedic.examination import Examination
from modelmedic.findings import Attempt, Finding
from modelmedic.records import run_record, write_json, write_text

SCHEMA = json.loads((CHECKOUT / "reports/run-record.schema.json").read_text(encoding="utf-8"))


def finding(check="x.one", outcome="failed", **values) -> Finding:
    return Finding(
        check=check,
        nodeid=f"checks/test_x.py::test_{check}",
        title="It holds.",
        area="system",
        severity="blocker",
        outcome=outcome,
        **values,
    )


@pytest.fixture
def record(tmp_path) -> dict:
    found = Examination(
        context=make_context(tmp_path, run_id="20260101-120000-abcdef"),
        facts=None,
        engine=None,
        registry=None,
        mode="apply",
        allowed=frozenset(),
        report_dir=tmp_path,
    )
    attempt = Attempt("mend", "healed", ({"kind": "rename", "text": "move a to b"},), 1.5, 10)
    found.findings += [
        finding(what="It broke.", facts={"n": 1}),
        finding("x.two", "blocked", blocked_by="x.one"),
        finding("x.three", "healed", what="It was gone.", attempts=(attempt,)),
    ]
    return json.loads(json.dumps(run_record(found, exit_code=1)))


def stored(folder, record):
    write_json(folder / "report.json", record)
    return folder


# -- reading -------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_written(tmp_path, record):
    assert runs.read(stored(tmp_path, record)) == record
    assert runs.read(tmp_path / "report.json") == record


def test_what_can_be_counted_is_not_believed(tmp_path, record):
    lying = record | {"counts": dict.fromkeys(record["counts"], 0), "root_causes": []}
    assert runs.read(stored(tmp_path, lying)) == record


def change(record, path, value):
    changed = copy.deepcopy(record)
    at = changed
    for key in path[:-1]:
        at = at[key]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return changed


WRONG = [
    (("schema",), 2, "schema 1"),
    (("schema",), ..., "schema 1"),
    (("findings",), {}, "findings: it is dict, not array"),
    (("findings", 0, "what"), ..., "findings[0]: what is missing"),
    (("findings", 0, "extra"), 1, "findings[0]: 'extra' is no key of it"),
    (("findings", 1, "outcome"), "great", "findings[1].outcome: it is none of"),
    (("findings", 2, "attempts", 0, "seconds"), 1e300, "seconds: it is more than"),
    (("findings", 2, "attempts", 0, "seconds"), True, "seconds: it is bool, not number"),
    (("findings", 2, "attempts", 0, "operations", 0, "text"), None, "text: it is NoneType"),
    (("environment", "notes"), ["fine", 3], "environment.notes[1]: it is int, not string"),
    (("exit_code",), -1, "exit_code: it is less than"),
    (("run_id",), "../../etc", "run_id: it does not match"),
    (("started_at",), "yesterday", "started_at: it does not match"),
]


@pytest.mark.parametrize(("path", "value", "words"), WRONG, ids=[words for *_, words in WRONG])
def test_a_record_that_breaks_the_schema_is_refused_by_name(tmp_path, record, path, value, words):
    with pytest.raises(CannotTell) as error:
        runs.read(stored(tmp_path, change(record, path, value)))
    assert words in str(error.value)
    assert not jsonshape.compiled(SCHEMA)(change(record, path, value))


@given(data=st.data())
def test_our_reading_of_the_schema_agrees_with_jsonschema(data):
    leaf = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-1, 1) | st.text(max_size=3)
    value = data.draw(leaf | st.lists(leaf, max_size=2) | st.dictionaries(st.text(), leaf))
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for key, part in [*SCHEMA["properties"].items(), *SCHEMA["$defs"].items()]:
        whole = {"$defs": SCHEMA["$defs"], **part}
        is_fine = validator.evolve(schema=whole).is_valid(value)
        assert (jsonshape.first_fault(value, whole) is None) is is_fine, key
        assert jsonshape.compiled(whole)(value) is is_fine, key


def test_the_schema_uses_only_what_we_judge():
    def keywords(schema):
        yield from schema
        if isinstance(schema.get("additionalProperties"), dict):
            yield from keywords(schema["additionalProperties"])
        for name in ("properties", "$defs"):
            for part in schema.get(name, {}).values():
                yield from keywords(part)
        if "items" in schema:
            yield from keywords(schema["items"])

    assert set(keywords(SCHEMA)) <= jsonshape.KEYWORDS | jsonshape.ANNOTATIONS
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"schema": NaN}',
        b"\0" * 50,
    ],
    ids=["empty", "torn", "list", "null", "text", "deep", "bytes", "nan", "zeros"],
)
def test_what_is_no_record_is_refused_in_words(tmp_path, text):
    (tmp_path / "report.json").write_bytes(text)
    with pytest.raises(CannotTell, match=r"report\.json"):
        runs.read(tmp_path)


def test_a_folder_without_a_record_says_what_to_name(tmp_path):
    with pytest.raises(CannotTell, match="Name the folder of a run"):
        runs.read(tmp_path / "none")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "report.json")
    with pytest.raises(CannotTell, match="no regular file"):
        runs.read(tmp_path)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets here")
def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket has little room
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("report.json")
        with pytest.raises(CannotTell):
            runs.read(tmp_path)


def test_a_record_too_large_to_be_one_is_not_read(tmp_path):
    with (tmp_path / "report.json").open("wb") as stream:
        stream.truncate(65 * 1024 * 1024)
    with pytest.raises(CannotTell, match=r"more than 64\.0 MiB"):
        runs.read(tmp_path)


def test_a_killed_run_gets_the_last_word_on_each_check(tmp_path, record):
    begun = record | {"exit_code": None, "findings": [], "root_causes": []}
    stored(tmp_path, begun)
    again = record["findings"][2] | {"outcome": "unknown", "what": "a\u2028b\x85c"}
    lines = [json.dumps(f, ensure_ascii=False) for f in [*record["findings"], again]]
    lines += ["7", "[]", '{"check": "x"}', json.dumps(again)[:40]]
    (tmp_path / "findings.jsonl").write_text("\n".join(lines), encoding="utf-8")
    read = runs.read(tmp_path)
    assert [f["outcome"] for f in read["findings"]] == ["failed", "blocked", "unknown"]
    assert read["findings"][2]["what"] == "a\u2028b\x85c"
    assert read["counts"]["unknown"] == 1
    assert [(c["check"], c["blocks"]) for c in read["root_causes"]] == [
        ("x.one", 1),
        ("x.three", 0),
    ]
    assert jsonshape.first_fault(read, SCHEMA) is None


def test_how_far_a_killed_run_came_is_told_by_its_checks_and_not_by_when_it_was_copied(
    tmp_path, record
):
    stored(tmp_path, record | {"exit_code": None, "findings": [], "duration_seconds": 0.5})
    first, second, third = record["findings"]
    findings = [first | {"started": 1.5, "seconds": 2.25}, second | {"started": 1, "seconds": 1}]
    findings.append(third | {"started": None, "seconds": None})
    (tmp_path / "findings.jsonl").write_text("\n".join(map(json.dumps, findings)))
    assert runs.read(tmp_path)["duration_seconds"] == 3.75


def test_a_killed_run_without_its_growing_file_is_read(tmp_path, record):
    stored(tmp_path, record | {"exit_code": None})
    assert runs.read(tmp_path)["findings"] == record["findings"]


# -- finding -------------------------------------------------------------------------------------


def test_a_run_is_found_by_its_id(tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "is_checkout", lambda: False)
    kept = tmp_path / "runs" / "20260101-120000-abcdef"
    kept.mkdir(parents=True)
    assert runs.find(kept.name, tmp_path) == kept
    assert str(runs.find("20260101-120000-000000", tmp_path)) == "20260101-120000-000000"
    assert str(runs.find("../runs", tmp_path)) == "../runs"


# -- keeping -------------------------------------------------------------------------------------


def a_run(folder, number, *names):
    path = folder / f"20260101-{number:06d}-abcdef"
    path.mkdir(parents=True)
    for name in names or ("report.json", "report.html", "junit.xml"):
        (path / name).write_text("x")
    return path


def test_the_newest_are_kept(tmp_path):
    made = [a_run(tmp_path, number) for number in range(6)]
    (made[0] / "closing").mkdir()
    (made[0] / "closing" / "report.json").write_text("x")
    assert sorted(runs.prune(tmp_path, kept=4)) == made[:2]
    assert sorted(tmp_path.iterdir()) == made[2:]


def test_what_is_not_ours_is_left_alone(tmp_path):
    elsewhere = a_run(tmp_path / "elsewhere", 9)
    runs_dir = tmp_path / "runs"
    with_notes = a_run(runs_dir, 1, "report.json", "my-notes.txt")
    without_record = a_run(runs_dir, 2, "report.html")
    other = runs_dir / "keep-this"
    other.mkdir()
    link = runs_dir / "20260101-000003-abcdef"
    link.symlink_to(elsewhere, target_is_directory=True)
    a_file = runs_dir / "20260101-000004-abcdef"
    a_file.write_text("x")
    empty = a_run(runs_dir, 5)
    for entry in empty.iterdir():
        entry.unlink()
    assert runs.prune(runs_dir, kept=0) == [empty]
    assert sorted(runs_dir.iterdir()) == sorted([with_notes, without_record, other, link, a_file])
    assert len(list(elsewhere.iterdir())) == 3


def test_no_folder_of_runs_is_nothing_to_prune(tmp_path):
    assert runs.prune(tmp_path / "none") == []


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A checkout of our own whose check room is a small one."""
    project = copy_project(tmp_path_factory.mktemp("kept") / "project")
    for file in (project / "checks").glob("*.py"):
        file.unlink()
    (project / "checks" / "test_room.py").write_text(HEAD + SEVEN, encoding="utf-8")
    return project


def run_in(project, *options):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "checks", "-k", "test_passed", *options],
        env=child_env(MODELMEDIC_STATE_DIR=str(project.parent / "state")),
        cwd=project, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_run_in_the_default_place_prunes_and_one_elsewhere_does_not(project, tmp_path):
    folder = project / "reports" / "runs"
    for number in range(runs.KEPT + 3):
        a_run(folder, number)
    done = run_in(project, f"--report-dir={tmp_path / 'mine'}")
    assert done.returncode == 0, done.stdout
    assert len(list(folder.iterdir())) == runs.KEPT + 3
    done = run_in(project)
    assert done.returncode == 0, done.stdout
    assert str(folder) in done.stdout
    left = sorted(path.name for path in folder.iterdir())
    assert len(left) == runs.KEPT
    assert left[-1] > "20260102"  # this run's own
    assert "20260101-000003-abcdef" not in left


def test_without_pytest_html_our_page_stands_alone(project, tmp_path):
    done = run_in(project, "-p", "no:html", f"--report-dir={tmp_path / 'r'}")
    assert done.returncode == 0, done.stdout
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "It holds." in page
    assert page.count("<script") == 1, "our own, which filters"


# -- writing -------------------------------------------------------------------------------------


def test_a_file_is_whole_or_the_old_one(tmp_path):
    file = tmp_path / "report.json"
    write_text(file, "old")
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_a_private_file_is_for_its_owner_alone(tmp_path):
    old = os.umask(0o022)
    try:
        write_text(tmp_path / "plan", "x")
        write_text(tmp_path / "report", "x", is_private=False)
    finally:
        os.umask(old)
    assert (tmp_path / "plan").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "report").stat().st_mode & 0o777 == 0o644
