"""Extending a profile: the child's keys win, entries with one identity become one entry."""

from __future__ import annotations

import re
from typing import Any

from modelmedic.profile.documents import Node
from modelmedic.profile.fields import PROFILE, Table
from modelmedic.profile.lines import KeyPath


def merge(parent: Node, child: Node) -> Node:
    """Return ``child`` laid over ``parent``; both have passed the checks of a single file."""
    inherited = dict(parent)
    for name, identities in child.get("remove", {}).items():
        _remove(inherited, name, {str(each) for each in identities})
    return _merge_table(inherited, child, PROFILE)


def identity(entry: Node, table: Table) -> object:
    """Return what tells ``entry`` apart from others of its array; None when it has none."""
    value = entry.get(table.identity)
    if table.identity == "spec" and isinstance(value, str):
        found = re.match(r"[A-Za-z0-9._-]+", value)
        return re.sub(r"[-_.]+", "-", found.group()).lower() if found else value
    if table.identity == "path" and isinstance(value, str):
        return value.lower()  # one file on Windows and macOS
    return value if isinstance(value, str | int) else None


def removable(node: Node, name: str) -> tuple[Table | None, list[Node]]:
    """Return the spec and the entries of the array that ``[remove]`` calls ``name``."""
    holder = node.get("python", {}) if name == "requirements" else node
    keys = PROFILE.keys
    if name == "requirements":
        python = keys["python"].table
        keys = python.keys if python else {}
    return keys[name].table, holder.get(name, [])


def same_place(path: KeyPath, *, merged: Node, other: Node) -> KeyPath | None:
    """Return where the value at ``path`` of ``merged`` stands in ``other``; None if it does not.

    Indices are translated by the identity of the entries.
    """
    table: Table | None = PROFILE
    here: Any = merged
    there: Any = other
    translated: KeyPath = ()
    for part in path:
        if isinstance(part, int):
            step: str | int | None = _index(here[part], part, there, table)
            here = here[part]
        else:
            key = table.keys.get(part) if table else None
            step = part if part in there else None
            here = here.get(part, {})
            table = key.table if key else None
        if step is None:
            return None
        there = there[step]
        translated = (*translated, step)
    return translated


def _index(entry: Any, position: int, there: list[Any], table: Table | None) -> int | None:
    """Return the index of ``entry`` in ``there``; arrays without identity keep their order."""
    if table is None or not table.identity:
        return position if position < len(there) else None
    wanted = identity(entry, table)
    return next((n for n, each in enumerate(there) if identity(each, table) == wanted), None)


def _merge_table(parent: Node, child: Node, table: Table) -> Node:
    merged = dict(parent)
    for name, value in child.items():
        key = table.keys.get(name)
        if key is None:
            continue  # extends, remove, abstract: read already
        if name in parent and key.table and key.type == "table":
            merged[name] = _merge_table(parent[name], value, key.table)
        elif name in parent and key.table and key.table.identity:
            merged[name] = _merge_entries(parent[name], value, key.table)
        else:
            merged[name] = value
    return merged


def _merge_entries(parent: list[Node], child: list[Node], table: Table) -> list[Node]:
    merged = {identity(entry, table): entry for entry in parent}
    for entry in child:
        name = identity(entry, table)
        merged[name] = _merge_table(merged.get(name, {}), entry, table)
    return list(merged.values())


def _remove(node: Node, name: str, unwanted: set[str]) -> None:
    table, entries = removable(node, name)
    if table is None or not entries:
        return
    names = {str(identity({table.identity: each}, table)) for each in unwanted}
    kept = [entry for entry in entries if str(identity(entry, table)) not in names]
    if name == "requirements":
        node["python"] = node["python"] | {name: kept}
    else:
        node[name] = kept
