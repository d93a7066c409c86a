"""The index of a sharded model (``*.safetensors.index.json``): which tensor lies in which shard."""

from __future__ import annotations

import json
from dataclasses import dataclass

from modelmedic.errors import CannotTell
from modelmedic.facts import safe_open
from modelmedic.facts.book import FactBook, probe
from modelmedic.text import printable

INDEX_SUFFIX = ".safetensors.index.json"
# The index of a model of 1,100 tensors has 0.1 MB; this is room for half a million.
MAX_INDEX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Index:
    """What an index says. ``flaw`` is one sentence on why it says nothing; "" if it does.

    ``tensors`` pairs each shard's name, relative to the index, with its tensors' names.
    """

    subject: str
    tensors: tuple[tuple[str, frozenset[str]], ...] = ()
    total_size_bytes: int | None = None
    flaw: str = ""


@probe("file_header")
def read_index(facts: FactBook, subject: str) -> Index:
    """Return what the index at ``subject`` says.

    Raises:
        CannotTell: It is not a readable file inside the install.
    """
    with safe_open.opened(facts.context.place, subject) as (state, file):
        if file is None:
            raise CannotTell(state.sentence())
        if file.size_bytes > MAX_INDEX_BYTES:
            return Index(subject, flaw=f"It has {file.size_bytes:,} bytes, too many for an index.")
        return parse_index(file.read_at(0, file.size_bytes), subject)


def parse_index(data: bytes, subject: str) -> Index:
    """Return what the bytes of an index say; the reason as ``flaw`` if they say nothing."""
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return Index(subject, flaw=f"It is not JSON: {printable(error)}.")
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        return Index(subject, flaw="It has no weight_map.")
    if not all(isinstance(shard, str) for shard in weight_map.values()):
        return Index(subject, flaw="Its weight_map does not name a file for every tensor.")
    shards: dict[str, set[str]] = {}
    for tensor, shard in weight_map.items():
        shards.setdefault(shard, set()).add(tensor)
    tensors = tuple((shard, frozenset(names)) for shard, names in sorted(shards.items()))
    return Index(subject, tensors, _total_size(content.get("metadata")))


def _total_size(metadata: object) -> int | None:
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, float) and total.is_integer():  # some writers put 2.5e10
        return int(total)
    return total if isinstance(total, int) and not isinstance(total, bool) else None
