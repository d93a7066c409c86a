"""An install that is a download cache: where in it the profile's models lie.

The Hub's client keeps ``models--<owner>--<name>`` with ``blobs``, ``refs`` and, for each commit,
``snapshots/<commit>`` full of links (huggingface_hub ``file_download.py``); ModelScope keeps
``models/<owner>/<name>``, with ``___`` for each dot (modelscope ``snapshot_download.py``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelmedic.profile.model import ModelRepo

REPO_PREFIX = "models--"
COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_REF_BYTES = 200
_MAX_SNAPSHOTS = 200
_MODELSCOPE_BASES = ("models", "hub/models", "", "hub")


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache that holds at least one model of the profile.

    ``folders`` has one folder per model, ``own`` the folders of the cache that are this profile's,
    both relative to ``root``, in POSIX form. ``kind`` is "hub" or "modelscope". ``is_around``: what
    was given lies inside it.
    """

    root: Path
    kind: str
    folders: tuple[str, ...]
    own: tuple[str, ...]
    is_around: bool = False


def find(given: Path, models: Sequence[ModelRepo]) -> Cache | None:
    """Return the cache that ``given`` is, or lies in; None when it is a plain folder.

    Args:
        given: The install folder, absolute: the root of a cache, the folder of a repo in it, or
            one of its snapshots.
        models: The models of the profile.
    """
    if not models:
        return None
    real = Path(os.path.realpath(given))
    return _inside_hub(real, models) or _hub(real, models) or _modelscope(real, models)


def repo_folder(repo: str) -> str:
    """Return the folder of a repo in a cache of the Hub's client.

    >>> repo_folder("Wan-AI/Wan2.2-T2V-A14B")
    'models--Wan-AI--Wan2.2-T2V-A14B'
    """
    return f"{REPO_PREFIX}{repo.replace('/', '--')}"


def read_commit(ref: Path) -> str:
    """Return the commit that a file below ``refs`` names; "" if it names none."""
    try:
        with ref.open("rb") as stream:
            text = stream.read(_MAX_REF_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return text if COMMIT.fullmatch(text) else ""


def _inside_hub(real: Path, models: Sequence[ModelRepo]) -> Cache | None:
    """Return the cache around a repo's folder, its ``snapshots`` or one of them."""
    for depth, folder in enumerate((real, *real.parents)):
        if not folder.name.startswith(REPO_PREFIX):
            continue
        below = real.relative_to(folder).parts
        if depth > 2 or (below and below[0] != "snapshots"):  # noqa: PLR2004 - repo/snapshots/commit
            return None
        mine = [model for model in models if folder.name in _names(model)]
        if not mine and len(models) > 1:
            return None  # whose repo it is cannot be told
        commit = below[1] if len(below) > 1 else ""
        return _cache(folder.parent, models, mine or list(models), folder.name, commit)
    return None


def _hub(real: Path, models: Sequence[ModelRepo]) -> Cache | None:
    for root in (real, real / "hub"):
        if any((root / name).is_dir() for model in models for name in _names(model)):
            return _cache(root, models, [], "", "")
    return None


def _cache(
    root: Path, models: Sequence[ModelRepo], mine: Sequence[ModelRepo], named: str, commit: str
) -> Cache:
    folders, own = [], []
    for model in models:
        if model in mine:
            name = named
        else:
            names = _names(model)
            held = (each for each in names if (root / each).is_dir())
            name = next(held, names[0] if names else "")
        if not name:  # it cannot be had from the Hub: its usual folder
            folders.append(model.folders[0] if model.folders else ".")
            continue
        chosen = commit if model in mine and commit else _commit(root / name, model)
        folders.append(f"{name}/snapshots/{chosen}")
        own.append(name)
    return Cache(root, "hub", tuple(folders), tuple(dict.fromkeys(own)), is_around=bool(named))


def _names(model: ModelRepo) -> list[str]:
    return [repo_folder(source.repo) for source in model.sources if source.kind == "hub"]


def _commit(repo: Path, model: ModelRepo) -> str:
    """Return the commit whose snapshot the app most likely reads."""
    revisions = [source.revision for source in model.sources if source.kind == "hub"]
    pinned = [each for each in revisions if COMMIT.fullmatch(each)]
    for commit in pinned:
        if (repo / "snapshots" / commit).is_dir():
            return commit
    for name in dict.fromkeys((*revisions, "main")):
        commit = "" if name in pinned else read_commit(repo.joinpath("refs", *name.split("/")))
        if commit and (repo / "snapshots" / commit).is_dir():
            return commit
    best = max(_snapshots(repo), key=lambda each: _rank(each, model), default=None)
    if best is not None:
        return best.name
    known = (read_commit(repo / "refs" / name) for name in ("main", *revisions) if name)
    return next(filter(None, known), (pinned or revisions or ["main"])[0])


def _snapshots(repo: Path) -> Iterator[Path]:
    try:
        with os.scandir(repo / "snapshots") as entries:
            names = [each.name for each in entries if each.is_dir()]
    except OSError:
        return
    for name in sorted(names)[:_MAX_SNAPSHOTS]:
        yield repo / "snapshots" / name


def _rank(snapshot: Path, model: ModelRepo) -> tuple[int, float, str]:
    """Return what tells the better of two snapshots: files of the model, then the newer."""
    held = sum(os.path.lexists(snapshot / file.path) for file in model.files)
    return held, snapshot.stat().st_mtime, snapshot.name


def _modelscope(real: Path, models: Sequence[ModelRepo]) -> Cache | None:
    folders, own = [], []
    for model in models:
        found = _modelscope_folder(real, model)
        folders.append(found or (model.folders[0] if model.folders else "."))
        own += [found] if found else []
    return Cache(real, "modelscope", tuple(folders), tuple(own)) if own else None


def _modelscope_folder(real: Path, model: ModelRepo) -> str:
    """Return the folder of a model in ModelScope's cache, or "." if it is that; "" if neither."""
    for source in model.sources:
        owner, _, name = source.repo.rpartition("/")
        if source.kind != "modelscope" or not owner:
            continue
        for spelt in dict.fromkeys((name, name.replace(".", "___"))):
            if (real.parent.name, real.name) == (owner, spelt):
                return "."
            for base in _MODELSCOPE_BASES:
                folder = "/".join(filter(None, (base, owner, spelt)))
                if (real / folder).is_dir():
                    return folder
    return ""
