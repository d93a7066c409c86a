"""``history report``, ``trends`` and ``metrics`` say it in words, as JSON, and into a file."""

from __future__ import annotations

import argparse
import json
import os
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families
from reporter_support import Past, finding

from modelmedic.errors import ModelmedicError
from modelmedic.reporter import cli_verbs


@pytest.fixture
def past(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path / "state"))
    with Past(tmp_path / "state") as made:
        yield made


def run(*arguments):
    parser = argparse.ArgumentParser()
    cli_verbs.add(parser.add_subparsers(required=True))
    options = parser.parse_args(arguments)
    return options.call(options)


def test_without_a_run_the_report_fails_and_says_what_to_do(past, capsys):
    assert run("report") == 1
    assert capsys.readouterr().out == (
        "No run is known here. A run is stored when it ends: modelmedic check\n"
    )
    assert run("trends") == 0
    assert not past.state_dir.exists()


def test_a_report_is_read_from_top_to_bottom(past, capsys):
    past.store(9, [finding("w.a"), finding("w.b")])
    for day in (6, 2):
        past.store(day, [finding("w.a", "failed"), finding("w.b", "blocked", blocked_by="w.a")])
    past.heal("refetch", "not healed")
    assert run("report") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("wan2.2-t2v-a14b in /models/wan on machine:")
    assert lines[1].startswith("1 check is wrong: w.a, since ")
    assert lines[1].endswith("1 check waits on it.")
    assert "Wrong now" in lines
    assert "  Next: Do this." in lines
    assert "- refetch: worked 0 of 1 time (95 % interval 1% to 84%), median 2.0 s" in lines


def test_the_json_of_a_report_is_its_fields(past, capsys):
    past.store(0, [finding("w.a", "failed")])
    assert run("report", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["causes"][0]["check"] == "w.a"
    assert run("trends", "--days", "7", "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs"] in {0, 1}  # the clock here is today's


def test_labels_are_shown_on_this_terminal_and_leave_it_in_no_document(past, capsys):
    past.store(0, [finding("w.a")])
    past.history.connection.execute("UPDATE machine SET label = 'box \x1b[1m7'")
    assert run("report") == 0
    assert " on box \\x1b[1m7 (machine:" in capsys.readouterr().out
    for arguments in (["report", "--json"], ["trends", "--json"], ["metrics", "--format", "csv"]):
        assert run(*arguments) == 0
        assert "box" not in capsys.readouterr().out
    assert run("report", "--machine", "box \x1b[1m7") == 0


@pytest.mark.parametrize("days", ["0", "-1", "nan", "inf", "x", "99999"])
def test_a_senseless_number_of_days_is_refused(days, past):
    with pytest.raises(SystemExit):
        run("trends", f"--days={days}")


def test_hostile_text_stays_on_its_line_of_the_terminal(past, capsys):
    nasty = "\x1b[2J\r\nroot# rm -rf ~ \u202e\x07" + "x" * 100_000
    past.store(
        0,
        [finding(f"w.{nasty[:300]}", "failed", what=nasty, why=nasty, next=nasty, failure_id=nasty)],
        install_dir=nasty[:200], profile=nasty[:200],
    )  # fmt: skip
    past.store(1, [finding(f"w.{nasty[:300]}", "failed", failure_id=nasty)])
    past.heal(nasty[:300], *["failed"] * 9, category=nasty[:300])
    assert run("report", "--install-dir", "/") == 1
    capsys.readouterr()
    for verb in ("report", "trends"):
        assert run(verb) == 0
        told = capsys.readouterr().out
        assert not set(told) & set("\x1b\r\x07\u202e")
        assert not [line for line in told.splitlines() if line.startswith("root#")]
        assert len(told) < 20_000


def test_a_terminal_without_the_letters_gets_escapes(past, monkeypatch, capfd):
    past.store(0, [finding("w.\u00e4\u6f22", "failed")])
    sys.stdout.reconfigure(encoding="ascii")
    assert run("report") == 0


@pytest.mark.parametrize("form", ["json", "csv", "prometheus", "junit"])
def test_metrics_go_to_a_file_in_one_step_and_nothing_is_left_beside_it(form, past, tmp_path):
    past.store(0, [finding("w.a")])
    file = tmp_path / "out" / "metrics.prom"
    file.parent.mkdir()
    file.write_text("old")
    old = file.stat().st_ino
    previous = os.umask(0o022)
    try:
        assert run("metrics", "--format", form, "--output", str(file)) == 0
    finally:
        os.umask(previous)
    assert [each.name for each in file.parent.iterdir()] == ["metrics.prom"]
    assert file.stat().st_ino != old
    if os.name != "nt":
        assert file.stat().st_mode & 0o777 == 0o644  # node_exporter is another user
    assert "w.a" in file.read_text("utf-8")


def test_a_file_that_cannot_be_written_is_told_in_words(past, tmp_path):
    past.store(0, [finding("w.a")])
    with pytest.raises(ModelmedicError, match="cannot be written"):
        run("metrics", "--format", "csv", "--output", str(tmp_path / "no" / "x.csv"))


def test_metrics_go_to_standard_output_without_one(past, capsysbinary):
    past.store(0, [finding("w.a")])
    assert run("metrics", "--format", "prometheus") == 0
    text = capsysbinary.readouterr().out.decode()
    assert list(text_string_to_metric_families(text))


def test_a_damaged_history_is_told_and_is_no_success(past, capsys):
    past.state_dir.mkdir(mode=0o700)
    (past.state_dir / "history.db").write_bytes(b"nothing of ours" * 300)
    (past.state_dir / "history.db").chmod(0o600)
    for arguments in (["report"], ["trends"], ["metrics", "--format", "json"]):
        assert run(*arguments) == 1
        assert "cannot be used" in capsys.readouterr().err
