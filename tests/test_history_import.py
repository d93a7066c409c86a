"""Strangers' records are taken in once, bounded and judged, and overwrite nothing."""

from __future__ import annotations

import gc
import json
import os
import zipfile

import pytest
from history_support import OTHER, finding, inventory, record, rows, written
from test_history_latest import LATEST

from modelmedic.history import importing, queries
from modelmedic.history import rows as made
from modelmedic.history.store import History
from modelmedic.records import write_json

THIRD = "machine:00000000cc"


@pytest.fixture
def history(tmp_path):
    with History.open(tmp_path / "state") as history:
        yield history


def test_files_folders_and_report_folders_are_taken_once(tmp_path, history):
    folder = written(tmp_path / "in", record(number=1), record(number=2, machine=THIRD))
    (report,) = (folder / f"{OTHER.replace(':', '-')}-{record(number=1)['run_id']}").iterdir()
    done = history.import_paths([report])
    assert (done.stored, done.known, done.refused) == (1, 0, ())
    done = history.import_paths([report.parent, folder, folder])
    assert (done.stored, done.known, done.refused) == (1, 4, ())
    assert {run.machine for run in queries.runs(history)} == {OTHER, THIRD}


def test_records_under_other_names_in_one_folder_are_found_and_other_json_is_passed_over(
    tmp_path, history
):
    for number in range(3):
        write_json(tmp_path / "in.json", record(number=number))
        (tmp_path / "all").mkdir(exist_ok=True)
        (tmp_path / "in.json").rename(tmp_path / "all" / f"host-{number}.json")
    (tmp_path / "all" / "package.json").write_text('{"name": "x"}')
    done = history.import_paths([tmp_path / "all"])
    assert (done.stored, done.refused, done.others) == (3, (), 1)


def test_what_beside_a_record_is_none_is_not_looked_at(tmp_path, history):
    folder = written(tmp_path / "in", record())
    (next(folder.iterdir()) / "plan.json").write_text("{}")
    assert history.import_paths([folder]).others == 0


def test_a_folder_without_a_record_and_a_path_without_a_file_are_named(tmp_path, history):
    (tmp_path / "empty").mkdir()
    done = history.import_paths([tmp_path / "empty", tmp_path / "none"])
    assert [refused.path.name for refused in done.refused] == ["empty", "none"]
    assert "no run record in it" in done.refused[0].why


@pytest.mark.parametrize(
    "text",
    [b"", b"[" * 100_000, b"\xff\xfe", b'{"schema": 1}', b"\0" * 100],
    ids=["empty", "deep", "bytes", "part", "zeros"],
)
def test_what_is_no_record_is_refused_and_the_others_are_stored(tmp_path, history, text):
    folder = written(tmp_path / "in", record(number=1))
    bad = tmp_path / "in" / "bad" / "report.json"
    bad.parent.mkdir()
    bad.write_bytes(text)
    done = history.import_paths([folder])
    assert done.stored == 1
    assert [refused.path for refused in done.refused] == [bad]


def test_a_run_of_another_machine_is_never_overwritten(tmp_path, history):
    folder = written(tmp_path / "in", record({"x.one": "passed"}))
    history.import_paths([folder])
    before = "\n".join(history.connection.iterdump())
    done = history.import_paths([written(tmp_path / "in", record({"x.one": "failed"}))])
    assert (done.stored, done.known) == (0, 0)
    assert "other content" in done.refused[0].why
    assert "\n".join(history.connection.iterdump()) == before


def test_a_record_written_in_another_form_is_the_same_run(tmp_path, history):
    history.store(record(kept=inventory()))
    path = tmp_path / "report.json"
    path.write_text(json.dumps(record(kept=inventory()), sort_keys=True))
    done = history.import_paths([path])
    assert (done.known, done.refused) == (1, ())


