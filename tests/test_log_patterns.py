"""Logs: known failures by their words, tracebacks as one, errors that repeat or rise; all masked."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tracemalloc

import pytest
from support import CHECKOUT

from modelmedic.healing import tables
from modelmedic.masking import Masker
from modelmedic.monitor import log_patterns, signatures
from modelmedic.monitor.log_patterns import Patterns, is_error_line, template
from modelmedic.monitor.log_tail import LogLine
from modelmedic.monitor.tracebacks import Joiner

pytestmark = pytest.mark.once
KNOWN = json.loads((CHECKOUT / "tests/wordings/known.json").read_text("utf-8"))["wordings"]
FRESH = json.loads((CHECKOUT / "tests/wordings/fresh.json").read_text("utf-8"))["wordings"]
FAILURES = tables.read("failures.toml")
SIGNATURES = signatures._table("modelmedic.monitor", "signatures.toml")
TEXTS = [
    (failure, text)
    for failure, texts in KNOWN.items()
    for text in texts
    if not text.startswith("(")  # a fact without a text
]
# What another failure says with the same words: only facts can tell them apart.
SAME_WORDS = {
    "error-page-saved-as-weight": "consistency-check-size",
    "xet-cache-fills-home": "no-space-on-model-disk",
    "no-space-on-tmp": "no-space-on-model-disk",
    "vram-held-or-fragmented": "vram-insufficient",
}


def fed(text, patterns=None, *, path="/logs/app.log", begin=1e9, every=1.0):
    """Return the issues that the lines of a text show."""
    patterns = patterns or Patterns(masker=Masker())
    lines = text if isinstance(text, list) else text.splitlines()
    found = [
        patterns.add(LogLine(path, line, begin + number * every))
        for number, line in enumerate(lines)
    ]
    return [issue for issue in found if issue]


TRACEBACK = """\
INFO starting
Traceback (most recent call last):
  File "/app/generate.py", line 12, in <module>
    main()
  File "/app/wan/model.py", line 3, in main
    x = torch.empty(9)
        ^^^^^^^^^^^^^^
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity
INFO ended
"""


@pytest.mark.parametrize(("failure", "text"), TEXTS)
def test_no_text_of_a_known_failure_is_taken_for_another(failure, text):
    found = signatures.failure_of(text.lower())
    assert found in {None, failure, SAME_WORDS.get(failure)}


@pytest.mark.parametrize("failure", SIGNATURES)
def test_each_signature_finds_a_real_text_of_its_failure_also_in_a_log(failure):
    texts = [text for name, text in TEXTS if name == failure]
    extra = {
        "vram-held-or-fragmented": "CUDA out of memory. Tried to allocate 20 MiB. If memory that "
        "is reserved by PyTorch but unallocated is large try",
        "host-ram-oom-killed": "Out of memory: Killed process 4711 (python) total-vm:1kB",
    }
    texts += [extra[failure]] if failure in extra else []
    assert any(signatures.failure_of(text.lower()) == failure for text in texts)
    known = [text for text in texts if signatures.failure_of(text.lower()) == failure]
    for text in known:
        (issue,) = fed([f"2026-11-28 12:00:01,123 ERROR app.loader: {text}"])
        assert issue.failure_id == failure
        assert issue.key == f"log[{failure}]"
        assert issue.kind == "log"


@pytest.mark.parametrize("row", FRESH, ids=lambda row: row["error"][:40])
def test_texts_that_were_kept_apart_get_no_failure_of_another_category(row):
    found = signatures.failure_of(row["error"].lower())
    assert found is None or FAILURES[found]["category"] == row["category"]


@pytest.mark.parametrize("failure", SIGNATURES)
def test_each_signature_is_of_the_catalogue_and_its_command_is_one(failure):
    row = signatures.row_of(failure)
    assert row.reason == FAILURES[failure]["reason"]
    verb = "heal" if FAILURES[failure].get("recoveries") else "check"
    assert row.command.startswith(f"modelmedic {verb}")
    checks = FAILURES[failure].get("checks") or []
    assert row.command.endswith(",".join(checks))


@pytest.mark.parametrize(
    "text",
    [
        "INFO 12 files, 0 errors",
        "INFO: retrying after error 429 client errors",
        "2026-11-28 12:00:00 [DEBUG] error while probing, falling back",
        "done: errors=0 failed: 0 warnings=3",
        "no errors found",
        "the terror of the mirror",
        "loss=0.12 certainly 15009 bytes read",
        "File error_handling.py loaded",
        "the disk is doing well",
        "unxnvrm: xid (x): 790",
        "xwinerror 32",
        "winerror 321",
        "",
    ],
)
def test_lines_that_tell_no_error_are_quiet(text):
    assert fed([text] * 50) == []


def test_a_traceback_is_one_with_its_last_line_as_what_is_wrong():
    (issue,) = fed(TRACEBACK)
    assert issue.failure_id == "vram-insufficient"
    assert issue.severity == "critical"
    assert 'vram-insufficient: "torch.OutOfMemoryError: CUDA out of memory.' in issue.what
    assert issue.command == "modelmedic check --checks=hardware.fit,hardware.vram"
    assert issue.why.startswith("The card's memory does not suffice. Nothing is repaired, because")


def test_what_can_be_healed_says_so():
    (issue,) = fed(["SafetensorError: Error while deserializing header: MetadataIncompleteBuffer"])
    assert issue.command == "modelmedic heal --checks=weights.intact"
    assert "A heal can repair it (copy_identical_file, fetch_missing_tail" in issue.why


@pytest.mark.parametrize(
    "text",
    [
        TRACEBACK.replace("\n", "\r\n"),
        "\n".join(f"2026-11-28 12:00:0{n} app | {x}" for n, x in enumerate(TRACEBACK.split("\n"))),
        TRACEBACK.replace("Traceback", "ERROR:root:loading failed Traceback"),
        TRACEBACK.replace("    main()", "    main()\n[12:00] another thread says something"),
        "ValueError: x\n\nDuring handling of the above exception, another exception occurred:\n\n"
        + TRACEBACK,
    ],
    ids=["carriage returns", "prefixes", "behind words", "another thread", "chained"],
)  # fmt: skip
def test_tracebacks_in_the_shapes_that_logs_give_them(text):
    assert [issue.failure_id for issue in fed(text)] == ["vram-insufficient"]


def test_the_line_of_another_thread_does_not_end_a_traceback():
    joiner = Joiner()
    text = TRACEBACK.replace("    main()", "    main()\n[12:00] another thread: says something")
    found = [joiner.add(LogLine("/x", line, 1e9)) for line in text.splitlines()[1:-1]]
    assert found[:-1] == [None] * (len(found) - 1)
    assert found[-1].is_traceback
    assert found[-1].headline.startswith("torch.OutOfMemoryError")
    assert found[-1].text.startswith("Traceback")


def test_two_logs_do_not_mix():
    patterns = Patterns(masker=Masker())
    found = [
        patterns.add(LogLine(path, line, 1e9 + number))
        for number, line in enumerate(TRACEBACK.splitlines())
        for path in ("/logs/a", "/logs/b")
    ]
    assert [issue.subject for issue in found if issue] == ["/logs/a", "/logs/b"]


def test_a_traceback_that_never_ends_ends():
    patterns = Patterns(masker=Masker())
    lines = ["Traceback (most recent call last):", *['  File "x.py", line 1'] * 5000]
    assert fed(lines, patterns, every=0.0001) == []
    (issue,) = fed(["OSError: [Errno 28] No space left on device"], patterns, begin=1e9 + 60)
    assert issue.failure_id == "no-space-on-model-disk"


def test_the_same_failure_is_told_again_after_a_minute_with_how_often():
    line = "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"
    told = fed([line] * 130)
    assert len(told) == 3
    assert ", 61 times since it began, " in told[1].what
    assert {issue.since for issue in told} == {1e9}


def test_a_known_failure_that_is_only_warned_of_is_a_warning():
    (issue,) = fed(
        ["WARNING: Ignoring invalid distribution ~umpy (/usr/lib/python3/site-packages)"]
    )
    assert (issue.failure_id, issue.severity) == ("half-installed-package", "warning")


def test_an_error_that_repeats_is_told_once_it_did_so_five_times():
    lines = [
        f"ERROR worker {n} lost '/data/{n}/part-{n:08x}.bin' at https://h.example/{n}?a={n} "
        f"after {n * 3.7} s, id {n:032x}"
        for n in range(20)
    ]
    patterns = Patterns(masker=Masker())
    assert fed(lines[:4], patterns) == []
    (issue,) = fed(lines[4:], patterns, begin=1e9 + 4)
    assert issue.key.startswith("log_repeats[/logs/app.log: ERROR worker <n> lost")
    assert "says the same error 5 times in 4.0 s" in issue.what
    assert issue.severity == "warning"
    assert issue.command == "modelmedic check"


def test_what_the_engines_phrases_know_is_said():
    (issue,) = fed(["ERROR: Read timed out while reading block 7"] * 5)
    assert "It is about: timeout. " in issue.why


def test_five_different_errors_or_five_in_a_day_are_no_pattern():
    words = ["apple", "pear", "plum", "fig", "lime"]
    assert fed([f"ERROR the {word} is not ripe" for word in words]) == []
    assert fed(["ERROR the apple is not ripe"] * 20, every=3600.0) == []


def test_a_rate_of_errors_that_rises_is_told_and_one_that_is_usual_is_not():
    draw = random.Random(1)
    patterns = Patterns(masker=Masker(), repeats=10_000)
    usual = [f"ERROR {draw.choice('abcdefgh') * 3}" for _ in range(600)]
    assert fed(usual, patterns, every=10.0) == []  # six a minute, for 100 minutes
    told = fed(usual[:120], patterns, begin=1e9 + 6000, every=1.0)
    assert told
    assert told[0].key == "log_rate[/logs/app.log]"
    assert re.search(r"1\d lines of errors within a minute; [56]\.\d are usual", told[0].what)


def test_the_first_minutes_of_a_log_are_no_rise():
    assert fed([f"ERROR number {n} {'x' * n}" for n in range(100)], every=1.0) == []


def test_templates_leave_what_differs():
    shape = template(
        "ERROR 12 at 0x7ffe12 in /a/b/c.py of 'x y' 550e8400-e29b-41d4-a716-446655440000"
    )
    assert shape == "ERROR <n> at <n> in <path> of <name> <n>"
    assert template("C:\\Users\\me\\x.log is gone") == "<path> is gone"
    assert len(template("word " * 10_000)) <= 200


@pytest.mark.parametrize(
    "text",
    ["ERROR x", "[error] x", "ValueError: x", "fatal: x", "x failed", "Segfault", "panic: x"],
)
def test_lines_that_tell_an_error(text):
    assert is_error_line(text)


SECRET = "hf_abcdefghijklmnopqrstuvwxyz012345"


def test_everything_is_masked_before_it_leaves():
    masker = Masker(homes=("/home/janedoe",), names=(("janedoe", "<user>"),))
    patterns = Patterns(masker=masker)
    path = "/home/janedoe/logs/janedoe.log"
    lines = [
        f"ERROR {SECRET} of janedoe in /home/janedoe/x at https://me:pass@h.example/?token=abcdefgh",
        f"OSError: [Errno 28] No space left on device: '/home/janedoe/{SECRET}'",
    ]
    told = [issue for _ in range(5) for issue in fed(lines, patterns, path=path)]
    assert len(told) == 2
    shown = repr(told)
    for secret in (SECRET, "janedoe", "me:pass", "abcdefgh"):
        assert secret not in shown
    assert "No space left on device" in shown


def test_colours_hide_no_secret_and_no_failure():
    line = f"\x1b[31mOSError\x1b[0m: \x1b[1mNo space\x1b[0m left on device \x1b[32m{SECRET}\x1b[0m"
    split = f"OSError: No space left on device {SECRET[:9]}\x1b[0m{SECRET[9:]}"
    for text in (line, split):
        (issue,) = fed([text])
        assert issue.failure_id == "no-space-on-model-disk"
        assert SECRET[3:8] not in issue.what
        assert SECRET[10:] not in issue.what


@pytest.mark.parametrize("letters", range(230, 275))
def test_a_secret_at_the_cut_is_masked_first(letters):
    (issue,) = fed([f"OSError: No space left on device {'x' * letters} {SECRET}"])
    assert "abc" not in issue.what
    assert len(issue.what) < 500


HOSTILE = [
    "ERROR " + "/a" * 4000, "ERROR " + "'\"" * 4000, "ERROR " + "nvrm: xid (" * 700,
    "ERROR " + "winerror 126 " * 600, "ERROR " + "0" * 8000, "ERROR " + "a." * 4000 + ":",
    "ERROR https://" + "x" * 8000, "ERROR " + " " * 8000, "ERROR " + "error:" * 1300,
    "ERROR " + "-" * 8000, "ERROR " + "0x" * 4000, "Traceback (most recent call last):" * 200,
    "ERROR \x1b[31m<script>alert(1)</script>\x00\u202e=cmd|'/c calc'!A0",
]  # fmt: skip


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_no_line_breaks_out_of_its_line(line):
    for issue in fed([line] * 10):
        assert "\x1b" not in issue.what + issue.key
        assert "\n" not in issue.what + issue.key
        assert "\u202e" not in issue.what + issue.key
        assert len(issue.what) < 1000


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_of_a_long_line_its_beginning_and_its_end_are_judged(line, monkeypatch):
    judged = []
    monkeypatch.setattr(signatures, "failure_of", lambda text: judged.append(len(text)))
    fed([line + " error"] * 3)
    assert max(judged, default=0) <= log_patterns._MOST_JUDGED + 1
    monkeypatch.undo()
    (issue,) = fed(["ERROR " + "x" * 9000 + " no space left on device"])
    assert issue.failure_id == "no-space-on-model-disk"


def test_its_memory_is_bounded_whatever_comes():
    patterns, draw = Patterns(masker=Masker()), random.Random(1)

    def go(count):
        for number in range(count):
            words = "".join(draw.choice("abcdefghij ") for _ in range(400))
            line = LogLine(f"/logs/{number % 300}", f"ERROR {words}", 1e9 + number)
            patterns.add(line)

    go(400)
    tracemalloc.start()
    go(500)
    grown, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1 << 20
    assert len(patterns._groups) == log_patterns._MOST_GROUPS
    assert len(patterns._rates) == log_patterns._MOST_LOGS


def test_the_tables_are_read_at_the_first_line_that_looks_like_an_error():
    code = """
import sys
from modelmedic.monitor.log_patterns import Patterns
from modelmedic.monitor.log_tail import LogLine
from modelmedic.monitor.tracebacks import Joiner
patterns = Patterns()
for number in range(100):
    patterns.add(LogLine("/x", f"INFO step {number} of 100", float(number)))
print("modelmedic.masking" in sys.modules or "importlib.resources" in sys.modules)
patterns.add(LogLine("/x", "ERROR no space left on device", 1.0))
print("modelmedic.masking" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "True"]
