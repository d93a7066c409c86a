"""A cache of the Hub's client: where the bytes behind a name lie, and who else reads them.

Three forms occur: the file itself (Windows without links, and repairs), a link to the repo's
``blobs/<etag>`` (0.36), and from there a second link to ``blobs/<2 hex>/<xet hash>``, a read-only
store that all repos of the cache share (2.x). Source: huggingface_hub 2.4 ``file_download.py`` and
``utils/_shared_blobs.py``.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelmedic.context import Context
from modelmedic.facts import cache_layout, references
from modelmedic.facts.book import FactBook, probe
from modelmedic.profile.model import ModelRepo
from modelmedic.text import counted, printable

MAX_LINKS = 40  # as the Linux kernel: MAXSYMLINKS in include/linux/namei.h
_MAX_NAMES = 200_000  # names looked at in search of other readers of a file
_MAX_REFS = 1000
_REPO = re.compile(r"(?:models|datasets|spaces|kernels)--.+")
_STORED = re.compile(r"blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Trail:
    """The way from a name to its bytes. Subjects are relative to the install.

    ``links`` are the links that were followed, in their order; ``end`` is where the last one
    leads, be something there or not; "" when it leads out of the install or in a circle.
    """

    links: tuple[str, ...]
    end: str
    is_there: bool = False
    names: int = 0  # hard links of the file: more than one means that it is shared
    is_read_only: bool = False

    @property
    def is_shared_store(self) -> bool:
        """Return whether the bytes lie in the store that all repos of a cache share."""
        return _STORED.fullmatch(self.end) is not None


@dataclass(frozen=True, slots=True)
class Ref:
    """A file below ``refs`` and what is wrong with it.

    ``flaw`` is "" (nothing), "empty", "no-commit" (other text) or "no-snapshot" (what it names is
    not there).
    """

    subject: str
    commit: str
    flaw: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The Hub client's listing of a commit.

    ``missing`` are files of the profile or a sealed manifest that it does not name: the client
    then never fetches them and reports success. ``is_same_commit``: both speak of this commit.
    """

    subject: str
    is_readable: bool
    missing: tuple[str, ...] = ()
    is_same_commit: bool = False


def follow(place: Path, subject: str) -> Trail:
    """Return the way from ``subject`` to its bytes; reads names only, follows by hand."""
    links: list[str] = []
    here = subject
    while len(links) <= MAX_LINKS:
        try:
            found = os.lstat(place / here)
        except (OSError, ValueError):
            return Trail(tuple(links), here)
        if not stat.S_ISLNK(found.st_mode):
            is_file = stat.S_ISREG(found.st_mode)
            is_read_only = not found.st_mode & stat.S_IWUSR
            return Trail(tuple(links), here, is_file, found.st_nlink, is_read_only)
        links.append(here)
        here = _target(place, here)
        if not here:
            break
    return Trail(tuple(links), "")


