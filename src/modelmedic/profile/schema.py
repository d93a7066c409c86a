"""The JSON Schema of a profile file, for editors that complete and check TOML."""

from __future__ import annotations

from typing import Any

from modelmedic.profile.fields import DOCUMENT, PROFILE, Key, Table

Schema = dict[str, Any]

_SCALARS: list[Schema] = [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]


def profile_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a profile as plain values.

    It knows every key, type and format that the loader knows. What only the loader sees: two
    entries with one name, names that lead nowhere, and what an extended profile brings along.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "modelmedic profile",
        "description": DOCUMENT.about,
        **_table(DOCUMENT),
        # A child may leave to its parent what a profile on its own must say.
        "if": {"not": {"required": ["extends"]}},
        "then": _demands(PROFILE),
    }


def _table(table: Table) -> Schema:
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"description": key.about, **_value(key)} for name, key in table.keys.items()
        },
    }
    return schema | ({"required": [table.identity]} if table.identity else {})


def _value(key: Key) -> Schema:
    if key.table:
        inner = _table(key.table)
        return inner if key.type == "table" else {"type": "array", "items": inner}
    if key.type == "strings":
        return {"type": "array", "items": _string(key)}
    if key.type in {"value", "values"}:
        array = {"type": "array", "items": {"anyOf": _SCALARS}}
        return array if key.type == "values" else {"anyOf": [*_SCALARS, array]}
    if key.type == "string":
        return _string(key)
    if key.minimum is None:
        return {"type": key.type}
    return {"type": key.type, "minimum": key.minimum, "maximum": key.maximum}


def _string(key: Key) -> Schema:
    if key.choices:
        return {"enum": list(key.choices)}
    return {"type": "string", "pattern": f"^(?:{key.rule.pattern})$"}


def _demands(table: Table) -> Schema:
    """Return which keys must be there, for this table and those inside; {} when none must."""
    required = [name for name, key in table.keys.items() if key.required]
    inner = {name: _demands(key.table) for name, key in table.keys.items() if key.table}
    properties = {
        name: demands if table.keys[name].type == "table" else {"items": demands}
        for name, demands in inner.items()
        if demands
    }
    return ({"required": required} if required else {}) | (
        {"properties": properties} if properties else {}
    )
