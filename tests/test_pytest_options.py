"""pytest's own options beside --heal: the same findings, and no claim that was not proven."""

from __future__ import annotations

import json
import re

import pytest
from option_support import FOLDERS, HOLDS, NEVER, folders_in, heals, journals_in, verdicts_in
from room_support import Room

CHECKS = FOLDERS + heals("first") + heals("again", "first") + NEVER + HOLDS
FOUND = {
    "room.first": "healed", "room.again": "passed", "room.never": "failed", "room.holds": "passed",
}  # fmt: skip
GREEN = FOLDERS + heals("first") + HOLDS


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path, host=None)


def last_failed(room) -> list[str]:
    """Return what --lf would run, by the names of the tests."""
    found = list((room.folder / "cache").rglob("lastfailed"))
    return [name.rpartition("::")[2] for path in found for name in json.loads(path.read_text())]


# --- options that may change what is seen, and nothing else


SAME = [
    ["-p", "no:xdist", "-p", "no:faulthandler", "--tb=no", "--durations=3"],
    ["-p", "no:timeout", "-p", "no:warnings", "-s", "-r", "A"],
    ["-p", "no:html", "-p", "no:cacheprovider", "--capture=sys", "--import-mode=prepend"],
    ["-q", "--strict-markers", "--strict-config", "--import-mode=append", "--setup-show"],
    ["-qq", "--no-header", "--no-summary", "--capture=tee-sys", "--color=yes"],
    ["-W", "error", "-vv", "--import-mode=importlib", "--tb=long"],
    ["-p", "no:capture", "--show-capture=no", "-l", "-p", "no:debugging"],
]


@pytest.mark.parametrize("options", SAME, ids=" ".join)
def test_an_option_that_only_shows_changes_no_finding(room, options):
    run = room.run(CHECKS, "--heal", *options)
    assert run.outcomes() == FOUND, run.out
    assert (run.code, run.record["exit_code"]) == (1, 1)
    assert "INTERNALERROR" not in run.out
    assert verdicts_in(room) == ["kept", "undone"]
    assert folders_in(room) == {"first"}
    assert "Verdict: not ready: 1 cause." in run.out
    if "--setup-show" in options:
        assert len(re.findall(r"SETUP +F create_missing_folder", run.out)) == 2


def test_without_a_terminal_the_report_says_it(room):
    run = room.run(CHECKS, "--heal", "-p", "no:terminal")
    assert run.outcomes() == FOUND, run.out
    assert run.code == 1
    assert "INTERNALERROR" not in run.out


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("plain")
    return Room(elsewhere, host=None).run(CHECKS, "--heal", f"--junitxml={elsewhere / 'mine.xml'}")


def test_each_check_has_its_letter_after_what_was_shown_of_its_repair(plain):
    shown = [line for line in plain.out.partition("collected 4 items")[2].splitlines() if line]
    ends = [line.partition("test_room.py")[2].strip() or line for line in shown]
    kept = next(n for n, line in enumerate(ends) if line.endswith(": the check holds now"))
    undone = ends.index("  did not help: the check still fails; it was undone")
    assert ends[kept + 1] == "H"
    assert ends[undone + 1] == "F"
    assert shown.index("F") < next(n for n, line in enumerate(shown) if "closing pass" in line)


def test_a_healed_check_is_a_passed_case_with_its_outcome_as_property(plain):
    told = {
        name: (
            [child.tag for child in case if child.tag != "properties"],
            {entry.get("name"): entry.get("value") for entry in case.iter("property")},
        )
        for name, case in plain.cases.items()
    }
    assert told["test_first"] == (
        [],
        {
            "modelmedic.check": "room.first",
            "modelmedic.outcome": "healed",
            "modelmedic.what": "The folder first is missing.",
            "modelmedic.why": "Most often removed.",
            "modelmedic.tried": "create_missing_folder: healed. create the folder first.",
        },
    )
    assert told["test_never"][0] == ["failure"]
    assert told["test_never"][1]["modelmedic.outcome"] == "failed"


# --- a part of the checks


def test_what_was_left_out_is_neither_healed_nor_claimed(room):
    left = ["--deselect", "test_room.py::test_never", "--deselect", "test_room.py::test_holds"]
    run = room.run(CHECKS, "--heal", "-k", "not again", *left)
    assert (run.code, run.outcomes()) == (0, {"room.first": "healed"}), run.out
    assert "what was chosen holds; the other checks were left out" in run.out
    assert folders_in(room) == {"first"}


def test_last_failed_holds_what_is_still_failed_and_not_what_was_healed(room):
    assert room.run(CHECKS).code == 1
    assert last_failed(room) == ["test_first", "test_again", "test_never"]
    run = room.run(CHECKS, "--heal", "--lf")
    assert run.outcomes() == {key: FOUND[key] for key in ("room.first", "room.again", "room.never")}
    assert last_failed(room) == ["test_never"]


def test_a_green_rerun_of_some_is_not_the_whole_health(room):
    room.run(GREEN)
    (room.folder / "install/first").mkdir()
    run = room.run(GREEN, "--lf")
    assert run.code == 0
    assert "the other checks were left out" in run.out
    assert "healthy" not in run.out
    assert "can take the model" not in run.out


