"""Keeps what reading every byte proved: seals, digests of blocks, how far unfinished reads came.

Checks and probes change nothing, so it is done here, when the run ends, also by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from modelmedic import examination
from modelmedic.context import ExpectedFile
from modelmedic.errors import CannotTell
from modelmedic.examination import Examination
from modelmedic.findings import Outcome

if TYPE_CHECKING:
    from modelmedic.facts.file_hashes import FileHash
    from modelmedic.facts.safe_open import FileState
    from modelmedic.facts.seals import Seal

_CHECK = "weights.sha256["
_PATIENCE_SECONDS = 0.5  # a read ends at its next buffer, unless the disk hangs


def pytest_configure(config: pytest.Config) -> None:
    """Let everything else go first, if that was asked for; children inherit it."""
    found = examination.of(config)
    if found is not None and found.is_low_priority:
        _step_back()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what is still read, and keep what was proven.

    The closing pass proves nothing anew, and a worker keeps what it read itself.
    """
    found = examination.of(session.config)
    if found is None or found.is_closing or found.is_listing or not found.context.deep:
        return
    from modelmedic.facts import hashing_desk

    desk = hashing_desk.desk_of(found.facts)
    desk.stop(_PATIENCE_SECONDS)
    try:
        _keep(found, desk)
    except OSError as error:
        found.notes.append(
            f"What was proven could not be kept for the next run: {error.strerror or error}."
        )


def _keep(found: Examination, desk: Any) -> None:
    from modelmedic.facts import seals, unfinished_reads

    context = found.context
    passed = {
        found.names[nodeid].removeprefix(_CHECK).removesuffix("]")
        for nodeid, outcome in found.outcomes.items()
        if outcome in {Outcome.PASSED, Outcome.HEALED}
        and found.names.get(nodeid, "").startswith(_CHECK)
    }
    proven: dict[str, Seal] = {}
    for expected in context.expected_files():
        seal = _seal(found, expected, has_passed=expected.subject in passed)
        if seal is not None:
            proven[expected.subject] = seal
    if proven:
        seals.keep_seals(context.state_dir, context.place, proven)
    if not found.is_worker:
        unfinished_reads.keep(context.state_dir, context.place, desk.unfinished)
        _tell_unfinished(found, desk)


def _tell_unfinished(found: Examination, desk: Any) -> None:
    from modelmedic.text import counted

    if desk.unfinished:
        found.notes.append(
            f"Reading {counted(len(desk.unfinished), 'file')} was stopped midway; the next --deep "
            "goes on from there."
        )


def _seal(found: Examination, expected: ExpectedFile, *, has_passed: bool) -> Seal | None:
    """Return the seal of a file whose hash is the wanted one, and keep its blocks; else None."""
    from modelmedic.facts import safe_open, seals

    context = found.context
    try:
        state = safe_open.look(context.place, expected.subject)
    except CannotTell:
        return None
    hashes = _hashes(found, state)
    wanted = {"sha256": expected.file.sha256, "git_blob": expected.file.git_blob}
    verdicts = {
        known.hexdigest == digest.lower()
        for name, known in hashes.items()
        if (digest := wanted[name]) is not None
    }
    agrees, differs = has_passed or True in verdicts, False in verdicts
    if not hashes or not agrees or differs:
        return None
    sha256 = hashes.get("sha256")
    if sha256 is not None and sha256.blocks is not None and not sha256.is_by_blocks:
        from modelmedic.facts.digests import Digests

        digests = Digests(sha256.size_bytes, sha256.hexdigest, sha256.blocks)
        seals.keep_blocks(context.state_dir, digests)
    settled = all(seals.is_settled(state, known.began_ns) for known in hashes.values())
    if not settled or any(known.is_unsteady for known in hashes.values()):
        return None
    names = {name: known.hexdigest for name, known in hashes.items()}
    return seals.Seal(seals.identity_of(state), names, seals.today())


def _hashes(found: Examination, state: FileState) -> dict[str, FileHash]:
    """Return what this run read of a file as it is now, by algorithm."""
    memo = found.facts.memo
    keys = {name: (name, *state.identity) for name in ("sha256", "git_blob")}
    return {name: memo[key] for name, key in keys.items() if state.is_present and key in memo}


def _step_back() -> None:
    """Take the lowest priority for the processor and, where there is one, for the disk."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(os.getpid())
        if sys.platform == "win32":
            process.nice(psutil.IDLE_PRIORITY_CLASS)
            process.ionice(psutil.IOPRIO_VERYLOW)
        else:
            process.nice(19)
            if sys.platform == "linux":
                process.ionice(psutil.IOPRIO_CLASS_IDLE)
