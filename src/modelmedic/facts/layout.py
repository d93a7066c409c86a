"""Names in and around a model's folder: which layout lies there, and where else the files are."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelmedic.facts.book import FactBook, probe
from modelmedic.profile.model import ModelRepo

MAX_NAMES = 5000  # a model repo has some tens of files; a folder full of pictures has more
MAX_FOLDERS = 200  # folders tried as the place where a model might lie instead
# Variants of a model share most files (text encoder, VAE, shards of the same size): only all of
# them tell which one it is. No known model has more.
MAX_TRIED_FILES = 64
# What only a Diffusers repo has. Source: diffusers pipeline_utils.py, config_name and the
# component folders that it names.
DIFFUSERS_INDEX = "model_index.json"
_WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".gguf", ".onnx")
_COMPONENTS = ("transformer", "transformer_2", "unet")
_BF16 = re.compile(r"[-._]bf16(?=[-._])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Listing:
    """Names in a folder and one level below, POSIX form, links not followed.

    ``exists`` is False when it is missing or no folder. ``is_cut``: more than `MAX_NAMES`.
    """

    subject: str
    exists: bool
    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    is_cut: bool = False

    @property
    def is_diffusers(self) -> bool:
        """Return whether it is laid out as a Diffusers pipeline."""
        return DIFFUSERS_INDEX in self.files

    @property
    def has_native_weights(self) -> bool:
        """Return whether weights lie as the model's authors publish them, with no pipeline."""
        flat = any(
            "/" not in name and name.endswith((".pth", ".safetensors")) for name in self.files
        )
        return flat and not self.is_diffusers and not self.folders.intersection(_COMPONENTS)

    def native_beside_diffusers(self, expected: frozenset[str]) -> bool:
        """Return whether a pipeline's own files lie between those of a native model."""
        return (
            self.is_diffusers
            and DIFFUSERS_INDEX not in expected
            and bool(self.folders.intersection(_COMPONENTS))
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A folder that holds files of a model under their right names."""

    subject: str  # relative to the install; may begin with ".."
    found: int
    tried: int


@probe("local_read")
def read_listing(facts: FactBook, folder: str) -> Listing:
    """Return the names in ``folder``, relative to the install ("." is the install itself)."""
    return list_names(facts.context.place / folder, folder)


@probe("local_read")
def read_is_folder(facts: FactBook, folder: str) -> bool:
    """Return whether ``folder``, relative to the install, is a folder or a link to one anywhere."""
    return (facts.context.place / folder).is_dir()


@probe("local_read")
def read_candidates(facts: FactBook, name: str) -> tuple[Candidate, ...]:
    """Return folders near the install where model ``name`` lies instead of in its own folder.

    Looked at are the folders beside and below the install and the model's folder, two levels. A
    folder counts if it has all weights in their right size; below the model's own folder also if
    it only has more of them than that folder.
    """
    place = facts.context.place
    model = next(each for each in facts.profile.models if each.name == name)
    own = facts.context.model_dir(model)
    tried = weight_files(model)
    own_count = count_files(own, tried)
    found = []
    for folder in _nearby(place, own):
        count = count_files(folder, tried)
        least = own_count + 1 if folder.is_relative_to(own) and own != place else len(tried)
        if count >= max(least, own_count + 1):
            subject = Path(os.path.relpath(folder, place)).as_posix()
            found.append(Candidate(subject, count, len(tried)))
    return tuple(sorted(found, key=lambda each: (-each.found, each.subject)))


def list_names(folder: Path, subject: str) -> Listing:
    """Return the names in ``folder`` and one level below it."""
    files: set[str] = set()
    folders: set[str] = set()
    try:
        for name, is_folder in _entries(folder, ""):
            (folders if is_folder else files).add(name)
        for inner in sorted(folders):
            for name, is_folder in _entries(folder / inner, f"{inner}/"):
                if not is_folder:
                    files.add(name)
                if len(files) > MAX_NAMES:
                    return Listing(subject, True, frozenset(files), frozenset(folders), True)
    except (FileNotFoundError, NotADirectoryError):
        return Listing(subject, exists=False)
    return Listing(subject, True, frozenset(files), frozenset(folders))


def bf16_names(missing: frozenset[str], present: frozenset[str]) -> tuple[str, ...]:
    """Return the files that carry a bf16 mark where unmarked safetensors are missing.

    Such a set has other shards, so the folder and the mark tell it, not the whole name.
    """
    folders = {os.path.dirname(name) for name in missing if name.endswith(".safetensors")}  # noqa: PTH120 - text
    return tuple(
        sorted(
            name
            for name in present
            if name.endswith(".safetensors")
            and os.path.dirname(name) in folders  # noqa: PTH120 - text
            and _BF16.search(os.path.basename(name))  # noqa: PTH119 - text
        )
    )


def weight_files(model: ModelRepo) -> tuple[tuple[str, int | None], ...]:
    """Return path and size (None: not known) of a model's required weights, the largest first.

    A README.md or config.json lies in many folders and tells nothing; only a model without
    weights is known by its other files. At most `MAX_TRIED_FILES`.
    """
    required = [file for file in model.files if not file.is_optional]
    required = [file for file in required if file.path.endswith(_WEIGHTS)] or required
    required.sort(key=lambda file: (-(file.size_bytes or 0), file.path))
    return tuple(
        (file.path, file.size_bytes if file.is_certain else None)
        for file in required[:MAX_TRIED_FILES]
    )


def count_files(folder: Path, files: tuple[tuple[str, int | None], ...]) -> int:
    """Return how many of ``files`` lie below ``folder`` as files of their size."""
    count = 0
    for path, size_bytes in files:
        try:
            status = (folder / path).stat()
        except (OSError, ValueError):
            continue
        count += stat.S_ISREG(status.st_mode) and size_bytes in {None, status.st_size}
    return count


def folders_in(folder: Path) -> Iterator[Path]:
    """Give the visible folders in ``folder``, sorted; none if it may not be listed."""
    try:
        names = [name for name, is_folder in _entries(folder, "") if is_folder]
    except OSError:
        return
    for name in sorted(names)[:MAX_FOLDERS]:
        if not name.startswith("."):
            yield folder / name


def _entries(folder: Path, prefix: str) -> Iterator[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= MAX_NAMES:
                return
            yield prefix + entry.name, entry.is_dir(follow_symlinks=False)


def _nearby(place: Path, own: Path) -> Iterator[Path]:
    """Give folders that a model may have been put into instead of ``own``, each once."""
    seen = {own}
    for parent in (own, place, own.parent, place.parent):
        level = list(folders_in(parent))
        for folder in [parent, *level, *(i for each in level for i in folders_in(each))]:
            if folder not in seen:
                seen.add(folder)
                yield folder
            if len(seen) > MAX_FOLDERS:
                return
