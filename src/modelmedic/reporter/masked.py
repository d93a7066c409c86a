"""Values of ours with every text in them masked once more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")


def masked(value: T, mask: Callable[[str], str]) -> T:
    """Return a value of dataclasses, tables, lists and texts with each text masked, keys too."""
    return cast("T", _masked(value, mask))


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {_masked(key, mask): _masked(part, mask) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_masked(part, mask) for part in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {
            each.name: _masked(getattr(value, each.name), mask)
            for each in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **parts)
    return value
