"""Every byte of the weights: read again and again they are the same, and the published ones."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import (
    digests,
    file_hashes,
    hashing_desk,
    known_digests,
    left_out,
    safetensors_header,
    seals,
    weights,
    weights_words,
)
from modelmedic.facts.book import FactBook
from modelmedic.text import counted, printable

Stated = Callable[[str], None]
_SHOWN = 3  # ranges and names in a sentence
_LISTED = 100  # in the evidence


def warm(facts: FactBook) -> None:
    """Begin to read every byte, the largest file first.

    Workers share the checks, and no worker knows the others' files: each reads what it judges.
    """
    context = facts.context
    if context.is_installed and context.deep and "PYTEST_XDIST_WORKER" not in os.environ:
        facts.start(file_hashes.begin_all)


@pytest.mark.check(
    "weights.stable", area="weights", needs=["weights.intact"], severity="blocker",
    stage="installed",
)  # fmt: skip
@pytest.mark.guidance("docs/checks.md#weights-stable")
def test_two_reads_of_the_file_agree(
    facts: FactBook, context: Context, model_file: ExpectedFile, stated: Stated
) -> None:
    """Where a read of the model file gives other bytes than published, a second gives the same."""
    _skip_unasked(facts, model_file)
    if _has_seal(context, model_file, stated):
        return
    wanted = _wanted_hash(model_file)
    first = _hash(facts, model_file, wanted)
    subject = model_file.subject
    if first.is_unsteady:
        raise _unsteady(context, subject, "block digests that do not belong to it", first)
    if first.hexdigest == wanted.hexdigest:
        stated("One read gave the published bytes; a second had nothing to settle.")
        return
    first = hashing_desk.awaited(facts, file_hashes.read_sha256, subject)
    second = hashing_desk.awaited(facts, file_hashes.read_again, subject)
    if first.hexdigest != second.hexdigest:
        ranges = _differing(first.blocks, second.blocks, second.size_bytes)
        raise _unsteady(context, subject, f"the sha256 {first.hexdigest}", second, ranges)


@pytest.mark.check(
    "weights.sha256", area="weights", needs=["weights.intact", "weights.stable"],
    severity="blocker", stage="installed",
)  # fmt: skip
@pytest.mark.recover(
    "model_validation",
    using=[
        "rebuild_weight_index",
        "copy_identical_file",
        "repair_damaged_blocks",
        "rewrite_differing_blocks",
        "refetch_model_file",
        "fetch_from_alternative_source",
    ],
)
def test_model_file_has_its_hash(
    facts: FactBook, context: Context, model_file: ExpectedFile, stated: Stated
) -> None:
    """Every byte of the model file is as published: its hash agrees."""
    _skip_unasked(facts, model_file)
    if _has_seal(context, model_file, stated):
        return
    wanted = _wanted_hash(model_file)
    found = _hash(facts, model_file, wanted)
    if found.hexdigest != wanted.hexdigest:
        raise _other_bytes(facts, context, model_file, wanted, found)
    if found.is_by_blocks:
        stated(
            f"All {counted(found.blocks.count if found.blocks else 0, 'block')} have the digests "
            "that were kept when its sha256 was proven here."
        )


def _has_seal(context: Context, model_file: ExpectedFile, stated: Stated) -> bool:
    """Return whether the file was proven before and stands unchanged; skip if nothing proves it."""
    if context.deep:
        return False
    place, subject = context.place, model_file.subject
    seal = seals.verify(context.state_dir, place, [subject]).get(subject)
    if seal is not None:
        wanted = _wanted_hash(model_file)
        if seal.hashes.get(wanted.algorithm) == wanted.hexdigest:
            stated(f"Sealed on {seal.sealed_on}: its hash agreed, and it is unchanged since.")
            return True
    pytest.skip("Reading every byte takes minutes: needs --deep.")


def _wanted_hash(model_file: ExpectedFile) -> file_hashes.WantedHash:
    found = file_hashes.find_wanted(model_file)
    if found is None:
        raise CannotTell(
            f"No hash of {printable(model_file.subject)} is known.",
            "The profile states none, and no download left one beside the file.",
        )
    return found


def _hash(
    facts: FactBook, model_file: ExpectedFile, wanted: file_hashes.WantedHash
) -> file_hashes.FileHash:
    found: file_hashes.FileHash = hashing_desk.awaited(
        facts, *file_hashes.proof_of(model_file.subject, wanted)
    )
    return found


def _skip_unasked(facts: FactBook, model_file: ExpectedFile) -> None:
    if why := left_out.why_not_asked(facts, model_file):
        pytest.skip(why)
    if facts.get(weights.read_content, model_file.subject).is_edited(model_file.file):
        pytest.skip("Somebody edited this file: weights.intact shows it, and it is left.")


def _unsteady(
    context: Context,
    subject: str,
    first: str,
    second: file_hashes.FileHash,
    ranges: tuple[tuple[int, int], ...] = (),
) -> Unhealthy:
    where = f" They differ in {_shown(ranges)}." if ranges else ""
    return Unhealthy(
        f"Two reads of {printable(subject)} disagree: one gave {first}, another the sha256 "
        f"{second.hexdigest}.{where}",
        "Nothing wrote to it in between. Most often bad memory (RAM); else a failing disk, cable "
        "or controller. It is no bad download: nothing is fetched again, which would be damaged "
        "on the same way.",
        "Test the memory (memtest86+, one night) and look at the disk's own record (smartctl -a), "
        f"then: {context.run_command('--deep')}",
        subject=subject,
        evidence={
            "first": first,
            "second": second.hexdigest,
            "ranges": _listed(ranges),
        },
    )


def _other_bytes(
    facts: FactBook,
    context: Context,
    model_file: ExpectedFile,
    wanted: file_hashes.WantedHash,
    found: file_hashes.FileHash,
) -> Unhealthy:
    name = {"sha256": "sha256", "git_blob": "Git blob hash"}[wanted.algorithm]
    ranges = _damaged(context, wanted, found)
    tensors: tuple[str, ...] = ()
    if ranges:
        header = facts.get(weights.read_content, model_file.subject).header
        tensors = safetensors_header.tensors_in(header, ranges) if header else ()
    where = f" What differs lies in {_shown(ranges)}." if ranges else ""
    if tensors:
        where += f" {counted(len(tensors), 'tensor')} may be damaged: {_names(tensors)}."
    return Unhealthy(
        f"{printable(model_file.subject)} is not the published file: its {name} is "
        f"{found.hexdigest}; {wanted.source} says {wanted.hexdigest}.{where}",
        f"Its {found.size_bytes:,} bytes are the right number, so most often bytes were "
        "damaged on the way or on the disk, or it is another version; downloading it again "
        "by the usual tools would keep it.",
        weights_words.refetch(context, found.size_bytes),
        subject=model_file.subject,
        evidence={
            "algorithm": wanted.algorithm,
            "found": found.hexdigest,
            "expected": wanted.hexdigest,
            "size_bytes": found.size_bytes,
            "ranges": _listed(ranges),
            "tensors": ", ".join(tensors[:_LISTED]),
        },
    )


def _damaged(
    context: Context, wanted: file_hashes.WantedHash, found: file_hashes.FileHash
) -> tuple[tuple[int, int], ...]:
    """Return where the file differs from what should be there; nothing when that is not known."""
    known = None
    if wanted.algorithm == "sha256":
        known = known_digests.known(context, wanted.hexdigest)
    if known is None or known.size_bytes != found.size_bytes:
        return ()
    return _differing(known.blocks, found.blocks, found.size_bytes)


def _differing(
    wanted: digests.Blocks | None, found: digests.Blocks | None, size_bytes: int
) -> tuple[tuple[int, int], ...]:
    """Return the ranges that differ; nothing where the two cannot be compared."""
    if wanted is None or found is None:
        return ()
    try:
        return digests.differing(wanted, found, size_bytes)
    except CannotTell:
        return ()  # only a help; the verdict stands without it


def _shown(ranges: tuple[tuple[int, int], ...]) -> str:
    shown = ", ".join(f"{start:,} to {end - 1:,}" for start, end in ranges[:_SHOWN])
    more = f" and {counted(len(ranges) - _SHOWN, 'more range')}" if len(ranges) > _SHOWN else ""
    return f"the bytes {shown}{more}"


def _listed(ranges: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(f"{start}-{end - 1}" for start, end in ranges[:_LISTED])


def _names(tensors: tuple[str, ...]) -> str:
    shown = ", ".join(printable(name) for name in tensors[:_SHOWN])
    return f"{shown}, ..." if len(tensors) > _SHOWN else shown
