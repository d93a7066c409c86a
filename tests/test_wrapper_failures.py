"""What happens to a failed call: again, without it, or the exception leaves as it is."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys

import pytest
import wrapper_support
from wrapper_support import Downloader, counts, notes, policy, raised, reset

from modelmedic import (
    Choice,
    ReliabilityManager,
)


@pytest.fixture
def manager(tmp_path):
    return wrapper_support.manager(tmp_path)


@pytest.fixture
def made(manager):
    return manager.wrap_component(Downloader(), "downloader")


@pytest.mark.parametrize(
    "error",
    [reset(), TimeoutError("it took too long"), OSError(errno.ETIMEDOUT, "timed out")],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_that_passes_is_tried_again(made, manager, error):
    made.failing["fetch"] = [error, reset()]
    assert made.fetch() == "file"
    assert made.__wrapped__.ran == ["fetch"] * 3
    assert counts(manager, "fetch") == {"successes": 1, "retried": 2}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        ValueError("sha256 mismatch: checksum of shard 3 differs"),
        MemoryError(),
        ModuleNotFoundError("No module named 'torch'", name="torch"),
        RuntimeError("something of no known kind"),
    ],
    ids=repr,
)
def test_a_failure_that_stays_is_not_tried_again_and_leaves_as_it_is(made, manager, error):
    made.failing["fetch"] = [error]
    with raised(type(error)) as caught:
        made.fetch()
    assert caught[0] is error
    assert made.__wrapped__.ran == ["fetch"]
    assert counts(manager, "fetch") == {"failures": 1}
    assert "not declared idempotent" in notes(error)
    frames = []
    link = error.__traceback__
    while link is not None:
        frames.append(link.tb_frame.f_code.co_name)
        link = link.tb_next
    assert frames[-2:] == ["fetch", "_run"]
    assert error.__cause__ is error.__context__ is None


def test_when_all_tries_fail_the_last_error_leaves_and_knows_the_others(made, manager):
    errors = [reset(), TimeoutError("second"), ConnectionRefusedError(errno.ECONNREFUSED, "third")]
    made.failing["fetch"] = list(errors)
    with raised(ConnectionRefusedError) as caught:
        made.fetch()
    assert caught[0] is errors[-1]
    assert caught[0].__context__ is None
    text = notes(caught[0])
    assert "called 3 times" in text
    assert "Connection reset by peer" in text
    assert "second" in text
    assert counts(manager, "fetch") == {"failures": 1, "retried": 2}


def test_notes_are_where_python_prints_them(made):
    made.failing["fetch"] = [ValueError("wrong")]
    with raised(ValueError) as caught:
        made.fetch()
    assert len(caught[0].__notes__) == 1
    if sys.version_info >= (3, 11):
        import traceback

        assert "modelmedic: Downloader.fetch failed" in traceback.format_exc() + "".join(
            traceback.format_exception(caught[0])
        )


def test_what_is_declared_idempotent_is_tried_again_after_any_failure(made, manager):
    made.failing["verify"] = [RuntimeError("a hiccup")]
    assert made.verify() == "verified"
    assert counts(manager, "verify") == {"successes": 1, "retried": 1}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        PermissionError(errno.EACCES, "no"),
        TypeError("a typo"),
        MemoryError(),
    ],
    ids=repr,
)
def test_repeating_does_not_cure_these_even_where_it_is_allowed(made, manager, error):
    made.failing["verify"] = [error]
    with raised(type(error)):
        made.verify()
    assert counts(manager, "verify") == {"failures": 1}


def test_only_what_is_declared_optional_ends_as_none(made, manager):
    made.failing["decorate"] = [ValueError("not so pretty")]
    assert made.decorate() is None
    assert counts(manager, "decorate") == {"optional": 1}
    made.failing["fetch"] = [ValueError("needed")]
    with pytest.raises(ValueError, match="needed"):
        made.fetch()


def test_declarations_can_be_made_from_outside(manager):
    manager.declare("downloader", "fetch", is_idempotent=True, tries=5)
    manager.declare("Downloader", "inner", is_optional=True)
    made = manager.wrap_component(Downloader(), "downloader")
    made.failing["fetch"] = [RuntimeError(str(number)) for number in range(4)]
    assert made.fetch() == "file"
    assert counts(manager, "fetch") == {"successes": 1, "retried": 4}
    made.failing["inner"] = [ValueError("no")]
    assert made.inner() is None
    with pytest.raises(TypeError):
        manager.declare("downloader", "fetch", is_idempotant=True)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_program_passes_untouched(made, manager, kind):
    error = kind()
    made.failing["verify"] = [error]
    with raised(kind) as caught:
        made.verify()
    assert caught[0] is error
    assert not notes(error)
    assert counts(manager, "verify") == {"cancelled": 1}


def test_nothing_is_retried_twice(manager):
    inner = manager.wrap_component(Downloader(), "inner")

    class Outer:
        calls = 0

        def install(self):
            self.calls += 1
            try:
                return inner.fetch()
            except ConnectionError as error:
                raise ConnectionError("the installation failed") from error

        def implicit(self):
            self.calls += 1
            try:
                return inner.fetch()
            except ConnectionError:
                raise ConnectionError("the installation failed")  # noqa: B904 - so others write it

        def plain(self):
            self.calls += 1
            return inner.fetch()

    for method in ("install", "implicit", "plain"):
        outer = manager.wrap_component(Outer(), "outer")
        inner.ran.clear()
        inner.failing["fetch"] = [reset() for _number in range(20)]
        with raised(ConnectionError):
            getattr(outer, method)()
        assert inner.ran == ["fetch"] * 3, method
        assert outer.calls == 1, method
        assert counts(manager, method, "Outer") == {"failures": 1}, method


def test_an_error_raised_while_another_is_handled_is_judged_for_itself(made):
    made.failing["inner"] = [reset() for _number in range(3)]
    made.failing["fetch"] = [reset()]
    try:
        made.inner()
    except ConnectionError:
        assert made.fetch() == "file"


def test_one_object_raised_by_two_calls_is_judged_in_each(made):
    error = reset()
    made.failing["fetch"] = [error] * 3
    with raised(ConnectionError):
        made.fetch()
    made.failing["fetch"] = [error]
    assert made.fetch() == "file"


def test_a_failure_inside_is_captured_and_written_once(tmp_path):
    events = []
    manager = wrapper_support.manager(tmp_path, observers=[events.append])
    inner = manager.wrap_component(Downloader(), "inner")

    class Outer:
        def install(self):
            return inner.fetch()

    inner.failing["fetch"] = [ValueError("wrong")]
    with raised(ValueError) as caught:
        manager.wrap_component(Outer(), "outer").install()
    assert [event.outcome for event in events] == ["failure", "failure"]
    assert events[0].context.component == "Downloader"
    assert events[0].context.method == "fetch"
    assert events[1].context is None
    assert events[0].correlation_id == events[1].correlation_id != ""
    assert len(caught[0].__notes__) == 1
    assert len(manager.journal.path.read_text().splitlines()) == 1


def test_a_full_budget_ends_the_retries(tmp_path):
    manager = wrapper_support.manager(tmp_path, retry=policy(per_minute=1))
    made = manager.wrap_component(Downloader(), "downloader")
    made.failing["fetch"] = [reset() for _number in range(9)]
    with raised(ConnectionError) as caught:
        made.fetch()
    assert made.ran == ["fetch"] * 2
    assert "used up" in notes(caught[0])


def test_who_listens_to_the_policy_hears_of_each_wait(tmp_path):
    heard = []
    manager = wrapper_support.manager(tmp_path, retry=policy(told=heard.append))
    made = manager.wrap_component(Downloader(), "downloader")
    made.failing["fetch"] = [reset(), reset()]
    made.fetch()
    assert [(one.operation, one.tries_done) for one in heard] == [
        ("Downloader.fetch", 1),
        ("Downloader.fetch", 2),
    ]


@pytest.mark.parametrize(
    ("choice", "ran"), [(Choice.RETRY, 3), (Choice.FEWER, 2), (Choice.SKIP, 1), (Choice.ABORT, 1)]
)
def test_the_persons_choice_is_kept(tmp_path, choice, ran):
    asked = []

    class Person:
        def choose(self, failure_text):
            asked.append(failure_text)
            return choice

    manager = wrapper_support.manager(tmp_path, retry=policy(chooser=Person()))
    made = manager.wrap_component(Downloader(), "downloader")
    made.failing["fetch"] = [reset() for _number in range(9)]
    with raised(ConnectionError):
        made.fetch()
    assert made.ran == ["fetch"] * ran
    assert "Downloader.fetch failed" in asked[-1]


# -- the journal --------------------------------------------------------------------------------------


def test_the_journal_begins_with_the_first_failure_and_shows_what_was_tried(tmp_path):
    manager = wrapper_support.manager(tmp_path)
    made = manager.wrap_component(Downloader(), "d")
    made.fetch()
    assert not manager.journal.path.exists()
    made.failing["fetch"] = [
        ConnectionResetError("https://user:s3cretword@proxy.example failed"),
        reset(),
    ]
    made.fetch()
    lines = [json.loads(line) for line in manager.journal.path.read_text().splitlines()]
    assert [(line["kind"], line.get("action"), line.get("verdict")) for line in lines] == [
        ("failure", "retry", None),
        ("failure", "retry", None),
        ("attempt", None, "healed"),
    ]
    assert lines[2]["strategy"] == "RetryWithBackoffStrategy"
    assert {line["correlation_id"] for line in lines} == {lines[0]["correlation_id"]}
    assert "s3cretword" not in manager.journal.path.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(manager.journal.path.stat().st_mode) == 0o600


def test_the_journal_masks_what_strategies_say(tmp_path):
    manager = wrapper_support.manager(tmp_path)
    assert manager.journal.write("attempt", {"note": "tried with hf_abcdefghijklmnop"})
    assert "abcdefghijklmnop" not in manager.journal.path.read_text()


def test_a_journal_that_cannot_be_written_breaks_nothing(tmp_path):
    place = tmp_path / "a file"
    place.write_text("no folder")
    manager = wrapper_support.manager(tmp_path, state_dir=place)
    made = manager.wrap_component(Downloader(), "d")
    made.failing["fetch"] = [reset()]
    assert made.fetch() == "file"
    assert manager.journal.trouble


def test_a_journal_fills_no_disk(tmp_path):
    manager = wrapper_support.manager(tmp_path)
    made = manager.wrap_component(Downloader(), "d")
    made.failing["decorate"] = [ValueError(str(number)) for number in range(200)]
    for _call in range(200):
        assert made.decorate() is None
    assert len(manager.journal.path.read_text().splitlines()) == 120
    assert manager.journal.left_out == 80
    assert counts(manager, "decorate") == {"optional": 200}


def test_a_component_that_fails_in_a_loop_is_not_captured_each_time(tmp_path):
    captured = []

    class Counting:
        def capture(self, error, **known):
            captured.append(known["method"])

    manager = wrapper_support.manager(tmp_path, capture=Counting())
    made = manager.wrap_component(Downloader(), "d")
    made.failing["decorate"] = [ValueError(str(number)) for number in range(200)]
    for _call in range(200):
        made.decorate()
    assert captured == ["decorate"] * 60


def test_a_capture_that_fails_is_said_and_breaks_nothing(tmp_path):
    class Broken:
        def capture(self, error, **known):
            raise RuntimeError("no capture")

    manager = wrapper_support.manager(tmp_path, capture=Broken())
    made = manager.wrap_component(Downloader(), "d")
    made.failing["fetch"] = [ValueError("wrong")]
    with raised(ValueError) as caught:
        made.fetch()
    assert "context was not captured: RuntimeError: no capture" in notes(caught[0])


def test_a_manager_costs_nothing_before_a_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path / "state"))
    ReliabilityManager(level="full", breaker=True).wrap_component(Downloader(), "d").fetch()
    assert not (tmp_path / "state").exists()


def test_a_declared_limit_interrupts(tmp_path):
    import time

    manager = wrapper_support.manager(tmp_path, retry=policy(1))
    manager.declare("slow", "wait", limit="network_test")

    class Slow:
        def wait(self):
            time.sleep(60)

    from modelmedic.limits import TimeoutManager

    made = manager.wrap_component(Slow(), "slow")
    manager.limit = lambda operation, context=None: TimeoutManager().limit(operation, context, 0.2)
    with pytest.raises(TimeoutError):
        made.wait()
    assert counts(manager, "wait", "Slow") == {"failures": 1}
