"""Other copies of the profile's models on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelmedic.facts import layout
from modelmedic.facts.book import FactBook, probe
from modelmedic.profile.model import ModelRepo


@dataclass(frozen=True, slots=True)
class OtherInstall:
    """A folder outside the install that holds files of a model.

    ``found`` of the ``tried`` weights lie there in their right size; their bytes were not read.
    """

    model: str
    folder: Path
    found: int
    tried: int


@probe("local_read")
def read_others(facts: FactBook) -> tuple[OtherInstall, ...]:
    """Return other copies in the Hub's and ModelScope's caches and beside the install."""
    place = Path(os.path.realpath(facts.context.place))
    found = []
    for model in facts.profile.models:
        tried = layout.weight_files(model)
        for folder in dict.fromkeys(places(place, model)):
            if facts.context.store and Path(os.path.realpath(folder)).is_relative_to(place):
                continue  # the cache that is examined
            count = layout.count_files(folder, tried)
            if count:
                found.append(OtherInstall(model.name, folder, count, len(tried)))
    return tuple(found)


def hub_cache() -> Path:
    """Return the Hub's cache folder as its client finds it; it may not exist.

    Source: huggingface_hub ``constants.py``: HF_HUB_CACHE, else HF_HOME/hub, else below
    XDG_CACHE_HOME or ``~/.cache``.
    """
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME")
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home or f"{cache}/huggingface").expanduser() / "hub"


def places(place: Path, model: ModelRepo) -> Iterator[Path]:
    """Give the folders outside an install where a model may lie; they may not exist."""
    for source in model.sources:
        if source.kind == "hub":
            repo = hub_cache() / f"models--{source.repo.replace('/', '--')}" / "snapshots"
            yield from layout.folders_in(repo)
        elif source.kind == "modelscope":
            yield from _modelscope(source.repo)
    for sibling in layout.folders_in(place.parent):
        if sibling != place:
            yield from (sibling / folder for folder in model.folders)


def _modelscope(repo: str) -> Iterator[Path]:
    """Give the places of ModelScope's cache, whose folder names have "___" for a dot."""
    root = Path(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope").expanduser()
    for hub in (root / "hub" / "models", root / "hub", root / "models"):
        yield hub / repo
        yield hub / repo.replace(".", "___")
