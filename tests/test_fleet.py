"""How all machines are: health, silence, trends, repairs and slow checks, from the tables."""

from __future__ import annotations

import pytest
from fleet_support import DAY, NOW, Book, Fact, a_fleet

from modelmedic.fleet import health, machines, recoveries, slowest, stale, story, trend
from modelmedic.fleet.survey import survey

pytestmark = pytest.mark.once

OK = [("x.one", "passed", {}), ("x.two", "passed", {})]
BAD = [("x.one", "passed", {}), ("x.two", "failed", {"failure_id": "disk-full", "what": "Full."})]


@pytest.fixture
def book() -> Book:
    return Book()


def a_machine(book: Book, *runs, **values):
    """Store a machine with runs (days ago, findings), and return its number and its install's."""
    machine = book.machine(f"machine:{book._runs:010x}")
    install = book.install(machine)
    for days_ago, findings, *more in runs:
        book.run(machine, install, NOW - days_ago * DAY, findings, **(more[0] if more else values))
    return machine, install


def judged(book: Book) -> list[health.Health]:
    connection = book.close()
    return health.of_all(connection, machines.read(connection))


# -- health --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (["passed", "skipped"], "healthy"),
        (["passed", "healed"], "healthy"),
        (["degraded", "passed"], "degraded"),
        (["degraded", "unknown"], "unclear"),
        (["unknown", "failed"], "failing"),
        (["skipped", "skipped"], "not judged"),
    ],
)
def test_the_gravest_newest_finding_is_the_verdict(book, outcomes, verdict):
    a_machine(book, (1, [(f"x.{n}", outcome, {}) for n, outcome in enumerate(outcomes)]))
    assert [each.verdict for each in judged(book)] == [verdict]


def test_a_killed_run_proves_no_health_and_a_machine_without_a_run_neither(book):
    a_machine(book, (1, OK, {"exit_code": None}))
    book.machine("machine:ffffffffff")
    assert [each.verdict for each in judged(book)] == ["not judged", "not judged"]


def test_sick_since_is_the_oldest_cause_that_still_holds(book):
    other = [("x.one", "failed", {}), ("x.two", "failed", {"failure_id": "disk-full"})]
    a_machine(book, (9, BAD), (8, OK), (5, BAD), (3, other), (1, other))
    found = judged(book)[0]
    assert found.since == NOW - 5 * DAY
    assert {cause.key: cause.since for cause in found.causes} == {
        "disk-full": NOW - 5 * DAY, "x.one": NOW - 3 * DAY,
    }  # fmt: skip
    assert [cause.flaps for cause in found.causes if cause.key == "disk-full"] == [2]


def test_healthy_since_is_the_first_green_run_after_the_last_red_one(book):
    a_machine(book, (9, OK), (8, BAD), (6, OK), (5, [], {"exit_code": 5}), (2, OK))
    assert judged(book)[0].since == NOW - 6 * DAY


def test_a_part_of_the_checks_does_not_make_the_others_whole(book):
    machine, install = a_machine(book, (5, BAD))
    number = book.run(machine, install, NOW - DAY, [("x.one", "passed", {})])
    book.connection.execute("UPDATE run SET is_partial = 1 WHERE id = ?", (number,))
    assert judged(book)[0].verdict == "failing"


def test_a_check_that_a_whole_run_no_longer_knows_is_no_cause_any_more(book):
    a_machine(book, (5, BAD), (1, [("x.one", "passed", {})]))
    found = judged(book)[0]
    assert (found.verdict, found.causes) == ("healthy", ())


def test_a_run_whose_findings_are_no_longer_kept_ends_no_cause(book):
    blocked = [("x.one", "passed", {}), ("x.two", "blocked", {})]
    a_machine(book, (200, BAD), (100, blocked))
    assert judged(book)[0].verdict == "failing"
    book.connection.execute("DELETE FROM finding WHERE outcome = 'blocked'")
    assert judged(book)[0].verdict == "failing"


