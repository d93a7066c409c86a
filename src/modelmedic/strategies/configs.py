"""Repair of a config file: from the last good copy, else safe defaults; readable keys are kept."""

from __future__ import annotations

import configparser
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from modelmedic import goodcopies
from modelmedic.context import Context
from modelmedic.errors import RecoveryRefused
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Operation
from modelmedic.operations.kinds import ReplaceFile
from modelmedic.operations.tree import Tree
from modelmedic.profile.model import ConfigFile
from modelmedic.strategies import files, settings
from modelmedic.text import printable

_LOST = "\ufffd"  # stands for bytes that are no UTF-8
# A top-level pair of a damaged JSON file: a key and a whole scalar, ended by what must follow it.
_PAIR = re.compile(
    r'"(?P<key>(?:[^"\\]|\\.)*)"\s*:\s*'
    r'(?P<value>"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)\s*(?=[,}\n])'
)


def plan_restore(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what writes a config file that parses and has every key the profile asks for.

    Values are taken, per key, from the first that has a good one: the file itself (as far as it
    can be read), the last good copy, the profile's safe default. Unknown keys are kept.

    Raises:
        RecoveryRefused: A required key has no good value anywhere, or the file is no plain file.
    """
    config = _config(context, subject)
    tree = Tree(context.place)
    found = tree.identity(subject) if tree.identity(".") else None
    text = _read(tree, subject) if found is not None else ""
    if _LOST in text and settings.parse_leniently(text, config.format):
        raise RecoveryRefused(
            f"{printable(subject)} was not rewritten: some of its text is not UTF-8.",
            "Most often it was saved in a Windows code page; what cannot be read would be lost.",
            "Save it as UTF-8 in your editor and start again.",
        )
    kept = goodcopies.recall(context, subject)
    present = settings.parse_leniently(text, config.format) or _salvage(text, config.format)
    document = settings.parse_leniently(kept or "", config.format) or {}
    document = _merged(document, present, config)
    origin = "from the last good copy" if kept else "with safe defaults"
    yield from files.plan_parents(context, subject)
    yield ReplaceFile(
        path=subject,
        content=_written(document, config),
        was=seen(found),
        reason=f"{origin}, keeping what could be read",
    )


def _written(document: dict[str, Any], config: ConfigFile) -> str:
    """Return the text of a document, read back to be sure that it says the same.

    Raises:
        RecoveryRefused: The format cannot say it, or only in words we do not write.
    """
    try:
        content = settings.render(document, config.format)
        content.encode()
    except (TypeError, ValueError, configparser.Error) as error:
        content, why = "", str(error)
    else:
        why = "read back, it says something else"
    if not content or not _is_alike(settings.parse_leniently(content, config.format), document):
        raise RecoveryRefused(
            f"{printable(config.path)} was not rewritten: it holds values that would be changed by "
            f"that ({printable(why)}).",
            "",
            "Correct the named keys yourself.",
        )
    return content


def _is_alike(read_back: dict[str, Any], document: dict[str, Any]) -> bool:
    """Compare as text: INI knows nothing else. NaN equals itself here."""
    return str(_plain(read_back)) == str(_plain(document))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((str(key), _plain(part)) for key, part in value.items())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value)


def _config(context: Context, subject: str) -> ConfigFile:
    for config in context.profile.configs:
        if config.path == subject:
            return config
    raise RecoveryRefused(f"{printable(subject)} is no config file of the profile.")


def _read(tree: Tree, subject: str) -> str:
    with tree.open_read(subject) as handle:
        data = os.read(handle, goodcopies.MAX_BYTES + 1)
    if len(data) > goodcopies.MAX_BYTES:
        raise RecoveryRefused(f"{printable(subject)} is larger than any settings file.")
    return data.decode("utf-8-sig", "replace")


def _salvage(text: str, file_format: str) -> dict[str, Any]:
    """Return the whole top-level pairs of a damaged JSON file; other formats give nothing."""
    if file_format != "json":
        return {}
    pairs = {}
    for match in _PAIR.finditer(text):
        prefix = text[: match.start()]
        if prefix.count("{") - prefix.count("}") <= 1 and "\ufffd" not in match.group(0):
            pairs[json.loads(f'"{match["key"]}"')] = json.loads(match["value"])
    return pairs


def _merged(good: dict[str, Any], present: dict[str, Any], config: ConfigFile) -> dict[str, Any]:
    """Return the present values, with each bad or missing key taken from elsewhere."""
    document = {**good, **present}
    for key in config.keys:
        if settings.good_value(present, key, config.format) is not settings.MISSING:
            continue
        before = settings.good_value(good, key, config.format)
        if before is not settings.MISSING:
            settings.put(document, key.name, before)
        elif key.has_default:
            settings.put(document, key.name, key.default)
        elif key.is_required:
            raise RecoveryRefused(
                f"The key {printable(key.name)} has no good value anywhere.",
                "The profile gives no safe default for it, and no good copy was ever seen.",
                "Write its value into the file yourself.",
            )
        else:
            settings.drop(document, key.name)
    return document
