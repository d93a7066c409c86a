"""Trying again: how often, how long waited, what budgets say, where the numbers come from."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest
import stamina
from test_transience import http_error

import modelmedic
from modelmedic.errors import ModelmedicError
from modelmedic.pace import SETTINGS, BadSetting, Pace, Spending, settled
from modelmedic.profile.fields import RETRY
from modelmedic.profile.model import Retry
from modelmedic.reliability.choice import Choice
from modelmedic.reliability.retry import OperationSkipped, RetryPolicy, retry

RESET = ConnectionResetError(104, "reset")


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, failures, error=RESET):
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise type(self.error)(*self.error.args)
        return "done"


@pytest.fixture
def waits(monkeypatch):
    """Replace the waiting; what was waited is listed."""
    found = []

    async def sleep(seconds):
        found.append(seconds)

    monkeypatch.setattr("tenacity.nap.time.sleep", found.append)
    monkeypatch.setattr("stamina._core._smart_sleep", sleep)
    return found


# -- waits and counts ------------------------------------------------------------------------------


def test_three_tries_and_waits_drawn_from_nothing_to_2_4_8():
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    random.seed(seed)
    policy = RetryPolicy()
    assert policy.tries == 3
    more = RetryPolicy(tries=9)
    for tries_done, cap in ((1, 2), (2, 4), (3, 8), (4, 8), (8, 8)):
        drawn = [more.wait_seconds(tries_done, RESET) for _ in range(400)]
        assert all(0 <= each <= cap for each in drawn)
        assert min(drawn) < 0.1 * cap  # full jitter: from nothing
        assert max(drawn) > 0.9 * cap
    assert policy.wait_seconds(2, RESET) is not None
    assert policy.wait_seconds(3, RESET) is None
    assert policy.wait_seconds(3, RESET, tries=5) is not None


def test_what_a_server_asks_for_is_waited_up_to_a_limit_and_reported_beyond_it():
    policy = RetryPolicy(asked_seconds=100)
    assert policy.wait_seconds(1, http_error(429, Retry_After="100")) == 100
    beyond = policy.next_try(1, http_error(429, Retry_After="101"))
    assert beyond.seconds is None
    assert "The server asks to wait 101 s; at most 100 s are waited." in beyond.why


def test_budgets_of_a_run_and_of_a_minute_are_kept():
    policy = RetryPolicy(per_run=3, per_minute=2, run_seconds=None)
    assert [policy.take(now) for now in (0.0, 1.0, 2.0)] == [True, True, False]
    assert [policy.take(now) for now in (60.5, 61.5, 200.0)] == [True, False, False]
    policy = RetryPolicy(run_seconds=10)
    assert [policy.take(wait_seconds=6), policy.take(wait_seconds=6)] == [True, False]
    assert policy.take(wait_seconds=4)


class Slow(int):
    """A number that takes its time to be compared: other threads run meanwhile."""

    def __le__(self, other):
        time.sleep(0.0005)
        return int(self) <= other


def test_threads_share_a_budget_and_take_no_more_than_it_has():
    policy, took = RetryPolicy(per_run=Slow(40), per_minute=None), []
    threads = [
        threading.Thread(target=lambda: took.extend(policy.take() for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(took), sum(took)) == (160, 40)


def test_a_policy_that_makes_no_sense_is_refused():
    for wrong in ({"tries": 0}, {"first_seconds": -1}, {"per_run": -1}):
        with pytest.raises(ValueError, match="a policy has"):
            RetryPolicy(**wrong)


# -- the helper for functions, coroutines and blocks -----------------------------------------------


def test_a_function_is_tried_again_and_each_wait_is_told_before_it(waits):
    told, work = [], Flaky(2)

    def tell(notice):
        told.append((notice.operation, notice.tries_done, notice.wait_seconds, len(waits)))

    assert retry(RetryPolicy(told=tell), operation="fetching")(work)() == "done"
    assert work.calls == 3
    assert [each[2] for each in told] == waits
    assert [(each[0], each[1], each[3]) for each in told] == [
        ("fetching", 1, 0),
        ("fetching", 2, 1),
    ]


def test_staminas_own_instrumentation_hears_of_it_too(waits):
    heard = []
    before = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([heard.append])
    try:
        retry(RetryPolicy())(Flaky(1))()
    finally:
        stamina.instrumentation.set_on_retry_hooks(before)
    assert [each.retry_num for each in heard] == [1]
    assert [each.wait_for for each in heard] == waits


def test_the_last_error_leaves_as_it_is_with_a_note(waits):
    work = Flaky(9)
    with pytest.raises(ConnectionResetError) as caught:
        retry(RetryPolicy())(work)()
    assert (work.calls, len(waits)) == (3, 2)
    assert caught.value.__notes__ == ["It was tried 3 of 3 times."]


def test_what_does_not_pass_is_called_once(waits):
    for error in (ValueError("wrong"), PermissionError(13, "denied"), KeyboardInterrupt()):
        work = Flaky(9, error)
        with pytest.raises(type(error)):
            retry(RetryPolicy())(work)()
        assert work.calls == 1
    assert waits == []


def test_errors_that_are_named_are_tried_again_and_no_others(waits):
    work = Flaky(1, ValueError("wrong"))
    assert retry(RetryPolicy(), on=ValueError)(work)() == "done"
    work = Flaky(1, KeyError("k"))
    assert retry(RetryPolicy(), on=lambda error: "k" in error.args)(work)() == "done"
    work = Flaky(1)
    with pytest.raises(ConnectionResetError):
        retry(RetryPolicy(), on=(ValueError, KeyError))(work)()
    work = Flaky(1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        retry(RetryPolicy(), on=BaseException)(work)()


def test_a_wait_of_nothing_is_one(waits):
    assert retry(RetryPolicy(first_seconds=0, most_seconds=0))(Flaky(2))() == "done"
    assert waits == [0, 0]


def test_a_coroutine_and_both_kinds_of_blocks_are_tried_again(waits):
    works = [Flaky(1) for _ in range(3)]

    @retry(RetryPolicy())
    async def fetch():
        return works[0]()

    async def main():
        result = await fetch()
        async for attempt in retry(RetryPolicy()):
            with attempt:
                works[1]()
        return result

    assert asyncio.run(main()) == "done"
    for attempt in retry(RetryPolicy()):
        with attempt:
            works[2]()
    assert [work.calls for work in works] == [2, 2, 2]
    assert len(waits) == 3


def test_each_call_has_all_its_tries_and_the_run_has_its_budget(waits):
    policy = RetryPolicy(per_run=3)
    work = Flaky(2)
    call = retry(policy)(work)
    call()
    work.calls = 0
    with pytest.raises(ConnectionResetError) as caught:
        call()
    assert len(waits) == 3
    assert caught.value.__notes__ == [
        "It was not tried again: this run tries again at most 3 times."
    ]


def test_a_generator_is_refused():
    def numbers():
        yield 1

    with pytest.raises(TypeError, match="is a generator"):
        retry(RetryPolicy())(numbers)


def test_without_a_policy_all_share_one():
    assert retry()._policy is modelmedic.retry()._policy


# -- the person ------------------------------------------------------------------------------------


class Says:
    def __init__(self, choice):
        self.choice, self.asked = choice, []

    def choose(self, failure_text):
        self.asked.append(failure_text)
        return self.choice


@pytest.mark.parametrize(
    ("choice", "calls", "error"),
    [
        (Choice.RETRY, 3, ConnectionResetError),
        (Choice.FEWER, 2, ConnectionResetError),
        (Choice.SKIP, 1, OperationSkipped),
        (Choice.ABORT, 1, ConnectionResetError),
    ],
)
def test_a_person_is_asked_once_after_the_first_failure(waits, choice, calls, error):
    person, work = Says(choice), Flaky(9)
    with pytest.raises(error):
        retry(RetryPolicy(chooser=person), operation="Fetching a.bin")(work)()
    assert work.calls == calls
    assert person.asked == ["Fetching a.bin failed: ConnectionResetError: [Errno 104] reset"]


def test_nobody_is_asked_about_what_is_not_tried_again(waits):
    person = Says(Choice.RETRY)
    for error in (ValueError("wrong"), http_error(429, Retry_After="9999")):
        with pytest.raises(type(error)):
            retry(RetryPolicy(chooser=person))(Raises(error))()
    assert person.asked == []


class Raises:
    def __init__(self, error):
        self.error = error

    def __call__(self):
        raise self.error


def test_what_was_skipped_names_its_cause(waits):
    with pytest.raises(OperationSkipped) as caught:
        retry(RetryPolicy(chooser=Says(Choice.SKIP)))(Flaky(9))()
    assert isinstance(caught.value.__cause__, ConnectionResetError)


# -- settings --------------------------------------------------------------------------------------


class WithRetry:
    retry = Retry(tries=5, most_seconds=5.5)


def test_an_option_comes_before_the_environment_the_ini_file_and_the_profile():
    sources = {
        "profile": WithRetry,
        "ini": {"modelmedic_retry_tries": "6"},
        "environ": {"MODELMEDIC_RETRY_TRIES": "7"},
        "options": {"tries": "8"},
    }
    given = {"environ": {}}
    for name, tries in zip(sources, (5, 6, 7, 8), strict=True):
        given[name] = sources[name]
        assert RetryPolicy.from_settings(**given).tries == tries
    assert RetryPolicy.from_settings(**given).pace.most_seconds == 5.5
    assert RetryPolicy.from_settings(environ={}).pace == RetryPolicy().pace


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"options": {"tries": "many"}}, "--retry-tries is many; it is a whole number from 1"),
        ({"environ": {"MODELMEDIC_RETRY_TRIES": "0"}}, "MODELMEDIC_RETRY_TRIES is 0;"),
        ({"environ": {"MODELMEDIC_RETRY_TRIES": "2.5"}}, "MODELMEDIC_RETRY_TRIES is 2.5;"),
        ({"ini": {"modelmedic_retry_most_seconds": "-1"}}, "modelmedic_retry_most_seconds in the"),
        (
            {"ini": {"modelmedic_retry_first_seconds": "nan"}},
            "first_seconds in the ini file is nan",
        ),
        ({"options": {"tries": "99999999"}}, "--retry-tries is 99999999"),
        ({"options": {"per_minute": "٣"}}, "--retry-per-minute is ٣"),
    ],
)
def test_a_wrong_value_names_its_source_and_what_it_must_be(given, where):
    with pytest.raises(BadSetting) as caught:
        RetryPolicy.from_settings(**{"environ": {}, **given})
    assert where in str(caught.value)
    assert isinstance(caught.value, ModelmedicError)


def test_the_profile_knows_the_same_numbers():
    assert {*SETTINGS, "source"} == set(RETRY.keys)
    for name, setting in SETTINGS.items():
        key = RETRY.keys[name]
        assert (key.minimum, key.type == "integer") == (setting.least, setting.is_whole)
        most = Retry(**{name: key.maximum})
        holder = type("Profile", (), {"retry": most})
        assert getattr(settled(Pace(), profile=holder), setting.field) == key.maximum


def test_a_budget_says_what_is_used_up():
    spending = Spending(Pace(budget_count=0))
    assert "at most 0 times" in spending.refusal()
