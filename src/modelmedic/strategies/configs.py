"""Repair of a config file: only what is wrong is written; all that can be read is kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from modelmedic import goodcopies
from modelmedic.context import Context
from modelmedic.errors import RecoveryRefused
from modelmedic.facts.configs import parse_config, problems_with
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Operation
from modelmedic.operations.kinds import ReplaceFile
from modelmedic.operations.tree import Identity, Tree
from modelmedic.profile.model import ConfigFile, ConfigKey
from modelmedic.strategies import files, ini_settings, json_settings, settings, toml_settings
from modelmedic.strategies.settings import MISSING, Change, KeyPath, Recovered
from modelmedic.text import printable

_EDITORS: dict[str, ModuleType] = {
    "json": json_settings,
    "toml": toml_settings,
    "ini": ini_settings,
}
_SHOWN = 5
_MAX_NAME = 60


def plan_restore(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what makes a config file parse and hold every key the profile asks for.

    A file that parses is changed in the wrong keys only; the rest stays byte for byte. Of one
    that does not, all that can surely be read is kept, and the last good copy fills the gaps.
    A wrong or missing key takes its value from the good copy, else from the profile's default.
    Nothing is yielded for a file that is right.

    Raises:
        RecoveryRefused: A required key has no good value anywhere, a value would be lost that
            another program can still read, or the file is no plain readable file.
    """
    config = _config(context, subject)
    tree = Tree(context.place)
    found = tree.identity(subject) if tree.identity(".") else None
    data = _read(tree, subject, found) if found is not None else b""
    try:
        mended = _Mending(context, config, data)
        content = mended.content()
        is_new = found is None or content.encode() != data
    except RecursionError as error:
        raise RecoveryRefused(
            f"{printable(subject)} was not rewritten: it is nested too deeply to be edited."
        ) from error
    except UnicodeEncodeError as error:
        raise RecoveryRefused(
            f"{printable(subject)} was not rewritten: a value in it cannot be written as UTF-8."
        ) from error
    if is_new:
        yield from files.plan_parents(context, subject)
        yield ReplaceFile(path=subject, content=content, was=seen(found), reason=mended.reason())


def _config(context: Context, subject: str) -> ConfigFile:
    for config in context.profile.configs:
        if config.path == subject:
            return config
    raise RecoveryRefused(f"{printable(subject)} is no config file of the profile.")


def _read(tree: Tree, subject: str, found: Identity) -> bytes:
    if not found.is_file:
        raise RecoveryRefused(
            f"{printable(subject)} was not rewritten: it is a link, a folder or another thing that "
            "is no plain file.",
            "A repair writes through no link, and replaces nothing that somebody made on purpose.",
            "Look what it is, and put a file in its place.",
        )
    try:
        with tree.open_read(subject) as handle:
            data = goodcopies.read_bounded(handle)
    except OSError as error:
        raise RecoveryRefused(
            f"{printable(subject)} was not rewritten: it cannot be read ({error.strerror})."
        ) from error
    if data is None:
        raise RecoveryRefused(f"{printable(subject)} is larger than any settings file.")
    return data


@dataclass(slots=True)
class _Told:
    """What the plan says about the repair: names of keys, never values."""

    from_copy: list[str] = field(default_factory=list)
    defaults: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


