"""Alerts: told once, again when they last, and when they end; safe to print; kept in a bounded log."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import threading
from pathlib import Path

import pytest
from machine_support import needs_root, tmpfs
from monitor_support import NOON, issue, until

from modelmedic.history.store import History
from modelmedic.monitor.alerts import MOST_AT_ONCE, REPEAT_SECONDS, Alerts, _home, at_home
from modelmedic.monitor.series import Minute
from modelmedic.monitor.writing import AlertLog, Writer

pytestmark = pytest.mark.once
MINUTE = Minute("cpu.busy_ratio", 60, 0.0, 0.5, 1.0, 0.2, 60)
HOSTILE = "\x1b]0;owned\x07<script>alert(1)</script>\r\nERROR\u202e=cmd|' /C calc'!A0\ud800"


def events(alerts):
    return [alert.event for alert in alerts]


def test_an_issue_is_told_when_it_begins_and_when_it_ends_and_not_between():
    alerts = Alerts()
    assert events(alerts.step(0, NOON, [issue()])) == ["begin"]
    assert alerts.step(1, NOON + 1, [issue()]) == []
    (end,) = alerts.step(61, NOON + 61, [])
    assert end.event == "end"
    assert "over after 61 s: 4 % of the memory are left." in end.line
    assert alerts.issues == ()


@pytest.mark.parametrize("step_seconds", [-7200, 7200])
def test_how_long_it_lasted_is_true_when_the_clock_is_set(step_seconds):
    alerts = Alerts()
    alerts.step(10, NOON + 10, [issue(since=NOON)])
    (end,) = alerts.step(61, NOON + 61 + step_seconds, [])
    assert "over after 61 s: " in end.line


def test_what_lasts_is_told_again_ever_less_often():
    alerts = Alerts()
    told = [now for now in range(0, 24 * 3600, 60) if alerts.step(now, NOON + now, [issue()])]
    assert told == [0, 1800, 1800 + 3600, 1800 + 3600 + 7200, 1800 + 3600 + 7200 + 14400, 55800]
    assert REPEAT_SECONDS == 1800


def test_what_gets_worse_is_told_at_once_and_keeps_its_beginning():
    alerts = Alerts()
    alerts.step(0, NOON, [issue()])
    (worse,) = alerts.step(1, NOON + 1, [issue(severity="critical", since=NOON + 1)])
    assert (worse.event, worse.issue.since, worse.times) == ("worse", NOON, 2)
    assert alerts.step(2, NOON + 2, [issue()]) == []


def test_what_goes_to_and_fro_about_a_limit_is_told_to_be_worse_once():
    alerts = Alerts()
    told = []
    for now in range(0, 600, 5):
        severity = ("warning", "critical")[now // 5 % 2]
        told += alerts.step(now, NOON + now, [issue(severity=severity)])
    assert events(told) == ["begin", "worse"]


def test_what_was_a_warning_for_long_is_told_when_it_is_worse_again():
    alerts = Alerts()
    alerts.step(0, NOON, [issue(severity="critical")])
    for now in range(1, 400):
        assert alerts.step(now, NOON + now, [issue()]) == []
    assert events(alerts.step(400, NOON + 400, [issue(severity="critical")])) == ["worse"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/jo/app.log shows it.", "~/app.log shows it."),
        ("The disk of /home/jo.", "The disk of ~."),
        ("The disk of /home/jo is full", "The disk of ~ is full"),
        ('"/home/jo"', '"~"'),
        ("/home/joe/x and /mnt/home/jo/x and /home/jo.bak", None),
    ],
)
def test_the_home_folder_is_told_as_people_write_it(text, shown, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda _path: "/home/jo")
    _home.cache_clear()
    try:
        assert at_home(text) == (shown or text)
    finally:
        _home.cache_clear()


def test_of_two_with_one_key_the_worse_is_told_and_else_the_first():
    alerts, worse = Alerts(), issue(severity="critical", what="seen")
    alerts.step(0, NOON, [worse, issue(what="foreseen")])
    assert [entry.what for entry in alerts.issues] == ["seen"]
    alerts.step(1, NOON, [issue(what="foreseen"), worse])
    assert [entry.what for entry in alerts.issues] == ["seen"]
    alerts.step(2, NOON, [issue(what="first"), issue(what="second")])
    assert [entry.what for entry in alerts.issues] == ["first"]


def test_the_worst_comes_first():
    alerts = Alerts()
    alerts.step(0, NOON, [issue("a"), issue("b", severity="critical"), issue("c", since=NOON - 9)])
    assert [entry.key for entry in alerts.issues] == ["b", "c", "a"]


def test_there_are_never_more_than_a_bound():
    alerts = Alerts()
    told = alerts.step(0, NOON, [issue(str(number)) for number in range(10_000)])
    assert len(told) == MOST_AT_ONCE == len(alerts.issues)


def test_a_line_for_the_terminal_is_one_line_whatever_a_process_or_a_log_says():
    hostile = issue(what=HOSTILE, why=HOSTILE, command=HOSTILE, subject=HOSTILE)
    for event in Alerts().step(0, NOON, [hostile]):
        assert event.line.isprintable()
        assert "Next: " in event.line
        json.dumps(event.as_json()).encode()
        assert all(str(value).isprintable() for value in event.as_json().values())


def test_a_sentence_of_ten_megabytes_is_cut():
    (told,) = Alerts().step(0, NOON, [issue(what="x" * 10_000_000)])
    assert len(told.line) < 2000
    assert len(json.dumps(told.as_json())) < 3000


# --- the log


def test_the_log_is_private_and_one_object_a_line(tmp_path):
    log = AlertLog(tmp_path / "monitor" / "alerts.jsonl")
    for alert in Alerts().step(0, NOON, [issue("a"), issue("b")]):
        log.add(alert.as_json())
    lines = log.path.read_text("utf-8").splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["a", "b"]
    if sys.platform != "win32":
        assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700


def test_the_log_does_not_grow_for_ever(tmp_path):
    log = AlertLog(tmp_path / "alerts.jsonl", most_bytes=10_000)
    for number in range(1000):
        log.add({"number": number, "what": "x" * 100})
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"alerts.jsonl", "alerts.jsonl.1"}
    assert max(sizes.values()) <= 10_000
    assert json.loads(log.path.read_text("utf-8").splitlines()[-1])["number"] == 999


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_the_log_is_not_written_through_a_link(tmp_path):
    (tmp_path / "alerts.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic"):
        AlertLog(tmp_path / "alerts.jsonl").add({})


def fill(path):
    """Write until the disk is full."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@needs_root
