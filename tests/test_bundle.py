"""A support bundle holds what support needs, masked, within bounds."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import jsonschema
import pytest
from bundle_support import RUN_ID, Unmasked, contents, finding, make, make_record, make_run
from support import CHECKOUT

from modelmedic import jsonshape, records
from modelmedic.bundle import cleaning, files, making, members
from modelmedic.bundle.archive import Archive
from modelmedic.errors import CannotTell, ModelmedicError
from modelmedic.history.store import History

SCHEMA = json.loads((CHECKOUT / "reports/bundle-manifest.schema.json").read_text("utf-8"))


# -- what is in it -------------------------------------------------------------------------------


def test_it_holds_all_that_the_run_left_and_says_what_each_is(tmp_path):
    make_run(tmp_path)
    made = make(tmp_path)
    found = contents(made)
    assert list(found) == [
        "manifest.json", "report.json", "report.html", "support.txt", "environment.json",
        "junit.xml", "plan.json", f"journal/{RUN_ID}.jsonl", "logs/errors.jsonl",
    ]  # fmt: skip
    manifest = json.loads(found["manifest.json"])
    jsonschema.validate(manifest, SCHEMA)
    assert [entry["name"] for entry in manifest["members"]] == list(found)[1:]
    assert manifest["run_id"] == RUN_ID
    assert json.loads(found["report.json"])["run_id"] == RUN_ID
    assert b"It broke." in found["report.html"]
    assert b"It broke." in found["support.txt"]
    assert ET.fromstring(found["junit.xml"]).find(".//failure").text == "It <broke>."
    assert made.left_out == ()


def test_the_schema_uses_only_what_our_own_judge_knows():
    def keywords(part):
        for key, value in part.items():
            yield key
            named = key in {"properties", "$defs"}
            for inner in value.values() if named else [value] if isinstance(value, dict) else []:
                yield from keywords(inner)

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(keywords(SCHEMA)) <= jsonshape.KEYWORDS | jsonshape.ANNOTATIONS


def test_settings_files_are_left_out_of_plan_and_journal(tmp_path):
    make_run(tmp_path)
    found = contents(make(tmp_path))
    for name in ("plan.json", f"journal/{RUN_ID}.jsonl"):
        assert b"(8 characters left out)" in found[name]
        assert b'"a": 1' not in found[name]


def test_earlier_runs_of_the_same_install_are_in_it_and_no_others(tmp_path, monkeypatch):
    runs = tmp_path / "kept"
    monkeypatch.setattr("modelmedic.runs.folder", lambda _state: runs)
    make_run(tmp_path)
    for number, folder in enumerate(("same", "same", "other")):
        run_id = f"2025010{number + 1}-120000-abcdef"
        record = make_record(tmp_path, run_id=run_id)
        record["started_at"] = f"2025-01-0{number + 1}T12:00:00Z"
        record["install_dir"] += "" if folder == "same" else "2"
        records.write_json(_folder(runs / run_id) / "report.json", record)
    _folder(runs / "20250104-120000-abcdef").joinpath("report.json").write_text("{")
    names = [name for name in contents(make(tmp_path)) if name.startswith("runs/")]
    assert names == ["runs/20250102-120000-abcdef.json", "runs/20250101-120000-abcdef.json"]


@pytest.mark.once
def test_the_heal_and_the_plan_that_came_before_the_check_are_in_it(tmp_path, monkeypatch):
    runs = tmp_path / "kept"
    monkeypatch.setattr("modelmedic.runs.folder", lambda _state: runs)
    (make_run(tmp_path) / "plan.json").unlink()  # a check: it made no plan
    for day, plan in ((1, "older"), (2, "newer")):
        run_id = f"2025010{day}-120000-abcdef"
        record = make_record(tmp_path, run_id=run_id)
        record["started_at"] = f"2025-01-0{day}T12:00:00Z"
        folder = _folder(runs / run_id)
        records.write_json(folder / "report.json", record)
        records.write_json(folder / "plan.json", {"schema": 1, "plans": [{"note": plan}]})
    journal = tmp_path / "state/journals/0123456789abcdef/01234567/20250101-120000-abcdef.jsonl"
    journal.write_text(json.dumps({"event": "open", "said": f"hf_{'Ab3' * 9}"}) + "\n", "utf-8")
    found = contents(make(tmp_path))
    assert b"newer" in found["plans/20250102-120000-abcdef.json"]
    assert [name for name in found if name.startswith("plans/")] == [
        "plans/20250102-120000-abcdef.json"
    ]
    assert b'"said": "hf_***"' in found["journal/20250101-120000-abcdef.jsonl"]


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_a_killed_run_is_in_it_as_far_as_it_came(tmp_path):
    record = make_record(tmp_path, finding("x.one", "passed"), exit_code=None)
    folder = make_run(tmp_path, record)
    line = json.dumps(finding("x.late", what="Late.").to_json())
    (folder / "findings.jsonl").write_text(f'{line}\n{{"torn', encoding="utf-8")
    found = contents(make(tmp_path))
    assert [f["check"] for f in json.loads(found["report.json"])["findings"]] == ["x.one", "x.late"]
    assert b"Late." in found["findings.jsonl"]
    assert b"did not end" in found["support.txt"]


def test_rows_of_the_history_are_in_it(tmp_path):
    make_run(tmp_path)
    with History.open(tmp_path / "state") as history:
        history.store(make_record(tmp_path), is_own=True)
        older = make_record(tmp_path, run_id="20250101-120000-abcdef")
        history.store(older | {"started_at": "2025-01-01T12:00:00Z"}, is_own=True)
        alert = {"key": "disk", "severity": "warning", "text": "full", "command": "df"}
        _add_alert(history, alert)
    rows = json.loads(contents(make(tmp_path))["history.json"])
    assert [row["run_id"] for row in rows["runs"]] == [RUN_ID, "20250101-120000-abcdef"]
    assert [row["name"] for row in rows["wrong_now"]] == ["x.one"]
    assert [row["text"] for row in rows["alerts"]] == ["full"]


def _add_alert(history, alert):
    columns = {
        **alert,
        "machine_id": history.own_machine(),
        "first_at": 1,
        "last_at": 2,
        "times": 1,
    }
    marks = ", ".join("?" for _ in columns)
    with history.writing():
        history.connection.execute(
            f"INSERT INTO alert ({', '.join(columns)}) VALUES ({marks})", list(columns.values())
        )


def test_a_damaged_history_keeps_no_bundle_from_being_made(tmp_path):
    make_run(tmp_path)
    (tmp_path / "state/history.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    made = make(tmp_path)
    assert "history.json" not in contents(made)
    assert [entry.name for entry in made.left_out] == ["history.json"]


def test_the_same_run_gives_the_same_bytes(tmp_path):
    make_run(tmp_path)
    made = make(tmp_path)
    assert made.data == make(tmp_path).data
    with zipfile.ZipFile(io.BytesIO(made.data)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_is_dropped_is_not_in_it_and_is_named(tmp_path):
    make_run(tmp_path)
    made = make(tmp_path, dropped=["plan.json", "report.json"])
    found = contents(made)
    assert not {"plan.json", "report.json"} & set(found)
    manifest = json.loads(found["manifest.json"])
    assert [entry["name"] for entry in manifest["left_out"]] == ["plan.json", "report.json"]
    assert manifest["run_id"] is None
    with pytest.raises(ModelmedicError, match="--drop nothing names nothing in this bundle"):
        make(tmp_path, dropped=["nothing"])


def test_no_kept_run_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("modelmedic.runs.folder", lambda _state: tmp_path / "none")
    with pytest.raises(CannotTell, match="No run is kept"):
        making.make("", tmp_path)


# -- caps ----------------------------------------------------------------------------------------


def test_the_newest_part_of_a_log_is_kept_and_the_cut_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("modelmedic.bundle.kept._MOST_LOG_BYTES", 100_000)
    make_run(tmp_path)
    lines = [json.dumps({"schema": 1, "number": n, "text": "x" * 1000}) for n in range(150)]
    (tmp_path / "state/errors.jsonl").write_text("\n".join(lines), encoding="utf-8")
    made = make(tmp_path)
    kept = contents(made)["logs/errors.jsonl"].splitlines()
    assert json.loads(kept[-1])["number"] == 149
    assert 50 < json.loads(kept[0])["number"] < 60
    entry = next(m for m in made.members if m.name == "logs/errors.jsonl")
    assert entry.cut.startswith("its first ")


def test_a_line_of_ten_megabytes_is_cut(tmp_path):
    make_run(tmp_path)
    (tmp_path / "run/findings.jsonl").write_bytes(b"\x1b[31m" + b"a" * 10_000_000)
    assert len(cleaning.as_text(b"\x1b" + b"a" * 10_000_000, Unmasked)) < 70_000
    assert "\\x1b" in cleaning.as_text(b"\x1b", Unmasked).decode()
    assert len(contents(make(tmp_path)).get("findings.jsonl", b"")) < 70_000


def test_a_huge_record_keeps_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr("modelmedic.bundle.collecting.MOST_MEMBER_BYTES", 20_000)
    good = [finding(f"x.good{n}", "passed") for n in range(100)]
    make_run(tmp_path, make_record(tmp_path, finding(what="It broke."), *good))
    made = make(tmp_path)
    record = json.loads(contents(made)["report.json"])
    assert [f["check"] for f in record["findings"]] == ["x.one"]
    entry = next(m for m in made.members if m.name == "report.json")
    assert entry.cut == "100 findings that passed or were skipped"


def test_a_bundle_has_a_largest_size_and_number_and_says_what_is_over():
    half = members.Member("a", "x", bytes(members.MOST_TOTAL_BYTES // 2 + 1))
    kept, left = members.capped(
        [half, members.Member("b", "x", half.data), members.Member("c", "", b"")]
    )
    assert [member.name for member in kept] == ["a", "c"]
    assert [entry.name for entry in left] == ["b"]
    many = [members.Member(f"m{n}", "x", b"") for n in range(members.MOST_MEMBERS + 1)]
    assert [entry.name for entry in members.capped(many)[1]] == [f"m{members.MOST_MEMBERS}"]


def test_what_would_look_like_a_bomb_can_be_read_back(tmp_path):
    make_run(tmp_path)
    line = json.dumps({"schema": 1, "error": "the same again and again"})
    (tmp_path / "state/errors.jsonl").write_text(f"{line}\n" * 6_000, encoding="utf-8")
    made = make(tmp_path)
    assert len(Archive(made.data, "x").read("logs/errors.jsonl")) > 200_000


def test_a_link_in_place_of_a_log_is_not_followed(tmp_path):
    make_run(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("nothing of yours\n", encoding="utf-8")
    log = tmp_path / "state/errors.jsonl"
    log.unlink()
    log.symlink_to(secret)
    made = make(tmp_path)
    assert "logs/errors.jsonl" not in contents(made)
    assert [entry.name for entry in made.left_out] == ["logs/errors.jsonl"]
    assert files.tail(tmp_path / "none", 10) is None


def test_xml_that_could_unfold_is_left_out(tmp_path):
    make_run(tmp_path)
    bomb = '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'
    (tmp_path / "run/junit.xml").write_text(bomb, encoding="utf-8")
    assert [entry.name for entry in make(tmp_path).left_out] == ["junit.xml"]