class _Mending:
    """One file, its good copy, and what is written of both."""

    def __init__(self, context: Context, config: ConfigFile, data: bytes) -> None:
        self.config = config
        self.editor = _EDITORS[config.format]
        self.source = settings.decode(data)
        self.told = _Told()
        self.recovered = Recovered(self.source.text)
        document = settings.parse(self.source.text, config.format)
        is_damaged = document is None
        if is_damaged:
            self.recovered = self.editor.recover(self.source.text)
            document = settings.parse(self.recovered.text, config.format)
        self.document = document or {}
        kept = goodcopies.recall(context, config.path) or ""
        self.good = settings.parse(kept, config.format) or {}
        self.is_empty = is_damaged and not self.document
        self.text = self.recovered.text
        if self.is_empty:
            self.text, self.document = kept if self.good else "", copy.deepcopy(self.good)

    def content(self) -> str:
        """Return the new text of the file.

        Raises:
            RecoveryRefused: There is none that would be right.
        """
        changes = self._filled() if self.recovered.losses and not self.is_empty else []
        for key in self.config.keys:
            changes += self._mended(key)
        self._refuse_loss()
        is_broken = bool(self.recovered.losses) and not self.is_empty
        if self.config.format == "json" and (is_broken or not self.text.strip()):
            text = json_settings.render(self.document, self.text)
        else:
            text = self.editor.write(self.text, changes)
        self._prove(text)
        # A byte order mark stays where the rest stays; what is written anew has none.
        has_bom = self.source.has_bom and not (is_broken or self.is_empty)
        return f"\ufeff{text}" if has_bom else str(text)

    def _filled(self) -> list[Change]:
        """Put in what only the good copy has: it may stand where the file is damaged."""
        changes = list(settings.absent_from(self.document, self.good))
        for change in changes:
            settings.put(self.document, change.path, copy.deepcopy(change.value))
            self.told.from_copy.append(".".join(change.path))
        return changes

    def _mended(self, key: ConfigKey) -> list[Change]:
        """Put a good value where a key has none."""
        file_format = self.config.format
        if settings.good_value(self.document, key, file_format) is not MISSING:
            return []
        is_there = settings.value_at(self.document, key, file_format) is not MISSING
        if not (is_there or key.is_required):
            return []
        path = self._path(key)
        value = settings.good_value(self.good, key, file_format)
        if value is not MISSING:
            self.told.from_copy.append(key.name)
        elif key.has_default:
            value = key.default
            self.told.defaults.append(key.name)
        elif key.is_required:
            raise RecoveryRefused(
                f"The key {printable(key.name)} has no good value anywhere.",
                "The profile gives no safe default for it, and no good copy was ever seen.",
                "Write its value into the file yourself.",
            )
        else:
            self.told.left_out.append(key.name)
            settings.drop(self.document, path)
            return [Change(path, MISSING)]
        value = ini_settings.spell(value) if file_format == "ini" else copy.deepcopy(value)
        self._clear(path)
        settings.put(self.document, path, value)
        return [Change(path, copy.deepcopy(value))]

    def _clear(self, path: KeyPath) -> None:
        """Tell what is replaced because it is no table; refuse if it holds values of its own."""
        found = settings.in_the_way(self.document, path)
        if found is None:
            return
        name, value = found
        if isinstance(value, list) and value:
            raise RecoveryRefused(
                f"{printable(self.config.path)} was not rewritten: {printable(name)} is an array, "
                f"and the key {printable('.'.join(path))} needs a table there.",
                "The values in the array would be lost.",
                "Move them to where they belong yourself.",
            )
        self.told.replaced.append(name)

    def _path(self, key: ConfigKey) -> KeyPath:
        *tables, last = key.name.split(".")
        if self.config.format != "ini":
            return (*tables, last)
        if len(tables) != 1:
            raise RecoveryRefused(
                f"An ini file cannot hold the key {printable(key.name)}: "
                'its keys are of the form "section.option".'
            )
        return (*tables, last.lower())

    def _refuse_loss(self) -> None:
        if self.is_empty and not self.document:
            raise RecoveryRefused(
                f"{printable(self.config.path)} was not rewritten: nothing in it can be read.",
                "No good copy was ever seen, and the profile has no safe default for it.",
                "Write it anew, or let the app do so.",
            )
        losses = self.recovered.losses
        if not all(loss.is_encoding for loss in losses):
            return  # no program can read it as it is
        lost = [
            loss.name
            for loss in losses
            if loss.path is None or not settings.has(self.document, loss.path)
        ]
        if lost:
            raise RecoveryRefused(
                f"{printable(self.config.path)} was not rewritten: it is not written in UTF-8, and "
                f"{_names(lost)} would be lost.",
                "Nobody can tell from the bytes which letters were meant, and no good copy has it.",
                "Open it in the editor that wrote it and save it as UTF-8.",
            )

    def _prove(self, text: str) -> None:
        """Refuse unless the text says what was planned, and that is what the profile asks for."""
        again = settings.parse(text, self.config.format)
        if (
            again is None
            or not settings.is_same(again, self.document)
            or problems_with(self.config, parse_config(text.encode(), self.config.format))
        ):
            raise RecoveryRefused(
                f"{printable(self.config.path)} was not rewritten: the wrong keys cannot be "
                "corrected without changing others.",
                "It is written in a way that this repair does not edit.",
                "Correct them yourself.",
            )

    def reason(self) -> str:
        """Return what is kept, what is put in from where, and what could not be read."""
        losses = [loss.name for loss in self.recovered.losses]
        if self.is_empty:
            lead = "from the last good copy" if self.good else "with safe defaults"
            losses = []  # nothing could be read
        else:
            lead = "keeping what could be read" if losses else "keeping all else"
        told = (
            ("from the last good copy", self.told.from_copy),
            ("safe default", self.told.defaults),
            ("left out", self.told.left_out),
            ("no table, so replaced", self.told.replaced),
            ("not readable", losses),
            ("corrected", self.recovered.slips),
        )
        parts = [f"{what}: {_names(names)}" for what, names in told if names]
        if self.source.encoding != "utf-8" and not self.is_empty:
            parts.append(f"was {self.source.encoding.upper()}, becomes UTF-8")
        return "; ".join([lead, *parts])


def _names(names: Sequence[str]) -> str:
    shown = [printable(name) for name in names[:_SHOWN]]
    shown = [name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 3]}..." for name in shown]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(shown)}{more}"
