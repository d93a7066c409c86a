"""Judge a JSON value from outside by one of our published JSON Schemas.

Only the keywords that those schemas use; a test compares the two, and this with ``jsonschema``,
which is a test tool and no dependency.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

KEYWORDS = frozenset(
    {
        "type", "const", "enum", "pattern", "maxLength", "minimum", "maximum", "items", "maxItems",
        "properties", "required", "additionalProperties", "$ref",
    }
)  # fmt: skip
ANNOTATIONS = frozenset({"$schema", "$defs", "title", "description"})

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def first_fault(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return where and how ``value`` breaks the schema ("findings[3].what: ..."), or None."""
    return next(_faults(value, schema, schema, ""), None)


def compiled(schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    """Return the same judgement as yes or no, many times faster from the second value on.

    For who reads thousands; what is wrong with one that is refused says `first_fault`.
    """
    made: dict[str, Callable[[Any], bool]] = {}
    return _compiled(schema, schema, made)


def _compiled(
    schema: Mapping[str, Any], root: Mapping[str, Any], made: dict[str, Callable[[Any], bool]]
) -> Callable[[Any], bool]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in made:
            made[name] = lambda value: made[name](value)  # what refers to itself finds the real one
            made[name] = _compiled(root["$defs"][name], root, made)
        return made[name]
    if set(schema) <= {"type", *ANNOTATIONS} and schema.get("type") == "string":
        return _is_text
    is_own = _own_judge(schema)
    parts = {key: _compiled(part, root, made) for key, part in schema.get("properties", {}).items()}
    others = schema.get("additionalProperties", True)
    is_other = _compiled(others, root, made) if isinstance(others, dict) else None
    is_item = _compiled(schema["items"], root, made) if "items" in schema else None
    required = frozenset(schema.get("required", ()))
    is_open = others is not False

    def judge(value: Any) -> bool:
        if not is_own(value):
            return False
        if isinstance(value, dict):
            if not required <= value.keys():
                return False
            for key, part in value.items():
                is_part = parts.get(key, is_other)
                if is_part is None:
                    if not is_open:
                        return False
                elif not is_part(part):
                    return False
        elif is_item is not None and isinstance(value, list):
            return all(map(is_item, value))
        return True

    has_parts = parts or is_other or is_item or required or not is_open
    return judge if has_parts else is_own


def _own_judge(schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    """Return the judge of a value without its parts; the usual answers are known beforehand."""
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    limits = [(is_kept, schema[name]) for name, is_kept, _text in _LIMITS if name in schema]
    plain = frozenset(kind for name in kinds for kind in _TYPES[name]) - {float}
    if "number" in kinds:
        plain |= {float}
    if limits == [(_is_listed, schema.get("enum"))] and all(
        type(each) in {str, type(None)} for each in schema["enum"]
    ):
        listed = frozenset(each for each in schema["enum"] if any(_is(each, k) for k in kinds))
        return lambda value: type(value) in _HASHED and value in listed

    def judge(value: Any) -> bool:
        if type(value) not in plain and not any(_is(value, kind) for kind in kinds):
            return False
        return all(is_kept(value, limit) for is_kept, limit in limits)

    return judge


def _faults(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str
) -> Iterator[str]:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    problem = _own_fault(value, schema)
    if problem:
        yield f"{where or 'the record'}: {problem}"
    elif isinstance(value, dict):
        yield from _object_faults(value, schema, root, where)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _faults(item, schema.get("items", {}), root, f"{where}[{place}]")


def _own_fault(value: Any, schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is(value, kind) for kind in kinds):
        return f"it is {type(value).__name__}, not {' or '.join(kinds)}"
    for keyword, is_kept, text in _LIMITS:
        if keyword in schema and not is_kept(value, schema[keyword]):
            return f"{text} {schema[keyword]!r}"
    return ""


def _object_faults(
    value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], where: str
) -> Iterator[str]:
    known: Mapping[str, Any] = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{where or 'the record'}: {key} is missing"
    others = schema.get("additionalProperties", True)
    for key, part in value.items():
        if key in known:
            yield from _faults(part, known[key], root, f"{where}.{key}" if where else key)
        elif others is False:
            yield f"{where or 'the record'}: {key!r} is no key of it"
        elif isinstance(others, dict):
            yield from _faults(part, others, root, f"{where}.{key}")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()  # as JSON Schema has it: 1.0 is an integer
    return isinstance(value, _TYPES[kind])


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_listed(value: Any, listed: Any) -> bool:
    return value in listed


_HASHED = frozenset({str, type(None)})

# A limit says nothing about a value of another type, as in JSON Schema.
_LIMITS: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("const", lambda value, limit: value == limit, "it is not"),
    ("enum", _is_listed, "it is none of"),
    ("pattern", lambda value, limit: not _is_text(value) or bool(re.search(limit, value)),
     "it does not match"),
    ("maxLength", lambda value, limit: not _is_text(value) or len(value) <= limit,
     "it is longer than"),
    ("minimum", lambda value, limit: not _is_number(value) or value >= limit, "it is less than"),
    ("maximum", lambda value, limit: not _is_number(value) or value <= limit, "it is more than"),
    ("maxItems", lambda value, limit: not isinstance(value, list) or len(value) <= limit,
     "it has more items than"),
)  # fmt: skip
