"""Stable words in place of names, and the local map by which their owner finds the names again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from modelmedic import pseudonyms
from modelmedic.facts import own_records

MAP_NAME = "pseudonyms.json"
_MOST_KEPT = 20_000  # of a log with that many addresses the rest is replaced, and not kept


@dataclass(slots=True)
class StandIns:
    """Gives each value of a category its word: equal values, equal words, in every bundle.

    Args:
        state_dir: The state folder, which holds the key; the map is kept there, for its user only.

    Raises:
        CannotTell: There is no key that only this user could have read.
    """

    state_dir: Path
    _key: bytes = field(init=False, repr=False)
    _kept: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Read the key."""
        self._key = pseudonyms.local_key(self.state_dir)

    def word(self, category: str, value: str) -> str:
        """Return the word for a value, as ``<host:9f3a12b4c5>``."""
        word = f"<{pseudonyms.token(self._key, category, value)}>"
        if len(self._kept) < _MOST_KEPT:
            self._kept.setdefault(word, value)
        return word

    def keep(self) -> None:
        """Add what was replaced to the map in the state folder; no artefact ever holds it.

        Raises:
            OSError: It cannot be written.
        """
        path = self.state_dir / MAP_NAME
        earlier = own_records.read(path)
        earlier = earlier if isinstance(earlier, dict) else {}
        own_records.write(path, {**earlier, **self._kept})


def plain_word(category: str, _value: str) -> str:
    """Return the word for a category: what a report of this machine says."""
    return f"<{category}>"
