"""A report read alone: what was wrong, why, what was changed, what came of it, the way back."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import re
import shlex
import shutil
import subprocess
from types import SimpleNamespace

import jsonschema
import pytest
from demo_support import SHORT_WAITS, Desk
from room_support import SEVEN, Room
from support import CHECKOUT, child_env
from test_healing_runs import BREAKS, desk, run  # noqa: F401 - desk is a fixture
from test_report_html import a_finding, a_record, rendered, words

from modelmedic import attempts, changes, rooms, support
from modelmedic.errors import RecoveryRefused
from modelmedic.findings import Attempt, Finding
from modelmedic.healing.interrupts import Interrupts
from modelmedic.healing.journal import Repair, Step

pytestmark = pytest.mark.once

SCHEMA = json.loads((CHECKOUT / "reports/run-record.schema.json").read_text(encoding="utf-8"))
NAME = "model/config.json"
OLD = {"size_bytes": 1000, "mtime_ns": 0, "inode": 1, "mode": 0o100644}
NEW = {"size_bytes": 1517224, "mtime_ns": 10**9, "inode": 2, "mode": 0o100644}
NEVER = (
    '@pytest.mark.check("room.never", area="install")\n'
    '@pytest.mark.recover("system", using=["create_missing_folder"])\n'
    "def test_never(context):\n"
    '    "Holds."\n'
    '    there = (context.place / "extra").is_dir()\n'
    '    raise Unhealthy("It is full." if there else "It is gone.", "Because.",\n'
    '                    "`modelmedic check --heal` creates it.", subject="extra")\n'
    '@pytest.mark.check("room.later", area="install", needs=["room.never"])\n'
    'def test_later(): "Holds."\n'
)


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


# -- evidence of each kind of change -------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "note", "before", "after"),
    [
        ({"kind": "make_dir", "path": "a"}, {}, "nothing at a", "a: a folder"),
        (
            {"kind": "rename", "path": "x.bin", "target": "a.bin"},
            {"old": OLD},
            "x.bin: 1,000 bytes, written 1970-01-01 00:00:00 UTC",
            "a.bin: the same file, 1,000 bytes",
        ),
        (
            {"kind": "set_aside", "path": "a.lock"},
            {"old": OLD, "aside": ".modelmedic/aside/r/0"},
            "a.lock: 1,000 bytes, written 1970-01-01 00:00:00 UTC; kept as .modelmedic/aside/r/0",
            "nothing at a.lock",
        ),
        (
            {"kind": "fetch_file", "path": "a", "sha256": "ab12"},
            {"old": None, "new": NEW},
            "nothing at a",
            "a: 1,517,224 bytes, proven by sha256 ab12",
        ),
        (
            {"kind": "fetch_file", "path": "a", "sha256": "", "git_blob": "cd34"},
            {"old": None, "new": NEW},
            "nothing at a",
            "a: 1,517,224 bytes, proven by git blob id cd34",
        ),
        (
            {"kind": "replace_file", "path": "s.json", "content": "{}"},
            {"old": None, "new": {**NEW, "size_bytes": 2}},
            "nothing at s.json",
            f"s.json: 2 bytes, sha256 {hashlib.sha256(b'{}').hexdigest()}",
        ),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else "",
)
def test_each_kind_of_change_tells_before_and_after(operation, note, before, after):
    assert changes.evidence(Step(0, operation, note)) == {"before": before, "after": after}


@pytest.mark.parametrize("note", [{"old": 3}, {"old": {}}, {"old": OLD, "new": None}])
def test_a_note_of_another_version_tells_nothing(note):
    operation = {"kind": "fetch_file", "path": "a", "sha256": "ab"}
    assert changes.evidence(Step(0, operation, note)) == {}


def tried(verdict: str) -> dict:
    attempt = Attempt("mend", verdict, ({"kind": "make_dir", "text": "create a"},))
    return Finding("x", "n", "t", "a", "s", "failed", attempts=(attempt,)).to_json()


@pytest.mark.parametrize(
    ("ends", "is_back"), [(["undone"], True), (["left"], False), ([""], False), ([], None)]
)
def test_only_what_the_journal_says_was_undone_is_called_put_back(ends, is_back):
    step = Step(0, {"kind": "make_dir", "path": "a"}, {})
    repairs = [Repair(str(n), "mend", "x", [step], end) for n, end in enumerate(ends)]
    told = changes.with_evidence(tried("not healed"), repairs)
    assert told["attempts"][0]["put_back"] is is_back
    said = attempts.aftermath(told)
    assert ("was put back" in said) is (is_back is True)
    assert ("Nothing was changed" in said) is (is_back is None)


def test_a_repair_that_was_refused_is_not_told_as_tried():
    attempt = {**tried("refused")["attempts"][0], "error": "It was tried before."}
    page = words(rendered([a_finding(what="Gone.", attempts=[attempt])], mode="apply", exit_code=1))
    assert "Not tried mend : refused create a It was tried before." in page
    record = a_record([a_finding(what="Gone.", attempts=[attempt])], mode="apply", exit_code=1)
    assert "Not tried: mend: refused. It was tried before." in support.text(record, "Not ready.")


def test_what_was_only_refused_changed_nothing():
    assert attempts.aftermath(tried("refused")).endswith("Nothing was changed for it.")


# -- the next step -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "is_other"),
    [("failed", True), ("not healed", True), ("refused", True), ("not allowed", False),
     ("planned", False), ("interrupted", False)],
)  # fmt: skip
def test_nobody_is_sent_to_the_repair_that_just_failed(verdict, is_other):
    finding = Finding("x.y[z]", "n", "t", "a", "s", "failed", next="`c --heal` fetches it.",
                      attempts=(Attempt("mend", verdict),))  # fmt: skip
    told = attempts.advised(finding, "c")
    assert (told != finding) is is_other
    if is_other:
        assert "By hand: see docs/checks.md#x-y." in told.next
        assert attempts.advised(told, "c") is told


def test_a_step_of_the_persons_own_stays():
    finding = Finding("x", "n", "t", "a", "s", "failed", next="Plug it in.",
                      attempts=(Attempt("mend", "failed"),))  # fmt: skip
    assert attempts.advised(finding, "c") is finding
    healed = dataclasses.replace(finding, outcome="healed", next="`c --heal`")
    assert attempts.advised(healed, "c") is healed


# -- whole runs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def healed(tmp_path_factory):
    """A demo install brought up from nothing; one settings file torn; healed."""
    desk = Desk(tmp_path_factory.mktemp("healed") / "desk")  # noqa: F811
    desk.folder.mkdir()
    assert desk.run("--stage=installed", "--heal", "--allow=costly").code == 0
    torn = b'{"steps": 33, "size": "32*32", "se'
    (desk.install / "settings.json").write_bytes(torn)
    (desk.install / NAME).write_bytes(b"{")
    done = desk.run("--heal")
    assert done.code == 0, done.out
    return desk, done, torn


def test_the_page_of_a_healed_run_tells_all_of_it(healed):
    desk, done, torn = healed  # noqa: F811
    jsonschema.validate(done.record, SCHEMA)
    text = words((done.folder / "report.html").read_text(encoding="utf-8"))
    now = (desk.install / "settings.json").read_bytes()
    for part in (
        "Before settings.json cannot be read as JSON. It is not JSON at line 1",
        "Repair restore_config : healed in",
        f"before: settings.json: {len(torn)} bytes, written",
        "kept as .modelmedic/aside/",
        f"after: settings.json: {len(now)} bytes, sha256 {hashlib.sha256(now).hexdigest()}",
        "proven by sha256 559039062fc0e4342be123839c574004cdb3030c1b483647c2870c01fb5b442a",
        "History until then: worked",
        "After The same check, on freshly read facts, holds.",
        "Closing pass: a fresh process judged the same checks again, and agrees.",
        f"Undo all that was healed: {done.record['environment']['undo_command']}",
        "Works at least until a later run repairs something; after that, for 14 days",
    ):
        assert part in text, part


def test_junit_of_a_healed_run_tells_the_repair_and_the_way_back(healed):
    _desk, done, _torn = healed
    text = html.unescape((done.folder / "junit.xml").read_text(encoding="utf-8"))
    assert 'name="modelmedic.tried" value="restore_config: healed. write settings.json' in text
    assert f'name="modelmedic.undo" value="{done.record["environment"]["undo_command"]}"' in text
    assert 'name="modelmedic.note" value="Closing pass: ' in text


def test_the_screen_names_the_report_folder_once(healed):
    _desk, done, _torn = healed
    assert done.out.count("report.html") == 1
    assert "generated xml file" not in done.out
    assert "It is not JSON at line 1" in done.out.partition("restore_config will now")[0]


def test_the_undo_command_of_the_report_is_the_way_back(healed):
    desk, done, torn = healed  # noqa: F811
    command = shlex.split(done.record["environment"]["undo_command"])
    # The report says ~ for the home folder, which no shell expands after a "=".
    masked = [part.replace(str(desk.folder), "~") for part in command]
    assert masked != command
    env = child_env(
        MODELMEDIC_STATE_DIR=str(desk.folder.parent / "state"),
        PYTHONPATH=str(CHECKOUT / "src"),
        HOME=str(desk.folder),
    )
    undone = subprocess.run(masked, env=env, capture_output=True, timeout=60, check=False)
    assert undone.returncode == 0, undone.stderr
    assert (desk.install / "settings.json").read_bytes() == torn


def test_a_repair_in_vain_stands_with_its_cause(room):
    done = room.run(NEVER, "--heal")
    text = words(done.page.partition('<details class="mm-raw">')[0])
    text = text[text.index("What is wrong") :]
    order = [
        "What is wrong", "It is gone. Because.", "Tried create_missing_folder : not healed",
        "create the folder extra", "After it the same check said: It is full. Because.",
        "The check does not hold. What had been changed for it was put back.",
        "Next: Repairing it did not succeed.", "docs/checks.md#room-never", "1 check waited on it",
    ]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "What was repaired" not in text
    support = (done.folder / "support.txt").read_text(encoding="utf-8")
    told = " ".join(support.split())
    for part in (
        "1 check waited on it.", "After it the same check said: It is full. Because.",
        "What had been changed for it was put back.", "By hand: see docs/checks.md#room-never.",
        "Install folder: ",
    ):  # fmt: skip
        assert part in told
    assert "after it the check said: It is full." in done.out
    assert "  1 check waited on it." in done.out


def test_the_support_text_tells_what_was_repaired_and_how_to_undo_it(room):
    done = room.run(SEVEN, "--heal")
    support = (done.folder / "support.txt").read_text(encoding="utf-8")
    told = " ".join(support.split())
    assert (
        "holds now (1): - room.healed: The folder extra is missing. create_missing_folder: create "
        "the folder extra Undo: "
    ) in told
    assert re.search(r"^Undo: .* undo \d{8}-", support, re.MULTILINE)
    assert "Evidence: cards: 0." in told


def test_a_repair_that_broke_another_check_names_no_such_repair_as_the_next_step(desk):  # noqa: F811
    _code, out, found = run(desk, BREAKS.replace('"Do."', '"`x --heal` creates it."'), "--heal")
    (attempt,) = found["try.needed"]["attempts"]
    assert attempt["put_back"] is True
    assert "Verdict: not ready: 1 cause" in out
    assert "letters: H healed" in out
    assert re.search(r"= 1 failed, 2 passed in ", out), "the closing pass decided, not the letters"


def test_a_repair_that_begins_and_fails_has_an_end_on_the_screen(healed, tmp_path):
    desk = Desk(tmp_path / "desk")  # noqa: F811
    shutil.copytree(healed[0].folder, desk.folder, symlinks=True)
    shutil.rmtree(desk.install / ".modelmedic")  # an undone fetch leaves its bytes for the next
    (desk.install / NAME).unlink()
    desk.env = {"MODELMEDIC_DEMO_HUB": "http://127.0.0.1:9"}
    desk.first = SHORT_WAITS
    done = desk.run("--heal", "-k", "test_model_file_is_present")
    begun = done.out.index("refetch_model_file will now")
    assert "  did not succeed, after " in done.out[begun:]
    finding = done.finding(f"weights.present[{NAME}]")
    failed = [each for each in finding["attempts"] if each["verdict"] == "failed"]
    assert [each["put_back"] for each in failed] == [True]
    assert finding["next"].startswith("Repairing it did not")


def test_a_fault_of_our_own_is_no_cause_in_the_install(room):
    done = room.run(
        '@pytest.mark.check("room.writes", area="install")\n'
        'def test_writes(context): "Holds."; (context.place / "x").write_text("")\n'
    )
    assert done.code == 3
    assert (
        "Verdict: this run proves nothing, because something in modelmedic itself is at fault "
        "(exit code 3); 1 check did not hold or could not look."
    ) in done.out
    assert "not ready" not in done.out.lower()


def test_a_loss_after_a_repair_still_shows_what_was_wrong_before():
    told = {"before": "It was gone.", "outcome": "degraded", "what": "Slow.", "why": ""}
    attempt = Attempt("mend", "healed", recheck=told)
    finding = Finding("x", "n", "t", "a", "s", "degraded", what="Slow.", attempts=(attempt,))
    assert attempts.before(finding.to_json()) == "It was gone."
    assert attempts.recheck(finding.to_json()["attempts"][0]) == "Slow."


def test_a_repair_that_could_not_be_undone_is_not_called_undone(monkeypatch):
    closing = rooms.load("plugins", "closing")
    step = Step(0, {"kind": "make_dir", "path": "a"}, {})
    repair = Repair("1", "mend", "x", [step], "kept")
    finding = Finding("x", "n", "t", "a", "s", "healed", attempts=(Attempt("mend", "healed"),))
    found = SimpleNamespace(
        engine=SimpleNamespace(journal=SimpleNamespace(repairs=lambda: [repair]), shop=None),
        interrupts=Interrupts(),
        findings=[finding],
        notes=[],
    )

    def refuse(*_arguments):
        raise RecoveryRefused("a changed after the repair.")

    monkeypatch.setattr(closing, "undo_repair", refuse)
    assert closing.ClosingPass(found)._undo_what_broke({"y"}) == set()
    (attempt,) = found.findings[0].attempts
    assert "was undone" not in attempt.error
    assert "could not be undone: a changed after the repair." in attempt.error
    assert "mend for x may have broken y, and could not be undone" in found.notes[0]
