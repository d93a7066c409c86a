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
_END_WORD = "-----end "


_MARKS = "_-=:@%/."  # of a word with one of these only texts that have it are asked


@dataclass(frozen=True, slots=True)
class Table:
    """Rules in their order, and the words without which none of them finds anything.

    ``words``: below a part, the words it is a part of: a text without the part has none of them.
    ``by_word``: which rules a word needs, by their place.
    """

    rules: tuple[Rule, ...]
    words: tuple[tuple[str, tuple[str, ...]], ...]
    by_word: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, stand: Stand, is_for_support: bool) -> Table:
        """Return the table for reports of this machine, or for what leaves it."""
        named_rules = identity.rules(stand)
        if is_for_support:
            named_rules += identity.support_rules(stand)
        rules = (*RULES, *named_rules)
        return cls(rules, *_words(rules))

    @classmethod
    def of_credentials(cls) -> Table:
        """Return the table that leaves persons and machines their names."""
        return cls(RULES, *_words(RULES))

    def apply(self, text: str, lower: str) -> str:
        """Return ``text`` after the rules; ``lower``: the same in small letters.

        All of them, where a letter is not ASCII: to a pattern, some of those are the same as an
        ASCII letter.
        """
        there = self._there(lower) if text.isascii() else None
        if there is None or not there.isdisjoint(_OBJECT_WORDS):
            text = prompts.objects(text)
        for rule in self.rules if there is None else self._needed(there):
            if len(text) >= rule.least:
                text = rule.apply(text)
        if there is None or _END_WORD in there:  # whole keys are gone
            text = blocks.without_ends_of_keys(text)
        return blocks.ENCODED.apply(text) if len(text) >= blocks.ENCODED.least else text

    def _there(self, lower: str) -> set[str]:
        """Return the words that are in a text; "passed", which each run says often, is none."""
        there = {
            word for part, words in self.words if part in lower for word in words if word in lower
        }
        if "pass" in there and lower.count("pass") == lower.count("passed"):
            there.discard("pass")
        return there

    def _needed(self, there: set[str]) -> list[Rule]:
        places = {place for word in there for place in self.by_word.get(word, ())}
        return [self.rules[place] for place in sorted(places)]


@lru_cache(maxsize=4)
def _words(
    rules: tuple[Rule, ...],
) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], dict[str, tuple[int, ...]]]:
    by_word: dict[str, tuple[int, ...]] = {}
    for place, rule in enumerate(rules):
        for word in rule.words:
            by_word[word] = (*by_word.get(word, ()), place)
    words = {*_OBJECT_WORDS, _END_WORD, *by_word}
    roots = sorted((word for word in words if len(word) > 1), key=len)
    groups: dict[str, list[str]] = {}
    for word in sorted(words):
        parts = [part for part in (*roots, *_MARKS) if part in word and part != word]
        groups.setdefault(parts[0] if parts else word, []).append(word)
    return tuple((part, tuple(group)) for part, group in groups.items()), by_word
