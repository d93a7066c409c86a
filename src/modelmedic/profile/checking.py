"""What is wrong with a profile: every key of one file, then the whole after extending."""

from __future__ import annotations

import datetime as dt
import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelmedic.profile.documents import Node
from modelmedic.profile.fields import DOCUMENT, PROFILE, Key, Table
from modelmedic.profile.lines import KeyPath
from modelmedic.profile.merging import identity, removable
from modelmedic.text import printable

_TYPES: Mapping[str, tuple[str, type | tuple[type, ...]]] = {
    "string": ("text in quotes", str),
    "integer": ("a whole number", int),
    "number": ("a number", (int, float)),
    "boolean": ("true or false", bool),
    "strings": ("an array of texts", list),
    "values": ("an array of texts, numbers or booleans", list),
    "value": ("text, a number, true, false or an array of these", (str, int, float, list)),
    "table": ("a table", dict),
    "tables": ("an array of tables", list),
}
# What a config key's declared type lets its default and choices be.
_VALUE_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: at which key, what, and a hint at the cure."""

    path: KeyPath
    what: str
    next_step: str = ""


def check_document(data: Node) -> list[Problem]:
    """Return what is wrong in one file, not minding what it may inherit."""
    return list(_check_table(data, DOCUMENT, ()))


def check_removals(parent: Node, child: Node) -> list[Problem]:
    """Return the names in ``[remove]`` that the merged ``parent`` does not have."""
    problems = []
    for name, unwanted in child.get("remove", {}).items():
        table, entries = removable(parent, name)
        known = {str(identity(entry, table)) for entry in entries} if table else set()
        for index, each in enumerate(unwanted):
            if table and str(identity({table.identity: each}, table)) not in known:
                what = f"{_found(each)}, which the extended profile does not have"
                problems.append(_problem(("remove", name, index), what, each, known))
    return problems


def check_whole(data: Node) -> list[Problem]:
    """Return what is wrong in a merged profile: missing keys, names that lead nowhere."""
    return [
        *_missing(data, PROFILE, ()),
        *_wrong_sources(data),
        *_wrong_config_keys(data),
    ]


def shown(path: KeyPath) -> str:
    """Return a key path as people write it: "models[0].files[3].size_bytes"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{printable(part)}"
    return text.lstrip(".")


def _check_table(data: Node, table: Table, path: KeyPath) -> Iterator[Problem]:
    for name, value in data.items():
        here = (*path, name)
        if key := table.keys.get(name):
            yield from _check_value(value, key, here)
        else:
            known = ", ".join(sorted(table.keys))
            what = f"is unknown; expected one of {known}"
            yield _problem(here, what, name, table.keys)
    if table.identity and table.identity not in data:
        yield _absent(path, table.identity, table)


def _check_value(value: Any, key: Key, path: KeyPath) -> Iterator[Problem]:
    if not _has_type(value, key):
        yield Problem(path, f"is {_found(value)}; expected {_TYPES[key.type][0]}")
    elif key.table and key.type == "table":
        yield from _check_table(value, key.table, path)
    elif key.table:
        yield from _check_entries(value, key.table, path)
    elif key.type == "strings":
        yield from _check_strings(value, key, path)
    elif key.type in {"value", "values"}:
        yield from _check_scalars(value if isinstance(value, list) else [value], path)
    elif key.type == "string":
        yield from _check_string(value, key, path)
    elif key.type != "boolean":
        yield from _check_number(value, key, path)


def _has_type(value: object, key: Key) -> bool:
    is_stray_boolean = isinstance(value, bool) and key.type in {"integer", "number"}
    return isinstance(value, _TYPES[key.type][1]) and not is_stray_boolean


def _check_entries(entries: list[Any], table: Table, path: KeyPath) -> Iterator[Problem]:
    seen: dict[object, int] = {}
    for index, entry in enumerate(entries):
        here = (*path, index)
        if not isinstance(entry, dict):
            yield Problem(here, f"is {_found(entry)}; expected a table")
            continue
        yield from _check_table(entry, table, here)
        name = identity(entry, table) if table.identity else None
        if name is not None and seen.setdefault(name, index) != index:
            first = shown((*path, seen[name]))
            what = f"is {_found(entry[table.identity])}, which {first} is too; expected it once"
            yield Problem((*here, table.identity), what)


def _check_strings(values: list[Any], key: Key, path: KeyPath) -> Iterator[Problem]:
    for index, value in enumerate(values):
        here = (*path, index)
        if isinstance(value, str):
            yield from _check_string(value, key, here)
        else:
            yield Problem(here, f"is {_found(value)}; expected text in quotes")


