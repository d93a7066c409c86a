"""Runs that learn from runs before them: not repeated, ordered, timed, asked, within budget."""

from __future__ import annotations

import json
import os
import pty
import shlex
import time

import pytest
from demo_support import Desk, snapshot
from evidence_support import entry
from test_healing_runs import BREAKS, HEALS, NEVER, run, start

from modelmedic.healing.evidence_log import NAME, EvidenceLog
from modelmedic.testing.specimens import demo_files, make_demo_model

pytestmark = pytest.mark.once

# What is missing is a file; a folder of its name does not help, so the second one named does.
TWO_WAYS = """
@pytest.mark.check("try.settings", area="install")
@pytest.mark.recover("system", using=["create_missing_folder", "restore_config"])
def test_settings(context):
    '''The settings are there.'''
    if not (context.place / "settings.json").is_file():
        raise Unhealthy("The settings are missing.", subject="settings.json")
"""
MISPLACED = """
@pytest.mark.check("try.file", area="install")
@pytest.mark.recover("model_validation",
                     using=["refetch_model_file", "move_misplaced_model_file"])
def test_file(context):
    '''The file is there.'''
    if not (context.place / "model/config.json").is_file():
        raise Unhealthy("The file is missing.", subject="model/config.json")
"""
PAIR = """
def fails_alone(context, name):
    if not (context.place / name).is_dir():
        raise Unhealthy(f"{name} is missing.", subject=name)

@pytest.mark.check("try.one", area="install")
@pytest.mark.recover("system", using=["create_missing_folder"])
def test_one(context):
    '''One is there.'''
    fails_alone(context, "one")

@pytest.mark.check("try.two", area="install")
@pytest.mark.recover("system", using=["create_missing_folder"])
def test_two(context):
    '''Two is there.'''
    fails_alone(context, "two")
"""


@pytest.fixture
def desk(tmp_path):
    folder = tmp_path / "desk"
    (folder / "demo-install").mkdir(parents=True)
    return Desk(folder)


def log_of(desk):
    return EvidenceLog(desk.folder.parent / "state")


def verdicts(finding):
    return [(attempt["recovery"], attempt["verdict"]) for attempt in finding["attempts"]]


# --- not tried again


def test_what_did_not_help_is_not_repeated_until_a_person_says_so(desk):
    run(desk, NEVER, "--heal")
    before = snapshot(desk.install)
    code, out, found = run(desk, NEVER, "--heal")
    assert code == 1
    assert verdicts(found["try.never"]) == [("create_missing_folder", "refused")]
    assert "did not help" in out
    assert "--heal-again" in out
    assert snapshot(desk.install) == before
    _code, out, found = run(desk, NEVER, "--heal=plan")
    assert verdicts(found["try.never"]) == [("create_missing_folder", "refused")]
    assert [each.verdict for each in log_of(desk).read().entries] == ["not healed"]
    _code, _out, found = run(desk, NEVER, "--heal", "--heal-again")
    assert verdicts(found["try.never"]) == [("create_missing_folder", "not healed")]
    assert len(log_of(desk).read().entries) == 2


def test_the_command_to_try_again_repairs_no_more_than_this_run_may(desk, tmp_path):
    plan = tmp_path / "plan.json"
    run(desk, NEVER, "--heal=plan", f"--plan-file={plan}")
    bounds = [f"--plan-file={plan}", "--heal-budget-count=3", "--offline"]
    run(desk, NEVER, "--heal", *bounds)
    _code, _out, found = run(desk, NEVER, "--heal", *bounds)
    (attempt,) = found["try.never"]["attempts"]
    (_before, command) = attempt["error"].split("To try it all the same: ")
    assert set(bounds) <= set(shlex.split(command))


def test_another_failure_of_the_check_is_another_state(desk):
    run(desk, NEVER, "--heal")
    other = NEVER.replace("Never.", "Something else.")
    _code, _out, found = run(desk, other, "--heal")
    assert verdicts(found["try.never"]) == [("create_missing_folder", "not healed")]


def test_what_broke_another_check_is_no_success_and_not_done_again(desk):
    run(desk, BREAKS, "--heal")
    assert log_of(desk).read().counts(lambda _each: True) == {"not healed": 1}
    _code, out, found = run(desk, BREAKS, "--heal")
    assert verdicts(found["try.needed"]) == [("create_missing_folder", "refused")]
    assert "broke try.absent" not in out


def test_an_interrupted_or_refused_repair_leaves_no_evidence(desk):
    run(desk, HEALS, "--heal", "--heal-budget-count=0")
    assert log_of(desk).read().entries == []


# --- the order


def test_what_worked_before_is_tried_first(desk):
    _code, _out, found = run(desk, TWO_WAYS, "--heal")
    assert verdicts(found["try.settings"]) == [
        ("create_missing_folder", "not healed"), ("restore_config", "healed"),
    ]  # fmt: skip
    (desk.install / "settings.json").unlink()
    code, _out, found = run(desk, TWO_WAYS, "--heal", "--heal-again")
    assert code == 0
    assert verdicts(found["try.settings"]) == [("restore_config", "healed")]


def all_but_the_config(desk):
    """Of several missing files none is fetched alone, so the others are there."""
    make_demo_model(desk.install / "model")
    (desk.install / "model/config.json").unlink()
    return demo_files()["config.json"]


def test_what_fetches_nothing_goes_first_however_well_fetching_worked(desk):
    log = log_of(desk)
    for number in range(20):
        log.add(entry(number, recovery="refetch_model_file", at=time.time()))
    content = all_but_the_config(desk)
    (desk.install / "elsewhere.json").write_bytes(content)
    _code, _out, found = run(desk, MISPLACED, "--heal=plan")
    assert verdicts(found["try.file"]) == [
        ("move_misplaced_model_file", "planned"), ("refetch_model_file", "planned"),
    ]  # fmt: skip
    code, out, found = run(desk, MISPLACED, "--heal")
    assert code == 0, out
    assert verdicts(found["try.file"]) == [("move_misplaced_model_file", "healed")]
    assert (desk.install / "model/config.json").read_bytes() == content


