"""The Health Reporter says what the history shows, with the numbers, and no more than that."""

from __future__ import annotations

import contextlib
import os

import pytest
from reporter_support import DAY, NOW, Past, attempt, finding, inventory

from modelmedic import HealthReporter, IHealthReporter
from modelmedic.errors import CannotTell
from modelmedic.history.database import NAME


@pytest.fixture
def past(tmp_path):
    with Past(tmp_path / "state") as made:
        yield made


@contextlib.contextmanager
def reporter(past, **options):
    with HealthReporter(state_dir=past.state_dir, clock=lambda: NOW, **options) as made:
        yield made


def report(past, **options):
    with reporter(past, **options) as made:
        return made.generate_installation_report()


def test_without_a_history_it_says_that_no_run_is_known_and_makes_no_file(past):
    with reporter(past) as made:
        assert isinstance(made, IHealthReporter)
        found = made.generate_installation_report()
        analysis = made.generate_trend_analysis()
        assert made.trouble == ""
    assert (found.run_id, found.runs, found.counts) == ("", 0, {})
    assert found.verdict.startswith("No run is known here.")
    assert (analysis.runs, analysis.trends, analysis.patterns) == (0, (), ())
    assert not past.state_dir.exists()


def test_one_good_run_is_told_with_what_passed_was_repaired_and_did_not_apply(past):
    past.store(0, [finding("a.b"), finding("a.c", "healed"), finding("a.d", "skipped")])
    found = report(past)
    assert found.verdict == ("Nothing is wrong: 1 check passed, 1 repaired, 1 that do not apply.")
    assert (found.runs, found.causes, found.changed) == (1, (), ())
    assert found.folder == "/models/wan"


def test_a_run_in_which_nothing_was_judged_is_not_called_healthy(past):
    past.store(0, [finding("a.b", "skipped")])
    assert report(past).verdict.startswith("Nothing was judged")


def test_a_run_that_was_killed_is_not_called_healthy(past):
    past.store(0, [finding("a.b")], exit_code=None)
    assert report(past).verdict.startswith("The newest run was ended before it was done")


def test_a_cause_is_told_with_since_when_and_how_many_checks_wait_on_it(past):
    past.store(9, [finding("gpu.x"), finding("w.y")])
    for days_ago in (6, 3, 0):
        past.store(
            days_ago,
            [finding("gpu.x", "failed", failure_id="xid-79"),
             finding("w.y", "blocked", blocked_by="gpu.x"), finding("w.z", "unknown")],
        )  # fmt: skip
    found = report(past)
    cause, other = found.causes
    assert (cause["check"], cause["failure_id"], cause["blocks"]) == ("gpu.x", "xid-79", 1)
    assert cause["since"] == NOW - 3600 - 6 * DAY
    assert cause["next"] == "Do this."
    assert (other["check"], other["outcome"]) == ("w.z", "unknown")
    assert found.verdict == (
        "2 checks are wrong: gpu.x, w.z, the oldest since 2026-11-22. 1 check waits on them."
    )


def test_a_run_of_a_part_does_not_hide_what_the_run_of_all_found(past):
    past.store(2, [finding("a.b", "failed"), finding("a.c", "failed"), finding("a.gone", "failed")])
    past.store(1, [finding("a.b", "failed"), finding("a.c", "failed")])
    past.store(0, [finding("a.c")], is_partial=True)
    assert [cause["check"] for cause in report(past).causes] == ["a.b"]


def test_what_changed_between_the_last_good_run_and_the_first_bad_one_is_named(past):
    past.store(4, [finding("a.b")], inventory=inventory())
    changed = inventory(
        driver="535.1", packages={"torch": "2.4.1", "numpy": "2.0"}, files={"vae.pth": 507609879}
    )
    for days_ago in (3, 2):
        past.store(days_ago, [finding("a.b", "failed")], inventory=changed)
    past.store(0, [finding("a.b", "failed")], inventory=inventory(driver="999"))
    found = report(past)
    assert found.changed == (
        "The NVIDIA driver changed from 550.54 to 535.1.",
        "Package numpy is new: 2.0.",
        "Package torch changed from 2.4.0 to 2.4.1.",
        "File vae.pth changed from 484.1 MiB (507,609,880 bytes) to 484.1 MiB (507,609,879 bytes).",
    )
    (driver,) = [text for text in found.suggestions if "driver" in text]
    assert "between the last good run" in driver
    assert "is not proven" in driver


def test_a_package_without_a_version_is_not_called_gone(past):
    past.store(2, [finding("a.b")], inventory=inventory(packages={"torch": "", "numpy": "2.0"}))
    past.store(1, [finding("a.b", "failed")], inventory=inventory(packages={"torch": "2.4.1"}))
    assert report(past).changed == (
        "Package numpy is gone: it was 2.0.",
        "Package torch changed from (no version) to 2.4.1.",
    )


