"""The closed set of changes modelmedic can make, each with its undo."""

from typing import TYPE_CHECKING

from modelmedic import lazy

if not TYPE_CHECKING:  # a type checker knows the submodules, and which names are none
    __getattr__ = lazy.submodules(__name__, __path__)