def test_failed_first_judges_all_and_causes_still_come_first(room):
    needs = HOLDS.replace('area="system"', 'area="install", needs=["room.first"]')
    checks = FOLDERS + needs + heals("first")
    room.run(checks)
    run = room.run(checks, "--heal", "--ff")
    assert run.outcomes() == {"room.first": "healed", "room.holds": "passed"}, run.out
    assert run.code == 0


# --- stopping at the first failure


# 2: pytest itself calls a run that --stepwise broke off interrupted.
@pytest.mark.parametrize(("option", "code"), [("-x", 1), ("--sw", 2)])
def test_a_healed_check_does_not_stop_the_run_and_an_unhealed_one_does(room, option, code):
    run = room.run(CHECKS, "--heal", option)
    judged = {key: FOUND[key] for key in ("room.first", "room.again", "room.never")}
    assert run.outcomes() == judged, run.out
    assert (run.code, run.record["exit_code"]) == (code, code)
    assert verdicts_in(room) == ["kept", "undone"]  # what was healed stays, and is told
    assert folders_in(room) == {"first"}
    assert "healed: 1 check" in run.out
    assert "modelmedic undo " in run.out
    assert "Verdict: not ready: 1 cause." in run.out


def test_maxfail_counts_causes_that_were_not_healed(room):
    checks = CHECKS + NEVER.replace("never", "zero") + HOLDS.replace("holds", "zzz")
    run = room.run(checks, "--heal", "--maxfail=2")
    assert run.outcomes() == FOUND | {"room.zero": "failed"}
    assert run.code == 1


def test_workers_that_stop_at_the_first_failure_never_claim_more(room):
    run = room.run(CHECKS, "--heal", "-x", "-n2")
    assert run.outcomes()["room.never"] == "failed", run.out
    assert run.code == run.record["exit_code"] in {1, 2}
    assert "" not in verdicts_in(room)
    assert "can take the model" not in run.out


def test_a_run_that_a_plugin_cuts_short_is_not_green(room):
    run = room.run(
        HOLDS + '@pytest.mark.check("room.zlast", area="system")\ndef test_zlast(): "Holds."\n',
        "--session-timeout=0.000001",
    )
    assert run.outcomes() == {"room.holds": "passed"}
    assert (run.code, run.record["exit_code"]) == (2, 2), run.out
    assert "Verdict: stopped before its end: 1 check judged" in run.out


# --- options that judge nothing


@pytest.mark.parametrize(
    ("option", "mode"),
    [
        ("--co", []),
        ("--co", ["--heal"]),
        ("--setup-only", ["--heal"]),
        ("--setup-plan", ["--heal"]),
    ],
)
def test_a_run_that_judges_nothing_heals_nothing_and_claims_nothing(room, option, mode):
    probes = FOLDERS + heals("first", before='    (context.state_dir / "probed").touch()\n')
    run = room.run(probes, *mode, option)
    assert run.code == (0 if option == "--co" else 5), run.out
    assert not (room.folder / "state/probed").exists()
    assert folders_in(room) == set()
    assert journals_in(room) == []
    assert not (room.folder / "install/.modelmedic").exists()
    assert "healthy" not in run.out
    assert "can take the model" not in run.out
    if option == "--co":
        assert "test_first" in run.out
        assert not run.folder.exists()
        assert not (room.folder / "state").exists()


CAPPED = """
@pytest.mark.check("room.capped", area="install")
def test_capped(request):
    "The repairs of this run know the cap."
    from modelmedic import examination
    cap = examination.of(request.config).engine.shop.extras.get("bandwidth")
    raise Unhealthy(f"cap {cap.bytes_per_second if cap else None}", "", "", subject="x")
"""


@pytest.mark.parametrize(
    "options", [[], ["--bandwidth=2000000"], ["-o", "modelmedic_bandwidth=2000000"]]
)
def test_the_bandwidth_reaches_the_repairs(room, options):
    run = room.run(CAPPED, *options)
    assert f"cap {2_000_000 if options else None}" in run.out


PACED = """
@pytest.mark.check("room.paced", area="install")
def test_paced(request):
    "The transfers of this run know how often to try."
    from modelmedic import examination
    pace = examination.of(request.config).engine.shop.extras["spending"].pace
    raise Unhealthy(f"{pace.tries} tries, {pace.budget_count} in all", "", "", subject="x")
"""


def test_tries_reach_the_transfers_from_option_environment_and_ini_file(room, monkeypatch):
    usual = room.env()
    ini = ["-o", "modelmedic_retry_tries=2", "-o", "modelmedic_retry_budget_count=9"]
    for options, env, told in (
        ([], {}, "5 tries, None in all"),
        (ini, {}, "2 tries, 9 in all"),
        (ini, {"MODELMEDIC_RETRY_TRIES": "3"}, "3 tries, 9 in all"),
        ([*ini, "--retry-tries=4"], {"MODELMEDIC_RETRY_TRIES": "3"}, "4 tries, 9 in all"),
    ):
        monkeypatch.setattr(type(room), "env", lambda _room, env=env: usual | env)
        assert told in room.run(PACED, *options).out
