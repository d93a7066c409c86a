"""The door to the oracle: what contradicts, what is consistent, what is the least change.

``judge`` says what is wrong with a stack on a machine, ``consistent`` which sets of packages fit
a machine, ``nearest`` what the least change is that mends a stack.
"""

from __future__ import annotations

from modelmedic.compat.change import Change, nearest
from modelmedic.compat.judgement import KINDS, Contradiction, Judgement
from modelmedic.compat.judging import judge
from modelmedic.compat.sets import ConsistentSet, consistent

__all__ = [
    "KINDS",
    "Change",
    "ConsistentSet",
    "Contradiction",
    "Judgement",
    "consistent",
    "judge",
    "nearest",
]
