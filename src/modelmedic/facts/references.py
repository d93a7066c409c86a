"""What a model file should be, told offline by the first that knows.

The order: the profile; a sealed manifest; the Hub client's listing of a commit
(``trees/<commit>.json``); the ``.metadata`` it leaves beside a download; the name of a blob in its
cache; the text of a Git LFS pointer in the file's place; the index of a sharded model, which knows
only names. What an earlier one says, a later one may complete and never contradict.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from modelmedic.context import Context
from modelmedic.errors import CannotTell
from modelmedic.facts import cache_layout, safe_open, weight_index, weights
from modelmedic.profile.model import ModelFile, ModelRepo
from modelmedic.text import printable

PROFILE = "the profile"
_DOWNLOAD = ".cache/huggingface/download"
_METADATA = ".metadata"
_MAX_METADATA_BYTES = 4096  # three short lines
_MAX_TREE_BYTES = 16 << 20  # about 200 bytes for each file of a repo
_MAX_NAMES = 5000  # a model repo has some tens of files
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
# What a loader reads; a README or a picture that was not downloaded is no loss.
_NEEDED = frozenset(
    {".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".gguf", ".onnx", ".json", ".model"}
)
_SKIPPED = frozenset({".git", ".cache", "__pycache__"})

Rung = Callable[[str], "Reference | None"]


@dataclass(frozen=True, slots=True)
class Reference:
    """What one source says of a file. ``source`` is that source in words."""

    source: str
    size_bytes: int | None = None
    sha256: str | None = None
    git_blob: str | None = None


def completed(context: Context) -> Context:
    """Return the context with every file completed by what lies on this machine.

    A model of which the profile lists no files gets those that the first source lists. Reads a
    few small files, and nothing at all where the profile says everything.
    """
    models, told = [], []
    for model, folder in zip(context.profile.models, context.model_folders, strict=True):
        if model.files and all(file.is_known for file in model.files):
            models.append(model)
            continue
        files = tuple(_complete(context, model, folder))
        models.append(dataclasses.replace(model, files=tuple(file for file, _ in files)))
        prefix = "" if folder == "." else f"{folder}/"
        told += [(prefix + file.path, words) for file, words in files if words != PROFILE]
    if not told:
        return context
    profile = dataclasses.replace(context.profile, models=tuple(models))
    return dataclasses.replace(context, profile=profile, told_by=tuple(told))


def manifest_of(context: Context, model: ModelRepo) -> Any | None:
    """Return the sealed manifest of a model; None if none was given for it."""
    repos = {source.repo for source in model.sources}
    for manifest in context.manifests:
        if manifest.name == model.name or manifest.repo in repos:
            return manifest
    return None


def read_tree(place: Path, subject: str) -> dict[str, Reference] | None:
    """Return what a listing of the Hub's client says, by path; None if it is not readable.

    Source: huggingface_hub 2.4 ``_tree_cache.py``, format_version 1.
    """
    try:
        with safe_open.opened(place, subject) as (_, file):
            if file is None or file.size_bytes > _MAX_TREE_BYTES:
                return None
            listed = json.loads(file.read_at(0, file.size_bytes))
        if listed["format_version"] != 1:
            return None
        words = f"the Hub client's listing {printable(subject)}"
        entries: dict[str, Reference] = {
            path: _of_tree(entry, words) for path, entry in listed["files"].items() if _stays(path)
        }
    except (CannotTell, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return entries


def tree_subject(context: Context, folder: str) -> str:
    """Return where the Hub client's listing for a model's folder lies; "" if there is none."""
    path = PurePosixPath(folder)
    if path.parent.name == "snapshots":
        subject = f"{path.parent.parent}/trees/{path.name}.json"
        return subject if os.path.lexists(context.place / subject) else ""
    trees = "/".join(filter(None, ("" if folder == "." else folder, ".cache/huggingface/trees")))
    try:
        with os.scandir(context.place / trees) as entries:
            found = [
                (each.stat(follow_symlinks=False).st_mtime, each.name)
                for each in entries
                if cache_layout.COMMIT.fullmatch(each.name.removesuffix(".json"))
            ]
    except OSError:
        return ""
    return f"{trees}/{max(found)[1]}" if found else ""


def read_metadata(place: Path, folder: str, path: str) -> Reference | None:
    """Return what the Hub's client wrote down beside a download; None if it did not.

    Source: huggingface_hub ``_local_folder.py``: commit, etag and time in three lines; the etag is
    the sha256 of an LFS file and the Git SHA-1 of a small one.
    """
    subject = _below(folder, f"{_DOWNLOAD}/{path}{_METADATA}")
    try:
        with safe_open.opened(place, subject) as (_, file):
            if file is None:
                return None
            lines = file.read_at(0, _MAX_METADATA_BYTES).decode("utf-8", "replace").splitlines()
    except CannotTell:
        return None
    return _of_etag(lines[1].strip() if len(lines) > 1 else "", printable(subject))


def read_blob_name(place: Path, folder: str, path: str) -> Reference | None:
    """Return what the link of a snapshot says by the name of its blob, be it there or not.

    Source: huggingface_hub ``file_download.py``: a blob's file name is its etag.
    """
    try:
        target = os.readlink(place / _below(folder, path))  # noqa: PTH115 - as text
    except (OSError, ValueError):
        return None
    blob = PurePosixPath(target.replace("\\", "/"))
    if blob.parent.name != "blobs":
        return None
    return _of_etag(blob.name, "its blob name in the Hub cache")


def read_pointer(place: Path, folder: str, path: str) -> Reference | None:
    """Return what a Git LFS pointer in the file's place stands for; None if none lies there."""
    try:
        with safe_open.opened(place, _below(folder, path)) as (_, file):
            if file is None or file.size_bytes >= weights.MAX_POINTER_BYTES:
                return None
            pointer = weights.parse_pointer(file.read_at(0, file.size_bytes))
    except CannotTell:
        return None
    if pointer is None:
        return None
    return Reference("the Git LFS pointer in its place", pointer.size_bytes, pointer.oid)


