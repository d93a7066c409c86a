"""Stand-ins for components, and instrumented classes: each call is protected and counted."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterable
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import wrapt

from modelmedic.reliability import nearest
from modelmedic.reliability.calls import Work, protected
from modelmedic.reliability.failed_call import add_note
from modelmedic.reliability.missing_call import missing_call
from modelmedic.reliability.operation import Operation
from modelmedic.reliability.refusals import CannotWrap

if TYPE_CHECKING:
    from modelmedic.reliability.manager import ReliabilityManager

_PLAIN = (
    bool, int, float, complex, str, bytes, bytearray, memoryview, list, tuple, dict, set, frozenset,
    range, slice, type(None), type(Ellipsis), type(NotImplemented),
)  # fmt: skip
_OWN = {
    "component": "__wrapped__",
    "reliability_manager": "_self_manager",
    "component_name": "_self_name",
}
_MISSING = object()


class ReliabilityWrapper(wrapt.AutoObjectProxy):  # type: ignore[type-arg]
    """Stands in for a component: the same type to ``isinstance``, the same attributes and results.

    Every call of a method is protected and counted, and so is calling the component itself and
    entering its ``with``. Operators and other protocols (``len``, ``iter``, ``[]``) go straight
    through. To look at an attribute calls nothing and counts nothing. A method that returns the
    component returns this stand-in, so that chained calls are protected as well.

    The design's fields ``component``, ``reliability_manager`` and ``component_name`` can be read,
    unless the component has attributes of those names: then these are the component's.

    Args:
        component: Any object but a plain value, a class or another stand-in.
        reliability_manager: Decides on failures and counts.
        component_type: What it is to the installer, as "downloader"; declarations may name it.

    Raises:
        CannotWrap: The component is nothing that can be stood in for.
    """

    def __new__(
        cls, component: Any, reliability_manager: ReliabilityManager, component_type: str = ""
    ) -> Any:
        """Make the stand-in; wrapt 2.0 takes nothing but the component."""
        del reliability_manager, component_type
        return super().__new__(cls, component)

    def __init__(
        self, component: Any, reliability_manager: ReliabilityManager, component_type: str = ""
    ) -> None:
        refuse_plain(component)
        super().__init__(component)
        self._self_manager = reliability_manager
        self._self_name = type(component).__name__
        self._self_type = component_type
        self._self_calls: dict[str, tuple[Any, Callable[..., Any]]] = {}
        _protect_protocols(type(self), component)

    def __getattr__(self, name: str) -> Any:
        component = self.__wrapped__
        try:
            value = getattr(component, name)
        except AttributeError as error:
            return self._self_lacking(component, name, error)
        known = self._self_calls.get(name)
        # The same function as before; anything else under the name is looked at anew.
        if known is not None and type(known[0]) is type(value) and known[0] == value:
            return known[1]
        return self._self_protected(name, value) if is_call(name, value) else value

    def _self_protected(self, name: str, value: Any) -> Any:
        if is_protected(value, self._self_manager):
            return value
        if not _is_of_class(self.__wrapped__, name):
            call = self._self_work(name, value)
            self._self_calls[name] = (value, call)
            return call
        # Each stand-in has a class of its own: there it is found at once. The function itself is
        # looked up for each call, so that one which somebody else puts there is the one called.
        call = self._self_work(name, value, name)
        setattr(type(self), name, staticmethod(call))
        return call

    def __setattr__(self, name: str, value: Any) -> None:
        self._self_forget(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._self_forget(name)
        super().__delattr__(name)

    def _self_forget(self, name: str) -> None:
        if isinstance(vars(type(self)).get(name), staticmethod):
            delattr(type(self), name)

    def _self_work(self, name: str, function: Any, late: str = "") -> Callable[..., Any]:
        work = Work(self._self_operation(name), function, self.__wrapped__, _handing(self), late)
        return _dressed(protected(work), function)

    def _self_operation(self, name: str) -> Operation:
        return self._self_manager.operation(
            self._self_name, self._self_type, name, self.__wrapped__
        )

    def _self_lacking(self, component: Any, name: str, error: AttributeError) -> Any:
        """Return what stands for a name that the component lacks.

        Raises:
            AttributeError: Its own, with the nearest names, unless it is a field of the design, or
                a public name with a declared cure.
        """
        if inspect.getattr_static(component, name, _MISSING) is _MISSING:
            if name in _OWN:
                return getattr(self, _OWN[name])
            if not name.startswith("_"):
                if self._self_manager.has_cure(component, name):
                    return missing_call(self._self_operation(name), component, _handing(self))
                add_note(error, f"{nearest.told(component, name)} No cure was declared for it.")
        raise error

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise self._self_no_copy("pickled")

    def __reduce__(self) -> Any:
        raise self._self_no_copy("pickled")

    def __copy__(self) -> Any:
        raise self._self_no_copy("copied")

    def __deepcopy__(self, memo: Any) -> Any:
        raise self._self_no_copy("copied")

    def _self_no_copy(self, how: str) -> CannotWrap:
        name = self._self_name
        return CannotWrap(
            f"The stand-in for {name} cannot be {how}.",
            "It is tied to the manager of this process, and a copy would be counted nowhere.",
            f"Take the component itself (its attribute __wrapped__), and wrap the copy with "
            f"manager.wrap_component(copy, {self._self_type!r}).",
        )


def instrument(
    cls: type, manager: ReliabilityManager, names: Iterable[str] | None = None
) -> Callable[[], None]:
    """Protect and count the methods of a class itself, so that self-calls are seen as well.

    All instances are meant, those that exist already too. A stand-in for such an instance counts
    these calls once.

    Args:
        cls: Its own methods are meant, not the inherited ones.
        manager: Decides on failures and counts.
        names: Of the methods; None takes all public ones that the class itself defines.

    Returns:
        What undoes it. A method that somebody else has replaced since is left as it is.

    Raises:
        CannotWrap: It is no class, is a builtin one, or has no such method.
    """
    if not isinstance(cls, type):
        raise CannotWrap(
            f"{type(cls).__name__} is no class.",
            "instrument changes the methods of a class.",
            "Give the class, or wrap the object with manager.wrap_component.",
        )
    chosen = _public(cls) if names is None else tuple(names)
    originals = {name: _own_method(cls, name) for name in chosen}
    replaced = {
        name: wrapt.FunctionWrapper(original, _Instrumented(manager, cls, name))
        for name, original in originals.items()
    }
    try:
        for name, wrapper in replaced.items():
            setattr(cls, name, wrapper)
    except TypeError as error:
        raise CannotWrap(
            f"{cls.__name__} cannot be instrumented.",
            f"Its methods cannot be replaced: {error}.",
            "Wrap its objects with manager.wrap_component.",
        ) from error

    def undo() -> None:
        for name, original in originals.items():
            if vars(cls).get(name) is replaced[name]:
                setattr(cls, name, original)

    return undo


class _Instrumented:
    """What `wrapt` calls in place of one method of a class."""

    def __init__(self, manager: ReliabilityManager, cls: type, name: str) -> None:
        self.manager = manager
        self._operation = manager.operation(cls.__name__, "", name, cls)

    def __call__(
        self,
        function: Callable[..., Any],
        instance: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        work = Work(self._operation, function, instance, lambda: instance)
        return protected(work)(*args, **kwargs)


def is_call(name: str, value: Any) -> bool:
    """Return whether an attribute is a function of the component, to be protected.

    Classes, and objects that can be called besides what else they are, come out as themselves.
    """
    return not _is_dunder(name) and (
        type(value) is MethodType
        or inspect.isroutine(value)
        or isinstance(value, functools.partial)
    )


def _is_of_class(component: Any, name: str) -> bool:
    """Return whether a name is a function of the class that nothing of the object hides."""
    kind = type(component)
    return (
        kind.__getattribute__ is object.__getattribute__  # type: ignore[comparison-overlap]
        and isinstance(inspect.getattr_static(kind, name, None), FunctionType)
        and name not in getattr(component, "__dict__", ())
    )


def is_protected(value: Any, manager: ReliabilityManager) -> bool:
    """Return whether a method is protected already, by `instrument` with the same manager."""
    inner = getattr(value, "_self_wrapper", None)
    return isinstance(inner, _Instrumented) and inner.manager is manager


def refuse_plain(component: Any) -> None:
    """Raise `CannotWrap` for what nothing can stand in for."""
    kind = type(component).__name__
    if type(component) in _PLAIN:
        raise CannotWrap(
            f"A plain value ({kind}) cannot be wrapped.",
            "It has no calls to protect, and json and str would not take its stand-in.",
            "Wrap the component that makes it.",
        )
    if isinstance(component, type):
        raise CannotWrap(
            f"The class {component.__name__} cannot be wrapped.",
            "A stand-in for a class would be no class to those who inherit from it.",
            f"Wrap an object of it, or instrument({component.__name__}, manager).",
        )
    if issubclass(type(component), ReliabilityWrapper):
        raise CannotWrap(
            "A stand-in cannot be wrapped again.",
            "Each call would be counted and tried twice.",
            "Use the stand-in as it is, or wrap its __wrapped__ with the other manager.",
        )


def _handing(stand_in: ReliabilityWrapper) -> Callable[[], Any]:
    """Return what gives the stand-in; without holding it, so that it goes when it is dropped."""
    held = weakref.ref(stand_in)
    component, manager = stand_in.__wrapped__, stand_in._self_manager  # noqa: SLF001
    component_type = stand_in._self_type  # noqa: SLF001

    def handed() -> Any:
        found = held()
        return manager.wrap_component(component, component_type) if found is None else found

    return handed


def _protect_protocols(kind: type, component: Any) -> None:
    """Protect calling and entering; each stand-in has a class of its own, made by `wrapt`."""
    if "__call__" in vars(kind):
        setattr(kind, "__call__", _protocol("__call__", component))  # noqa: B010 - as below
    for name in ("__enter__", "__aenter__"):
        if hasattr(type(component), name):
            setattr(kind, name, _protocol(name, component))


def _protocol(name: str, component: Any) -> Callable[..., Any]:
    function = component if name == "__call__" and inspect.isroutine(component) else None

    def passed(self: ReliabilityWrapper, /, *args: Any, **kwargs: Any) -> Any:
        known = self._self_calls.get(name)
        if known is None:
            bound = getattr(self.__wrapped__, name) if function is None else function
            known = self._self_calls[name] = (bound, self._self_work(name, bound))
        return known[1](*args, **kwargs)

    return passed


def _dressed(call: Callable[..., Any], function: Any) -> Callable[..., Any]:
    """Give a protected function name, signature and owner of what it stands for."""
    functools.update_wrapper(call, function)
    for name in ("__self__", "__func__"):
        if hasattr(function, name):
            setattr(call, name, getattr(function, name))
    return call


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _public(cls: type) -> tuple[str, ...]:
    return tuple(
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, classmethod | staticmethod))
    )


def _own_method(cls: type, name: str) -> Any:
    found = vars(cls).get(name)
    if found is None or not (callable(found) or isinstance(found, classmethod | staticmethod)):
        raise CannotWrap(
            f"{cls.__name__} itself defines no method {name}.",
            f"It defines {', '.join(_public(cls)) or 'none'}.",
            "Name one of these, or instrument the class that defines it.",
        )
    return found
