"""What can differ between machines: packages, driver, GPUs, system, memory, files, profile."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

_SERIES = re.compile(r"(\d+\.\d+)[.\w+-]")  # "2.4" of "2.4.1+cu121"
_GIB = 1 << 30
# GiB of memory where what fits changes. Source: the sizes memory is sold in; with a fifteenth off,
# because firmware and graphics keep some of it.
_MEMORY_GIB = (8, 16, 32, 64, 128, 256)
_KEPT_BACK = 15 / 16
_MOST_LETTERS = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Machines:
    """Some machines, as bits of a number: machine n is bit n."""

    features: dict[tuple[str, str], int]  # (kind, feature in words): who has it
    known: dict[str, int]  # kind: of whom it is known


def snapshots(connection: sqlite3.Connection, hashes: Iterable[str]) -> dict[str, sqlite3.Row]:
    """Return the environments with these hashes."""
    found = {}
    for digest in set(hashes):
        query = (
            "SELECT hash, system, python, driver, gpus, memory_bytes, packages, files "
            "FROM environment WHERE hash = ?"
        )
        row = connection.execute(query, (digest,)).fetchone()
        if row is not None:
            found[digest] = row
    return found


def of_machines(described: Mapping[int, Iterable[tuple[str, str, bool]]]) -> Machines:
    """Return which machine has which feature.

    Args:
        described: Of each machine its features as `of_environment` gives them.
    """
    features: dict[tuple[str, str], int] = defaultdict(int)
    known: dict[str, int] = defaultdict(int)
    for number, own in described.items():
        for kind, words, is_there in own:
            known[kind] |= 1 << number
            if is_there:
                features[kind, words[:_MOST_LETTERS]] |= 1 << number
    return Machines(dict(features), dict(known))


def table(text: str, kind: type[T]) -> dict[str, T]:
    """Return a JSON table of a snapshot; what is none, or holds another kind, is left out."""
    found = _loaded(text)
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in pairs if type(value) is kind}


def names(text: str) -> list[str]:
    """Return a JSON list of names of a snapshot; what is none is empty."""
    found = _loaded(text)
    return [name for name in found if type(name) is str] if isinstance(found, list) else []


def of_environment(row: Any, profile: str, modelmedic: str) -> Iterator[tuple[str, str, bool]]:
    """Yield kind and words of each feature of a machine; a kind that is not known yields nothing.

    The third value is False where only the kind is known: a target Python without any package.
    """
    _digest, system, python, driver, gpus, memory, packages, files = row
    yield from _all("profile", [f"profile {profile}"])
    yield from _all("modelmedic", [f"modelmedic {modelmedic}"])
    if system:
        yield from _all("system", _system(system))
    if python:
        yield from _all("python", {f"Python {python}", *_series("Python", python)})
        yield from _all("package", _packages(table(packages, str)))
    yield from _all("driver", _driver(driver))
    yield from _all("gpu", _gpus(names(gpus)))
    if memory:
        yield from _all("memory", [_memory(memory)])
    if sizes := table(files, int):
        yield from _all("file", _files(sizes))


def _all(kind: str, words: Iterable[str]) -> Iterator[tuple[str, str, bool]]:
    yield kind, "", False
    for each in words:
        yield kind, each, True


def _system(text: str) -> set[str]:
    """Return "Linux 6.1 x86_64", and what of it many machines share."""
    name, _, rest = text.partition(" ")
    version, _, processor = rest.rpartition(" ")
    found = {text, name, *_series(name, version)}
    return found | ({processor} if processor else set())


def _driver(text: str) -> set[str]:
    if not text:
        return {"no NVIDIA driver"}
    return {f"driver {text}", f"driver {text.partition('.')[0]}.x"}


def _gpus(cards: list[str]) -> set[str]:
    if not cards:
        return {"no GPU"}
    many = f"{len(cards)} GPU{'s' if len(cards) > 1 else ''}"
    return {many, *(f"GPU {name}" for name in cards)}


def _memory(count_bytes: int) -> str:
    sizes = [gib for gib in _MEMORY_GIB if count_bytes >= gib * _GIB * _KEPT_BACK]
    if not sizes:
        return f"memory under {_MEMORY_GIB[0]} GiB"
    above = _MEMORY_GIB[len(sizes) : len(sizes) + 1]
    return f"memory {sizes[-1]} GiB or more" + (f", under {above[0]}" if above else "")


def _packages(packages: Mapping[str, str]) -> Iterator[str]:
    for name, version in packages.items():
        yield f"{name} installed"
        yield f"{name} {version}"
        yield from _series(name, version)
        if "+" in version:
            yield f"{name} built as +{version.partition('+')[2]}"


def _files(sizes: Mapping[str, int]) -> Iterator[str]:
    for name, count in sizes.items():
        yield f"{name} there"
        yield f"{name} of {count:,} bytes"


def _series(name: str, version: str) -> set[str]:
    """Return "torch 2.4.x" for 2.4.1; nothing where that is the whole version."""
    found = _SERIES.match(version)
    return {f"{name} {found[1]}.x"} if found else set()


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