# -- completing one model --------------------------------------------------------------------------


def _complete(context: Context, model: ModelRepo, folder: str) -> Iterator[tuple[ModelFile, str]]:
    """Give each file of a model as far as it is known, and who told it."""
    listings = [_sealed(context, model), _listed(context, folder)]
    files = model.files or tuple(_named(context, model, folder, listings))
    place = context.place
    for file in files:
        words = [PROFILE] if model.files else [file.source]
        known = file
        for rung in (
            *(listing.get for listing in listings),
            lambda path: read_metadata(place, folder, path),
            lambda path: read_blob_name(place, folder, path),
            lambda path: read_pointer(place, folder, path),
        ):
            if known.is_known:
                break
            reference = rung(file.path)
            if reference is not None and (more := _merged(known, reference)) != known:
                known = more
                words.append(reference.source)
        said = [each for each in dict.fromkeys(words) if each]
        yield known, " and ".join(said) if len(said) > 1 else (said or [PROFILE])[0]


def _merged(file: ModelFile, reference: Reference) -> ModelFile:
    """Return a file completed by a reference, or as it is where the two speak of other bytes."""
    for known, said in (
        (file.size_bytes if file.is_certain else None, reference.size_bytes),
        (file.sha256, reference.sha256),
        (file.git_blob, reference.git_blob),
    ):
        if known is not None and said is not None and known != said:
            return file
    has_size = reference.size_bytes is not None
    return dataclasses.replace(
        file,
        size_bytes=reference.size_bytes if has_size else file.size_bytes,
        is_certain=file.is_certain or has_size,
        sha256=file.sha256 or reference.sha256,
        git_blob=file.git_blob or reference.git_blob,
    )


def _sealed(context: Context, model: ModelRepo) -> Mapping[str, Reference]:
    manifest = manifest_of(context, model)
    if manifest is None:
        return {}
    words = f"the sealed manifest {printable(manifest.name)}"
    return {
        each.path: Reference(
            words, each.digests.size_bytes, each.digests.sha256 or None, each.git_blob or None
        )
        for each in manifest.files
        if _stays(each.path)
    }


def _listed(context: Context, folder: str) -> Mapping[str, Reference]:
    subject = tree_subject(context, folder)
    return (read_tree(context.place, subject) or {}) if subject else {}


