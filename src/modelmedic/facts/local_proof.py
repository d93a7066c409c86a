"""Whether everything the profile needs lies here, proven: then nothing is needed from a network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from modelmedic.context import ExpectedFile
from modelmedic.errors import CannotTell
from modelmedic.facts import file_hashes, hashing_desk, interpreter, left_out, packages, seals
from modelmedic.facts import weights as weight_facts
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.safe_open import FileState
from modelmedic.text import printable, size

OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
# So much is read without --deep: seconds on a disk, where the weights of a large model take
# minutes.
READ_BYTES = 1_000_000_000
_TRUE = frozenset({"1", "on", "yes", "true"})  # huggingface_hub 0.36 ``constants.py``
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class LocalProof:
    """What is needed and lies here, and what is lacking.

    Args:
        files: How many files were proven by their hash.
        total_bytes: Their bytes.
        missing: Files that are not there, with the bytes they should have.
        unproven: Files that are there and were not compared with a known hash, with their bytes.
        packages: Packages that are not installed, or not in a version that fits.
    """

    files: int = 0
    total_bytes: int = 0
    missing: tuple[tuple[str, int], ...] = ()
    unproven: tuple[tuple[str, int], ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Return whether nothing is lacking, and something was asked for at all."""
        return bool(self.files) and not (self.missing or self.unproven or self.packages)

    def lacking(self) -> str:
        """Return what is lacking, in a sentence."""
        parts = [
            f"{words}: {_listed(entries)}"
            for words, entries in (("not there", self.missing), ("not proven", self.unproven))
            if entries
        ]
        if self.packages:
            parts.append(f"packages: {', '.join(map(printable, self.packages[:_SHOWN]))}")
        return "; ".join(parts) or "the profile lists no file"


def is_set() -> bool:
    """Return whether Hub clients are told to stay offline."""
    return os.environ.get(OFFLINE_VARIABLES[0], "").strip().lower() in _TRUE


@probe("system_detection")
def read_local_proof(facts: FactBook) -> LocalProof:
    """Return what is proven here by seals and by hashes of this run; no byte is read."""
    missing, unproven, sizes = [], [], []
    for expected, state in _needed(facts):
        amount = expected.file.size_bytes or state.size_bytes or 0
        if not state.is_present:
            missing.append((expected.subject, amount))
        elif _is_proven(facts, expected, state):
            sizes.append(amount)
        else:
            unproven.append((expected.subject, state.size_bytes or amount))
    return LocalProof(
        len(sizes), sum(sizes), tuple(missing), tuple(unproven), tuple(_lacking_packages(facts))
    )


def prove(facts: FactBook) -> LocalProof:
    """Return the same after reading what is not proven yet, if that is little or --deep was given.

    Raises:
        CannotTell: A file cannot be read.
    """
    proof = facts.get(read_local_proof)
    amount = sum(count for _subject, count in proof.unproven)
    if proof.missing or proof.packages or not proof.unproven:
        return proof
    if amount > READ_BYTES and not facts.context.deep:
        return proof
    unproven = {subject for subject, _amount in proof.unproven}
    for expected in facts.context.expected_files():
        wanted = file_hashes.find_wanted(expected)
        if expected.subject in unproven and wanted is not None:
            hashing_desk.awaited(facts, *file_hashes.proof_of(expected.subject, wanted))
    facts.forget()  # what was hashed is in the book's memo, which stays
    return facts.get(read_local_proof)


def _needed(facts: FactBook) -> Iterator[tuple[ExpectedFile, FileState]]:
    for expected in facts.context.expected_files():
        if not left_out.why_not_asked(facts, expected):
            yield expected, facts.get(weight_facts.read_file_state, expected.subject)


def _is_proven(facts: FactBook, expected: ExpectedFile, state: FileState) -> bool:
    wanted = file_hashes.find_wanted(expected)
    if wanted is None:
        return False
    known = facts.memo.get((wanted.algorithm, *state.identity))
    if known is not None:
        return bool(known.hexdigest == wanted.hexdigest)
    context = facts.context
    seal = seals.verify(context.state_dir, context.place, [expected.subject]).get(expected.subject)
    return seal is not None and seal.hashes.get(wanted.algorithm) == wanted.hexdigest


def _lacking_packages(facts: FactBook) -> Iterator[str]:
    needs = facts.profile.python
    if not needs.is_required:
        return
    if facts.target_python is None:
        yield "no Python of the app is there"
        return
    try:
        found = facts.get(interpreter.read_interpreter)
    except CannotTell:
        yield f"{printable(facts.target_python)} does not tell its packages"
        return
    for requirement in needs.requirements:
        wanted = packages.parsed(requirement.spec)
        if wanted is None or requirement.is_optional:
            continue
        if not packages.applies(wanted, found.marker_environment):
            continue
        item = found.installed.get(requirement.name)
        if item is None or (wanted.url is None and not packages.fits(wanted, item.version)):
            yield requirement.spec


def _listed(entries: tuple[tuple[str, int], ...]) -> str:
    names = ", ".join(printable(subject) for subject, _amount in entries[:_SHOWN])
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return f"{names}{more} ({size(sum(amount for _subject, amount in entries))})"
