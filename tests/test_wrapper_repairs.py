"""What heals a failed call, what turns calls away, and what installers ask that do not wrap."""

from __future__ import annotations

import errno
import json

import pytest
import wrapper_support
from wrapper_support import Downloader, Engine, counts, notes, raised, reset

from modelmedic import (
    AutoRecoveryEngine,
    BreakerSettings,
    CallRejected,
    Declaration,
    RecoveryAction,
    UnknownErrorType,
)


@pytest.fixture
def manager(tmp_path):
    return wrapper_support.manager(tmp_path)


# -- the engine ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), ("dependency", "cv2")),
        (FileNotFoundError(errno.ENOENT, "x", "a"), None),
    ],
    ids=["dependency", "system"],
)
def test_the_engine_is_asked_by_family(tmp_path, error, asked):
    engine = Engine()
    made = wrapper_support.manager(tmp_path, engine=engine).wrap_component(Downloader(), "d")
    made.failing["fetch"] = [error]
    with raised(type(error)):
        made.fetch()
    assert [one[:2] for one in engine.asked] == ([asked] if asked else [])


def test_after_a_repair_only_what_may_be_repeated_is_repeated(tmp_path):
    engine = Engine(heals=True)
    manager = wrapper_support.manager(tmp_path, engine=engine)
    made = manager.wrap_component(Downloader(), "d")
    for method in ("fetch", "verify"):
        made.failing[method] = [
            ModuleNotFoundError("No module named 'cv2'", name="cv2")
            for _n in range(3 if method == "verify" else 1)
        ]
    with raised(ModuleNotFoundError) as caught:
        made.fetch()
    assert "A repair worked. Next: call it again" in notes(caught[0])
    made.failing["verify"] = made.failing["verify"][:1]
    manager.declare("d", "verify", tries=1)
    assert made.verify() == "verified"
    assert counts(manager, "verify") == {"degraded": 1, "retried": 1}
    assert len(engine.asked) == 2


def test_what_may_be_called_once_is_not_called_again_after_a_repair(tmp_path):
    engine = Engine(heals=True)
    manager = wrapper_support.manager(tmp_path, engine=engine)
    manager.declare("d", "fetch", tries=1)
    made = manager.wrap_component(Downloader(), "d")
    made.failing["fetch"] = [reset()]
    with raised(ConnectionResetError):
        made.fetch()
    assert engine.asked
    assert counts(manager, "fetch") == {"failures": 1}


def test_the_network_is_repaired_when_the_retries_are_over(tmp_path):
    engine = Engine(heals=True)
    manager = wrapper_support.manager(tmp_path, engine=engine)
    made = manager.wrap_component(Downloader(), "d")
    made.failing["fetch"] = [reset() for _number in range(3)]
    assert made.fetch() == "file"
    assert [(one[0], one[2]["retry_count"]) for one in engine.asked] == [("network", 2)]
    assert counts(manager, "fetch") == {"degraded": 1, "retried": 3}


def test_an_engine_that_fails_hides_nothing(tmp_path):
    class Broken(Engine):
        def recover_dependency_failures(self, dependency, error):
            raise RuntimeError("the engine is broken")

    made = wrapper_support.manager(tmp_path, engine=Broken()).wrap_component(Downloader(), "d")
    error = ModuleNotFoundError("No module named 'cv2'", name="cv2")
    made.failing["fetch"] = [error]
    with raised(ModuleNotFoundError) as caught:
        made.fetch()
    assert caught[0] is error
    assert "The engine itself failed: RuntimeError: the engine is broken" in notes(error)


def test_a_declared_cure_is_applied_when_the_method_is_called(tmp_path):
    engine = Engine(heals=True, cures={"fetch_all": lambda *names: list(names)})
    manager = wrapper_support.manager(tmp_path, engine=engine)
    made = manager.wrap_component(Downloader(), "d")
    assert hasattr(made, "fetch_all")
    assert not hasattr(made, "fetch_none")
    assert engine.asked == []
    assert made.fetch_all("a", "b") == ["a", "b"]
    assert [one[0] for one in engine.asked] == ["missing"]
    assert made.fetch_all() == []
    assert len(engine.asked) == 1
    assert counts(manager, "fetch_all") == {"degraded": 2}