def test_older_runs_imported_after_newer_ones_leave_the_newest_word(tmp_path, history):
    history.store(record({"x.one": "failed"}, number=5))
    old = [record({"x.one": "passed"}, number=n) for n in (1, 2)]
    history.import_paths([written(tmp_path / "in", *old)])
    ((_name, run_id, outcome, _since, flaps),) = rows(history, LATEST)
    assert (run_id, outcome, flaps) == (record(number=5)["run_id"], "failed", 1)


def test_the_collector_of_python_is_on_again_afterwards(tmp_path, history, monkeypatch):
    seen = []
    monkeypatch.setattr(history, "store_rows", lambda *_: seen.append(gc.isenabled()) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        history.import_paths([written(tmp_path / "in", record())])
    assert seen == [False]
    assert gc.isenabled()


def test_a_link_in_a_folder_is_not_followed_and_a_pipe_is_not_waited_for(tmp_path, history):
    folder = written(tmp_path / "in", record())
    outside = written(tmp_path / "out", record(number=9))
    (folder / "link").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "report.json")
    assert history.import_paths([folder]).stored == 1


def test_hostile_names_and_texts_are_stored_as_they_are_and_cut(tmp_path, history):
    evil = "<script>alert(1)</script>\x1b[31m\n=cmd|' /C calc'!A0" + "x" * 10_000
    found = [finding(evil, what=evil * 100, why="'); DROP TABLE run; --")]
    kept = inventory(packages={evil: evil[:900]}, files={evil: 1})
    history.import_paths([written(tmp_path / "in", record(found=found, kept=kept, profile=evil))])
    (row,) = rows(history, "SELECT name, what, why FROM finding JOIN check_name ON id = check_id")
    assert row[0] == evil[:497] + "..."
    assert len(row[1]) == 4000
    assert row[2] == "'); DROP TABLE run; --"


def test_impossible_numbers_and_days_are_bounded(tmp_path, history):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(record(started_at="2026-99-99T99:99:99Z")))
    assert history.import_paths([path]).stored == 1
    text = json.dumps(record(number=2, kept=inventory())).replace("68719476736", "1e999")
    path.write_text(text)
    assert "memory_bytes" in history.import_paths([path]).refused[0].why
    assert made.snapshot({"memory_bytes": 1 << 70, "files": {"a": -1, "b": True}, "gpus": 7})


def test_a_bundle_is_read_by_who_knows_bundles(tmp_path, history):
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("report.json", json.dumps(record()))

    def read(bundle):
        with zipfile.ZipFile(bundle) as archive:
            yield json.loads(archive.read("report.json"))

    assert "no JSON" in history.import_paths([path]).refused[0].why
    assert history.import_paths([path], read_bundle=read).stored == 1
    assert history.import_paths([path], read_bundle=read).known == 1


def test_a_killed_run_is_taken_with_what_it_left_and_replaced_by_its_end(tmp_path, history):
    begun = record(found=[finding("x.one", "passed")], exit_code=None)
    folder = written(tmp_path / "in", begun | {"findings": []})
    (report,) = folder.iterdir()
    (report / "findings.jsonl").write_text(json.dumps(begun["findings"][0]) + "\n")
    assert history.import_paths([folder]).stored == 1
    assert rows(history, "SELECT count(*) FROM finding") == [(1,)]
    write_json(report / "report.json", record({"x.one": "passed", "x.two": "failed"}))
    assert history.import_paths([folder]).stored == 1
    assert rows(history, "SELECT count(*) FROM finding") == [(2,)]
    assert len(queries.runs(history)) == 1


def test_large_records_are_not_stored_all_under_one_lock(tmp_path, history, monkeypatch):
    monkeypatch.setattr(importing, "_MOST_FINDINGS", 3)
    found = dict.fromkeys(("x.one", "x.two", "x.three"), "passed")
    folder = written(tmp_path / "in", *(record(found, number=number) for number in range(4)))
    told: list[str] = []
    history.connection.set_trace_callback(told.append)
    assert history.import_paths([folder]).stored == 4
    assert told.count("BEGIN IMMEDIATE") >= 4
