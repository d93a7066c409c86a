"""Only a method that the component really lacks is cured, and only by what was declared for it."""

from __future__ import annotations

import collections
import gc
import threading
import types
import weakref

import pytest
from missing_support import ANY_PYTEST, Loader, make_engine, notes, shim_for

from modelmedic import AutoRecoveryEngine
from modelmedic.healing.slots import RecoveryStrategyRegistry
from modelmedic.reliability.injections import MARK, is_absent
from modelmedic.reliability.missing_methods import is_missing_method

HERE = __name__


@pytest.fixture
def engine():
    return make_engine()


class Child(Loader):
    pass


class Slotted:
    __slots__ = ("a",)


class Guarding:
    def __init__(self):
        object.__setattr__(self, "asked", [])

    def __getattr__(self, name):
        self.asked.append(name)
        if name == "made":
            return lambda: "made by itself"
        raise AttributeError(f"no {name}")

    def __setattr__(self, name, value):
        raise AssertionError("nobody may call it")


class Delegating:
    def __init__(self):
        self.inner = Loader()

    def __getattr__(self, name):
        return getattr(self.inner, name)


def error_of(call):
    try:
        call()
    except (AttributeError, TypeError) as error:
        return error
    raise AssertionError("it did not fail")


# --- what is a missing method


@pytest.mark.parametrize(
    ("make", "name", "call"),
    [
        (Loader, "lod", lambda c: c.lod("x")),
        (Child, "load_all", lambda c: c.load_all()),
        (Slotted, "go", lambda c: c.go()),
        (Slotted, "a", lambda c: c.a),  # a slot without a value is there
        (Guarding, "gone", lambda c: c.gone()),
        (lambda: 5, "go", lambda c: c.go()),
        (lambda: types.ModuleType("m"), "go", lambda c: c.go()),
        (Loader, "with_typo", lambda c: c.with_typo()),
        (Loader, "with_foreign_typo", lambda c: c.with_foreign_typo()),
        (Loader, "broken", lambda c: c.broken),
        (Loader, "leaning", lambda c: c.leaning),
        (Delegating, "lod", lambda c: c.lod()),
        (Loader, "__len__", lambda c: c.__len__()),
        (Loader, "load", lambda c: c.load()),
        (Loader, "size", lambda c: c.size()),
    ],
)
def test_only_what_the_component_itself_lacks_is_a_missing_method(make, name, call):
    component = make()
    is_missing = (name, type(component)) in {
        ("lod", Loader), ("load_all", Child), ("go", Slotted), ("gone", Guarding), ("go", int),
        ("go", types.ModuleType),
    }  # fmt: skip
    error = error_of(lambda: call(component))
    assert is_missing_method(error, component, name) is is_missing


def test_the_error_of_another_object_of_the_same_class_is_another_error():
    one, two = Loader(), Loader()
    error = error_of(lambda: two.lod)
    assert is_missing_method(error, two, "lod")
    assert not is_missing_method(error, one, "lod")
    assert not is_missing_method(error, two, "load_all")


def test_looking_for_a_cure_runs_no_code_of_the_component(engine):
    component = Guarding()
    shim_for(engine, Guarding, "gone")
    assert engine.has_cure(component, "gone")
    assert not engine.has_cure(component, "made")
    assert not engine.has_cure(component, "__len__")
    assert not engine.has_cure(Loader(), "broken")
    assert component.asked == []
    assert engine.attempts == []


# --- injection


def test_a_declared_shim_heals_the_call_and_says_degraded(engine):
    shim_for(engine)
    component, sibling = Child(), Child()
    assert engine.recover_missing_methods(component, "load_all")
    assert component.load_all("a") == ("shim", "Child", "a")
    assert not hasattr(sibling, "load_all")
    (attempt,) = engine.attempts
    assert (attempt.strategy, attempt.verdict) == ("DynamicMethodInjectionStrategy", "degraded")
    assert ANY_PYTEST in attempt.note
    assert getattr(component.load_all, MARK) == attempt.note


def test_the_alias_of_the_design_is_the_same_method():
    one = AutoRecoveryEngine.recover_missing_method
    assert one is AutoRecoveryEngine.recover_missing_methods


def test_class_wide_only_where_declared_so_and_on_the_declared_class(engine):
    class Base(Loader):
        pass

    class Derived(Base):
        pass

    shim_for(engine, Base, is_class_wide=True)
    assert engine.recover_missing_methods(Derived(), "load_all")
    assert Base().load_all("b") == ("shim", "Base", "b")
    assert "load_all" in vars(Base)
    assert "load_all" not in vars(Derived)
    assert not hasattr(Loader(), "load_all")
    assert engine.undo_injections() == 1
    assert not hasattr(Base(), "load_all")


