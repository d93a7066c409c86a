"""What is said of a key and of a table of a profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelmedic.profile import rules
from modelmedic.profile.rules import Rule

MAX_INTEGER = 2**63 - 1  # TOML 1.0 promises 64-bit signed integers, no more


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table.

    ``type`` is one of string, integer, number, boolean, strings (an array), value (a scalar or
    an array of scalars), values (an array of scalars), table, tables (an array of tables).
    """

    type: str
    about: str
    required: bool = False
    field: str = ""  # the field of the dataclass, where it is not the key's own name
    rule: Rule = rules.LINE
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int = MAX_INTEGER
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One table: what it is, its keys, and the class its values become.

    ``identity`` is the key by which entries of an array of such tables are told apart: entries
    of a parent and a child profile with the same identity are one entry. Empty: a child's array
    replaces its parent's.
    """

    title: str
    about: str
    keys: Mapping[str, Key]
    builds: type
    identity: str = ""
