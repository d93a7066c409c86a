"""The names a component has that are nearest to one it lacks."""

from __future__ import annotations

import inspect

from modelmedic.reliability.injections import own_names

_MOST_NAMES = 3


def told(component: object, name: str) -> str:
    """Return that a component has no such method, and its nearest names, in sentences."""
    import difflib

    near = difflib.get_close_matches(name, sorted(methods(component)), _MOST_NAMES)
    lacks = f"{type(component).__name__} has no method {name}."
    return f"{lacks} Nearest names it has: {', '.join(near)}." if near else lacks


def methods(component: object) -> set[str]:
    """Return the public names that can be called; runs no property."""
    names = {name for kind in type(component).__mro__ for name in vars(kind)}
    names |= set(own_names(component) or ())
    found = ((name, inspect.getattr_static(component, name, None)) for name in names)
    return {
        name
        for name, value in found
        if not name.startswith("_")
        and (callable(value) or isinstance(value, staticmethod | classmethod))
    }
