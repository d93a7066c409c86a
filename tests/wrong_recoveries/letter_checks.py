"""Checks that fail when the letter is torn: one for each recovery of letters.py."""

from __future__ import annotations

import pytest

from modelmedic.context import Context
from modelmedic.errors import Unhealthy

LETTER = "outputs/letter.txt"
NAMES = (
    "writes_the_letter", "claims_success", "writes_when_planning", "deletes_first",
    "repairs_again_and_again", "hangs", "escapes_by_a_link",
    "tidies_up", "leaves_a_note", "locks_readers_out",
)  # fmt: skip


def _check(name: str) -> object:
    @pytest.mark.check(f"letter.{name}", area="install")
    @pytest.mark.recover("system", using=[name])
    def test(context: Context) -> None:
        """The letter is whole."""
        text = (context.place / LETTER).read_text()
        if text != "Dear reader\n":
            raise Unhealthy("The letter is torn.", "Somebody tore it.", "Write it.", subject=LETTER)

    return test


for _name in NAMES:
    globals()[f"test_{_name}"] = _check(_name)