def _named(
    context: Context, model: ModelRepo, folder: str, listings: list[Mapping[str, Reference]]
) -> Iterator[ModelFile]:
    """Give the files of a model of which the profile lists none, by the first source that does."""
    place = context.place
    found: Mapping[str, str] = {}
    for listing in listings:
        found = found or {path: reference.source for path, reference in listing.items()}
    found = found or _in_metadata(place, folder) or _in_folder(place, folder)
    for path in sorted(found):
        if path != ".gitattributes" and not any(
            fnmatch.fnmatchcase(path, pattern) for pattern in model.ignored
        ):
            is_needed = PurePosixPath(path).suffix.lower() in _NEEDED
            yield ModelFile(path, is_optional=not is_needed, source=found[path])


def _in_metadata(place: Path, folder: str) -> dict[str, str]:
    base = _below(folder, _DOWNLOAD)
    return {
        path.removesuffix(_METADATA): f"the Hub client's records in {printable(base)}"
        for path in _walk(place, base)
        if path.endswith(_METADATA)
    }


def _in_folder(place: Path, folder: str) -> dict[str, str]:
    """Return the names in a snapshot, else of pointers, else in an index of shards."""
    names = list(_walk(place, folder))
    if PurePosixPath(folder).parent.name == "snapshots":
        return dict.fromkeys(names, "the links of the snapshot in the Hub cache")
    pointers = [name for name in names if read_pointer(place, folder, name)]
    if pointers:
        return dict.fromkeys(pointers, "the Git LFS pointers in the folder")
    found = {}
    for name in names:
        if name.endswith(weight_index.INDEX_SUFFIX):
            words = f"the index {printable(name)}"
            for shard in ("", *_shards(place, _below(folder, name))):
                path = (PurePosixPath(name).parent / shard).as_posix() if shard else name
                if _stays(path):
                    found[path] = words
    return found


def _shards(place: Path, subject: str) -> list[str]:
    try:
        with safe_open.opened(place, subject) as (_, file):
            if file is None or file.size_bytes > weight_index.MAX_INDEX_BYTES:
                return []
            data = file.read_at(0, file.size_bytes)
    except CannotTell:
        return []
    return [shard for shard, _ in weight_index.parse_index(data, subject).tensors]


def _walk(place: Path, folder: str) -> Iterator[str]:
    """Give the names of files and links below a folder, relative to it; at most `_MAX_NAMES`."""
    pending, seen = [""], 0
    while pending:
        inner = pending.pop()
        try:
            with os.scandir(place / folder / inner) as entries:
                found = sorted(entries, key=lambda each: each.name)
        except OSError:
            continue
        for entry in found:
            seen += 1
            if seen > _MAX_NAMES:
                return
            name = f"{inner}/{entry.name}" if inner else entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield name
            elif entry.name not in _SKIPPED:
                pending.append(name)


def _of_tree(entry: Mapping[str, Any], words: str) -> Reference:
    sha256, blob = entry.get("lfs_sha256"), entry["blob_id"]
    size_bytes = entry.get("lfs_size") if sha256 else entry["size"]
    if type(size_bytes) is not int or size_bytes < 0:
        raise ValueError("a size in the listing is none")
    if sha256:  # the Git blob of such a file is its pointer, not its bytes
        return Reference(words, size_bytes, sha256 if _SHA256.fullmatch(sha256) else None)
    return Reference(words, size_bytes, git_blob=blob if _SHA1.fullmatch(blob) else None)


def _of_etag(etag: str, words: str) -> Reference | None:
    if _SHA256.fullmatch(etag):
        return Reference(words, sha256=etag)
    return Reference(words, git_blob=etag) if _SHA1.fullmatch(etag) else None


def _stays(path: object) -> bool:
    """Return whether a name of a listing stays inside the model's folder."""
    if not isinstance(path, str) or not path or "\0" in path or "\\" in path:
        return False
    return not path.startswith("/") and not {"", ".", ".."} & set(path.split("/"))


def _below(folder: str, path: str) -> str:
    return path if folder == "." else f"{folder}/{path}"
