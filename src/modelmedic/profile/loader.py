"""Loading profiles: by name or path, checked, extended, as frozen values."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from modelmedic import rooms
from modelmedic.errors import BadProfile
from modelmedic.profile import rules
from modelmedic.profile.checking import (
    Problem,
    check_document,
    check_removals,
    check_whole,
    shown,
)
from modelmedic.profile.describing import describe
from modelmedic.profile.documents import GUIDE, Document, Node, place, read_chain, read_document
from modelmedic.profile.fields import CONFIG_KEY, PROFILE, Table
from modelmedic.profile.lines import KeyPath
from modelmedic.profile.merging import merge, same_place
from modelmedic.profile.model import Profile
from modelmedic.text import counted, printable

__all__ = ["available", "describe", "load_profile"]


DEFAULT = "wan2.2-ti2v-5b"


def load_profile(name_or_path: str, *, cwd: Path) -> Profile:
    """Return a profile with everything it extends.

    Args:
        name_or_path: The name of a shipped profile; or, when it holds a path separator or ends
            in ".toml", a file. ``~`` stands for the home folder.
        cwd: Absolute folder that a relative path starts from.

    Raises:
        BadProfile: It is not there or wrong; says file, line, key, what was expected and found.
    """
    file = _locate(name_or_path, cwd)
    documents = read_chain(file, find=_locate)
    for document in documents:
        _refuse(check_document(document.data), [document])
    merged = _merge_all(documents)
    _refuse(check_whole(merged), documents, merged)
    if documents[0].data.get("abstract"):
        raise BadProfile(
            f"{place(file)} is only there to be extended.",
            "It has abstract = true.",
            f"Choose one of: {', '.join(available())}.",
        )
    profile: Profile = _build(merged | {"name": _name(documents[0])}, PROFILE, file=file.absolute())
    return profile


def available() -> list[str]:
    """Return the names of the shipped profiles, sorted; those only there to be extended are not.

    A shipped file that cannot be read is listed: loading it says what is wrong.
    """
    files = rooms.room("profiles").glob("*.toml")
    return sorted(file.stem for file in files if not _is_abstract(file))


def _locate(name: str, folder: Path) -> Path:
    separators = [os.sep, os.altsep or os.sep]
    if name.endswith(".toml") or any(separator in name for separator in separators):
        return folder / _expanded(name)
    file = rooms.room("profiles") / f"{name}.toml"
    if name in _shipped():
        return file
    raise _unknown(name, folder)


def _shipped() -> list[str]:
    return [file.stem for file in rooms.room("profiles").glob("*.toml")]


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # "~nobody/x.toml": no such user, so the name means itself
        return Path(name)


def _unknown(name: str, folder: Path) -> BadProfile:
    known = available()
    near = difflib.get_close_matches(name, known, n=1)
    beside = f"{name}.toml"
    if name and "\0" not in name and (folder / beside).is_file():
        next_step = f"For the file in this folder: --profile={os.path.join('.', beside)}"  # noqa: PTH118 - Path drops the "./"
    else:
        next_step = f"--profile={near[0]}" if near else "Choose one of them, or a path to a .toml."
    return BadProfile(
        f'There is no profile "{printable(name)}".', f"There are: {', '.join(known)}.", next_step
    )


def _is_abstract(file: Path) -> bool:
    try:
        return read_document(file).data.get("abstract") is True
    except BadProfile:
        return False


def _merge_all(documents: list[Document]) -> Node:
    merged: Node = {}
    for document in reversed(documents):
        _refuse(check_removals(merged, document.data), [document])
        merged = merge(merged, _with_places(document))
    return merged


def _with_places(document: Document) -> Node:
    """Return a file's data with paths beside it made absolute: another file may inherit them."""
    folder = document.file.absolute().parent
    models = [
        each | {"manifest": str(folder / _expanded(each["manifest"]))}
        if each.get("manifest")
        else each
        for each in document.data.get("models", [])
    ]
    return document.data | ({"models": models} if "models" in document.data else {})


def _refuse(problems: list[Problem], documents: list[Document], merged: Node | None = None) -> None:
    """Raise for the first of ``problems``, in the order of the files and their lines."""
    if not problems:
        return
    placed = [(*_whereabouts(problem, documents, merged), problem) for problem in problems]
    order, line, path, problem = min(placed, key=lambda each: each[:2])
    more = len(problems) - 1
    raise BadProfile(
        f"{place(documents[order].file, line)}: "
        f"{shown(path) or 'the profile'} {problem.what.rstrip('.')}.",
        f"{counted(more, 'more error')} in this profile." if more else "",
        problem.next_step or f"Correct it; {GUIDE}",
    )


def _whereabouts(
    problem: Problem, documents: list[Document], merged: Node | None
) -> tuple[int, int, KeyPath]:
    """Return the document a problem stands in, its line and its key path there."""
    if merged is None:
        return 0, documents[0].line(problem.path), problem.path
    for length in range(len(problem.path), 0, -1):
        for order, document in enumerate(documents):
            path = problem.path[:length]
            if (there := same_place(path, merged=merged, other=document.data)) is not None:
                return order, document.line(there), there + problem.path[length:]
    return 0, 1, problem.path


def _name(document: Document) -> str:
    name: str = document.data.get("name", document.file.stem)
    if refusal := rules.NAME.refusal(name):
        raise BadProfile(
            f"{place(document.file)} has no name, and its file name is none; {refusal}.",
            next_step='Add name = "..." at its top.',
        )
    return name


def _build(data: Node, table: Table, **extra: object) -> Any:
    """Return the value of ``table``'s class that checked ``data`` stands for."""
    values = dict(extra)
    for name, key in table.keys.items():
        field = key.field or name
        if name not in data:
            if key.type in {"strings", "tables"}:
                values[field] = ()
        elif key.table and key.type == "table":
            values[field] = _build(data[name], key.table)
        elif key.table:
            values[field] = tuple(_build(each, key.table) for each in data[name])
        else:
            value = data[name]
            values[field] = tuple(value) if isinstance(value, list) else value
    if table is CONFIG_KEY:
        values["has_default"] = "default" in data
    return table.builds(**values)