def test_a_candidate_that_cannot_be_planned_is_told_and_the_next_one_heals(desk):
    all_but_the_config(desk)
    code, _out, found = run(desk, MISPLACED, "--heal")
    assert code == 0
    assert verdicts(found["try.file"]) == [
        ("move_misplaced_model_file", "refused"), ("refetch_model_file", "healed"),
    ]  # fmt: skip


# --- a log that is not ours


@pytest.mark.parametrize("options", [[], ["-n1"]])
def test_a_log_that_others_can_read_is_told_and_left_alone(desk, options):
    log_of(desk).add(entry())
    path = desk.folder.parent / "state" / NAME
    path.chmod(0o644)
    before = path.read_bytes()
    code, out, found = run(desk, HEALS, "--heal", *options)
    assert code == 0
    assert found["try.needed"]["outcome"] == "healed"
    assert "was not used" in out
    assert path.read_bytes() == before


# --- budgets


@pytest.mark.parametrize("options", [[], ["-n2"]])
def test_a_budget_in_count_holds_for_the_whole_run(desk, options):
    code, out, found = run(desk, PAIR, "--heal", "--heal-budget-count=1", *options)
    assert code == 1
    assert sorted(finding["outcome"] for finding in found.values()) == ["failed", "healed"]
    assert "--heal-budget-count" in out


# --- asking


def typed(desk, checks, *answers, options=()):
    """Answer the prompts of a run on a terminal of its own; return exit code, screen, findings."""
    ours, theirs = pty.openpty()
    process, reports = start(
        desk, checks, "--heal=ask", *options, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    left = list(answers)
    while True:
        try:
            got = os.read(ours, 4096)
        except OSError:  # the other end is closed: the run ended
            break
        if not got:
            break
        seen += got
        if left and seen.count(b"Apply?") > len(answers) - len(left):
            os.write(ours, left.pop(0).encode())
    process.wait(timeout=30)
    os.close(ours)
    record = json.loads((reports / "report.json").read_text())
    screen = seen.decode().replace("\r\n", "\n")
    return process.returncode, screen, {f["check"]: f for f in record["findings"]}


def test_the_prompt_says_what_how_long_and_how_often_it_worked(desk):
    code, screen, _found = typed(desk, HEALS, "yes\n")
    assert code == 0
    shown = screen.partition("[try.needed]")[2].partition("Apply?")[0]
    for words in (
        "extra is wrong.", "create_missing_folder: Create a folder", "would (safe):",
        "- create the folder extra", "history: no history yet", "time: negligible", "yes applies",
        "no leaves this repair out", "skip repairs nothing", "quit asks no more",
    ):  # fmt: skip
        assert words in shown, shown
    assert "[y]es / [N]o / [s]kip / [q]uit" in screen
    (desk.install / "extra").rmdir()
    _code, screen, _found = typed(desk, HEALS, "n\n")
    assert "history: worked 1 of 1 time here (success rate 22 to 97 %" in screen
    assert "time: under a second as measured here on" in screen


def test_no_leaves_one_repair_out_and_the_next_one_is_shown(desk):
    code, screen, found = typed(desk, TWO_WAYS, "n\n", "y\n")
    assert code == 0
    assert screen.count("Apply?") == 2
    assert verdicts(found["try.settings"]) == [
        ("create_missing_folder", "not allowed"), ("restore_config", "healed"),
    ]  # fmt: skip


def test_skip_repairs_nothing_for_this_check_and_asks_for_the_next(desk):
    code, screen, found = typed(desk, TWO_WAYS + PAIR, "s\n", "y\n", "y\n")
    assert code == 1
    assert screen.count("Apply?") == 3
    assert [verdict for _name, verdict in verdicts(found["try.settings"])] == ["not allowed"] * 2
    assert "skipped when asked" in found["try.settings"]["attempts"][1]["error"]
    assert found["try.one"]["outcome"] == found["try.two"]["outcome"] == "healed"


@pytest.mark.parametrize("answer", ["q\n", "quit\n", "\x04"], ids=["q", "quit", "end-of-input"])
def test_quit_asks_no_more_and_repairs_nothing_else(desk, answer):
    code, screen, found = typed(desk, PAIR, answer)
    assert code == 1
    assert screen.count("Apply?") == 1
    assert [a["verdict"] for f in found.values() for a in f["attempts"]] == ["not allowed"] * 2
    assert not list(desk.install.glob("one")) + list(desk.install.glob("two"))


def test_what_is_no_answer_is_asked_again(desk):
    code, screen, _found = typed(desk, HEALS, "perhaps\n", "y\n")
    assert code == 0
    assert screen.count("Apply?") == 2


def test_asking_works_without_capture(desk):
    assert typed(desk, HEALS, "y\n", options=["-s"])[0] == 0


def test_what_the_budget_does_not_cover_is_not_asked(desk):
    code, screen, _found = typed(desk, HEALS, options=["--heal-budget-count=0"])
    assert code == 1
    assert "Apply?" not in screen
    assert "--heal-budget-count" in screen


def test_workers_never_ask(desk):
    code, screen, found = typed(desk, HEALS, options=["-n1"])
    assert code == 1
    assert "Apply?" not in screen
    assert "cannot ask from the workers of -n" in found["try.needed"]["attempts"][0]["error"]
    assert not (desk.install / "extra").exists()
