"""The table of all rules, and which of them can find something in a text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from modelmedic.masking import blocks, headers, identity, named, prompts, tokens
from modelmedic.masking.identity import Stand
from modelmedic.masking.rule import Rule

# Blocks before lines, lines before words: what a rule leaves must not hide a part from the next.
RULES: tuple[Rule, ...] = (
    *blocks.RULES,
    *prompts.RULES,
    *headers.RULES,
    *tokens.RULES,
    *named.RULES,
)
_OBJECT_WORDS = ("workflow", "prompt", "pnginfo")


@dataclass(frozen=True, slots=True)
class Table:
    """Rules in their order, and the words without which none of them finds anything."""

    rules: tuple[Rule, ...]
    words: tuple[str, ...]

    @classmethod
    def of(cls, stand: Stand, is_for_support: bool) -> Table:
        """Return the table for reports of this machine, or for what leaves it."""
        named_rules = identity.rules(stand)
        if is_for_support:
            named_rules += identity.support_rules(stand)
        rules = (*RULES, *named_rules)
        return cls(rules, _words(rules))

    @classmethod
    def of_credentials(cls) -> Table:
        """Return the table that leaves persons and machines their names."""
        return cls(RULES, _words(RULES))

    def apply(self, text: str, lower: str) -> str:
        """Return ``text`` after the rules; ``lower``: the same in small letters.

        All of them, where a letter is not ASCII: to a pattern, some of those are the same as an
        ASCII letter.
        """
        is_ascii = text.isascii()
        there = {word for word in self.words if word in lower} if is_ascii else None
        if there is None or not there.isdisjoint(_OBJECT_WORDS):
            text = prompts.objects(text)
        for rule in self.rules if there is None or there else ():
            if there is None or not there.isdisjoint(rule.words):
                text = rule.apply(text)
        return blocks.ENCODED.apply(text)


@lru_cache(maxsize=4)
def _words(rules: tuple[Rule, ...]) -> tuple[str, ...]:
    return tuple(sorted({*_OBJECT_WORDS, *(word for rule in rules for word in rule.words)}))
