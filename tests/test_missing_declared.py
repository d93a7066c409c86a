"""What may stand in for a method, and with which calls."""

from __future__ import annotations

import pytest
from missing_support import Loader, make_engine, notes, shim_for

from modelmedic import Declaration, OtherClass

HERE = __name__


@pytest.fixture
def engine():
    return make_engine()


class Child(Loader):
    pass


class Other:
    def load_all(self, folder):
        return ("other", type(self).__name__, folder)

    @staticmethod
    def load_static(folder):
        return ("static", folder)

    listing = ["load"]  # noqa: RUF012


class NeedsMuch:
    def __init__(self, what):
        self.what = what

    def load_all(self, folder):
        return ("needs", self.what, folder)


# --- signatures


def test_a_call_that_a_shim_does_not_take_refuses_with_both_signatures(engine):
    shim_for(engine, function=lambda self, folder: None)
    call = ((1, 2), {"deep": True})
    assert not engine.recover_missing_methods(Loader(), "load_all", call=call)
    told = notes(engine)["DynamicMethodInjectionStrategy"]
    assert "called as (int, int, deep=bool)" in told
    assert "takes (folder)" in told


def test_a_later_call_is_compared_before_anything_runs(engine):
    ran = []
    shim_for(engine, function=lambda self, folder: ran.append(folder))
    component = Loader()
    assert engine.recover_missing_methods(component, "load_all")
    with pytest.raises(TypeError, match=r"load_all was called as \(int, int\).*takes \(folder\)"):
        component.load_all(1, 2)
    assert ran == []


def like(folder, level=1, *, deep=False):
    """Show the method as its callers know it."""


class Known:
    def load_all(self, folder, level=1, *, deep=False):
        """Show it as a method."""


@pytest.mark.parametrize(
    ("function", "fits"),
    [
        (lambda self, folder, level=2, *, deep=True: None, True),
        (lambda self, *args, **kwargs: None, True),
        (lambda self, folder: None, False),
        (lambda self, folder, level=1: None, False),
        (lambda self, folder, level, *, deep=False: None, False),
        (lambda self, folder, level=1, *, deep=False, more: None, False),
    ],
)
@pytest.mark.parametrize("known", [like, Known.load_all], ids=["function", "method"])
def test_a_declared_signature_is_compared_before_the_shim_is_put_in(engine, function, fits, known):
    shim_for(engine, function=function, like=known)
    assert engine.recover_missing_methods(Loader(), "load_all") is fits
    if not fits:
        told = notes(engine)["DynamicMethodInjectionStrategy"]
        assert "is called as (folder, level=1, *, deep=False)" in told


# --- other implementations and classes


def declared(*alternatives):
    return lambda _component, _name: Declaration(alternatives=alternatives)


@pytest.mark.parametrize(
    ("alternatives", "result"),
    [
        (("load",), ("loaded", "a", False)),
        ((f"{HERE}:Other.load_all",), ("other", "Loader", "a")),
        ((f"{HERE}:Other.load_static",), ("static", "a")),
        (("gone", "load"), ("loaded", "a", False)),
        ((f"{HERE}:Nothing.load", "no_such_module:A.b", "load"), ("loaded", "a", False)),
        (("names", "size", "broken", "load"), ("loaded", "a", False)),
        ((f"{HERE}:Other.listing", "load"), ("loaded", "a", False)),
        (("load", f"{HERE}:Other.load_all"), ("loaded", "a", False)),
    ],
)
def test_the_nearest_declared_implementation_that_can_be_called_stands_in(
    engine, alternatives, result
):
    engine.declared_for = declared(*alternatives)
    component = Loader()
    assert engine.has_cure(component, "load_all")
    assert engine.recover_missing_methods(component, "load_all")
    assert component.load_all("a") == result
    assert engine.attempts[-1].strategy == "FallbackImplementationStrategy"
    assert engine.attempts[0].verdict == "refused"


def test_what_was_declared_for_another_method_stands_in_for_nothing(engine):
    engine.cures.register_alternative(Loader, "load_all", "load")
    assert not engine.recover_missing_methods(Loader(), "load_some")
    assert not engine.has_cure(Other(), "load_any")


def test_another_class_answers_only_where_it_is_declared_how_it_is_made(engine):
    engine.declared_for = declared(f"{HERE}:NeedsMuch")
    assert not engine.recover_missing_methods(Loader(), "load_all")
    assert "nobody declared how" in notes(engine)["AlternativeClassStrategy"]
    engine.cures.register_alternative(
        Loader,
        "load_all",
        OtherClass(f"{HERE}:NeedsMuch", lambda component: NeedsMuch(component.size)),
    )
    component = Loader()
    assert engine.recover_missing_methods(component, "load_all")
    assert component.load_all("a") == ("needs", (1, 2), "a")
    assert engine.attempts[-1].strategy == "AlternativeClassStrategy"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (OtherClass(f"{HERE}:NeedsMuch", lambda _c: NeedsMuch()), "TypeError"),
        (OtherClass(f"{HERE}:NeedsMuch", lambda _c: ["load_all"]), "made a list"),
        (
            OtherClass(f"{Loader.__module__}:Loader", lambda _c: Loader()),
            "no method load_all either",
        ),
        (OtherClass(f"{HERE}:like", lambda _c: None), "is no class"),
        (OtherClass("no_such_module:A", lambda _c: None), "cannot be loaded"),
    ],
)
def test_a_class_that_does_not_serve_refuses_with_the_reason(engine, other, words):
    engine.cures.register_alternative(Child, "load_all", other)
    assert not engine.recover_missing_methods(Child(), "load_all")
    assert words in notes(engine)["AlternativeClassStrategy"]