def test_the_gravest_install_speaks_for_the_machine_and_sick_machines_come_first(book):
    a_machine(book, (1, OK))
    machine, _install = a_machine(book, (3, OK))
    second = book.install(machine, folder="~/other")
    book.run(machine, second, NOW - DAY, BAD)
    found = judged(book)
    assert [each.verdict for each in found] == ["failing", "healthy"]
    assert [each.verdict for each in found[0].installs] == ["failing", "healthy"]
    assert found[0].last_report == NOW - DAY


# -- silence -------------------------------------------------------------------------------------


def silent(book: Book) -> list[stale.Silent]:
    return stale.silent(judged(book), NOW)


def test_a_daily_machine_is_missed_after_days_and_a_weekly_one_is_not(book):
    a_machine(book, *[(days, OK) for days in range(30, 4, -1)])
    a_machine(book, *[(days, OK) for days in range(47, 4, -7)])
    found = silent(book)
    assert [(each.usual_days, each.silent_days) for each in found] == [(1.0, 5.0)]


def test_many_runs_in_an_afternoon_are_one_sign_of_life(book):
    runs = [(week * 7 + hour / 24, OK) for week in (5, 4, 3, 2, 1) for hour in range(8, 0, -1)]
    a_machine(book, *runs)
    assert silent(book) == []
    usual, most = stale.limit([NOW - days * DAY for days, _ in runs])
    assert (usual, most) == (7.0, 21.0)


def test_a_machine_that_paused_before_may_pause_again(book):
    days = [40, 39, 38, 37, 36, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12]
    a_machine(book, *[(day, OK) for day in days])
    assert silent(book) == []  # 12 days, and 14 were no end before


def test_of_few_reports_no_rhythm_is_claimed(book):
    a_machine(book, (13, OK), (12, OK))
    a_machine(book, (16, OK), (15, OK))
    assert [(each.usual_days, each.limit_days) for each in silent(book)] == [(None, 14.0)]


def test_a_report_from_the_future_is_not_silence(book):
    a_machine(book, (-400, OK))
    assert silent(book) == []


# -- trends --------------------------------------------------------------------------------------


def test_an_install_counts_once_a_day_by_its_last_run_that_day(book):
    day = NOW % DAY / DAY
    first, second = (
        a_machine(book, (day - 0.1, BAD), (day - 0.2, OK)),
        a_machine(book, (day - 0.1, OK), (day - 0.2, BAD), (day - 0.3, BAD)),
    )
    assert first != second
    connection = book.close()
    found = trend.trend(connection, machines.read(connection), NOW, 3)
    assert [(each.reporting, each.failing) for each in found.days] == [(0, 0), (0, 0), (2, 1)]
    assert [(each.key, each.by_day, each.installs) for each in found.causes] == [
        ("disk-full", (0, 0, 2), 2)
    ]


def test_what_is_older_than_the_days_asked_for_is_left_out(book):
    a_machine(book, (9, BAD), (1, OK))
    connection = book.close()
    found = trend.trend(connection, machines.read(connection), NOW, 5)
    assert found.causes == ()
    assert sum(each.reporting for each in found.days) == 1


# -- repairs -------------------------------------------------------------------------------------


def test_a_success_rate_comes_with_its_interval_and_its_machines(book):
    machines_ = [a_machine(book, (1, OK))[0] for _ in range(2)]
    for number in range(10):
        book.heal(machines_[number % 2], NOW - DAY, "mend", "healed" if number else "not healed")
    book.heal(machines_[0], NOW - 99 * DAY, "mend", "failed")
    found = recoveries.success(book.close(), NOW - 30 * DAY)
    assert [(each.recovery, each.healed, each.tries, each.machines) for each in found] == [
        ("mend", 9, 10, 2)
    ]
    low, high = found[0].interval
    assert 0.6 < low < 0.9 < high < 1


