"""Rebuild the index of a sharded model from its shards, when the index is all that is damaged."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from modelmedic.context import ExpectedFile
from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.facts import weight_index, weights
from modelmedic.facts.book import FactBook
from modelmedic.facts.safetensors_header import Header
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Operation
from modelmedic.operations.kinds import ReplaceFile
from modelmedic.operations.tree import Tree
from modelmedic.profile.model import ModelFile
from modelmedic.strategies import files
from modelmedic.strategies.weights import expected
from modelmedic.text import printable

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.safetensors")
_INDENTS = (2, 4, None)
_ENDS = ("\n", "")


def plan_rebuild(facts: FactBook, subject: str) -> Iterator[Operation]:
    """Yield what writes an index anew.

    Raises:
        RecoveryRefused: It is no index, a shard is missing or damaged, or none of the usual ways
            to write an index gives the expected bytes.
    """
    if not subject.endswith(weight_index.INDEX_SUFFIX):
        raise NotItsCase(f"{printable(subject)} is no index of shards.")
    wanted = expected(facts.context, subject)
    shards = _shards(facts, wanted)
    content = _content(wanted.file, shards)
    if content is None:
        raise RecoveryRefused(
            f"{printable(subject)} was not rebuilt: what its shards tell does not give the "
            "expected bytes.",
            "It holds something that no shard says, or was written in an unusual way.",
        )
    tree = Tree(facts.context.place)
    yield from files.plan_parents(facts.context, subject)
    yield ReplaceFile(subject, content, seen(tree.identity(subject)), "from its shards")


def _shards(facts: FactBook, wanted: ExpectedFile) -> dict[str, Header]:
    """Return the header of each shard by file name, in the order of the shards.

    Raises:
        RecoveryRefused: One is missing, damaged, or of another size than is listed.
    """
    subject = PurePosixPath(wanted.subject)
    stem = subject.name.removesuffix(weight_index.INDEX_SUFFIX)
    found: dict[str, Header] = {}
    counts = set()
    for entry in sorted(facts.context.expected_files(), key=lambda each: each.subject):
        path = PurePosixPath(entry.subject)
        match = _SHARD.fullmatch(path.name)
        if path.parent != subject.parent or match is None or match["stem"] != stem:
            continue
        counts.add(int(match["count"]))
        found[path.name] = _header(facts, entry)
    if not found or counts != {len(found)}:
        raise RecoveryRefused(
            f"{printable(wanted.subject)} was not rebuilt: the profile does not list all shards."
        )
    return found


def _header(facts: FactBook, shard: ExpectedFile) -> Header:
    state = facts.get(weights.read_file_state, shard.subject)
    header = facts.get(weights.read_content, shard.subject).header if state.is_present else None
    sizes = {None, state.size_bytes}
    is_whole = header is not None and header.flaw is None and shard.file.size_bytes in sizes
    if header is None or not is_whole:
        raise RecoveryRefused(
            f"The index was not rebuilt: {printable(shard.subject)} is missing or damaged itself.",
            "Its header would not tell the truth.",
        )
    return header


def _content(file: ModelFile, shards: dict[str, Header]) -> str | None:
    """Return the text of the index; None when what is known of it fits no way to write it."""
    is_bound = bool(file.sha256 or file.git_blob or (file.is_certain and file.size_bytes))
    for text in _texts(shards):
        if not is_bound or _fits(file, text.encode()):
            return text
    return None


def _fits(file: ModelFile, data: bytes) -> bool:
    if file.is_certain and file.size_bytes not in {None, len(data)}:
        return False
    if file.sha256:
        return hashlib.sha256(data).hexdigest() == file.sha256.lower()
    if file.git_blob:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
        return blob.hexdigest() == file.git_blob.lower()
    return True


def _texts(shards: dict[str, Header]) -> Iterator[str]:
    r"""Give the index as the usual writers write it, the most usual first.

    Source: ``save_pretrained`` of transformers and diffusers, ``save_torch_state_dict`` of
    huggingface_hub: ``json.dumps(index, indent=2, sort_keys=True) + "\n"``; others leave the
    order of the tensors, the newline, or the metadata as they come.
    """
    placed = {tensor.name: name for name, header in shards.items() for tensor in header.tensors}
    total_bytes = sum(header.data_bytes for header in shards.values())
    metadata: tuple[dict[str, Any] | None, ...] = (
        {"total_size": total_bytes},
        {"total_size": float(total_bytes)},
        {},
        None,
    )
    orders = (dict(sorted(placed.items())), placed)
    for about, indent, end, order, is_first in itertools.product(
        metadata, _INDENTS, _ENDS, orders, (True, False)
    ):
        parts: list[tuple[str, Any]] = [("weight_map", order)]
        if about is not None:
            parts.insert(0 if is_first else 1, ("metadata", about))
        yield json.dumps(dict(parts), indent=indent) + end
