"""Data classes and named tuples of the scan: their fields in the order of the constructor."""

from __future__ import annotations

from modelmedic.scan.symbols import Class, Field
from modelmedic.scan.table import External, Table

_DATACLASS = "dataclasses.dataclass"
_NAMED_TUPLE = "typing.NamedTuple"


def is_record(table: Table, found: Class) -> bool:
    """Return whether a class is made of fields: a dataclass, or a NamedTuple."""
    return is_dataclass(table, found) or _NAMED_TUPLE in table.lineage(found).externals


def is_dataclass(table: Table, found: Class) -> bool:
    """Return whether a class is decorated by the standard library's dataclass, itself."""
    for name in found.decorators:
        meant = table.resolve(found.module, name)
        if isinstance(meant, External) and meant.name == _DATACLASS:
            return True
    return False


def constructor_fields(table: Table, found: Class) -> list[Field] | None:
    """Return the arguments of a record's constructor; None where the code does not say them all."""
    lineage = table.lineage(found)
    if not lineage.is_known or any(not each.is_plain_body for each in lineage.classes):
        return None
    if any({"__init__", "__new__"} & each.members.keys() for each in lineage.classes):
        return None
    if _NAMED_TUPLE in lineage.externals:
        return list(found.fields) if lineage.classes == (found,) else None
    if len(found.bases) > 1 or not lineage.externals <= {"builtins.object", "abc.ABC"}:
        return None
    if not all(is_dataclass(table, each) for each in lineage.classes):
        return None
    return _merged(lineage.classes)


def _merged(classes: tuple[Class, ...]) -> list[Field] | None:
    fields: dict[str, Field] = {}
    for each in reversed(classes):
        if any(word in {"init=False", "kw_only=True"} for word in each.decorator_words):
            return None
        fields |= {one.name: one for one in each.fields}
    return [one for one in fields.values() if one.is_argument]
