"""Classify a failure, choose its repairs, apply them under journal, lock and budget."""

from typing import TYPE_CHECKING

from modelmedic import lazy

if not TYPE_CHECKING:  # a type checker knows the submodules, and which names are none
    __getattr__ = lazy.submodules(__name__, __path__)
