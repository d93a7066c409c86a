"""Probes and the facts they return: they read the world, judge nothing, change nothing."""

from typing import TYPE_CHECKING

from modelmedic import lazy

if not TYPE_CHECKING:  # a type checker knows the submodules, and which names are none
    __getattr__ = lazy.submodules(__name__, __path__)
