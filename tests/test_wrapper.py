"""A stand-in is its component to everyone, and each of its calls is protected and counted."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import pickle
import weakref

import pytest
import wrapper_support
from wrapper_support import Downloader, counts

from modelmedic import CannotWrap, ReliabilityManager, ReliabilityWrapper, instrument


@pytest.fixture
def manager(tmp_path):
    return wrapper_support.manager(tmp_path)


@pytest.fixture
def made(manager):
    return manager.wrap_component(Downloader(), "downloader")


def test_a_stand_in_is_of_the_class_of_its_component(made):
    assert isinstance(made, Downloader)
    assert made.__class__ is Downloader
    assert type(made) is not Downloader
    assert isinstance(made, ReliabilityWrapper)
    assert repr(made.__wrapped__) in repr(made) or "Downloader" in repr(made)


def test_operators_and_protocols_go_straight_through(made, manager):
    assert (len(made), list(made), "b" in made, made[4], bool(made)) == (
        3,
        ["a", "b", "c"],
        True,
        4,
        True,
    )
    assert made == Downloader()
    assert hash(made) == 5
    assert set(dir(Downloader())) <= set(dir(made))
    assert vars(made) is vars(made.__wrapped__)
    assert manager.metrics().total.calls == 0


@pytest.mark.parametrize("number", [2, 1000])
def test_every_call_is_counted_not_only_the_first(made, manager, number):
    for _call in range(number):
        assert made.fetch("x", force=True) == "x"
    assert counts(manager, "fetch") == {"successes": number}
    assert made.__wrapped__.ran == ["fetch"] * number


@pytest.mark.parametrize("number", [2, 1000])
def test_every_call_is_protected_not_only_the_first(made, manager, number):
    for _call in range(number):
        made.failing["fetch"] = [wrapper_support.reset()]
        assert made.fetch() == "file"
    assert counts(manager, "fetch") == {"successes": number, "retried": number}


def test_calling_the_component_is_a_call(made, manager):
    made.failing["called"] = [wrapper_support.reset()]
    assert callable(made)
    assert made(9) == 9
    assert counts(manager, "__call__") == {"successes": 1, "retried": 1}


def test_what_cannot_be_called_has_no_call(manager):
    class Silent:
        pass

    assert not callable(manager.wrap_component(Silent(), "silent"))


def test_a_wrapped_function_is_protected(manager):
    failing = [wrapper_support.reset()]

    def download(name):
        if failing:
            raise failing.pop()
        return name

    stand_in = manager.wrap_component(download, "function")
    assert stand_in("x") == "x"
    assert inspect.signature(stand_in) == inspect.signature(download)
    assert counts(manager, "__call__", "function") == {"successes": 1, "retried": 1}


def test_looking_at_attributes_calls_and_counts_nothing(made, manager):
    assert hasattr(made, "fetch")
    assert not hasattr(made, "nothing_of_that_name")
    assert (made.kind, made.stored is not None, made.fetch is made.fetch) == ("net", True, True)
    assert made.__wrapped__.looked == 0
    assert made.size == 7
    assert made.__wrapped__.looked == 1
    assert made.__wrapped__.ran == []
    assert manager.metrics().total.calls == 0
    with pytest.raises(AttributeError, match="nothing_of_that_name") as caught:
        made.nothing_of_that_name  # noqa: B018 - the look is what is tested
    assert len(caught.value.__notes__) == 1


def test_functions_of_all_kinds_are_protected(made, manager):
    assert made.stored("a") == "A"
    assert (made.version(2), made.named()) == ("2.0", "Downloader")
    made.partial = functools.partial(int, base=2)
    assert made.partial("11") == 3
    for name in ("stored", "version", "named", "partial"):
        assert counts(manager, name) == {"successes": 1}, name


def test_a_class_or_an_object_in_an_attribute_stays_itself(made):
    made.error, made.helper = ValueError, Downloader()
    assert made.error is ValueError
    assert type(made.helper) is Downloader


def test_a_protected_method_looks_as_its_own(made):
    own = made.__wrapped__.fetch
    assert inspect.signature(made.fetch) == inspect.signature(own)
    assert (made.fetch.__name__, made.fetch.__doc__) == ("fetch", "Fetch one.")
    assert made.fetch.__self__ is made.__wrapped__
    assert inspect.iscoroutinefunction(made.later)
    assert inspect.isgeneratorfunction(made.lines)
    assert inspect.isasyncgenfunction(made.lines_later)


def test_what_is_set_on_the_stand_in_is_set_on_the_component(made):
    made.size_limit = 5
    assert made.__wrapped__.size_limit == 5
    made.fetch()
    made.fetch = 3
    assert made.fetch == 3
    del made.fetch
    assert made.fetch() == "file"


def test_a_method_that_is_replaced_is_the_one_called(made, manager):
    made.fetch()
    made.__wrapped__.fetch = lambda: "of the object"
    assert made.fetch() == "of the object"
    made.stored("a")
    made.__wrapped__.stored = lambda word: f"{word} anew"
    assert made.stored("a") == "a anew"
    assert counts(manager, "fetch") == {"successes": 2}


def test_a_chain_stays_protected(made, manager):
    assert made.chain() is made
    assert made.chain().fetch() == "file"
    with made as entered:
        assert entered is made
        assert made.entered == 1
    assert made.entered == 0

    async def inside():
        async with made as entered:
            return entered is made

    assert asyncio.run(inside())
    assert counts(manager, "fetch") == {"successes": 1}
    assert counts(manager, "__enter__") == counts(manager, "__aenter__") == {"successes": 1}


def test_an_error_inside_with_reaches_the_exit(made):
    with pytest.raises(ValueError, match="inside"), made:
        raise ValueError("inside")
    assert made.entered == 0


@pytest.mark.parametrize(
    "copying", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"]
)
def test_copying_a_stand_in_is_refused_in_words(made, copying):
    with pytest.raises(
        CannotWrap, match=r"stand-in for Downloader cannot be .*Next: .*__wrapped__"
    ):
        copying(made)


@pytest.mark.parametrize(
    "value", [1, 1.5, True, "text", b"x", [1], {"a": 1}, (1,), {1}, None], ids=repr
)
def test_plain_values_are_refused_in_words(manager, value):
    with pytest.raises(CannotWrap, match=r"A plain value \(\w+\) cannot be wrapped.*Next:"):
        manager.wrap_component(value, "value")


def test_classes_are_refused_and_told_the_other_way(manager):
    with pytest.raises(CannotWrap, match=r"instrument\(Downloader, manager\)"):
        manager.wrap_component(Downloader, "class")


def test_a_stand_in_is_not_wrapped_twice(made, manager):
    assert manager.wrap_component(made, "again") is made
    with pytest.raises(CannotWrap, match="counted and tried twice"):
        ReliabilityManager().wrap_component(made, "again")


def test_the_fields_of_the_design_do_not_hide_the_components_own(manager):
    made = ReliabilityWrapper(Downloader(), manager)
    assert made.component is made.__wrapped__
    assert made.reliability_manager is manager
    assert made.component_name == "Downloader"
    made.__wrapped__.component_name = "its own"
    assert made.component_name == "its own"


def test_stand_in_and_component_go_together(manager):
    component = Downloader()
    stand_in = manager.wrap_component(component, "downloader")
    stand_in.fetch()
    stand_in.stored("a")
    held, held_stand_in = weakref.ref(component), weakref.ref(stand_in)
    del component, stand_in
    assert held_stand_in() is None  # at once
    gc.collect()  # its class goes with the next collection only, and holds the component
    assert held() is None


def test_self_calls_are_seen_in_an_instrumented_class(manager):
    class Own(Downloader):
        def outer(self):
            return self.inner()

        def inner(self):
            return self._run("inner", "inner")

    undo = instrument(Own, manager)
    own = Own()
    own.failing["inner"] = [wrapper_support.reset()]
    assert own.outer() == "inner"
    assert counts(manager, "inner", "Own") == {"successes": 1, "retried": 1}
    assert counts(manager, "outer", "Own") == {"successes": 1}
    assert inspect.signature(Own.outer) == inspect.signature(Downloader.outer)
    assert manager.wrap_component(own, "own").outer() == "inner"
    assert counts(manager, "outer", "Own") == {"successes": 2}
    undo()
    assert own.outer() == "inner"
    assert counts(manager, "outer", "Own") == {"successes": 2}


def test_instrumenting_takes_every_kind_of_method(manager):
    class Kinds:
        @staticmethod
        def still(number):
            return number

        @classmethod
        def of_class(cls):
            return cls.__name__

        async def later(self):
            return 2

        def lines(self):
            yield 3

    undo = instrument(Kinds, manager)
    assert (
        Kinds.still(1),
        Kinds().of_class(),
        asyncio.run(Kinds().later()),
        list(Kinds().lines()),
    ) == (1, "Kinds", 2, [3])
    for name in ("still", "of_class", "later", "lines"):
        assert counts(manager, name, "Kinds") == {"successes": 1}, name
    undo()
    assert isinstance(vars(Kinds)["still"], staticmethod)


@pytest.mark.parametrize(
    ("wrong", "names", "said"),
    [
        (5, None, "no class"),
        (int, None, "int"),
        (Downloader, ["nothing"], "defines no method nothing"),
    ],
)
def test_what_cannot_be_instrumented_is_said(manager, wrong, names, said):
    with pytest.raises(CannotWrap, match=said):
        instrument(wrong, manager, names or (["bit_length"] if wrong is int else None))
