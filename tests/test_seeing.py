"""What a person sees of a repair: before, during, after; and the text to ask for help with."""

from __future__ import annotations

import io
import re

import pytest
from room_support import HOST, SEVEN, TOKEN, USER, Room

from modelmedic import rooms, support
from modelmedic.text import duration

pytestmark = pytest.mark.once

STEPS = rooms.load("plugins", "progress")
GiB = 1 << 30


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(STEPS, "time", clock)
    return clock


def test_a_step_under_a_second_shows_nothing(clock):
    stream = io.StringIO()
    meter = STEPS._Meter(stream)
    meter.tell("a.bin", 0, 10)
    clock.now += 0.9
    meter.tell("a.bin", 10, 10)
    meter.close()
    assert stream.getvalue() == ""


def test_a_log_gets_a_line_now_and_then_with_rate_and_time_left(clock):
    stream = io.StringIO()
    meter = STEPS._Meter(stream)
    for second in range(31):
        meter.tell("model/a.bin", 2 * GiB + second * GiB // 10, 8 * GiB)  # resumed at 2 GiB
        clock.now += 1
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == (
        "  model/a.bin: 2.1 GiB of 8.0 GiB, 102.4 MiB/s, about 59 s left"
    )  # what was there before does not count as speed
    meter.tell("b.bin", 0, 0)
    clock.now += 5
    meter.tell("b.bin", 5 << 20, 0)
    assert stream.getvalue().splitlines()[-1] == "  b.bin: 5.0 MiB, 1.0 MiB/s"
    clock.now += 20
    meter.tell("b.bin", 5 << 20, 0)  # it stands still
    assert stream.getvalue().splitlines()[-1].startswith("  b.bin: 5.0 MiB, ")


def test_a_terminal_gets_a_bar_that_goes_away(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Screen()
    meter = STEPS._Meter(stream)
    meter.tell("[red]a\x1b[31m.bin", 0, 8 * GiB)
    clock.now += 2
    meter.tell("[red]a\x1b[31m.bin", 2 * GiB, 8 * GiB)
    meter.close()
    shown = stream.getvalue()
    assert "[red]a" in shown  # no markup of a name's own
    assert r"\x1b[31m.bin" in shown
    assert "8.0 GiB" in shown
    assert "\x1b[2K" in shown  # the line is taken away


def test_a_repair_is_told_before_and_after(room):
    run = room.run(SEVEN, "--heal")
    told = run.out.index("room.healed: The folder extra is missing.")
    done = run.out.index("create_missing_folder will now (safe):", told)
    assert run.out.index("    - create the folder extra", done) > done
    assert re.search(r"^  healed in [^:]+: the check holds now$", run.out, re.MULTILINE)
    assert "closing pass: a fresh process judges the 7 checks once more" in run.out
    assert re.search(r"^Undo:    .* undo \d{8}-.* --install-dir=", run.out, re.MULTILINE)


@pytest.mark.parametrize("options", [["-q"], ["-n2"], ["-p", "no:terminal"]])
def test_nothing_of_it_is_told(room, options):
    """-q asks for silence; a worker has no screen."""
    run = room.run(SEVEN, "--heal", *options)
    assert "will now" not in run.out
    assert run.outcomes()["room.healed"] == "healed"


def test_a_repair_that_does_not_help_is_told(room):
    run = room.run(
        '@pytest.mark.check("room.never", area="install")\n'
        '@pytest.mark.recover("system", using=["create_missing_folder"])\n'
        'def test_never(): "Holds."; raise Unhealthy("Never.", subject="extra")\n',
        "--heal",
    )
    assert "  did not help: the check still fails; it was undone" in run.out
    assert "support.txt (masked; paste it where you ask for help)" in run.out
    assert "Undo:" not in run.out


def test_the_support_text_says_all_that_was_tried_and_no_secret(room):
    checks = (
        '@pytest.mark.check("room.never", area="install")\n'
        '@pytest.mark.recover("system", using=["create_missing_folder"])\n'
        'def test_never(): "Holds."; raise Unhealthy(f"Never: {LEAKS} {BAD}", "Because.", "Do it.",'
        ' subject="extra", failure_id="known-thing")\n'
    )
    run = room.run(checks, "--heal")
    text = (run.folder / support.NAME).read_text(encoding="utf-8")
    for part in (
        "Not ready: 1 cause.", "FAILED: room.never (validation, known failure known-thing)",
        "Because.", "Tried create_missing_folder: not healed.", "To do by hand: Do it.",
        "Profile demo, stage preflight, mode apply.", "More: docs/checks.md#room-never",
    ):  # fmt: skip
        assert part in text, text
    for secret in (USER, HOST, TOKEN, "\x1b", "\x00", "\u202e"):
        assert secret not in text
    assert max(map(len, text.splitlines())) < 400


def test_a_healthy_run_leaves_none_and_removes_an_old_one(room):
    (room.folder / "report").mkdir()
    (room.folder / "report" / support.NAME).write_text("old")
    room.run('@pytest.mark.check("room.a", area="system")\ndef test_a(): "Holds."\n')
    assert not (room.folder / "report" / support.NAME).exists()


def test_many_causes_stay_readable():
    finding = {
        "check": "a.b[c]", "outcome": "failed", "category": "system", "failure_id": None,
        "what": "No.", "why": "", "next": "", "attempts": [],
    }  # fmt: skip
    about = dict.fromkeys(("system", "release", "machine", "python", "command"), "x")
    record = {
        "modelmedic": "1", "run_id": "r", "profile": "p", "stage": "s", "mode": "check",
        "exit_code": 1, "environment": {**about, "notes": ["One thing."]},
        "findings": [finding] * 50,
    }  # fmt: skip
    text = support.text(record, "not ready.")
    assert text.count("FAILED") == 20
    assert "and 30 more causes" in text
    assert "- One thing." in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "under 0.1 s"), (0.049, "under 0.1 s"), (0.05, "0.1 s"), (12, "12 s")],
)
def test_no_time_is_called_nothing(seconds, words):
    assert duration(seconds) == words
