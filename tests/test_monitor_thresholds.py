"""The monitor's limits: how long they must hold, when they end, and what each rule rests on."""

from __future__ import annotations

import re

import pytest
from monitor_support import NOON

from modelmedic import cli
from modelmedic.monitor.advice import COMMANDS, Advice
from modelmedic.monitor.rules import RULES
from modelmedic.monitor.thresholds import Rule, Thresholds

pytestmark = pytest.mark.once
RULE = Rule(
    key="full", series="disk.free_ratio*", is_above=False, limit=0.05, clear=0.08,
    for_seconds=10, severity="warning", what="{percent} of {subject} are free.", why="It ends.",
    advice="disk", source="a test",
)  # fmt: skip


class Steps:
    """Thresholds that are told a value each second."""

    def __init__(self, *rules, **options):
        self.judge = Thresholds(rules, Advice("modelmedic").command, **options)
        self.now = 0.0

    def say(self, seconds=1, **readings):
        found = []
        named = {name.replace("__", "."): value for name, value in readings.items()}
        for _ in range(seconds):
            self.now += 1
            found = self.judge.step(self.now, NOON + self.now, named)
        return found

    def disk(self, free, seconds=1, subject="/models", **more):
        return self.say(seconds, **{f"disk.free_ratio[{subject}]": free}, **more)


def test_a_limit_counts_only_after_its_time_and_names_the_beginning():
    steps = Steps(RULE)
    assert steps.disk(0.04, seconds=10) == []
    (found,) = steps.disk(0.04)
    assert found.key == "full[/models]"
    assert found.since == NOON + 1
    assert found.what == "4.0 % of /models are free."
    assert found.command == "modelmedic check --checks=disk.space"


def test_while_it_is_not_well_for_long_enough_its_last_bad_value_is_told():
    steps = Steps(RULE)
    steps.disk(0.04, seconds=11)
    steps.disk(0.03)
    (found,) = steps.disk(0.5, seconds=5)
    assert found.what == "3.0 % of /models are free."


def test_a_moment_on_the_good_side_begins_the_time_anew():
    steps = Steps(RULE)
    steps.disk(0.04, seconds=9)
    steps.disk(0.06)
    assert steps.disk(0.04, seconds=10) == []
    assert steps.disk(0.04)


def test_an_issue_ends_only_well_on_the_other_side_and_after_its_time():
    steps = Steps(RULE)
    assert steps.disk(0.04, seconds=11)
    assert steps.disk(0.07, seconds=60), "between the limit and where it is clear"
    assert steps.disk(0.09, seconds=10)
    assert steps.disk(0.09) == []


def test_two_disks_are_two_issues():
    steps = Steps(RULE)
    for _ in range(11):
        found = steps.say(**{"disk.free_ratio[/a]": 0.01, "disk.free_ratio[/b]": 0.02})
    assert [entry.key for entry in found] == ["full[/a]", "full[/b]"]


def test_of_one_key_the_most_severe_is_told():
    critical = Rule(**{**fields(RULE), "severity": "critical", "limit": 0.03, "clear": 0.04})
    steps = Steps(RULE, critical)
    assert steps.disk(0.045, seconds=11)[0].severity == "warning"
    assert [entry.severity for entry in steps.disk(0.02, seconds=11)] == ["critical"]
    assert [entry.severity for entry in steps.disk(0.045, seconds=12)] == ["warning"]


def test_a_second_condition_must_hold_too_if_it_can_be_read():
    both = Rule(**{**fields(RULE), "also": ("disk.free_bytes", False, 100.0)})
    assert Steps(both).disk(0.01, seconds=20, **{"disk.free_bytes[/models]": 5000.0}) == []
    assert Steps(both).disk(0.01, seconds=20, **{"disk.free_bytes[/models]": 50.0})
    assert Steps(both).disk(0.01, seconds=20)


def test_what_is_not_read_any_more_is_forgotten_after_a_minute():
    steps = Steps(RULE)
    assert steps.disk(0.01, seconds=11)
    assert steps.say(seconds=50)
    assert steps.say(seconds=11) == []
    assert steps.judge._states == {}


def test_one_look_does_not_wait():
    assert Steps(RULE, is_patient=False).disk(0.01)


def test_a_hostile_name_of_a_disk_is_escaped():
    (found,) = Steps(RULE, is_patient=False).disk(0.01, subject="/\x1b[31m\nmodels\u202e")
    assert found.what == r"1.0 % of /\x1b[31m\nmodels\u202e are free."


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.key}-{rule.severity}")
def test_each_rule_has_a_source_a_way_back_and_a_command(rule):
    assert re.search(r"earlyoom|oomd|node-mixin|nvml\.h|proc_|kubelet", rule.source)
    assert rule.clear >= rule.limit if not rule.is_above else rule.clear <= rule.limit
    assert rule.severity in {"warning", "critical"}
    assert rule.advice in COMMANDS
    assert "{" not in rule.what.format(subject="x", percent="1 %", value="1", size="1 byte")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.key}-{rule.severity}")
def test_each_rule_is_told_when_it_is_crossed_and_not_before(rule):
    series = rule.series.replace("*", "[7]") if "*" in rule.series else rule.series
    bad = rule.limit + (1e-3 if rule.is_above else -1e-3)
    good = rule.limit + (-0.5 if rule.is_above else 0.5)
    other = {}
    if rule.also is not None:
        name, is_above, limit = rule.also
        other[name + series.partition("[")[1] + "7]" * ("[" in series)] = limit * (
            1.01 if is_above else 0.99
        )
    steps = Steps(rule)
    assert steps.say(120, **{series: good}, **other) == []
    assert (
        steps.say(int(rule.for_seconds) or 1, **{series: bad}, **other) == []
        or not rule.for_seconds
    )
    assert steps.say(1, **{series: bad}, **other)


def test_the_checks_that_are_named_exist():
    from modelmedic import rooms

    text = "".join(path.read_text("utf-8") for path in rooms.room("checks").glob("*.py"))
    for advice in ("memory", "disk", "inodes", "gpu"):
        command = Advice("modelmedic", "/my models").command(advice)
        assert command.endswith(" --install-dir='/my models'")
        (name,) = re.findall(r"--checks=(\S+)", command)
        assert f'"{name}"' in text
    assert "check" in cli._PYTEST_COMMANDS


def test_commands_of_others_take_the_persons_form():
    from monitor_support import issue

    advice = Advice("/x/python -m modelmedic")
    mine = advice.in_form(issue(command="modelmedic check --checks=disk.space"))
    assert mine.command == "/x/python -m modelmedic check --checks=disk.space"
    assert advice.in_form(issue(command="ps -p 1")).command == "ps -p 1"


def fields(rule):
    return {name: getattr(rule, name) for name in Rule.__dataclass_fields__}


def test_of_swap_that_cannot_be_read_nothing_is_claimed():
    steps = Steps(*RULES)  # in a container with a limit of its own the machine's swap says nothing
    (found,) = steps.say(20, memory__available_ratio=0.01)
    assert found.severity == "critical"
    assert "swap" not in found.what
