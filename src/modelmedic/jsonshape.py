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

Judge = Callable[[Any], bool]

_BOTH: Mapping[bool, Judge] = {True: lambda _value: True, False: lambda _value: False}
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


def compiled(schema: Mapping[str, Any]) -> Judge:
    """Return the same judgement as yes or no, ten times faster, for who reads thousands.

    What is wrong with a value that is refused says `first_fault`.
    """
    return _compiled(schema, schema, {})


def _compiled(schema: Mapping[str, Any], root: Mapping[str, Any], made: dict[str, Judge]) -> Judge:
    if "$ref" in schema:
        return _named(schema["$ref"].rpartition("/")[2], root, made)
    is_own = _own_judge(schema)
    if "items" in schema:
        return _list_judge(is_own, _compiled(schema["items"], root, made))
    others = schema.get("additionalProperties", True)
    if others is True and not {"properties", "required"} & set(schema):
        return is_own
    known: Mapping[str, Any] = schema.get("properties", {})
    parts = {key: _compiled(part, root, made) for key, part in known.items()}
    usual = {key: _usual(part, root) for key, part in known.items()}
    is_other = _compiled(others, root, made) if isinstance(others, dict) else _BOTH[others]
    return _object_judge(is_own, parts, usual, is_other, frozenset(schema.get("required", ())))


def _usual(schema: Mapping[str, Any], root: Mapping[str, Any]) -> frozenset[Any]:
    """Return types, and words, of which every value fits; of others the judge has to say.

    Most values are one of them, and the call of a judge for each would take twice the time.
    """
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if not set(schema) <= {"type", "enum", *ANNOTATIONS} or "type" not in schema:
        return frozenset()
    if "enum" in schema:
        return frozenset(word for word in schema["enum"] if isinstance(word, str))
    kinds = schema["type"]
    named = [kinds] if isinstance(kinds, str) else kinds
    return frozenset(kind for name in named for kind in _TYPES[name])


def _named(name: str, root: Mapping[str, Any], made: dict[str, Judge]) -> Judge:
    """Return the judge of a definition; one that refers to itself asks for it when it is made."""
    if name not in made:
        made[name] = lambda value: made[name](value)  # noqa: PLW0108 - not yet what it will be
        made[name] = _compiled(root["$defs"][name], root, made)
    return made[name]


def _list_judge(is_own: Judge, is_item: Judge) -> Judge:
    def judge(value: Any) -> bool:
        return is_own(value) and (not isinstance(value, list) or all(map(is_item, value)))

    return judge


def _object_judge(
    is_own: Judge,
    parts: Mapping[str, Judge],
    usual: Mapping[str, frozenset[Any]],
    is_other: Judge,
    required: frozenset[str],
) -> Judge:
    def judge(value: Any) -> bool:
        if not isinstance(value, dict):
            return is_own(value)
        if not is_own(value) or not required <= value.keys():
            return False
        for key, part in value.items():
            kind = type(part)
            fitting = usual.get(key, _NOTHING)
            if kind in fitting or (kind is str and part in fitting):
                continue
            if not parts.get(key, is_other)(part):
                return False
        return True

    return judge


def _own_judge(schema: Mapping[str, Any]) -> Judge:
    """Return the judge of a value without its parts; the usual answers are known beforehand."""
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    limits = [(is_kept, schema[name]) for name, is_kept, _text in _LIMITS if name in schema]
    usual = frozenset(kind for name in kinds for kind in _TYPES[name])

    def judge(value: Any) -> bool:
        if type(value) not in usual and not any(_is(value, kind) for kind in kinds):
            return False
        for is_kept, limit in limits:  # noqa: SIM110 - a generator costs half as much again
            if not is_kept(value, limit):
                return False
        return True

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


_NOTHING: frozenset[Any] = frozenset()


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# A limit says nothing about a value of another type, as in JSON Schema.
_LIMITS: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("const", lambda value, limit: value == limit, "it is not"),
    ("enum", lambda value, limit: value in limit, "it is none of"),
    ("pattern", lambda value, limit: not _is_text(value) or bool(re.search(limit, value)),
     "it does not match"),
    ("maxLength", lambda value, limit: not _is_text(value) or len(value) <= limit,
     "it is longer than"),
    ("minimum", lambda value, limit: not _is_number(value) or value >= limit, "it is less than"),
    ("maximum", lambda value, limit: not _is_number(value) or value <= limit, "it is more than"),
    ("maxItems", lambda value, limit: not isinstance(value, list) or len(value) <= limit,
     "it has more items than"),
)  # fmt: skip