def test_a_full_disk_costs_the_log_and_is_said_once():
    with tmpfs("size=64k") as small:
        writer = Writer(small)
        (small / "monitor").mkdir()
        fill(small / "filler")
        writer.add_alerts(Alerts().step(0, NOON, [issue(str(number)) for number in range(50)]))
        writer.close()
        assert any("alerts.jsonl cannot be written: No space left" in said for said in writer.blind)
        assert len(writer.blind) <= 2
        for path in (small / "monitor").iterdir():
            assert path.stat().st_size == 0


@needs_root
def test_a_line_that_fits_only_in_part_is_taken_back():
    with tmpfs("size=64k") as small:
        log = AlertLog(small / "alerts.jsonl")
        log.path.write_bytes(b"x" * 4000)  # 96 bytes of its page are left
        fill(small / "filler")
        with pytest.raises(OSError, match="No space left"):
            log.add({"what": "y" * 600})
        assert log.path.read_bytes() == b"x" * 4000


def test_alerts_and_minutes_are_in_the_history(tmp_path):
    writer, alerts = Writer(tmp_path), Alerts()
    writer.add_alerts(alerts.step(0, NOON, [issue(since=NOON)]))
    writer.add_alerts(alerts.step(60, NOON + 60, []))
    writer.add_minutes([MINUTE])
    writer.add_components([(NOON, "Downloader", "fetch", 5, 1, 2, 0.5, None)])
    writer.close()
    assert writer.blind == []
    with History.open(tmp_path, is_read_only=True) as history:
        (alert,) = history.connection.execute("SELECT * FROM alert").fetchall()
        assert (alert["first_at"], alert["ended_at"]) == (NOON, NOON + 60)
        (row,) = history.connection.execute("SELECT * FROM minute").fetchall()
        assert tuple(row)[1:] == tuple(MINUTE)
        (metric,) = history.connection.execute("SELECT * FROM component_metric").fetchall()
        assert tuple(metric)[2:] == ("Downloader", "fetch", 5, 1, 2, 0.5, None)


def test_what_lasts_when_the_watching_ends_is_known_until_then(tmp_path):
    writer, alerts = Writer(tmp_path), Alerts()
    writer.add_alerts(alerts.step(0, NOON, [issue(since=NOON)]))
    writer.add_alerts(alerts.last(NOON + 90))
    writer.close()
    assert writer.lines == 1, "nobody is told"
    with History.open(tmp_path, is_read_only=True) as history:
        (alert,) = history.connection.execute("SELECT * FROM alert").fetchall()
    assert (alert["last_at"], alert["ended_at"], alert["times"]) == (NOON + 90, None, 1)


def test_a_home_folder_is_masked_in_the_history(tmp_path):
    home = Path.home() / "models"
    writer = Writer(tmp_path)
    text = f"1 % of the disk of {home} are free."
    writer.add_alerts(Alerts().step(0, NOON, [issue(f"disk_full[{home}]", what=text)]))
    writer.close()
    with History.open(tmp_path, is_read_only=True) as history:
        (alert,) = history.connection.execute("SELECT * FROM alert").fetchall()
    assert str(home) not in alert["text"] + alert["key"]


def test_a_history_that_cannot_be_kept_is_said_and_takes_no_memory(tmp_path):
    (tmp_path / "file").touch()
    writer = Writer(tmp_path / "file" / "state")
    for _ in range(100):
        writer.add_minutes([MINUTE])
    writer.close()
    assert len(writer.blind) == 1
    assert "istory" in writer.blind[0]
    assert writer.rows == 0
    assert writer._history is None


def test_a_disk_that_does_not_answer_never_holds_the_giver_up(tmp_path):
    let_go = threading.Event()

    def dead(_state_dir):
        let_go.wait(30)
        raise OSError(5, os.strerror(5))

    writer = Writer(tmp_path, open_history=dead)
    for _ in range(3000):
        writer.add_minutes([MINUTE])
    assert writer.lost >= 1900
    assert any("were not kept" in said for said in writer.blind)
    let_go.set()
    until(lambda: any("takes nothing" in said for said in writer.blind))
    writer.close()
