"""Hide credentials, prompts, the home folder, user and host before anything is written."""

from __future__ import annotations

from modelmedic.masking.masker import Masker
from modelmedic.masking.names import is_telling
from modelmedic.masking.rule import MASK

__all__ = ["MASK", "Masker", "is_telling"]
