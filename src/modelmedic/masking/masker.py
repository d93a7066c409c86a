"""The masker: known secrets letter by letter, then the rules, then names and home folders."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelmedic.masking import forms, hidden
from modelmedic.masking.names import is_prompt, is_secret, is_secret_with
from modelmedic.masking.rule import MASK
from modelmedic.masking.table import Table

if TYPE_CHECKING:
    from modelmedic.masking.stand_ins import StandIns

_MAX_MEMO = 2000  # a run says the same short things in its journal, record, page and XML file
_MAX_MEMO_LETTERS = 2000  # a whole file is masked once
_MOST_ROUNDS = 4  # what one rule leaves, another may know better; then nothing changes any more
_NOT_MASKED = frozenset({"", "none", "null", "true", "false"})


@dataclass(frozen=True, slots=True)
class Masker:
    """Masks text.

    ``homes`` become "~"; ``names`` (user, host) become words in brackets; ``secrets`` are looked
    for letter by letter, in all forms in which they can be written. ``stand_ins``: what gives
    persons and machines their words in a support bundle; None for reports of this machine.
    """

    homes: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    stand_ins: StandIns | None = None
    has_identities: bool = True  # False: only credentials and prompts are masked
    _memo: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    _made: list[_Made] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of_this_machine(cls, environ: Mapping[str, str] | None = None) -> Masker:
        """Return the masker for this user on this machine, with the literal secrets kept on it.

        Args:
            environ: Whose secrets are hidden; None takes those of this process.
        """
        return cls._of_machine(os.environ if environ is None else environ, None)

    @classmethod
    def for_support(cls, state_dir: Path) -> Masker:
        """Return the masker for what leaves this machine: names become stable words.

        Equal names have equal words in every bundle of this state folder, and nobody without its
        key finds the name. `keep_map` writes which word is which name; that stays here.

        Raises:
            CannotTell: The key of the state folder cannot be used.
        """
        from modelmedic.masking.stand_ins import StandIns

        return cls._of_machine(os.environ, StandIns(state_dir))

    @classmethod
    def _of_machine(cls, environ: Mapping[str, str], stand_ins: StandIns | None) -> Masker:
        from modelmedic.masking import machine
        from modelmedic.masking.stand_ins import plain_word

        word = stand_ins.word if stand_ins else plain_word
        home = str(Path.home())
        homes = {home, os.path.realpath(home)} - {"/", ""}
        found = {*machine.secrets_in(environ), *machine.secrets_in_files(Path(home), environ)}
        return cls(
            tuple(sorted(homes, key=len, reverse=True)),
            tuple(
                (name, word(category, name.partition(".")[0] if category == "host" else name))
                for name, category in machine.telling_names(home)
            ),
            tuple(sorted(found, key=lambda secret: (-len(secret), secret))),
            stand_ins,
        )

    def of_credentials(self) -> Masker:
        """Return the masker that leaves names and paths: for the screen, whose commands are run."""
        return Masker(secrets=self.secrets, has_identities=False)

    def keep_map(self) -> None:
        """Write which word stands for which name into the state folder, for this user only.

        Raises:
            OSError: It cannot be written.
        """
        if self.stand_ins is not None:
            self.stand_ins.keep()

    def mask(self, text: str) -> str:
        """Return ``text`` without credentials, prompts, home, user and host."""
        known = self._memo.get(text)
        if known is None:
            known = self._masked(text)
            if len(text) <= _MAX_MEMO_LETTERS:
                if len(self._memo) >= _MAX_MEMO:
                    self._memo.clear()  # what is said again is said soon
                self._memo[text] = known
        return known

    def mask_json(self, value: Any) -> Any:
        """Return a JSON value with every string in it masked, keys included.

        What a key calls a secret is masked whatever it looks like; of what it calls a prompt the
        length stays.
        """
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            named = _named_value(value)
            return {
                self.mask(str(key)): self._of_key(named if key == "value" and named else key, part)
                for key, part in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.mask_json(part) for part in value]
        return value

    def _of_key(self, key: object, part: Any) -> Any:
        told = told_by_key(key, part)
        return self.mask_json(part) if told is None else told

    def _masked(self, text: str) -> str:
        masked, read = self._in_rounds(text), hidden.as_read(text)
        if read == text:
            return masked
        masked_as_read = self._in_rounds(read)  # colours go only where they hid something
        return masked if hidden.as_read(masked) == masked_as_read else masked_as_read

    def _in_rounds(self, text: str) -> str:
        made = self._all_made()
        for _ in range(_MOST_ROUNDS):
            before = text
            text = made.once(text)
            if text == before:
                break
        return text

    def _all_made(self) -> _Made:
        if not self._made:
            self._made.append(_Made(self))
        return self._made[0]


def told_by_key(key: object, part: Any) -> str | None:
    """Return what stands for a value by the name of its key; None where the key says nothing."""
    if isinstance(part, bool) or part is None or not isinstance(key, str):
        return None
    if isinstance(part, str):
        if (
            is_secret_with(key, part)
            and part.lower() not in _NOT_MASKED
            and not part.startswith("<")
        ):
            return MASK
    elif isinstance(part, int | float):
        return MASK if is_secret(key) and abs(part) >= 1e5 else None  # noqa: PLR2004
    if part and (is_prompt(key) or _is_workflow(key, part)):
        return _length(part)
    return None


def _is_workflow(key: str, part: Any) -> bool:
    is_object = isinstance(part, dict) or (isinstance(part, str) and part.lstrip()[:1] == "{")
    return key.lower() in {"workflow", "extra_pnginfo"} and is_object


def _length(part: Any) -> str:
    from modelmedic.masking.prompts import length_of

    if isinstance(part, str):
        return part if part.startswith("<prompt:") else length_of(part)
    import json

    return length_of(json.dumps(part))


def _named_value(value: dict[Any, Any]) -> str:
    """Return the name that an entry of the form {"name": ..., "value": ...} says; else ""."""
    name = value.get("name", value.get("key"))
    return name if isinstance(name, str) and "value" in value else ""


class _Made:
    """What a masker needs again and again, made when it masks first."""

    def __init__(self, masker: Masker) -> None:
        from modelmedic.masking.stand_ins import plain_word

        stand_ins = masker.stand_ins
        self._forms = forms.all_forms(masker.secrets)
        word = stand_ins.word if stand_ins else plain_word
        self._table = Table.of(word, is_for_support=stand_ins is not None)
        if not masker.has_identities:
            self._table = Table.of_credentials()
        self._homes = [(home, _home(home)) for home in masker.homes]
        self._names = [(name.lower(), _whole(name), word) for name, word in masker.names if name]

    def once(self, text: str) -> str:
        """Return ``text`` after every rule had its turn."""
        for form in self._forms:
            if form in text:  # the look is cheap
                text = text.replace(form, MASK)
        text = forms.split_over_lines(text, self._forms, MASK) if self._forms else text
        for home, pattern in self._homes:
            if home in text or "\\" in home:  # the look is cheap, the search is not
                text = pattern.sub("~", text)
        lower = text.lower()
        text = self._table.apply(text, lower)
        for name, pattern, word in self._names:
            if name in lower:
                text = pattern.sub(word.replace("\\", r"\\"), text)
        return text


def _home(home: str) -> re.Pattern[str]:
    """Return the pattern of a home folder; on Windows with either slash, single or doubled."""
    parts = re.split(r"[/\\]", home)
    if "\\" in home:
        return re.compile(r"(?i)" + r"(?:\\{1,8}|/)".join(map(re.escape, parts)) + _ENDS)
    return re.compile(re.escape(home) + _ENDS)


_ENDS = r"(?=$|[/\\\s:;,'\"<>&)\]])"


def _whole(name: str) -> re.Pattern[str]:
    spaced = re.escape(name).replace(r"\ ", r"(?:\ |%20)")
    return re.compile(rf"(?i)(?<![\w-]){spaced}(?![\w-])")
