"""The weights: every file there, whole, and the one the profile means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import CannotTell
from modelmedic.facts import (
    file_hashes,
    install_scan,
    left_out,
    safe_open,
    weight_index,
    weights,
    weights_words,
)
from modelmedic.facts.book import FactBook
from modelmedic.profile import variants
from modelmedic.profile.model import ModelRepo
from modelmedic.text import counted, printable

Degraded = Callable[..., None]


def warm(facts: FactBook) -> None:
    """Look at every model file at once: on a network share the waits overlap."""
    if facts.context.is_installed:
        for expected in facts.context.expected_files():
            facts.start(weights.read_file_state, expected.subject)
            facts.start(weights.read_content, expected.subject)


@pytest.mark.check("weights.listed", area="weights", severity="major", stage="installed")
@pytest.mark.guidance("docs/checks.md#weights-listed")
def test_profile_lists_the_files(model: ModelRepo) -> None:
    """It is known which files the model needs: from the profile, or from what a download left."""
    if not model.files:
        raise CannotTell(
            f"The profile has no file list for {printable(model.name)}, and nothing beside the "
            "model tells its files.",
            "No manifest, no records of the Hub's client, no pointers and no index of shards are "
            "there, so nothing can be said about its weights.",
            "Add its files with sizes and hashes to the profile, or give a sealed manifest.",
        )


@pytest.mark.check(
    "weights.present", area="weights", needs=["install.folder"], severity="blocker",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover(
    "model_validation",
    using=[
        "relink_hub_snapshot",
        "move_misplaced_model_file",
        "copy_identical_file",
        "rebuild_weight_index",
        "bring_up_model",
        "refetch_model_file",
        "fetch_from_alternative_source",
        "skip_optional_model",
    ],
)
def test_model_file_is_present(
    facts: FactBook, context: Context, model_file: ExpectedFile, degraded: Degraded
) -> None:
    """The model file is there, is a file, and lies inside the install."""
    state = facts.get(weights.read_file_state, model_file.subject)
    if state.is_present:
        return
    if left_out.is_so(facts, model_file, state):
        degraded(*left_out.loss(context, model_file))
        return
    if state.state is safe_open.State.MISSING and model_file.file.is_optional:
        pytest.skip("This file is optional and not there.")
    if state.state in {safe_open.State.OUTSIDE, safe_open.State.DENIED}:
        raise CannotTell(state.sentence(), "", weights_words.make_readable(state))
    raise weights_words.absent(context, model_file, state, _elsewhere(facts, model_file))


@pytest.mark.check(
    "weights.intact", area="weights", needs=["weights.present"], severity="blocker",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover(
    "model_validation",
    using=[
        "rebuild_weight_index",
        "copy_identical_file",
        "replace_pointer_or_page",
        "fetch_missing_tail",
        "repair_damaged_blocks",
        "rewrite_differing_blocks",
        "refetch_model_file",
        "fetch_from_alternative_source",
    ],
)
def test_model_file_is_intact(
    facts: FactBook, context: Context, model_file: ExpectedFile, degraded: Degraded
) -> None:
    """The model file has its exact size, and its header or directory agrees with it."""
    _skip_absent_option(facts, model_file)
    content = facts.get(weights.read_content, model_file.subject)
    verdict = weights_words.foreign(context, model_file, content)
    if verdict is not None:
        raise verdict
    if content.is_edited(model_file.file):
        degraded(*weights_words.edited(model_file, content))
        return
    expected_bytes = model_file.file.size_bytes
    if expected_bytes not in {None, content.size_bytes}:
        if model_file.file.is_certain:
            twin = _twin(context, model_file, content)
            raise weights_words.damaged(context, model_file, content, twin)
        if content.flaw is None:
            degraded(
                f"{printable(model_file.subject)} has {content.size_bytes:,} bytes; the profile "
                f"expects {expected_bytes:,}, a size that was computed, not listed.",
                "It may be another build of the file; its own structure has no flaw.",
            )
    if content.flaw is not None:
        raise weights_words.damaged(context, model_file, content)
    if content.holes:
        _judge_holes(facts, context, model_file, content, degraded)
    if expected_bytes is None and content.header is None and content.archive is None:
        raise CannotTell(
            f"{printable(model_file.subject)} cannot be judged: the profile states no size, and "
            f"its content ({content.kind.value}) has no structure to check.",
        )


def _judge_holes(
    facts: FactBook,
    context: Context,
    model_file: ExpectedFile,
    content: weights.Content,
    degraded: Degraded,
) -> None:
    """Raise if what was never written is missing; a few holes may be true zeros: hash the file."""
    file = model_file.file
    if content.hole_bytes * 2 < content.size_bytes:
        if (
            file.sha256
            and facts.get(file_hashes.read_sha256, model_file.subject).hexdigest
            == file.sha256.lower()
        ):
            return
        if not file.sha256:
            degraded(*weights_words.suspicious(model_file, content))
            return
    raise weights_words.hollow(context, model_file, content)


def _twin(context: Context, model_file: ExpectedFile, content: weights.Content) -> str:
    """Return the shipped profiles that have such a file; "" of one that is damaged itself."""
    if content.flaw is not None or weights.expected_format(model_file.subject) == "json":
        return ""
    name = PurePosixPath(model_file.file.path).name
    return variants.profiles_with(name, content.size_bytes, but=context.profile.name)


@pytest.mark.check(
    "weights.index", area="weights", needs=["weights.listed", "weights.intact"], severity="major",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover(
    "model_validation",
    using=[
        "rebuild_weight_index",
        "copy_identical_file",
        "refetch_model_file",
        "fetch_from_alternative_source",
    ],
)
def test_index_agrees_with_the_shards(
    facts: FactBook, context: Context, model: ModelRepo, degraded: Degraded
) -> None:
    """Each index names exactly the tensors that its shards hold."""
    subjects = [
        expected.subject
        for expected in context.expected_files()
        if expected.model.name == model.name
        and expected.subject.endswith(weight_index.INDEX_SUFFIX)
        and facts.get(weights.read_file_state, expected.subject).state
        is not safe_open.State.MISSING
    ]
    if not subjects:
        pytest.skip("This model has no index of shards.")
    if model.name in facts.get(left_out.read_left_out):
        pytest.skip("This model is left out.")
    for subject in subjects:
        index = facts.get(weight_index.read_index, subject)
        if index.flaw:
            raise weights_words.wrong_index(context, subject, index.flaw)
        data_bytes = sum(_shard_bytes(facts, context, subject, *each) for each in index.tensors)
        if index.total_size_bytes not in {None, data_bytes}:
            degraded(
                f"{printable(subject)} says its shards hold {index.total_size_bytes:,} bytes; "
                f"they hold {data_bytes:,}.",
                "Every tensor is where the index says; loaders do not read this number.",
            )


def _skip_absent_option(facts: FactBook, model_file: ExpectedFile) -> None:
    if why := left_out.why_not_asked(facts, model_file):
        pytest.skip(why)


def _elsewhere(facts: FactBook, model_file: ExpectedFile) -> str:
    """Say where else in the install a file of that name and size lies; "" if nowhere."""
    try:
        strays = facts.get(install_scan.read_scan).strays
    except CannotTell:
        return ""  # only a hint; the verdict stands without it
    name = PurePosixPath(model_file.subject).name
    for stray in strays:
        is_namesake = PurePosixPath(stray.subject).name == name
        if is_namesake and model_file.file.size_bytes in {None, stray.size_bytes}:
            place = printable(stray.subject)
            return f"A file of that name with {stray.size_bytes:,} bytes lies at {place}."
    return ""


def _shard_bytes(
    facts: FactBook, context: Context, index: str, shard: str, names: frozenset[str]
) -> int:
    """Return the data bytes of a shard that holds exactly ``names``; raise what is wrong."""
    subject = (PurePosixPath(index).parent / shard).as_posix()
    state = facts.get(weights.read_file_state, subject)
    if not state.is_present:
        puts = f"It puts {counted(len(names), 'tensor')} there: {state.sentence()}"
        raise weights_words.wrong_index(context, index, puts, subject, names)
    header = facts.get(weights.read_content, subject).header
    if header is None or not header.tensors:
        raise weights_words.wrong_index(
            context, index, f"{printable(subject)} has no readable header.", subject, names
        )
    for different, text in (
        (names - header.names, "that it does not hold"),
        (header.names - names, "that the index does not put there"),
    ):
        if different:
            count, first = counted(len(different), "tensor"), printable(min(different))
            why = f"{printable(subject)}: {count} {text}, {first} among them."
            raise weights_words.wrong_index(context, index, why, subject, different)
    return header.data_bytes
