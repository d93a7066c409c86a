"""What separates sick from healthy machines: the true cause is found, and chance is not believed."""

from __future__ import annotations

import random

import pytest
from fleet_support import NOW, Book, Fact, a_fact, a_fleet, one_run_each

from modelmedic.fleet import cohort, features, health, machines

pytestmark = pytest.mark.once


def contrasts(connection, **options) -> dict[str, cohort.Contrast]:
    known = machines.read(connection)
    healths = health.of_all(connection, known)
    return {each.key: each for each in cohort.contrasts(connection, known, healths, **options)}


def contrasts_of(random_: random.Random, count: int, is_sick, fact_of=a_fact) -> dict:
    return contrasts(one_run_each(random_, count, is_sick, fact_of))


def test_the_true_separators_of_a_fleet_are_found_and_nothing_is_said_of_chance():
    found = contrasts(a_fleet())
    told = {key: [each.feature for each in group.separators] for key, group in found.items()}
    assert told == {
        "no-space-on-model-disk": [],
        "flash-attn-abi-mismatch": ["flash-attn 2.5.8"],
        "driver-too-old": ["driver 535.x"],
    }
    driver = found["driver-too-old"].separators[0]
    assert driver.alike == ("driver 535.183.01",)
    assert (driver.sick_having, driver.sick) == (len(found["driver-too-old"].sick),) * 2
    assert driver.healthy_having == 0
    assert driver.effect == 1.0
    assert 0 < driver.interval[0] < 1.0 == driver.interval[1]
    assert driver.p < driver.q < 0.001
    assert found["no-space-on-model-disk"].tested > 100


def test_what_the_sick_lack_is_found_too():
    def is_sick(fact: Fact) -> bool:
        return "xformers" not in fact.packages

    def fact_of(random_: random.Random) -> Fact:
        fact = a_fact(random_)
        if random_.random() < 0.6:
            fact.packages["xformers"] = random_.choice(["0.0.28", "0.0.29"])
        return fact

    found = contrasts_of(random.Random(3), 40, is_sick, fact_of)["x.one"].separators
    assert (found[0].feature, found[0].effect) == ("xformers installed", -1.0)


def test_two_machines_are_too_few_to_say_anything():
    sick = iter([True, True] + [False] * 20)
    group = contrasts_of(random.Random(3), 22, lambda _fact: next(sick))["x.one"]
    assert not group.has_enough
    assert (group.tested, group.separators) == (0, ())


def test_a_machine_whose_check_was_not_judged_is_on_no_side():
    book = Book()
    for number, outcome in enumerate(["failed"] * 3 + ["passed"] * 4 + ["skipped", "blocked"]):
        machine = book.machine(f"machine:{number:010x}")
        book.run(machine, book.install(machine), NOW, [("x.one", outcome, {})])
    group = contrasts(book.close())["x.one"]
    assert (len(group.sick), len(group.healthy)) == (3, 4)
    assert (group.has_enough, group.tested) == (True, 0)


def test_a_machine_on_which_the_check_holds_in_part_is_on_no_side():
    book = Book()
    for number, other in enumerate(["failed"] * 3 + ["passed"] * 4 + ["degraded", "skipped"]):
        machine = book.machine(f"machine:{number:010x}")
        findings = [("x.one[a]", "passed", {}), ("x.one[b]", other, {})]
        book.run(machine, book.install(machine), NOW, findings)
    group = contrasts(book.close())["x.one"]
    assert (len(group.sick), len(group.healthy)) == (3, 5), "skipped: does not apply there"


def test_two_installs_of_one_machine_are_one_machine():
    book = Book()
    for number in range(8):
        machine = book.machine(f"machine:{number:010x}")
        for folder in ("a", "b"):
            findings = [("x.one", "failed" if number < 4 and folder == "a" else "passed", {})]
            book.run(machine, book.install(machine, folder), NOW, findings)
    group = contrasts(book.close())["x.one"]
    assert (len(group.sick), len(group.healthy)) == (4, 4)


def test_of_what_is_not_known_nothing_is_counted():
    known = {kind for kind, _words, _there in features.of_environment(
        ("h", "", "", "", "[]", None, "{}", "{}"), "p", "0.1")}  # fmt: skip
    assert known == {"profile", "modelmedic", "driver", "gpu"}
    words = {words for _kind, words, there in features.of_environment(
        ("h", "Linux 6.1 x86_64", "3.11.4", "535.183.01", '["A", "A"]', 31 << 30,
         '{"torch": "2.4.1+cu121"}', '{"vae.pth": 1000}'), "wan", "0.1") if there}  # fmt: skip
    assert words == {
        "profile wan", "modelmedic 0.1", "Linux", "Linux 6.1 x86_64", "x86_64", "Python 3.11.4",
        "Python 3.11.x", "driver 535.183.01", "driver 535.x", "2 GPUs", "GPU A",
        "memory 32 GiB or more, under 64", "torch installed", "torch 2.4.1+cu121", "torch 2.4.x",
        "torch built as +cu121", "vae.pth there", "vae.pth of 1,000 bytes",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "[", "3", "[1]", '{"a": {}}', "[" * 100_000])
def test_a_snapshot_that_is_none_is_passed_over(text):
    row = ("h", "Linux", "3.11", "", text, 1 << 34, text, text)
    assert list(features.of_environment(row, "p", "0.1"))


def test_where_nothing_separates_chance_is_believed_in_few_histories():
    """Each history with a discovery is a false one: at most one in twenty, and in fact fewer."""
    seed = random.randrange(1 << 32)
    random_ = random.Random(seed)
    rounds = 60
    found = [contrasts_of(random_, 30, lambda _fact: random_.random() < 0.4) for _ in range(rounds)]
    told = sum(bool(group.separators) for groups in found for group in groups.values())
    assert told <= 0.05 * rounds + 4 * (0.05 * rounds) ** 0.5, f"seed {seed}"


def test_beside_a_true_separator_few_false_ones_are_told():
    seed = random.randrange(1 << 32)
    random_ = random.Random(seed)

    def is_sick(fact: Fact) -> bool:
        return random_.random() < (0.95 if fact.packages["flash-attn"] == "2.5.8" else 0.03)

    shares = []
    for _ in range(25):
        for group in contrasts_of(random_, 60, is_sick).values():
            names = [each.feature for each in group.separators]
            false = [name for name in names if not name.startswith("flash-attn")]
            shares.append(len(false) / len(names) if names else 0.0)
            assert names[:1] == ["flash-attn 2.5.8"], f"seed {seed}"
    assert sum(shares) / len(shares) <= 0.05 + 4 * (0.05 / len(shares)) ** 0.5, f"seed {seed}"
