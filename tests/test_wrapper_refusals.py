"""What keeps a failed call from being made again, whatever a repair comes to."""

from __future__ import annotations

import asyncio
import email.message
import io
import threading
import time
import urllib.error

import pytest
import wrapper_support
from wrapper_support import Engine, counts, notes, policy, reset

from modelmedic import AutoRecoveryEngine, BreakerSettings, Choice, idempotent
from modelmedic.errors import OperationTimedOut
from modelmedic.reliability import subjects
from modelmedic.reliability.child_runs import ChildRun
from modelmedic.reliability.install_failure import InstallFailure
from modelmedic.reliability.interfaces import StrategyAttempt
from modelmedic.reliability.repairs import sentence


class Part:
    """A component that fails as it is told to."""

    def __init__(self, error):
        self.error = error
        self.calls = []

    def fetch(self, *args, **kwargs):
        self.calls.append(list(args[0]) if args and not isinstance(args[0], str) else args)
        raise self.error()

    @idempotent
    def get(self, url, force=False):
        self.calls.append(url)
        raise self.error()


class Answers:
    def __init__(self, choice):
        self.choice = choice

    def choose(self, _text):
        return self.choice


def limited():
    headers = email.message.Message()
    headers["Retry-After"] = "600"
    return urllib.error.HTTPError("http://server.example/", 429, "Too many", headers, None)


def fails(tmp_path, error, *args, **more):
    """Call a component whose engine would heal it; return it, the engine, the error."""
    part, engine = Part(error), Engine(heals=True)
    made = wrapper_support.manager(tmp_path, engine=engine, **more).wrap_component(part, "p")
    with pytest.raises(Exception) as caught:
        made.fetch(*args)
    return part, engine, caught.value


@pytest.mark.parametrize("choice", [Choice.ABORT, Choice.SKIP])
def test_who_said_no_is_not_overruled_by_a_repair(tmp_path, choice):
    part, engine, _error = fails(tmp_path, reset, retry=policy(chooser=Answers(choice)))
    assert (len(part.calls), engine.asked) == (1, [])


def test_a_server_that_asks_for_ten_minutes_is_not_asked_at_once_after_a_repair(tmp_path):
    part, engine, error = fails(tmp_path, limited)
    assert (len(part.calls), engine.asked) == (1, [])
    assert "10 min" in notes(error)


def test_a_spent_budget_is_not_passed_by_through_repairs(tmp_path):
    part, engine, _error = fails(tmp_path, reset, retry=policy(per_run=0))
    assert (len(part.calls), engine.asked) == (1, [])


def test_an_open_breaker_is_not_called_through_by_a_repair(tmp_path):
    part, engine = Part(reset), Engine(heals=True)
    goes_on, begun = threading.Event(), threading.Event()

    def slow():
        part.calls.append("slow")
        begun.set()
        goes_on.wait(30)
        raise reset()

    part.slow = slow
    manager = wrapper_support.manager(
        tmp_path, engine=engine, breaker=BreakerSettings(1, 60), retry=policy(tries=1)
    )
    made = manager.wrap_component(part, "p")

    def call():
        with pytest.raises(ConnectionResetError):
            made.slow()

    thread = threading.Thread(target=call)
    thread.start()
    begun.wait(30)
    part.fail = lambda: int("no number")
    with pytest.raises(ValueError):
        made.fail()
    goes_on.set()
    thread.join(30)
    assert part.calls == ["slow"]


@pytest.mark.parametrize("given", [lambda: iter("abcd"), lambda: io.BytesIO(b"a\nb\n")])
def test_what_can_be_read_once_is_not_handed_to_a_second_try(tmp_path, given):
    part, engine, error = fails(tmp_path, reset, given())
    assert (len(part.calls), engine.asked) == (1, [])
    assert "used up" in notes(error)


def test_a_call_that_went_on_to_its_end_is_not_made_again(tmp_path):
    def ran_over():
        return OperationTimedOut("install", 1.0, 2.0)

    part, _engine, error = fails(tmp_path, ran_over)
    assert len(part.calls) == 1
    assert "went on to its end" in notes(error)


