"""What arguments and locals were: type, size and shape, never their contents.

Nothing of a value's own is run: no `repr`, no property, no ``__len__`` of a foreign class. Sizes
are asked of the built-in base, shapes of the C code of numpy and torch; neither is imported.
"""

from __future__ import annotations

import re
import types
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from modelmedic.reliability.veil import Veil

_SIZED: tuple[Any, ...] = (
    str,
    bytes,
    bytearray,
    list,
    tuple,
    dict,
    set,
    frozenset,
    deque,
    range,
    memoryview,
)
_PATHS = frozenset({type(Path()), PurePosixPath, PureWindowsPath})
_TRACEBACK = BaseException.__dict__["__traceback__"]  # not a property that a class may have
_ARRAYS = frozenset({"numpy", "torch"})  # where an attribute made in C reads memory, no more
_C_ATTRIBUTES = (types.GetSetDescriptorType, types.MemberDescriptorType)
# Stricter than for arguments: `token` is also each word of a text in many a loop.
_SECRET_LOCAL = re.compile(r"(?i)passw|secret|credential|api_?key|access_?key|[a-z]_token$")
_MOST_NAMES = 30  # of one frame: what is past it is said as a number
_MOST_LETTERS = 80  # of a name or a type
_MOST_DIMENSIONS = 8


def of_value(value: object, veil: Veil) -> dict[str, Any]:
    """Return "type" and, where they are known, "length", "shape", "dtype" or "path"."""
    kind = type(value)
    found: dict[str, Any] = {"type": type_name(kind)}
    for base in _SIZED:
        if base in _mro(kind):
            return {**found, "length": base.__len__(value)}
    if kind in _PATHS:
        return {**found, "path": veil.cut(str(value), 300)}
    if _module(kind).partition(".")[0] in _ARRAYS:
        return found | _array(value)
    return found


def of_call(args: Sequence[object], kwargs: Mapping[str, object], veil: Veil) -> dict[str, Any]:
    """Return the arguments of a call by name; those without one are "0", "1", ..."""
    named = [*((str(number), value) for number, value in enumerate(args)), *kwargs.items()]
    return _of_names(named, veil)


def of_frames(error: BaseException, most: int, veil: Veil) -> dict[str, dict[str, Any]]:
    """Return the locals of the ``most`` innermost frames of an error, by function and line."""
    frames = deque(_frames(error), maxlen=most)
    return {
        f"{frame.f_code.co_name}:{line}": _of_names(
            [pair for pair in frame.f_locals.items() if not pair[0].startswith("__")], veil
        )
        for frame, line in frames
    }


def secrets_in_frames(error: BaseException, most: int) -> dict[str, object]:
    """Return the locals of an error's frames whose name says that they are a secret."""
    return {
        name: value
        for frame, _line in deque(_frames(error), maxlen=most)
        for name, value in list(frame.f_locals.items())
        if _SECRET_LOCAL.search(name)
    }


def type_name(kind: type) -> str:
    """Return the name of a type as it was defined, with its module unless that is built in."""
    name = type.__dict__["__qualname__"].__get__(kind)
    module = _module(kind)
    full = name if module in {"builtins", "__main__", ""} else f"{module}.{name}"
    return str(full)[:_MOST_LETTERS]


def _of_names(named: Sequence[tuple[str, object]], veil: Veil) -> dict[str, Any]:
    found = {
        str(name)[:_MOST_LETTERS]: of_value(value, veil)
        for name, value in islice(named, _MOST_NAMES)
    }
    left_out = len(named) - _MOST_NAMES
    return found | ({"...": {"type": f"{left_out} more"}} if left_out > 0 else {})


def _frames(error: BaseException) -> Iterator[tuple[types.FrameType, int]]:
    entry = _TRACEBACK.__get__(error)
    while entry is not None:
        yield entry.tb_frame, entry.tb_lineno
        entry = entry.tb_next


def _mro(kind: type) -> tuple[type, ...]:
    mro: tuple[type, ...] = type.__dict__["__mro__"].__get__(kind)
    return mro


def _module(kind: type) -> str:
    """Return the module of a type, read from the type itself: no metaclass is asked."""
    try:
        module = type.__dict__["__module__"].__get__(kind)
    except AttributeError:
        return ""
    return module if type(module) is str else ""  # a class may hold a property of that name


def _array(value: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    shape = _c_attribute(value, "shape")
    if isinstance(shape, tuple):
        sizes = list(islice(tuple.__iter__(shape), _MOST_DIMENSIONS))
        found["shape"] = [size for size in sizes if type(size) is int]
    dtype = _c_attribute(value, "dtype")
    if dtype is not None and isinstance(type(dtype).__repr__, types.WrapperDescriptorType):
        found["dtype"] = str(dtype)[:_MOST_LETTERS]
    return found


def _c_attribute(value: object, name: str) -> object:
    """Return an attribute that C code defines; None for a property, which could do anything."""
    for owner in _mro(type(value)):
        found = type.__dict__["__dict__"].__get__(owner).get(name)
        if found is not None:
            is_in_c = isinstance(found, _C_ATTRIBUTES)
            return found.__get__(value, type(value)) if is_in_c else None
    return None