def test_what_was_put_in_is_taken_out_and_what_came_since_stays(engine):
    shim_for(engine)
    one, two = Loader(), Loader()
    for component in (one, two):
        assert engine.recover_missing_methods(component, "load_all")
    two.load_all = replaced = lambda: "own"
    assert engine.undo_injections() == 1
    assert not hasattr(one, "load_all")
    assert two.load_all is replaced
    assert engine.undo_injections() == 0


def test_a_cured_component_can_go(engine):
    shim_for(engine)
    component = Loader()
    assert engine.recover_missing_methods(component, "load_all")
    gone = weakref.ref(component)
    del component
    gc.collect()
    assert gone() is None
    assert engine.undo_injections() == 0


def test_the_nearest_class_that_has_a_shim_counts(engine):
    shim_for(engine, Loader, function=lambda self: "far")
    shim_for(engine, f"{HERE}:Child", function=lambda self: "near")
    component = Child()
    assert engine.recover_missing_methods(component, "load_all")
    assert component.load_all() == "near"


def test_a_shim_that_was_taken_back_is_none(engine):
    shim_for(engine)()
    assert not engine.has_cure(Loader(), "load_all")
    assert not engine.recover_missing_methods(Loader(), "load_all")


@pytest.mark.parametrize(
    ("component", "target"),
    [(Slotted(), Slotted), (5, int), (collections.deque(), collections.deque)],
    ids=["slots", "int", "deque"],
)
@pytest.mark.parametrize("is_class_wide", [False, True])
def test_what_takes_no_method_refuses_with_the_reason(engine, component, target, is_class_wide):
    shim_for(engine, target, is_class_wide=is_class_wide)
    is_cured = engine.recover_missing_methods(component, "load_all")
    assert is_cured == (is_class_wide and target is Slotted)
    if not is_cured:
        told = notes(engine)["DynamicMethodInjectionStrategy"]
        assert "takes no method" in told
    engine.undo_injections()
    assert not hasattr(component, "load_all")


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("pytest<1", "pytest is"),
        ("no-such-distribution>=1", "not installed"),
    ],
)
def test_a_version_that_is_out_of_range_refuses_and_is_named(engine, requirement, words):
    shim_for(engine, requirement=requirement)
    component = Loader()
    assert not engine.recover_missing_methods(component, "load_all")
    assert words in notes(engine)["DynamicMethodInjectionStrategy"]
    assert requirement in notes(engine)["ManualInterventionStrategy"]
    assert is_absent(component, "load_all")


@pytest.mark.parametrize("requirement", ["pytest", "", ">=1", "pytest>>1"])
def test_a_shim_without_versions_is_refused_when_it_is_declared(engine, requirement):
    with pytest.raises(ValueError, match=r"requirement|versions"):
        shim_for(engine, requirement=requirement)


@pytest.mark.parametrize("thing", [["load"], 5, "load", None, Loader], ids=repr)
def test_what_is_no_method_never_stands_in(engine, thing):
    engine.cures._add(  # register_shim takes what it is given, as an entry point might bring
        engine.cures._shims, (f"{Loader.__module__}:Loader", "load_all"), make_shim(thing)
    )
    assert not engine.recover_missing_methods(Loader(), "load_all")
    assert "no method" in notes(engine)["DynamicMethodInjectionStrategy"]


def make_shim(thing):
    from modelmedic.reliability.shims import Shim

    return Shim(thing, ANY_PYTEST)


# --- nothing declared


def test_without_a_cure_a_person_is_told_the_nearest_names(engine):
    component = Loader()
    assert not engine.recover_missing_methods(component, "loads")
    assert [attempt.strategy for attempt in engine.attempts] == [
        strategy.name for strategy in RecoveryStrategyRegistry.strategies["missing_method"]
    ]
    assert {attempt.verdict for attempt in engine.attempts} == {"refused"}
    told = engine.attempts[-1].note
    assert "Loader has no method loads." in told
    assert "load." in told
    assert "Nearest names it has: load. Next:" in told
    assert vars(component) == {}


@pytest.mark.parametrize("name", ["load", "size", "broken", "with_typo", "__len__"])
def test_what_is_there_is_never_replaced(engine, name):
    shim_for(engine, method=name)
    component = Loader()
    assert not engine.recover_missing_methods(component, name)
    assert vars(component) == {}
    assert engine.attempts == []


def test_what_a_component_makes_by_itself_is_left_to_it(engine):
    shim_for(engine, Guarding, "made")
    component = Guarding()
    assert not engine.recover_missing_methods(component, "made")
    assert component.made() == "made by itself"


def test_threads_that_lack_the_same_method_get_one(engine):
    shim_for(engine)
    component = Loader()
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(engine.recover_missing_methods(component, "load_all"))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8
    assert engine.undo_injections() == 1
