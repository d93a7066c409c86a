"""The look into a zip archive: member by member, in memory, within bounds."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelmedic.leaks import Leak, in_text
from modelmedic.leaks.known import Known

MOST_MEMBERS = 10_000
MOST_BYTES = 64 << 20  # of one member
MOST_BYTES_IN_ALL = 512 << 20
_MOST_DEPTH = 4  # of strings that hold JSON, and of archives in archives
_COULD_NOT_LOOK = "could not look"


def look(archive: Path | bytes, known: Known, prefix: str = "", depth: int = 0) -> list[Leak]:
    """Return what leaks in a zip archive; `modelmedic.leaks.in_archive` says more."""
    try:
        source = io.BytesIO(archive) if isinstance(archive, bytes) else archive
        with zipfile.ZipFile(source) as opened:
            return list(_members(opened, known, prefix, depth))
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        return [_blind(prefix, f"the archive cannot be read: {type(error).__name__}")]


def _members(opened: zipfile.ZipFile, known: Known, prefix: str, depth: int) -> Iterator[Leak]:
    infos = opened.infolist()
    if len(infos) > MOST_MEMBERS:
        yield _blind(prefix, f"{len(infos)} members, more than {MOST_MEMBERS}")
        return
    yield from in_text(opened.comment.decode("utf-8", "replace"), known, member=prefix)
    left = MOST_BYTES_IN_ALL
    for info in infos:
        name = _shown(info.filename, known, prefix)
        for leak in in_text(info.filename, known):
            yield Leak(name, 0, leak.kind, leak.masked_line)
        for text in (info.comment, info.extra):
            yield from in_text(text.decode("utf-8", "replace"), known, member=name)
        data = _data(opened, info, min(left, MOST_BYTES))
        if data is None:
            yield _blind(name, "encrypted, damaged, or more than can be looked at")
            continue
        left -= len(data)
        yield from _in_data(data, known, name, depth)


def _data(opened: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes | None:
    try:
        with opened.open(info) as stream:
            data = stream.read(most + 1)
    except (OSError, RuntimeError, zipfile.BadZipFile, NotImplementedError, zlib.error):
        return None
    return data if len(data) <= most else None


def _in_data(data: bytes, known: Known, name: str, depth: int) -> Iterator[Leak]:
    if data[:4] == b"PK\x03\x04":
        if depth >= _MOST_DEPTH:
            yield _blind(name, f"archives in archives, more than {_MOST_DEPTH} deep")
        else:
            yield from look(data, known, f"{name}/", depth + 1)
        return
    if data[:2] == b"\x1f\x8b":
        plain = _unzipped(data)
        if plain is None:
            yield _blind(name, "compressed, and more than can be looked at")
            return
        data = plain
    texts = [data.decode("utf-8", "replace")]
    if b"\0" in data:
        texts += [data[skip:].decode(code, "replace") for skip in (0, 1) for code in _TWO_BYTES]
    for text in texts:
        yield from in_text(text, known, member=name)
    yield from _in_json(texts[0], known, name)


_TWO_BYTES = ("utf-16-le", "utf-16-be")


def _unzipped(data: bytes) -> bytes | None:
    unzip = zlib.decompressobj(wbits=31)
    try:
        plain = unzip.decompress(data, MOST_BYTES + 1)
    except zlib.error:
        return None
    return plain if len(plain) <= MOST_BYTES and not unzip.unconsumed_tail else None


def _in_json(text: str, known: Known, name: str) -> Iterator[Leak]:
    """Yield what leaks only once the escapes of JSON are undone, at any depth of strings."""
    seen: set[tuple[str, str]] = set()
    documents = [text] if text.lstrip()[:1] in {"{", "[", '"'} else []
    lines = text.splitlines() if "\n" in text else []
    for document in documents + [line for line in lines if line[:1] in {"{", "["}]:
        for part in _strings(_loaded(document), 0):
            for leak in in_text(part, known, member=name):
                if (leak.kind, leak.masked_line) not in seen:
                    seen.add((leak.kind, leak.masked_line))
                    yield leak


def _strings(value: Any, depth: int) -> Iterator[str]:
    pending: list[tuple[Any, int]] = [(value, depth)]
    while pending:
        part, level = pending.pop()
        if isinstance(part, str):
            yield part
            if level < _MOST_DEPTH and part.lstrip()[:1] in {"{", "[", '"'}:
                pending.append((_loaded(part), level + 1))
        elif isinstance(part, dict):
            for key, inner in part.items():
                pair = f"{key}={inner}" if isinstance(inner, str) else key
                pending += [(pair, _MOST_DEPTH), (inner, level)]
        elif isinstance(part, list):
            pending += [(inner, level) for inner in part]


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _shown(name: str, known: Known, prefix: str) -> str:
    from modelmedic.leaks import without

    return without(f"{prefix}{name}", known)


def _blind(member: str, why: str) -> Leak:
    return Leak(member, 0, _COULD_NOT_LOOK, why)
