"""Where the bytes of a model file go: its own name, or in a cache the blob behind its link."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import RecoveryRefused
from modelmedic.facts import hub_cache
from modelmedic.facts.partials import SUFFIX
from modelmedic.operations.base import Operation
from modelmedic.operations.links import MakeLink
from modelmedic.operations.tree import Tree
from modelmedic.strategies import files
from modelmedic.text import printable

_MOST_NAMES = 20_000  # looked at in search of another program's part of a download


@dataclass(frozen=True, slots=True)
class Landing:
    """Where bytes go, relative to the install, and what the link of the subject says afterwards.

    ``link`` is "" where no link has to be made.
    """

    path: str
    link: str = ""


def landing_of(context: Context, subject: str, etag: str) -> Landing:
    """Return where a file's bytes go.

    In a cache of the Hub's client that is its blob; where other repos read the same blob, this
    repo's own link to it is replaced, so that theirs stays as it is.

    Args:
        context: The subject of the run.
        subject: The file, as the app opens it.
        etag: What the client would name its blob: the sha256, or the Git hash of a small file.

    Raises:
        RecoveryRefused: The name is a link that leads out of the install, or in a circle.
    """
    if context.store != "hub":
        return Landing(subject)
    path, why = hub_cache.real_subject(context, subject)
    if why and path == subject:
        raise RecoveryRefused(f"{printable(subject)} was not touched: {why}.")
    place = hub_cache.blobs_of(subject)
    is_absent = path == subject and Tree(context.place).identity(subject) is None
    if not is_absent or place is None or not etag or os.name == "nt":  # links need rights there
        return Landing(path)
    blobs, way = place
    return Landing(f"{blobs}/{etag}", f"{way}/{etag}")


def land(context: Context, subject: str, link: str, operation: Operation) -> Iterator[Operation]:
    """Yield an operation that brings bytes, with the folders it needs and the link to them."""
    path = getattr(operation, "path", subject)
    yield from files.plan_parents(context, path)
    yield operation
    if link:
        yield from files.plan_parents(context, subject)
        yield MakeLink(subject, link, None)


def stranger_of(context: Context, wanted: ExpectedFile) -> str:
    """Return another program's unfinished download of a file, relative to the install; "" if none.

    Source: huggingface_hub names it ``<etag>.incomplete`` (0.36), ``<etag>.<8 hex>.incomplete``
    (2.x), and in a local folder ``<hash of the path>.<etag>.incomplete``.
    """
    sha256 = (wanted.file.sha256 or "").lower()
    folder = PurePosixPath(context.model_folders[context.profile.models.index(wanted.model)])
    where = folder / ".cache" / "huggingface" / "download"
    if context.store == "hub":
        where = PurePosixPath(folder.parts[0]) / "blobs"
    found: list[tuple[int, str]] = []
    looked = 0
    for at, _folders, names in os.walk(context.place / where):
        for name in names:
            looked += 1
            if sha256 and sha256 in name and name.endswith(SUFFIX):
                path = Path(at, name)
                found.append((path.stat().st_size, path.relative_to(context.place).as_posix()))
        if looked > _MOST_NAMES:
            break
    return max(found, default=(0, ""))[1]