def test_a_missing_method_without_a_cure_names_the_nearest_and_asks_nobody(tmp_path):
    engine = Engine(heals=True)
    made = wrapper_support.manager(tmp_path, engine=engine).wrap_component(Downloader(), "d")
    real = next(name for name in dir(Downloader) if not name.startswith("_"))
    with pytest.raises(AttributeError) as missing:
        getattr(made, f"{real}s")
    (note,) = missing.value.__notes__
    assert real in note
    assert "No cure was declared" in note
    assert engine.asked == []


def test_a_declared_alternative_stands_in_for_a_missing_method(tmp_path):
    engine = AutoRecoveryEngine(state_dir=tmp_path)
    manager = wrapper_support.manager(tmp_path, engine=engine)
    manager.declare("Downloader", "fetch_one", alternatives=("fetch",))
    made = manager.wrap_component(Downloader(), "d")
    assert hasattr(made, "fetch_one")
    assert engine.attempts == []
    assert made.fetch_one("x", force=True) == "x"
    assert counts(manager, "fetch_one") == {"degraded": 1}
    lines = [json.loads(line) for line in manager.journal.path.read_text().splitlines()]
    assert [(line.get("strategy"), line.get("verdict")) for line in lines] == [
        ("DynamicMethodInjectionStrategy", "refused"),
        ("FallbackImplementationStrategy", "degraded"),
        (None, None),
    ]


def test_a_cure_that_fails_leaves_the_ordinary_error(tmp_path):
    engine = Engine(heals=False, cures={"fetch_all": None})
    manager = wrapper_support.manager(tmp_path, engine=engine)
    made = manager.wrap_component(Downloader(), "d")
    with raised(AttributeError) as caught:
        made.fetch_all()
    assert str(caught[0]) == "'Downloader' object has no attribute 'fetch_all'"
    assert "No declared cure" in notes(caught[0])
    assert counts(manager, "fetch_all") == {"failures": 1}


@pytest.mark.parametrize("method", ["typo", "other", "another"])
def test_a_typo_inside_a_method_is_no_missing_method(tmp_path, method):
    engine = Engine(heals=True, cures=dict.fromkeys(("typo", "other", "another", "ranks")))
    manager = wrapper_support.manager(tmp_path, engine=engine)

    class Sloppy:
        names = ()

        def typo(self):
            return self.ranks  # of this object, but not the method that was called

        def other(self):
            return self.names.other  # the same name, but of another object

        def another(self):
            return self.names.ranks

    with raised(AttributeError):
        getattr(manager.wrap_component(Sloppy(), "sloppy"), method)()
    assert engine.asked == []
    assert counts(manager, method, "Sloppy") == {"failures": 1}


def test_a_repair_that_does_not_help_is_not_made_again(tmp_path):
    engine = Engine(heals=True)
    manager = wrapper_support.manager(tmp_path, engine=engine)
    manager.declare("d", "verify", tries=1)
    made = manager.wrap_component(Downloader(), "d")
    made.failing["verify"] = [
        ModuleNotFoundError("No module named 'cv2'", name="cv2") for _number in range(9)
    ]
    with raised(ModuleNotFoundError):
        made.verify()
    assert made.ran == ["verify"] * 2
    assert len(engine.asked) == 1


# -- the breaker --------------------------------------------------------------------------------------