# -- slow checks ---------------------------------------------------------------------------------


def test_a_check_that_became_slower_on_most_installs_is_named_first(book):
    def findings(age: int) -> list:
        slow = {"seconds": 6.0 if age < 2 else 2.0}
        return [("x.same", "passed", {"seconds": 30.0 + age % 3}), ("x.slower[a]", "passed", slow),
                ("x.slower[b]", "passed", {"seconds": 0.5}), ("x.none", "passed", {})]  # fmt: skip

    for _ in range(8):
        a_machine(book, *[(age, findings(age)) for age in range(8, -1, -1)])
    connection = book.close()
    found = slowest.slowest(connection, machines.read(connection))
    assert [each.check for each in found] == ["x.slower", "x.same"]
    assert found[0].ratio == pytest.approx(3.0)
    assert (found[0].median_seconds, found[0].before_seconds) == (6.0, 2.0)
    assert found[1].ratio is None


def test_one_slow_machine_does_not_make_a_check_slower(book):
    for number in range(8):
        runs = [
            (age, [("x.one", "passed", {"seconds": 9.0 if number == 0 and age < 2 else 3.0})])
            for age in range(8, -1, -1)
        ]
        a_machine(book, *runs)
    connection = book.close()
    assert [each.ratio for each in slowest.slowest(connection, machines.read(connection))] == [None]


def test_half_of_the_installs_may_be_slower_by_chance(book):
    for number in range(9):
        later = 6.0 if number < 5 else 2.9
        runs = [
            (age, [("x.one", "passed", {"seconds": later if age < 2 else 3.0})])
            for age in range(8, -1, -1)
        ]
        a_machine(book, *runs)
    connection = book.close()
    found = slowest.slowest(connection, machines.read(connection))
    assert [(each.median_seconds, each.ratio) for each in found] == [(6.0, None)]


# -- all of it -----------------------------------------------------------------------------------


def test_a_ratio_is_shown_in_percent_and_other_units_as_they_are():
    assert story.unit_of("disk.free_ratio[/models]") == ("%", 100)
    assert story.unit_of("io.read_bytes_per_second") == ("bytes/s", 1)
    assert story.unit_of("memory.used_bytes") == ("bytes", 1)
    assert story.unit_of("load.one") == ("", 1)


def test_an_empty_history_is_surveyed(book):
    found = survey(book.close(), now=NOW)
    assert (found.machines, found.silent, found.contrasts, found.slowest) == ([], [], [], [])
    assert len(found.trend.days) == 30


def test_a_fleet_is_told_as_it_was_made():
    found = survey(a_fleet(), now=NOW)
    assert sum(found.verdicts.values()) == 40
    assert [each.machine.label for each in found.silent] == ["render-01"]
    assert [each.check for each in found.slowest if each.ratio] == ["packages.torch"]
    assert {each.key for each in found.trend.causes} == {
        "driver-too-old", "flash-attn-abi-mismatch", "no-space-on-model-disk",
    }  # fmt: skip


def test_a_turn_names_every_kind_of_difference_memory_too(book):
    was, now = (
        {"environment": book.environment(fact)}
        for fact in (
            Fact(packages={"torch": "2.8.0"}),
            Fact(gpus=(), memory_gib=32, packages={"torch": "2.9.0"}, files={"vae.pth": 7}),
        )
    )
    machine, install = a_machine(book)
    book.run(machine, install, NOW - 2 * DAY, OK, **was)
    book.run(machine, install, NOW - DAY, BAD, **now)
    (one,) = judged(book)
    (turn,) = story.story(book.connection, one).turns
    assert turn.changes == (
        "GPUs: NVIDIA GeForce RTX 4090 → none",
        "memory: 64.0 GiB → 32.0 GiB",
        "torch: 2.8.0 → 2.9.0",
        "vae.pth: not there → 7",
    )
