"""What a loopback Hub serves: files with the hashes a Hub lists, in repos with commits."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from modelmedic.errors import ModelmedicError

# A Hub keeps these in LFS by the .gitattributes it gives to a new repo, and any file that is
# larger than 10 MiB. Source: https://huggingface.co/docs/hub/repositories-getting-started
_LFS_SUFFIXES = frozenset({
    ".bin", ".ckpt", ".gguf", ".h5", ".model", ".msgpack", ".npy", ".npz", ".onnx", ".pickle",
    ".pkl", ".pt", ".pth", ".safetensors", ".tar", ".tgz", ".zip",
})  # fmt: skip
_LFS_FROM_BYTES = 10 << 20
_READ_BYTES = 1 << 20
_REPO_ID = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repo, as a Hub knows it.

    Args:
        path: Inside the repo, with slashes.
        size_bytes: Length of the content.
        sha256: Of the content, hexadecimal.
        git_oid: Git SHA-1 of the content, or of its LFS pointer.
        is_lfs: Whether the content lies on the CDN and Git holds a pointer.
        content: The bytes, or the file on disk that has them.
    """

    path: str
    size_bytes: int
    sha256: str
    git_oid: str
    is_lfs: bool
    content: bytes | Path = field(repr=False)

    @classmethod
    def of(cls, path: str, content: bytes | Path) -> HubFile:
        """Return ``content`` as the file ``path``, hashed once.

        Raises:
            ModelmedicError: The file on disk cannot be read.
        """
        size_bytes, sha256, git_blob = _hashes(content)
        is_lfs = PurePosixPath(path).suffix in _LFS_SUFFIXES or size_bytes > _LFS_FROM_BYTES
        oid = _git_blob(_pointer(sha256, size_bytes)) if is_lfs else git_blob
        return cls(path, size_bytes, sha256, oid, is_lfs, content)

    @property
    def pointer(self) -> bytes:
        """The text that Git holds in place of a file in LFS."""
        return _pointer(self.sha256, self.size_bytes)

    @property
    def etag(self) -> str:
        """The quoted ETag of the content itself: sha256 in LFS, Git SHA-1 otherwise."""
        return f'"{self.sha256 if self.is_lfs else self.git_oid}"'

    def open(self) -> BinaryIO:
        """Return the content as a stream at its beginning; the caller closes it."""
        return self.content.open("rb") if isinstance(self.content, Path) else _stream(self.content)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one commit, by path."""

    commit: str
    files: Mapping[str, HubFile]


@dataclass(frozen=True, slots=True)
class Repo:
    """A repo: its revisions by name, and whether one must be admitted to read it."""

    repo_id: str
    revisions: Mapping[str, Snapshot]
    is_gated: bool = False

    @property
    def commit(self) -> str:
        """The commit of ``main``, or of the first revision given."""
        return (self.revisions.get("main") or next(iter(self.revisions.values()))).commit

    def find(self, revision: str) -> Snapshot | None:
        """Return the snapshot of a branch, tag or full commit; None if there is none."""
        for name, snapshot in self.revisions.items():
            if revision in {name, snapshot.commit}:
                return snapshot
        return None


def take_snapshot(repo_id: str, files: Mapping[str, bytes | Path]) -> Snapshot:
    """Return ``files`` as one commit, whose hash follows from names and content.

    Raises:
        ModelmedicError: The repo id cannot be one, or a file cannot be read.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise ModelmedicError(
            f"{repo_id!r} is no repo id.", "A Hub knows repos as name or owner/name."
        )
    listed = {path: HubFile.of(path, files[path]) for path in sorted(files)}
    names = "\n".join(f"{each.git_oid} {path!r}" for path, each in listed.items())
    commit = hashlib.sha1(f"{repo_id}\n{names}".encode(), usedforsecurity=False).hexdigest()
    return Snapshot(commit, listed)


def files_in(folder: Path) -> dict[str, bytes | Path]:
    """Return the regular files below ``folder`` by their path in it; hidden ones are left out.

    Raises:
        ModelmedicError: ``folder`` is not a folder.
    """
    if not folder.is_dir():
        raise ModelmedicError(f"{folder} is not a folder.", "A Hub serves the files of one.")
    found: dict[str, bytes | Path] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not any(part.startswith(".") for part in inside.parts) and path.is_file():
            found[inside.as_posix()] = path
    return found


def _hashes(content: bytes | Path) -> tuple[int, str, str]:
    """Return size, sha256 and Git SHA-1 of a content, read once."""
    try:
        size_bytes = content.stat().st_size if isinstance(content, Path) else len(content)
        sha256 = hashlib.sha256()
        sha1 = hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
        with content.open("rb") if isinstance(content, Path) else _stream(content) as stream:
            while piece := stream.read(_READ_BYTES):
                sha256.update(piece)
                sha1.update(piece)
    except OSError as error:
        raise ModelmedicError(f"{content!s} cannot be served: {error.strerror}.") from error
    return size_bytes, sha256.hexdigest(), sha1.hexdigest()


def _stream(content: bytes) -> BinaryIO:
    return io.BytesIO(content)


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _pointer(sha256: str, size_bytes: int) -> bytes:
    """Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md."""
    lines = (
        "version https://git-lfs.github.com/spec/v1",
        f"oid sha256:{sha256}",
        f"size {size_bytes}",
    )
    return "".join(f"{line}\n" for line in lines).encode()
