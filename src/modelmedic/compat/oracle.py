"""The door to the oracle: what contradicts, what is consistent, what is the least change.

``judge`` says what is wrong with a stack on a machine, ``consistent`` which sets of packages fit
a machine, ``nearest`` what the least change is that mends a stack.
"""

from __future__ import annotations

from modelmedic.compat.judgement import KINDS, Contradiction, Judgement
from modelmedic.compat.judging import judge

__all__ = ["KINDS", "Contradiction", "Judgement", "judge"]