def real_subject(context: Context, subject: str) -> tuple[str, str]:
    """Return where a repair of ``subject`` must act, and why its bytes may not be written.

    Returns:
        The name of the file itself (of a damaged blob of a Hub cache: ``models--X/blobs/<etag>``)
        and "" where it may be written in place. Where others read the same bytes: the name that
        must be *replaced* instead (of a file in the shared store: this repo's link
        ``blobs/<etag>``), and who they are, as a clause. Of what is not there: where it belongs.
        Of a link that leads out of the install: the name itself, and that as a clause.
    """
    trail = follow(context.place, subject)
    if not trail.end:
        return subject, "it is a link that leads out of the install or in a circle"
    if not trail.is_there:
        return trail.end, ""
    others = read_other_links(context.place, trail) if context.store == "hub" else ()
    if others:
        shown = ", ".join(printable(each) for each in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        replaced = trail.links[-1] if trail.is_shared_store and trail.links else trail.end
        return replaced, f"other repos of the cache share its bytes: {shown}{more}"
    if trail.names > 1:
        return trail.end, f"it has {counted(trail.names, 'name')}, so other folders share its bytes"
    return trail.end, ""


def read_other_links(place: Path, trail: Trail) -> tuple[str, ...]:
    """Return the links in other repos of the cache that lead to the end of a trail, sorted."""
    own = {PurePosixPath(each).parts[0] for each in (*trail.links, trail.end)}
    name = PurePosixPath(trail.end).name
    return tuple(
        sorted(
            subject
            for subject in _blob_links(place, own)
            if PurePosixPath(_target(place, subject)).name == name
            and follow(place, subject).end == trail.end
        )
    )


@probe("local_read")
def read_refs(facts: FactBook, repo: str) -> tuple[Ref, ...]:
    """Return the refs of a repo's folder in the cache, sorted; empty if it has none."""
    folder = facts.context.place / repo
    found = []
    for path in _files_below(folder / "refs"):
        subject = f"{repo}/refs/{path}"
        commit = cache_layout.read_commit(folder / "refs" / path)
        flaw = "" if commit else _flaw_of(folder / "refs" / path)
        if commit and not (folder / "snapshots" / commit).is_dir():
            flaw = "no-snapshot"
        found.append(Ref(subject, commit, flaw))
    return tuple(sorted(found, key=lambda each: each.subject))


@probe("local_read")
def read_tree(facts: FactBook, name: str) -> Tree | None:
    """Return the Hub client's listing for model ``name``; None where it has left none."""
    context = facts.context
    model = next(each for each in facts.profile.models if each.name == name)
    folder = context.model_folders[facts.profile.models.index(model)]
    subject = references.tree_subject(context, folder)
    if not subject:
        return None
    listed = references.read_tree(context.place, subject)
    if listed is None:
        return Tree(subject, is_readable=False)
    commit = PurePosixPath(subject).stem
    wanted = _wanted(context, model, folder, commit)
    missing = tuple(sorted(path for path in wanted if path not in listed))
    is_same = any(wanted[path] for path in missing)
    return Tree(subject, is_readable=True, missing=missing, is_same_commit=is_same)


def blobs_of(subject: str) -> tuple[str, str] | None:
    """Return the ``blobs`` folder for a name in a snapshot and the way to it from there.

    None where it is no name in a snapshot.

    >>> blobs_of("models--a--b/snapshots/1234/vae/config.json")
    ('models--a--b/blobs', '../../../blobs')
    """
    parts = PurePosixPath(subject).parts
    if len(parts) < 4 or parts[1] != "snapshots" or not _REPO.fullmatch(parts[0]):  # noqa: PLR2004 - repo/snapshots/commit/file
        return None
    return f"{parts[0]}/blobs", "../" * (len(parts) - 2) + "blobs"


def _wanted(context: Context, model: ModelRepo, folder: str, commit: str) -> dict[str, bool]:
    """Return the files that a listing must have, and whether it is of the same commit."""
    told_by = dict(context.told_by)
    prefix = "" if folder == "." else f"{folder}/"
    is_pinned = any(source.revision == commit for source in model.sources)
    wanted = {
        file.path: is_pinned or os.path.lexists(context.place / prefix / file.path)
        for file in model.files
        if not file.is_optional
        and told_by.get(prefix + file.path, references.PROFILE).startswith(references.PROFILE)
    }
    manifest = references.manifest_of(context, model)
    if manifest is not None:
        wanted |= {each.path: manifest.revision == commit for each in manifest.files}
    return wanted


def _target(place: Path, link: str) -> str:
    """Return where a link leads, relative to the install; "" if out of it."""
    try:
        text = os.readlink(place / link).removeprefix("\\\\?\\")  # noqa: PTH115 - as text
    except (OSError, ValueError):
        return ""
    if Path(text).is_absolute():
        real = Path(os.path.normpath(text))
        for root in (place, Path(os.path.realpath(place))):
            if real.is_relative_to(root):
                return real.relative_to(root).as_posix()
        return ""
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(link), text.replace(os.sep, "/")))
    return "" if joined.startswith("../") or joined == ".." else joined


def _blob_links(place: Path, own: set[str]) -> Iterator[str]:
    seen = 0
    try:
        with os.scandir(place) as entries:
            repos = sorted(each.name for each in entries if _REPO.fullmatch(each.name))
    except OSError:
        return
    for repo in repos:
        if repo in own:
            continue
        try:
            with os.scandir(place / repo / "blobs") as entries:
                for entry in entries:
                    seen += 1
                    if seen > _MAX_NAMES:
                        return
                    if entry.is_symlink():
                        yield f"{repo}/blobs/{entry.name}"
        except OSError:
            continue


def _files_below(folder: Path) -> Iterator[str]:
    pending, seen = [""], 0
    while pending:
        inner = pending.pop()
        try:
            with os.scandir(folder / inner) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _MAX_REFS:
                        return
                    name = f"{inner}/{entry.name}" if inner else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(name)
                    else:
                        yield name
        except OSError:
            continue


def _flaw_of(ref: Path) -> str:
    try:
        return "no-commit" if ref.stat().st_size else "empty"
    except OSError:
        return "no-commit"
