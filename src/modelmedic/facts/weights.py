"""Model files: what lies where one is expected, and what its first and last bytes say.

Every read is bounded by the header or directory of the file, never by its size. Nothing is
unpickled, no link out of the install is followed.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from modelmedic.errors import CannotTell
from modelmedic.facts import checkpoint_zip, safe_open, safetensors_header, sparse
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.flaw import Flaw
from modelmedic.facts.safe_open import FileState, SafeFile
from modelmedic.profile.model import ModelFile
from modelmedic.text import printable

_START_BYTES = 4096  # one page: tells every kind apart and holds any Git LFS pointer whole
# A config or an index is parsed whole up to here (the largest known index has 0.2 MB); a larger
# JSON, such as a tokenizer of 17 MB, is judged by its last byte, which any cut takes away.
MAX_PARSED_JSON_BYTES = 1 << 20
MAX_POINTER_BYTES = 1024
# Texts that people change in a model's folder. Not .txt: a vocabulary that was cut is whole text.
_TEXTS = frozenset({".json", ".md", ".py", ".yaml", ".yml", ".toml", ".jinja"})
_INDEX = ".index.json"
_BINARY = frozenset({"safetensors", "checkpoint"})
_SHOWN_CHARS = 120
# Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md (a pointer is below 1024 bytes)
_POINTER = re.compile(
    rb"\Aversion https?://[^\n]*git-lfs[^\n]*/spec/[^\n]*\n"
    rb"(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,19})\n?"
)
_POINTER_START = b"version https://git-lfs.github.com/spec/"
_HTML = (b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<meta", b"<?xml", b"<!--")


# All that a server's error in JSON holds; a config has other keys.
_ERROR_KEYS = frozenset(
    {"error", "errors", "message", "detail", "code", "status", "success", "request_id"}
)


class Kind(enum.Enum):
    """What the first bytes of a file say it is."""

    SAFETENSORS = "safetensors"
    ZIP = "zip archive"
    PICKLE = "pickle without a zip around it"
    LFS_POINTER = "Git LFS pointer"
    HTML = "web page"
    JSON = "JSON text"
    ZEROS = "zero bytes"
    EMPTY = "empty file"
    OTHER = "other content"


_TEXT_KINDS = frozenset({Kind.JSON, Kind.HTML, Kind.OTHER})


@dataclass(frozen=True, slots=True)
class Pointer:
    """A Git LFS pointer: the file that should be there. ``oid`` is its sha256."""

    oid: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Text:
    """The hashes of a small text that is whole: JSON that parses, other text without NUL."""

    sha256: str
    git_blob: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds, judged by its own structure.

    ``flaw`` is what the structure the name asks for (``.safetensors``, ``.pth``, ``.json``) does
    not keep; None when it keeps it or has none to keep. ``start_text`` is the beginning, escaped.
    """

    subject: str
    kind: Kind
    size_bytes: int
    start_text: str = ""
    pointer: Pointer | None = None
    header: safetensors_header.Header | None = None
    archive: checkpoint_zip.Archive | None = None
    flaw: Flaw | None = None
    holes: tuple[sparse.Range, ...] = ()  # never written, so they read as zeros
    text: Text | None = None

    @property
    def hole_bytes(self) -> int:
        """Return how many bytes were never written."""
        return sum(end - start for start, end in self.holes)

    def tensors_in(self, ranges: tuple[sparse.Range, ...]) -> tuple[str, ...]:
        """Return the tensors (of a checkpoint: the records) with bytes in ``ranges``."""
        if self.header is not None:
            data_at = safetensors_header.LENGTH_BYTES + self.header.header_bytes
            spans = [
                (tensor.name, data_at + tensor.start_bytes, data_at + tensor.end_bytes)
                for tensor in self.header.tensors
            ]
        else:
            records = self.archive.records if self.archive else ()
            spans = [(each.name, each.start_bytes, each.end_bytes) for each in records]
        return tuple(name for name, start, end in spans if sparse.overlap_bytes(ranges, start, end))

    def is_edited(self, file: ModelFile) -> bool:
        """Return whether it is a small text that somebody changed: whole, and not as published.

        Such a file is left alone. An index of shards is none: nobody edits it by hand.
        """
        if self.text is None:
            return False
        return any(
            wanted is not None and wanted != found
            for wanted, found in (
                (file.size_bytes if file.is_certain else None, self.size_bytes),
                (file.sha256, self.text.sha256),
                (file.git_blob, self.text.git_blob),
            )
        )