def _check_string(value: str, key: Key, path: KeyPath) -> Iterator[Problem]:
    if key.choices and value not in key.choices:
        what = f"is {_found(value)}; expected one of {', '.join(key.choices)}"
        yield _problem(path, what, value, key.choices)
    elif refusal := key.rule.refusal(value):
        yield Problem(path, f"is {_found(value)}; {refusal}")


def _check_number(value: float, key: Key, path: KeyPath) -> Iterator[Problem]:
    if not math.isfinite(value):
        yield Problem(path, f"is {value}; expected a finite number")
    elif key.minimum is not None and not key.minimum <= value <= key.maximum:
        what = f"is {value}; expected a number from {key.minimum} to {key.maximum}"
        yield Problem(path, what)


def _check_scalars(values: list[Any], path: KeyPath) -> Iterator[Problem]:
    for value in values:
        is_odd_number = isinstance(value, float) and not math.isfinite(value)
        if not isinstance(value, str | int | float) or is_odd_number:
            yield Problem(path, f"holds {_found(value)}; expected texts, finite numbers, booleans")


def _missing(data: Node, table: Table, path: KeyPath) -> Iterator[Problem]:
    for name, key in table.keys.items():
        if name not in data:
            if key.required:
                yield _absent(path, name, table)
        elif key.table and key.type == "table":
            yield from _missing(data[name], key.table, (*path, name))
        elif key.table:
            for index, entry in enumerate(data[name]):
                yield from _missing(entry, key.table, (*path, name, index))


def _wrong_sources(data: Node) -> Iterator[Problem]:
    kinds = {each["name"]: each.get("kind") for each in data.get("endpoints", [])}
    for m, model in enumerate(data.get("models", [])):
        for s, source in enumerate(model.get("sources", [])):
            path = ("models", m, "sources", s)
            name, kind = source.get("endpoint"), source.get("kind")
            if name is None:
                continue  # reported as missing
            if name not in kinds:
                what = f"is {_found(name)}; expected the name of one of [[endpoints]]"
                yield _problem((*path, "endpoint"), what, name, kinds)
            elif kind and kinds[name] and kind != kinds[name]:
                what = f'is {_found(kind)}; expected "{kinds[name]}", the kind of endpoint {name}'
                yield Problem((*path, "kind"), what)
    for n, endpoint in enumerate(data.get("endpoints", [])):
        if endpoint.get("url", "").startswith("embedded:") and endpoint.get("kind") != "hub":
            what = 'is not "hub"; expected it, as "embedded:demo" is a Hub'
            yield Problem(("endpoints", n, "kind"), what)


def _wrong_config_keys(data: Node) -> Iterator[Problem]:
    for f, file in enumerate(data.get("configs", [])):
        for k, key in enumerate(file.get("keys", [])):
            path = ("configs", f, "keys", k)
            low, high = key.get("minimum"), key.get("maximum")
            if low is not None and high is not None and low > high:
                yield Problem((*path, "minimum"), f"is {low}; expected at most maximum = {high}")
            values = [("default", key["default"])] if "default" in key else []
            values += [("choices", value) for value in key.get("choices", [])]
            for name, value in values:
                if refusal := _value_refusal(value, key):
                    yield Problem((*path, name), f"is {_found(value)}; expected {refusal}")


def _value_refusal(value: Any, key: Node) -> str:
    """Return what a default or choice must be and is not; "" when it fits its key."""
    kind = key.get("type", "")
    if isinstance(value, bool) != (kind == "boolean") or not isinstance(
        value, _VALUE_TYPES.get(kind, (object,))
    ):
        return f"a value of type {kind}"
    if key.get("choices") and value not in key["choices"]:
        return "one of its choices"
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = key.get("minimum", -math.inf), key.get("maximum", math.inf)
        return "" if low <= value <= high else f"a number from {low} to {high}"
    return ""


def _absent(path: KeyPath, name: str, table: Table) -> Problem:
    about = table.keys[name].about
    return Problem(path, f"has no {name}; expected {about[0].lower()}{about[1:]}")


def _problem(path: KeyPath, what: str, found: object, known: Mapping[str, Any] | Any) -> Problem:
    near = difflib.get_close_matches(str(found), list(known), n=1)
    return Problem(path, what, f'Write "{near[0]}", if that is meant.' if near else "")


def _found(value: object) -> str:
    if isinstance(value, str):
        return f'"{printable(value)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}" if abs(value) < 1e100 else "a huge number"  # noqa: PLR2004 - to show
    if isinstance(value, dt.date | dt.time):
        return "a date or time without quotes"
    return "a table" if isinstance(value, dict) else "an array"
