"""Which driver, card, torch build and packages go together: the table, and judging by it.

`modelmedic.compat.oracle` is the door. Importing this package loads nothing.
"""

from typing import TYPE_CHECKING

from modelmedic import lazy

if not TYPE_CHECKING:  # a type checker knows the submodules, and which names are none
    __getattr__ = lazy.submodules(__name__, __path__)
