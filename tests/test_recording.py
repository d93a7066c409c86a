"""What a run leaves behind: record, page and junit.xml, whatever the checks and names are."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import jsonschema
import pytest
from room_support import BAD, CI_JOB, HOST, OUTCOMES, SEVEN, TOKEN, USER, Room, Run
from support import CHECKOUT

SCHEMA = json.loads((CHECKOUT / "reports/run-record.schema.json").read_text(encoding="utf-8"))

HOSTILE = '''
@pytest.mark.check("room.hostile", area="system")
@pytest.mark.parametrize("name", ["plain", BAD, UNDECODABLE])
def test_hostile(name):
    """A title with <script>document.title="OWNED"</script> in it."""
    print("out", ascii(name))
    raise Unhealthy("It is called " + name, "Why " + name, "Do " + name, failure_id="f<b>",
                    subject=name, evidence={BAD: name, "<i>": 1})

@pytest.mark.check("room.loss", area="system")
def test_loss(degraded):
    """It is quick."""
    degraded(BAD, UNDECODABLE, BAD)

@pytest.mark.check("room.reason", area="system")
def test_reason():
    """It is a Mac."""
    pytest.skip(BAD + UNDECODABLE)

@pytest.mark.check("room.unseen", area="system")
def test_unseen():
    """It can be seen."""
    raise CannotTell(BAD + UNDECODABLE)
'''

LEAKING = '''
@pytest.fixture
def broken():
    raise RuntimeError(LEAKS)

@pytest.mark.check("room.leaks", area="system")
@pytest.mark.parametrize("name", ["x", USER, TOKEN])
def test_leaks(name):
    """It says nothing of me."""
    print(LEAKS)
    logging.getLogger("x").warning(LEAKS)
    try:
        raise OSError(LEAKS)
    except OSError as error:
        raise Unhealthy(LEAKS, LEAKS, LEAKS, evidence={LEAKS: LEAKS}) from error

@pytest.mark.check("room.crash", area="system")
def test_crash():
    """It does not crash."""
    {}[LEAKS]

@pytest.mark.check("room.setup", area="system")
def test_setup(broken):
    """Its fixture works."""

@pytest.mark.check("room.loss", area="system")
def test_loss(degraded):
    """It is quick."""
    degraded(LEAKS, LEAKS, LEAKS)

@pytest.mark.check("room.reason", area="system")
def test_reason():
    """It applies."""
    pytest.skip(LEAKS)

@pytest.mark.check("room.passed", area="system")
def test_passed():
    """It holds."""
    print(LEAKS)
'''


@pytest.fixture
def room(tmp_path) -> Room:
    return Room(tmp_path / "room")


@pytest.fixture(scope="module")
def seven(tmp_path_factory) -> Run:
    run = Room(tmp_path_factory.mktemp("seven")).run(SEVEN, "--heal")
    assert run.code == 1, run.out
    return run


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Run:
    return Room(tmp_path_factory.mktemp("hostile")).run(HOSTILE)


def told(run: Run, outcome: str) -> str:
    return run.cases[f"test_{outcome}"].find(
        "properties/property[@name='modelmedic.outcome']"
    ).get("value")  # fmt: skip


# -- seven outcomes ------------------------------------------------------------------------------


def test_every_outcome_is_in_the_record_the_table_and_junit(seven):
    assert seven.outcomes() == {f"room.{outcome}": outcome for outcome in OUTCOMES}
    assert set(seven.record["counts"].values()) == {1}
    assert {row["outcome"] for row in seven.rows} == set(OUTCOMES)
    assert {told(seven, outcome) for outcome in OUTCOMES} == set(OUTCOMES)
    jsonschema.validate(seven.record, SCHEMA)


def test_junit_says_what_why_and_next(seven):
    failure = seven.cases["test_failed"].find("failure")
    assert failure.get("message") == (
        "There is no card. Most often not plugged in. Next: Plug one in."
    )
    unknown = seven.cases["test_unknown"].find("failure")
    assert unknown.get("message").startswith("Could not look: The hub could not be asked.")
    blocked = seven.cases["test_blocked"].find("skipped")
    assert "room.failed" in blocked.get("message")
    assert [node.tag for node in seven.cases["test_healed"]] == ["properties"]


def test_junit_counts_what_it_holds(seven):
    suite = ET.parse(seven.folder / "junit.xml").getroot().find("testsuite")
    assert int(suite.get("tests")) == len(seven.cases) == 7
    assert int(suite.get("failures")) == 2
    assert int(suite.get("skipped")) == 2


def test_the_repair_is_told_with_before_and_after(seven):
    healed = next(f for f in seven.record["findings"] if f["outcome"] == "healed")
    assert healed["what"] == "The folder extra is missing."
    (attempt,) = healed["attempts"]
    assert attempt["recovery"] == "create_missing_folder"
    assert attempt["operations"] == [
        {
            "kind": "make_dir", "text": "create the folder extra",
            "before": "nothing at extra", "after": "extra: a folder",
        }
    ]  # fmt: skip
    assert attempt["recheck"] == {
        "before": "The folder extra is missing.", "outcome": "passed", "what": "", "why": "",
    }  # fmt: skip
    assert attempt["history"] == "no history yet"
    assert any("Closing pass" in note for note in seven.record["environment"]["notes"])


def test_two_workers_leave_the_same_record(seven, room):
    run = room.run(SEVEN, "--heal", "-n2")
    assert run.code == 1, run.out
    assert run.outcomes() == seven.outcomes()
    assert run.record["counts"] == seven.record["counts"]
    assert {row["outcome"] for row in run.rows} == set(OUTCOMES)
    assert {told(run, outcome) for outcome in OUTCOMES} == set(OUTCOMES)
    assert sorted(run.written()) == ["junit.xml", "report.html", "report.json", "support.txt"]


BREAKS = '''
@pytest.mark.check("room.absent", area="install")
def test_absent(context):
    """The folder extra is absent."""
    if (context.place / "extra").exists():
        raise Unhealthy("The folder extra is there.")
'''


def test_what_only_the_closing_pass_found_is_in_every_file(room):
    run = room.run(BREAKS + SEVEN, "--heal", "-k", "test_absent or test_healed")
    assert run.code == 1
    assert run.outcomes() == {"room.absent": "passed", "room.healed": "failed"}
    late = run.cases["closing_pass_test_healed"].find("failure")
    assert late.get("message").startswith("The closing pass after repairs: The folder extra")
    assert told(run, "healed") == "healed"
    (row,) = (r for r in run.rows if "closing_pass" in r["testId"])
    assert (row["result"], row["outcome"]) == ("Failed", "failed")
    (finding,) = (f for f in run.record["findings"] if f["outcome"] == "failed")
    assert finding["attempts"][0]["verdict"] == "not healed"
    assert any("was undone" in note for note in run.record["environment"]["notes"])


# -- names from outside --------------------------------------------------------------------------


SPEAKING = """
@pytest.fixture
def speaking():
    print("said while made")
    yield
    print("said at the end")

