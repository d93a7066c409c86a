"""What the state of a model file means, in words: what happened, most likely why, what next."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import Unhealthy
from modelmedic.facts import weights
from modelmedic.facts.safe_open import FileState, State
from modelmedic.facts.weights import Content, Kind
from modelmedic.text import counted, printable, size

Evidence = dict[str, str | int | float | bool | None]

COSTLY_BYTES = 1_000_000_000  # above it a fetch is "costly" and has to be allowed
_SHARD = re.compile(r"-(\d+)-of-(\d+)\.")
# Here "<" as first character is normal, so a web page cannot be told from the real thing.
_MARKUP = frozenset({".md", ".txt", ".html", ".htm", ".xml", ".svg"})
_TRUNCATED = {"safetensors": "truncated-safetensors", "checkpoint": "truncated-pth"}
_BINARY = frozenset(_TRUNCATED)
_SHOWN = 3  # names in a sentence
_LISTED = 20  # names in the evidence


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
        evidence={
            "damage": state.state.value,
            "state": state.state.value,
            "expected_bytes": model_file.file.size_bytes,
        },
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
    damage = "page"
    why = "Most often a login page, proxy or server error that was saved as the file."
    if content.kind is Kind.LFS_POINTER:
        failure_id, damage = "lfs-pointer-instead-of-weights", "pointer"
        why = "Most often a git clone without git-lfs."
        if content.pointer:
            why += f" The file it stands for has {content.pointer.size_bytes:,} bytes."
    elif content.kind is Kind.ZEROS and is_binary:
        failure_id, damage = None, "zero-filled"
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
        evidence=_evidence(model_file, content, damage),
    )


def hollow(context: Context, model_file: ExpectedFile, content: Content) -> Unhealthy:
    """Return the verdict on a file with stretches that were never written."""
    tensors = content.tensors_in(content.holes)
    return Unhealthy(
        f"{called(model_file)} is zero-filled inside: {_holes(model_file, content, tensors)}.",
        f"{_named(tensors)}Most often a download that reserved the space and was then interrupted.",
        refetch(context, model_file.file.size_bytes),
        subject=model_file.subject,
        evidence=_evidence(model_file, content, "zero-filled")
        | {
            "hole_bytes": content.hole_bytes,
            "first_hole_at": content.holes[0][0],
            "holes": len(content.holes),
            "tensors": _listed(tensors),
            "tensors_damaged": len(tensors),
        },
    )


def suspicious(model_file: ExpectedFile, content: Content) -> tuple[str, str, str]:
    """Return what, why and next of holes in a file whose hash nobody knows."""
    tensors = content.tensors_in(content.holes)
    why = "They may be true zeros of a disk that compresses; without a hash nobody can tell."
    return (
        f"{called(model_file)} may be zero-filled inside: {_holes(model_file, content, tensors)}.",
        _named(tensors) + why,
        "Compare the file with its source, or give a sealed manifest of a good install.",
    )


def edited(model_file: ExpectedFile, content: Content) -> tuple[str, str, str]:
    """Return what, why and next of a small text that differs from the published one."""
    what = (
        f"{printable(model_file.subject)} was edited: its {content.size_bytes:,} bytes are not "
        f"the published ones, by {model_file.told_by}."
    )
    why = (
        "It is a whole text, so most often somebody changed a setting on purpose; it may also be "
        "of another version of the model."
    )
    return what, why, "It is left alone. If nobody meant to change it, move it away and run again."


def damaged(
    context: Context, model_file: ExpectedFile, content: Content, twin: str = ""
) -> Unhealthy:
    """Return the verdict on a file whose size or structure is wrong.

    ``twin`` names the shipped profiles that know a file of this name and size; "" if none does.
    """
    if content.flaw is None and (content.header is not None or content.archive is not None):
        return _variant(context, model_file, content, twin)
    is_cut = _is_cut(model_file, content)
    by_format = _TRUNCATED.get(weights.expected_format(model_file.subject))
    has_wrong_size = model_file.file.size_bytes not in {None, content.size_bytes}
    other_id = "consistency-check-size" if has_wrong_size else None
    flaw = f"{content.flaw.text} " if content.flaw else ""
    return Unhealthy(
        f"{called(model_file)} {_fault(content, is_cut=is_cut)}: {printable(model_file.subject)} "
        f"has {_sizes(model_file, content).removeprefix('it has ')}.",
        flaw + _guess(is_cut=is_cut),
        refetch(context, model_file.file.size_bytes),
        failure_id=by_format if is_cut and by_format else other_id,
        subject=model_file.subject,
        evidence=_evidence(model_file, content, _damage(content, is_cut=is_cut)),
    )


def wrong_index(
    context: Context, subject: str, why: str, shard: str = "", tensors: frozenset[str] = frozenset()
) -> Unhealthy:
    """Return the verdict on an index that does not describe the shards beside it.

    ``tensors`` are those on which it and ``shard`` disagree.
    """
    return Unhealthy(
        f"{printable(subject)} does not describe the shards beside it.",
        why,
        refetch(context, None),
        subject=subject,
        evidence={
            "damage": "index",
            "shard": shard or None,
            "tensors": _listed(tuple(sorted(tensors))),
            "tensors_damaged": len(tensors),
        },
    )


def called(model_file: ExpectedFile) -> str:
    """Return "Shard 3 of 7" or "A model file"."""
    match = _SHARD.search(model_file.file.path)
    return f"Shard {int(match[1])} of {int(match[2])}" if match else "A model file"


def refetch(context: Context, size_bytes: int | None) -> str:
    """Return the command that repairs a file of ``size_bytes`` bytes (None: not known)."""
    most = f" (at most {size(size_bytes)} are fetched)" if size_bytes else ""
    return (
        f"`{_heal(context, size_bytes)}` repairs it{most}; what is there now is kept until the "
        "new bytes are proven."
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
    who = model_file.told_by
    says = "say" if " and " in who else "says"
    known = f"; {who} {says} {expected_bytes:,}" if expected_bytes is not None else ""
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


def _damage(content: Content, *, is_cut: bool) -> str:
    if is_cut:
        return "truncated"
    codes = {"header-damaged": "header", "directory-damaged": "directory", "longer": "oversize"}
    return codes.get(content.flaw.code, "structure") if content.flaw else "oversize"


def _variant(context: Context, model_file: ExpectedFile, content: Content, twin: str) -> Unhealthy:
    """Return the verdict on a file that is whole in itself and not the one that is meant."""
    why = "Its own structure is whole: most often another version or variant of the model."
    if twin:
        why = f"Its own structure is whole, and it has the size of that file in {printable(twin)}."
    return Unhealthy(
        f"{called(model_file)} is another file than the profile means: "
        f"{printable(model_file.subject)} has "
        f"{_sizes(model_file, content).removeprefix('it has ')}.",
        f"{why}{_makeup(content)}",
        refetch(context, model_file.file.size_bytes),
        failure_id="wrong-variant-for-task",
        subject=model_file.subject,
        evidence=_evidence(model_file, content, "variant") | {"twin": twin or None},
    )


def _makeup(content: Content) -> str:
    """Return what a safetensors file holds, as a sentence; "" of anything else."""
    if content.header is None or not content.header.tensors:
        return ""
    by_type: dict[str, int] = {}
    for tensor in content.header.tensors:
        taken = tensor.end_bytes - tensor.start_bytes
        by_type[tensor.dtype] = by_type.get(tensor.dtype, 0) + taken
    most = max(by_type, key=lambda each: by_type[each])
    return f" It holds {counted(len(content.header.tensors), 'tensor')}, mostly {most}."


def _guess(*, is_cut: bool) -> str:
    if is_cut:
        return "Most often an interrupted download or copy, or a full disk."
    return "Most often bytes that were damaged on the way or on the disk."


def _holes(model_file: ExpectedFile, content: Content, tensors: tuple[str, ...]) -> str:
    lost = f", which takes bytes of {counted(len(tensors), 'tensor')}" if tensors else ""
    return (
        f"{size(content.hole_bytes)} of the {size(content.size_bytes)} of "
        f"{printable(model_file.subject)} were never written, from byte "
        f"{content.holes[0][0]:,} on{lost}"
    )


def _named(tensors: tuple[str, ...]) -> str:
    if not tensors:
        return ""
    shown = ", ".join(printable(name) for name in tensors[:_SHOWN])
    return f"Damaged: {shown}{', ...' if len(tensors) > _SHOWN else ''}. "


def _listed(tensors: tuple[str, ...]) -> str | None:
    return ", ".join(printable(name) for name in tensors[:_LISTED]) or None


def _evidence(model_file: ExpectedFile, content: Content, damage: str) -> Evidence:
    flaw = content.flaw
    return {
        "damage": damage,
        "size_bytes": content.size_bytes,
        "expected_bytes": model_file.file.size_bytes,
        "told_by": model_file.told_by,
        "kind": content.kind.value,
        "flaw": flaw.code if flaw else None,
        "promised_bytes": flaw.promised_bytes if flaw else None,
        "tensors_cut": len(flaw.tensors) if flaw else 0,
        "tensors": _listed(flaw.tensors) if flaw else None,
    }
