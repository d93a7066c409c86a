"""Checkpoints in PyTorch's own format are programs: what they would do when they are loaded."""

from __future__ import annotations

import pytest

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import Unhealthy
from modelmedic.facts import (
    checkpoint_pickles,
    file_hashes,
    left_out,
    safe_open,
    weights,
    weights_words,
)
from modelmedic.facts.book import FactBook
from modelmedic.text import counted, printable

_SHOWN = 5


@pytest.mark.check(
    "weights.pickle", area="weights", needs=["weights.intact"], severity="blocker",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover(
    "model_validation",
    using=["copy_identical_file", "refetch_model_file", "fetch_from_alternative_source"],
)
def test_checkpoint_holds_only_weights(
    facts: FactBook, context: Context, model_file: ExpectedFile
) -> None:
    """A checkpoint (.pth, .pt, .bin, .ckpt) would import nothing but what weights need."""
    if weights.expected_format(model_file.subject) != "checkpoint":
        pytest.skip("This file is no checkpoint: loading it runs no code.")
    state = facts.get(weights.read_file_state, model_file.subject)
    if model_file.file.is_optional and state.state is safe_open.State.MISSING:
        pytest.skip("This file is optional and not there.")
    if left_out.is_so(facts, model_file, state):
        pytest.skip("This file's model is left out.")
    try:
        found = facts.get(checkpoint_pickles.read_imports, model_file.subject)
    except checkpoint_pickles.NoCheckpoint as error:
        pytest.skip(str(error))
    if found.foreign:
        raise _verdict(context, model_file, found.foreign, _is_published(facts, model_file))
    if found.unknown:
        raise checkpoint_pickles.unknown(model_file.subject, found)


def _verdict(
    context: Context, model_file: ExpectedFile, foreign: tuple[str, ...], is_published: bool
) -> Unhealthy:
    shown = ", ".join(printable(name) for name in foreign[:_SHOWN])
    more = f" and {counted(len(foreign) - _SHOWN, 'other')}" if len(foreign) > _SHOWN else ""
    origin = (
        "These are the bytes that the profile means, so they were published like this."
        if is_published
        else "The file is not proven to be the published one."
    )
    next_step = (
        "Do not load it. Ask who published the model what the import is for, and take its "
        "safetensors if there are any."
        if is_published
        else f"Do not load it. {weights_words.refetch(context, model_file.file.size_bytes)}"
    )
    return Unhealthy(
        f"{printable(model_file.subject)} is more than weights: loading it would import {shown}"
        f"{more}.",
        "Whoever loads it as a whole runs what it says; PyTorch's safe way of loading "
        f"(weights_only) refuses it. {origin}",
        next_step,
        subject=model_file.subject,
        evidence={
            "imports": ", ".join(foreign[: 4 * _SHOWN]),
            "count": len(foreign),
            "is_published": is_published,
        },
    )


def _is_published(facts: FactBook, model_file: ExpectedFile) -> bool:
    """Return whether these are exactly the profile's bytes; reads them all, so only asked late."""
    wanted = model_file.file.sha256
    if not wanted or not model_file.file.is_certain:
        return False
    return bool(facts.get(file_hashes.read_sha256, model_file.subject).hexdigest == wanted.lower())