def expected_format(path: str) -> str:
    """Return what the name of a file promises: "safetensors", "checkpoint", "json" or "".

    >>> expected_format("transformer/model-00001-of-00003.safetensors")
    'safetensors'
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in {".pth", ".pt", ".bin", ".ckpt"}:
        return "checkpoint"
    return {".safetensors": "safetensors", ".json": "json"}.get(suffix, "")


@probe("file_header")
def read_file_state(facts: FactBook, subject: str) -> FileState:
    """Return what lies at ``subject``, a POSIX path relative to the install."""
    return safe_open.look(facts.context.place, subject)


@probe("file_header")
def read_content(facts: FactBook, subject: str) -> Content:
    """Return what the file at ``subject`` holds.

    Raises:
        CannotTell: It is not a readable regular file inside the install, or it was written to
            while it was read.
    """
    with safe_open.opened(facts.context.place, subject) as (state, file):
        if file is None:
            raise CannotTell(state.sentence())
        content = inspect(file)
        if file.has_changed():
            raise CannotTell(
                f"{printable(subject)} was written to while it was read.",
                "Most often a download that still runs.",
            )
        return content


def inspect(file: SafeFile) -> Content:
    """Return what an open file holds."""
    subject, size_bytes = file.state.subject, file.size_bytes
    start = file.read_at(0, _START_BYTES)
    kind = kind_of(start)
    asked = expected_format(subject)
    header = archive = flaw = None
    if kind is Kind.SAFETENSORS or (asked == "safetensors" and kind in {Kind.OTHER, Kind.EMPTY}):
        header = safetensors_header.read_header(file.read_at, size_bytes)
        flaw = header.flaw
    elif kind is Kind.ZIP:
        archive = checkpoint_zip.read_archive(file.read_at, size_bytes)
        flaw = archive.flaw if asked == "checkpoint" else None
    elif asked == "json":
        flaw = _json_flaw(file)
    return Content(
        subject=subject,
        kind=kind,
        size_bytes=size_bytes,
        start_text=printable(start[:_SHOWN_CHARS].decode("utf-8", "backslashreplace")),
        pointer=parse_pointer(start) if kind is Kind.LFS_POINTER else None,
        header=header,
        archive=archive,
        flaw=flaw or _mismatch(asked, kind),
        holes=sparse.holes(file.descriptor, size_bytes) if asked in _BINARY else (),
        text=_text(file) if flaw is None and kind in _TEXT_KINDS else None,
    )


def kind_of(start: bytes) -> Kind:
    """Return the kind of a file that begins with ``start``; empty only if the file is."""
    if not start.strip(b"\0"):
        return Kind.ZEROS if start else Kind.EMPTY
    if start.startswith(_POINTER_START) or _POINTER.match(start):
        return Kind.LFS_POINTER
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return Kind.ZIP
    length = int.from_bytes(start[:8], "little")
    # The format asks for "{" as the header's first byte.
    if start[8:9] == b"{" and length <= safetensors_header.MAX_HEADER_BYTES:
        return Kind.SAFETENSORS
    if start[:1] == b"\x80" and start[1:2] in {b"\2", b"\3", b"\4", b"\5"}:
        return Kind.PICKLE
    return _text_kind(start)


def _text_kind(start: bytes) -> Kind:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:16].lower().startswith(_HTML):
        return Kind.HTML
    if text[:1] in {b"{", b"["} and b"\0" not in text:
        return Kind.JSON
    return Kind.OTHER


def parse_pointer(start: bytes) -> Pointer | None:
    """Return the Git LFS pointer that a file begins with; None if it does not."""
    match = _POINTER.match(start)
    return Pointer(match.group(1).decode(), int(match.group(2))) if match else None


def _text(file: SafeFile) -> Text | None:
    path = PurePosixPath(file.state.subject)
    is_small = 0 < file.size_bytes <= MAX_PARSED_JSON_BYTES
    if path.suffix.lower() not in _TEXTS or path.name.endswith(_INDEX) or not is_small:
        return None
    data = file.read_at(0, file.size_bytes)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\0" in text or (path.suffix.lower() == ".json" and _is_error(text)):
        return None
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
    return Text(hashlib.sha256(data).hexdigest(), git.hexdigest())


def _is_error(text: str) -> bool:
    """Return whether a JSON text is the error of a server that was saved as the file."""
    content = json.loads(text.removeprefix("\ufeff"))
    return isinstance(content, dict) and bool(content) and _ERROR_KEYS.issuperset(content)


def _json_flaw(file: SafeFile) -> Flaw | None:
    size_bytes = file.size_bytes
    if size_bytes > MAX_PARSED_JSON_BYTES:
        end = file.read_at(size_bytes - 64, 64).rstrip()
        if end[-1:] in {b"}", b"]", b'"'} or end[-1:].isalnum():
            return None
        return Flaw("cut", f"Its last byte is {end[-1:]!r}, which ends no JSON text.")
    try:
        json.loads(file.read_at(0, size_bytes).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return Flaw("not-json", f"It is not JSON: {printable(error)}.")
    return None


def _mismatch(asked: str, kind: Kind) -> Flaw | None:
    """Return the flaw of a file whose content is of another kind than its name promises."""
    fitting = {
        "safetensors": {Kind.SAFETENSORS, Kind.OTHER, Kind.EMPTY},
        "checkpoint": {Kind.ZIP, Kind.PICKLE},
    }
    if asked not in fitting or kind in fitting[asked]:
        return None
    return Flaw(f"not-{asked}", f"Its first bytes are those of: {kind.value}.")
