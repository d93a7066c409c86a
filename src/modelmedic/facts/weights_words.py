"""What the state of a model file means, in words: what happened, most likely why, what next."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import Unhealthy
from modelmedic.facts import weights
from modelmedic.facts.safe_open import FileState, State
from modelmedic.facts.weights import Content, Kind
from modelmedic.text import printable, size

Evidence = dict[str, str | int | float | bool | None]

COSTLY_BYTES = 1_000_000_000  # above it a fetch is "costly" and has to be allowed
_SHARD = re.compile(r"-(\d+)-of-(\d+)\.")
# Here "<" as first character is normal, so a web page cannot be told from the real thing.
_MARKUP = frozenset({".md", ".txt", ".html", ".htm", ".xml", ".svg"})
_TRUNCATED = {"safetensors": "truncated-safetensors", "checkpoint": "truncated-pth"}
_BINARY = frozenset(_TRUNCATED)


def absent(context: Context, model_file: ExpectedFile, state: FileState, why: str) -> Unhealthy:
    """Return the verdict on a file that is not there, is a dead link, or no file.

    ``why`` says where a file of that name lies instead; "" if nowhere.
    """
    return Unhealthy(
        f"{called(model_file)} is not there: {state.sentence()}",
        why,
        _bring(context, model_file, has_stray=bool(why)),
        failure_id="missing-shard-or-component",
        subject=model_file.subject,
        evidence={"state": state.state.value, "expected_bytes": model_file.file.size_bytes},
    )


def make_readable(state: FileState) -> str:
    """Return what to do so that a file can be looked at."""
    if state.state is State.OUTSIDE:
        return "Give the folder that really holds the files as --install-dir."
    return "Give this user the right to read it, or run as the user who runs the app."


def foreign(context: Context, model_file: ExpectedFile, content: Content) -> Unhealthy | None:
    """Return the verdict on what a failed download leaves in place of a file; None if it is not.

    That is a Git LFS pointer, a web page, a server's error as JSON, or reserved zero bytes.
    """
    is_binary = weights.expected_format(model_file.subject) in _BINARY
    is_markup = PurePosixPath(model_file.subject).suffix.lower() in _MARKUP
    failure_id: str | None = "error-page-saved-as-weight"
    why = "Most often a login page, proxy or server error that was saved as the file."
    if content.kind is Kind.LFS_POINTER:
        failure_id = "lfs-pointer-instead-of-weights"
        why = "Most often a git clone without git-lfs."
        if content.pointer:
            why += f" The file it stands for has {content.pointer.size_bytes:,} bytes."
    elif content.kind is Kind.ZEROS and is_binary:
        failure_id = None
        why = "Most often a download that reserved the space and was then interrupted."
    elif (content.kind is Kind.HTML and not is_markup) or (content.kind is Kind.JSON and is_binary):
        why += f" It begins: {content.start_text}"
    else:
        return None
    return Unhealthy(
        f"{printable(model_file.subject)} {_holds(content)}: {_sizes(model_file, content)}.",
        why,
        refetch(context, model_file.file.size_bytes),
        failure_id=failure_id,
        subject=model_file.subject,
        evidence=_evidence(model_file, content),
    )


def damaged(context: Context, model_file: ExpectedFile, content: Content) -> Unhealthy:
    """Return the verdict on a file whose size or structure is wrong."""
    is_cut = _is_cut(model_file, content)
    by_format = _TRUNCATED.get(weights.expected_format(model_file.subject))
    has_wrong_size = model_file.file.size_bytes not in {None, content.size_bytes}
    other_id = "consistency-check-size" if has_wrong_size else None
    flaw = f"{content.flaw.text} " if content.flaw else ""
    return Unhealthy(
        f"{called(model_file)} {_fault(content, is_cut=is_cut)}: {printable(model_file.subject)} "
        f"has {_sizes(model_file, content).removeprefix('it has ')}.",
        flaw + _guess(content, is_cut=is_cut),
        refetch(context, model_file.file.size_bytes),
        failure_id=by_format if is_cut and by_format else other_id,
        subject=model_file.subject,
        evidence=_evidence(model_file, content),
    )


def wrong_index(context: Context, subject: str, why: str) -> Unhealthy:
    """Return the verdict on an index that does not describe the shards beside it."""
    return Unhealthy(
        f"{printable(subject)} does not describe the shards beside it.",
        why,
        refetch(context, None),
        subject=subject,
    )


def called(model_file: ExpectedFile) -> str:
    """Return "Shard 3 of 7" or "A model file"."""
    match = _SHARD.search(model_file.file.path)
    return f"Shard {int(match[1])} of {int(match[2])}" if match else "A model file"


def refetch(context: Context, size_bytes: int | None) -> str:
    """Return the command that fetches a file of ``size_bytes`` bytes (None: not known) again."""
    amount = f" ({size(size_bytes)})" if size_bytes else ""
    return (
        f"`{_heal(context, size_bytes)}` fetches it again{amount}; what is there now stays until "
        "the new bytes are proven."
    )


def _heal(context: Context, size_bytes: int | None) -> str:
    allowed = ["--allow", "costly"] if (size_bytes or 0) > COSTLY_BYTES else []
    return context.run_command("--heal", *allowed)


def _bring(context: Context, model_file: ExpectedFile, *, has_stray: bool) -> str:
    size_bytes = model_file.file.size_bytes
    amount = f" ({size(size_bytes)})" if size_bytes else ""
    if has_stray:
        moves = f"`{context.run_command('--heal')}` moves it home if its bytes are right"
        return f"{moves}, else fetches it{amount}."
    return f"`{_heal(context, size_bytes)}` fetches it{amount}."


def _sizes(model_file: ExpectedFile, content: Content) -> str:
    expected_bytes = model_file.file.size_bytes
    known = f"; the profile says {expected_bytes:,}" if expected_bytes is not None else ""
    return f"it has {content.size_bytes:,} bytes{known}"


def _holds(content: Content) -> str:
    if content.kind is Kind.ZEROS:
        return "begins with nothing but zero bytes"
    return f"holds a {content.kind.value} instead of the model"


def _is_cut(model_file: ExpectedFile, content: Content) -> bool:
    flaw = content.flaw
    promised = model_file.file.size_bytes
    if flaw is not None and flaw.promised_bytes is not None:
        promised = flaw.promised_bytes
    return (promised is not None and content.size_bytes < promised) or (
        flaw is not None and flaw.code == "cut"
    )


def _fault(content: Content, *, is_cut: bool) -> str:
    has_structure = content.header is not None or content.archive is not None
    if is_cut and (content.flaw is not None or not has_structure):
        return "is cut short"
    if content.flaw is None:
        return "is another file than the profile means"
    return "is too long" if content.flaw.code == "longer" else "is damaged"


def _guess(content: Content, *, is_cut: bool) -> str:
    if content.flaw is None and (content.header is not None or content.archive is not None):
        return "Its own structure is whole: most often another version or variant of the model."
    if is_cut:
        return "Most often an interrupted download or copy, or a full disk."
    return "Most often bytes that were damaged on the way or on the disk."


def _evidence(model_file: ExpectedFile, content: Content) -> Evidence:
    flaw = content.flaw
    return {
        "size_bytes": content.size_bytes,
        "expected_bytes": model_file.file.size_bytes,
        "kind": content.kind.value,
        "flaw": flaw.code if flaw else None,
        "promised_bytes": flaw.promised_bytes if flaw else None,
        "tensors_cut": len(flaw.tensors) if flaw else 0,
    }