def test_an_open_breaker_rejects_apart_and_closes_after_one_good_call(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("circuitbreaker.monotonic", lambda: clock[0])
    manager = wrapper_support.manager(tmp_path, breaker=BreakerSettings(failures=2, seconds=30))
    made = manager.wrap_component(Downloader(), "d")
    made.failing["fetch"] = [ValueError("1"), ValueError("2")]
    for _call in range(2):
        with raised(ValueError):
            made.fetch()
    with pytest.raises(
        CallRejected,
        match=r"Downloader.inner was not called: .* 2 calls failed in a row.*Next:.*30 s",
    ):
        made.inner()
    assert manager.health("Downloader").state == "failing"
    assert counts(manager, "inner") == {"rejected": 1}
    assert counts(manager, "fetch") == {"failures": 2}
    clock[0] += 31
    assert made.inner() == "inner"
    assert made.fetch() == "file"
    assert manager.health("Downloader").breaker == "closed"


def test_one_call_at_a_time_tries_a_half_open_breaker(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("circuitbreaker.monotonic", lambda: clock[0])
    manager = wrapper_support.manager(tmp_path, breaker=BreakerSettings(failures=1, seconds=30))
    made = manager.wrap_component(Downloader(), "d")
    made.failing["fetch"] = [ValueError("1")]
    with raised(ValueError):
        made.fetch()
    clock[0] += 31
    inside = []

    def second():
        with raised(CallRejected) as caught:
            made.inner()
        inside.append(caught[0])
        raise KeyboardInterrupt

    made.__wrapped__.stored = second
    with raised(KeyboardInterrupt):
        made.stored()
    assert len(inside) == 1
    assert made.inner() == "inner"  # a cancelled try says nothing: the next one may


# -- for installers that do not wrap ------------------------------------------------------------------


def test_an_installer_can_ask_for_itself(manager):
    context = {"method": "get", "args": (), "kwargs": {}, "duration": 0.1}
    answers = [
        manager.handle_component_failure("Own", reset(), dict(context)) for _number in range(3)
    ]
    assert answers == [RecoveryAction.RETRY, RecoveryAction.RETRY, RecoveryAction.ABORT]
    assert manager.handle_component_failure("Own", reset(), dict(context)) is RecoveryAction.RETRY
    manager.track_reliability_metrics("Own", "get", success=True, duration=0.5)
    assert [
        manager.handle_component_failure("Own", reset(), dict(context)) for _number in range(2)
    ] == [RecoveryAction.RETRY, RecoveryAction.RETRY]
    declared = {**context, "method": "extra", "declaration": Declaration(is_optional=True)}
    answer = manager.handle_component_failure("Own", ValueError("x"), declared)
    assert answer is RecoveryAction.CONTINUE
    assert declared["call"].error == "ValueError: x"


def test_who_asks_directly_is_made_to_wait(manager, monkeypatch):
    waited = []
    monkeypatch.setattr("modelmedic.reliability.manager.time.sleep", waited.append)
    context = {"method": "get", "args": (), "kwargs": {}, "duration": 0.1}
    for _number in range(3):
        manager.handle_component_failure("Own", reset(), context)
    assert waited == [0.0, 0.0]


def test_a_missing_method_can_be_asked_about_directly(tmp_path):
    engine = Engine(heals=True, cures={"gone": lambda: 1})
    manager = wrapper_support.manager(tmp_path, engine=engine)
    component = Downloader()
    with raised(AttributeError) as caught:
        component.gone()
    context = {"method": "gone", "args": (), "kwargs": {}, "duration": 0.0, "component": component}
    assert (
        manager.handle_component_failure("Downloader", caught[0], context) is RecoveryAction.RETRY
    )
    assert component.gone() == 1


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("network_failure", "RetryWithBackoffStrategy"),
        ("timeout", "RetryWithBackoffStrategy"),
        ("missing_method", "DynamicMethodInjectionStrategy"),
        ("corruption", "ModelRedownloadStrategy"),
    ],
)
def test_the_strategy_of_a_family_or_category_is_its_first(manager, kind, name):
    assert manager.get_recovery_strategy(kind, "any").name == name


@pytest.mark.parametrize("kind", ["permission", "nonsense"])
def test_an_unknown_kind_of_error_is_said(manager, kind):
    with pytest.raises(KeyError, match="Next") as caught:
        manager.get_recovery_strategy(kind, "Downloader")
    assert isinstance(caught.value, UnknownErrorType)
    assert f"There is no strategy for {kind!r}" in str(caught.value)