@pytest.mark.check("room.speaks", area="system")
def test_speaks(speaking): "It says something."

@pytest.mark.check("room.silent", area="system")
def test_silent(): "It says nothing."
"""


def test_a_row_holds_what_was_said_in_all_phases_and_none_is_of_a_phase_that_passed(room):
    rows = {row["testId"].rpartition("::")[2]: row for row in room.run(SPEAKING).rows}
    assert set(rows) == {"test_speaks", "test_silent"}
    assert "said while made" in rows["test_speaks"]["log"]
    assert "said at the end" in rows["test_speaks"]["log"]


def test_hostile_names_are_whole_in_the_record(hostile):
    jsonschema.validate(hostile.record, SCHEMA)
    whats = [f["what"] for f in hostile.record["findings"]]
    assert any(BAD in what for what in whats)
    assert any(r"bad\udcff\udcfename" in what for what in whats)
    text = (hostile.folder / "report.json").read_bytes().decode("utf-8")
    assert not re.search(r"(?<!\\)\\ud[89a-f]", text), "a lone surrogate strict readers refuse"


def test_hostile_names_are_inert_in_the_page(hostile):
    block = hostile.page.partition('<details class="mm-raw">')[0]
    for text in (block, *(cell for row in hostile.rows for cell in row["resultsTableRow"])):
        assert "<script>document" not in text
        assert "<img src=x" not in text
    assert not any("<script" in row["log"] or "<img" in row["log"] for row in hostile.rows)
    shown = block + "".join(row["log"] for row in hostile.rows)
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", shown), "what no reader sees is escaped"


def test_hostile_names_leave_junit_well_formed(hostile):
    failures = [case.find("failure") for case in hostile.cases.values()]
    messages = [failure.get("message") for failure in failures if failure is not None]
    assert sum(BAD in message for message in messages) == 2
    assert any(r"bad\udcff\udcfename" in message for message in messages)


# -- what is masked ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-v",), ("-vv", "-n2")], ids=["plain", "v", "workers"])
def test_no_home_user_host_or_token_leaves(room, options):
    run = room.run(LEAKING, *options)
    assert run.code == 1
    for name, text in run.written().items():
        for secret in (TOKEN, USER, HOST, CI_JOB, str(room.folder / "home")):
            assert secret not in text, f"{name} tells {secret}"
    assert "~/models of &lt;user&gt; on &lt;host&gt; with hf_***" in run.page
    assert len(run.rows) == len(run.record["findings"]) == 8


def test_verbose_keeps_a_masked_traceback_for_support(room):
    brief, long = (
        room.run(LEAKING, *options).cases["test_leaks[x]"].find("failure").text
        for options in ((), ("-v",))
    )
    assert "OSError" not in brief
    assert "OSError: ~/models of <user>" in long