def test_a_run_of_a_part_is_neither_the_last_good_nor_the_first_bad_one(past):
    past.store(5, [finding("a.b")], inventory=inventory(driver="1"))
    past.store(4, [finding("a.c")], inventory=inventory(driver="2"), is_partial=True)
    past.store(3, [finding("a.c", "failed")], inventory=inventory(driver="3"), is_partial=True)
    past.store(2, [finding("a.b", "failed")], inventory=inventory(driver="4"))
    assert report(past).changed == ("The NVIDIA driver changed from 1 to 4.",)


def test_what_nobody_could_ask_is_not_called_gone(past):
    past.store(1, [finding("a.b")], inventory=inventory())
    past.store(
        0, [finding("a.b", "failed")],
        inventory=inventory(driver="", gpus=[], packages={}, memory_bytes=None),
    )  # fmt: skip
    assert report(past).changed == (
        "The NVIDIA driver is not told in the later run: before, 550.54.",
        "Memory is not told in the later run: before, 64.0 GiB (68,719,476,736 bytes).",
        "The cards are not told in the later run: before, NVIDIA GeForce RTX 4090.",
        "The packages are not told in the later run: before, 1 of them.",
    )


def test_without_an_inventory_what_changed_is_not_known_rather_than_nothing(past):
    past.store(1, [finding("a.b")])
    past.store(0, [finding("a.b", "failed")])
    (text,) = report(past).changed
    assert text.startswith("What changed is not known")


def test_an_install_and_a_machine_can_be_chosen(past):
    past.store(1, [finding("a.b", "failed")], install_dir="/models/other")
    past.store(0, [finding("a.b")])
    theirs = "machine:00000000ff"
    past.store(2, [finding("x.y", "failed")], is_own=False, machine=theirs)
    assert report(past).causes == ()
    assert report(past, install_dir="/models/other").causes[0]["check"] == "a.b"
    assert report(past, machine=theirs).causes[0]["check"] == "x.y"
    assert report(past, install_dir="/nowhere").verdict.startswith("No run of /nowhere is known")
    assert report(past, machine="machine:no").verdict.startswith("No machine is called machine:no")


def test_an_install_is_found_by_any_way_to_write_its_folder(past, monkeypatch, tmp_path):
    home = tmp_path / "home" / "somebody"
    monkeypatch.setenv("HOME" if os.name != "nt" else "USERPROFILE", str(home))
    (home / "wan").mkdir(parents=True)
    past.store(0, [finding("a.b")], install_dir="~/wan")  # as a record has it, masked
    monkeypatch.chdir(home)
    for way in ("~/wan", "wan", "./wan", home / "wan"):
        assert report(past, install_dir=way).folder == "~/wan", way


def test_effects_hold_the_exact_interval_and_the_median_of_those_that_ended(past):
    past.store(0, [finding("a.b")])
    past.heal("refetch", "healed", "healed", "not healed", "failed")
    past.heal("refetch", "healed", category="network")
    (effect,) = report(past).effects
    assert (effect.recovery, effect.healed, effect.tries) == ("refetch", 3, 5)
    # Beta(4, 3): 2.5 % and 97.5 % quantiles, from tables of the binomial distribution.
    assert effect.interval == pytest.approx((0.2228, 0.8819), abs=1e-4)
    assert effect.median_seconds == pytest.approx(2.5)
    with reporter(past) as made:
        effects = made.generate_trend_analysis().effects
    assert [(each.category, each.healed, each.tries) for each in effects] == [
        ("", 3, 5), ("corruption", 2, 4), ("network", 1, 1),
    ]  # fmt: skip


def test_repairs_of_imported_runs_count_for_their_machine(past):
    theirs = "machine:00000000ff"
    healed = finding("w.y", "healed", attempts=[attempt("refetch")])
    past.store(2, [healed], is_own=False, machine=theirs)
    past.store(0, [finding("a.b")])
    assert report(past).effects == ()
    assert report(past, machine=theirs).effects[0].healed == 1


def test_a_damaged_database_is_said_and_left_as_it_was(past):
    past.state_dir.mkdir(mode=0o700)
    file = past.state_dir / NAME
    file.write_bytes(b"no database at all" * 100)
    file.chmod(0o600)
    with reporter(past) as made:
        assert "cannot be used" in made.trouble
        assert made.generate_installation_report().run_id == ""
        made.export_metrics("json")
    assert file.read_bytes().startswith(b"no database")


def test_pages_damaged_in_the_middle_are_told_in_words(past):
    for days_ago in range(60):
        past.store(days_ago, [finding(f"a.{n}", "failed") for n in range(40)])
    size = past.history.connection.execute("PRAGMA page_size").fetchone()[0]
    past.close()
    data = bytearray((past.state_dir / NAME).read_bytes())
    data[30 * size :] = b"\xff" * (len(data) - 30 * size)
    (past.state_dir / NAME).write_bytes(data)
    with reporter(past) as made, pytest.raises(CannotTell, match="cannot be read"):
        made.generate_installation_report()