@pytest.mark.parametrize(
    "given", [(("https://server.example/x",), {}), ((), {"url": "https://server.example/x"})]
)
def test_the_engine_hears_which_server_it_was_however_it_was_given(tmp_path, given):
    part, engine = Part(reset), Engine(heals=False)
    made = wrapper_support.manager(tmp_path, engine=engine, retry=policy(tries=1))
    with pytest.raises(ConnectionResetError):
        made.wrap_component(part, "p").get(*given[0], **given[1])
    assert engine.asked[0][2]["url"] == "https://server.example/x"


@pytest.mark.parametrize(
    ("asked", "verdict"), [("onnx", "refused"), ("time", "refused"), ("onnxruntime", "healed")]
)
def test_the_repair_of_another_package_counts_for_no_other(asked, verdict):
    finding = {
        "check": "python.package[onnxruntime]", "area": "python", "outcome": "healed",
        "what": "ok", "why": "", "next": "",
        "attempts": [{
            "recovery": "install_missing_package", "verdict": "healed", "error": "",
            "operations": [{"kind": "x", "text": "install onnxruntime 1.20.1 into .venv"}],
        }],
    }  # fmt: skip
    meant = subjects.Subject("python", names=(asked,), is_judged=False)
    failure = InstallFailure(
        runs=None, checks=meant.checks, limit_seconds=1, names=meant.names, must_repair=True
    )
    assert failure._judged(ChildRun({"findings": [finding]}))[0] == verdict


def test_what_a_strategy_says_is_masked_in_notes_and_events():
    told = sentence(StrategyAttempt("X", "failed", "https://bob:s3cretpw@proxy.example refused"))
    assert "s3cretpw" not in told


def test_a_call_that_is_cancelled_while_it_is_repaired_is_counted_once(tmp_path):
    repairing, goes_on = threading.Event(), threading.Event()

    class Slow(Engine):
        def recover_network_failures(self, operation, context):
            repairing.set()
            goes_on.wait(30)
            return super().recover_network_failures(operation, context)

    class Later:
        async def fetch(self):
            raise reset()

    manager = wrapper_support.manager(tmp_path, engine=Slow(heals=True), retry=policy(tries=1))
    events = []
    manager.subscribe(events.append)

    async def main():
        task = asyncio.create_task(manager.wrap_component(Later(), "l").fetch())
        await asyncio.to_thread(repairing.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        goes_on.set()

    asyncio.run(main())
    assert counts(manager, "fetch", "Later") == {"cancelled": 1}
    assert [event.outcome for event in events] == ["cancelled"]


def test_the_journal_can_be_entered_again_by_what_interrupts_it(tmp_path):
    manager = wrapper_support.manager(tmp_path)
    done = threading.Event()

    def interrupted():
        with manager.journal._lock:
            with pytest.raises(ConnectionResetError):
                manager.wrap_component(Part(reset), "p").fetch()
            done.set()

    threading.Thread(target=interrupted, daemon=True).start()
    assert done.wait(30)
    until = time.monotonic() + 5
    while not manager.journal.path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert manager.journal.path.exists()


def test_alternatives_may_be_declared_by_the_type_it_was_wrapped_as(tmp_path):
    engine = Engine()
    engine.declared_for = None
    manager = wrapper_support.manager(tmp_path, engine=engine)
    manager.declare("loader", "load_all", alternatives=("load",))
    part = Part(reset)
    manager.wrap_component(part, "loader")
    assert engine.declared_for(part, "load_all").alternatives == ("load",)


def test_two_threads_hear_each_only_of_its_own_attempts(tmp_path):
    both = threading.Barrier(2)

    class Crowded(AutoRecoveryEngine):
        def recover_network_failures(self, operation, context):
            both.wait(30)
            self._note(StrategyAttempt(f"Strategy of {operation}", "not healed"))
            both.wait(30)
            return False

    class Two:
        def one(self):
            raise reset()

        def two(self):
            raise reset()

    manager = wrapper_support.manager(tmp_path, engine=Crowded(), retry=policy(tries=1))
    made, heard = manager.wrap_component(Two(), "t"), {}

    def call(name):
        with pytest.raises(ConnectionResetError) as caught:
            getattr(made, name)()
        heard[name] = notes(caught.value)

    threads = [threading.Thread(target=call, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert "Strategy of one" in heard["one"]
    assert "Strategy of two" not in heard["one"]
    assert "Strategy of one" not in heard["two"]
