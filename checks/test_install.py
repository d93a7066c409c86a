"""The install folder: there, laid out as the app wants it, not in use, nothing left over."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import (
    encoder,
    install_scan,
    install_words,
    layout,
    locks,
    other_installs,
    partials,
    ports,
    processes,
    programs,
    safe_open,
    weights,
)
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import ModelRepo, Port, Profile, Program
from modelmedic.text import counted, duration, printable

Degraded = Callable[..., None]

# A run removes its scratch folder within the limit of its probe (10 s) and a few retries.
SCRATCH_IS_OLD_SECONDS = 120.0


def warm(facts: FactBook) -> None:
    """Begin the walk over the install and the look at processes."""
    if facts.context.is_installed:
        facts.start(install_scan.read_scan)
        facts.start(processes.read_running)


@pytest.mark.check("install.folder", area="install", severity="blocker", stage="installed")
@pytest.mark.recover("system", using=["create_missing_folder"])
def test_install_folder_exists(facts: FactBook, context: Context) -> None:
    """The install folder exists and is a folder."""
    state = facts.get(weights.read_file_state, ".")
    if state.is_folder:
        return
    if state.state is safe_open.State.DENIED:
        raise CannotTell(f"{printable(context.place)} {state.detail}.")
    is_file = context.place.exists()
    if is_file:
        next_step = "Give the folder of the install with --install-dir."
    elif context.place.parent.is_dir():
        next_step = f"`{context.run_command('--heal')}` creates it."
    else:  # --heal makes one folder: more is most often a mistyped path
        next_step = f"Correct the path, or create {printable(context.place.parent)} yourself."
    raise Unhealthy(
        f"{printable(context.place)} is {'a file, not a folder' if is_file else 'missing'}.",
        "Most often a mistyped --install-dir.",
        next_step,
        subject=".",
    )


@pytest.mark.check(
    "install.folders", area="install", needs=["install.folder"], severity="major",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover("system", using=["create_missing_folder"])
def test_folder_of_the_app_exists(facts: FactBook, context: Context, folder: str) -> None:
    """A folder that the app writes to or reads from is there."""
    state = facts.get(weights.read_file_state, folder)
    # A link to a folder on a larger disk is normal, and nothing is read from it.
    if state.is_folder or (
        state.state is safe_open.State.OUTSIDE and facts.get(layout.read_is_folder, folder)
    ):
        return
    if state.state in {safe_open.State.OUTSIDE, safe_open.State.DENIED}:
        raise CannotTell(state.sentence())
    detail = "is a file, not a folder" if state.is_present else state.detail
    raise Unhealthy(
        f"{printable(folder)} in {printable(context.place)} {detail}.",
        "The app expects it and most often stops without it.",
        "Move what lies there aside."
        if state.kind or state.is_link
        else f"`{context.run_command('--heal')}` creates it.",
        subject=folder,
    )


@pytest.mark.check(
    "install.layout", area="install", needs=["install.folder"], severity="major",
    stage="installed",
)  # fmt: skip
@pytest.mark.guidance("docs/checks.md#install-layout")
def test_layout_is_the_one_of_the_profile(
    facts: FactBook, context: Context, model: ModelRepo, degraded: Degraded
) -> None:
    """The model lies where the profile wants it, under the names and in the layout it wants."""
    folder = context.model_folders[context.profile.models.index(model)]
    listing = facts.get(layout.read_listing, folder)
    expected = frozenset(file.path for file in model.files)
    missing = frozenset(
        file.path
        for file in model.files
        if not file.is_optional and not _is_there(facts, folder, file.path)
    )
    if missing:
        verdict = install_words.wrong_layout(context, model, listing, missing)
        # In a cache the model lies where its client put it: nothing there is to be moved.
        is_stored = bool(verdict or context.store)
        candidates = () if is_stored else facts.get(layout.read_candidates, model.name)
        verdict = verdict or install_words.elsewhere(context, model, folder, candidates)
        if verdict is not None:
            raise verdict
    if model.layout == "native" and listing.native_beside_diffusers(expected):
        degraded(
            f"{printable(folder)} also holds a Diffusers pipeline ({layout.DIFFUSERS_INDEX}).",
            "A loader that looks for one layout may pick files of the other.",
            "Keep the two repos in two folders.",
        )


@pytest.mark.check(
    "install.leftovers", area="install", needs=["install.folder"], severity="minor",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover("resource", using=["set_aside_orphaned_partials"])
def test_no_download_was_left_unfinished(
    facts: FactBook, context: Context, degraded: Degraded
) -> None:
    """No unfinished download takes space."""
    scan = facts.get(install_scan.read_scan)
    orphans = facts.get(partials.read_orphans)
    if others := [each for each in scan.leftovers if each not in orphans]:
        words = install_words.leftovers(others, time.time())
        degraded(*words, failure_id="orphan-incomplete-files")
    if scan.unfinished_folders:
        words = install_words.unfinished(scan.unfinished_folders)
        degraded(*words, failure_id="orphan-incomplete-files")
    if scan.cut:
        degraded(
            f"The search for leftovers and locks was ended early: {scan.cut}.",
            f"{scan.entries:,} names were looked at; nothing is said about the rest.",
        )
    if scan.unreadable:
        degraded(
            f"{counted(len(scan.unreadable), 'folder')} may not be listed by this user, "
            f"{printable(scan.unreadable[0])} among them.",
            "Nothing is said about what lies in there.",
        )
    if orphans:
        raise install_words.orphans(context, orphans, time.time())


@pytest.mark.check(
    "install.locks", area="install", needs=["install.folder"], severity="major",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover("resource", using=["remove_stale_lock"])
def test_no_stale_lock_blocks_downloads(
    facts: FactBook, context: Context, degraded: Degraded
) -> None:
    """No lock of a killed download blocks the next one."""
    found = facts.get(locks.read_locks)
    stale = [lock for lock in found if lock.is_stale]
    for lock in found:
        if lock.hold is not locks.Hold.FREE and not lock.is_stale:
            degraded(
                f"{printable(lock.subject)} is in use: {lock.holder()}.",
                "A download of that file waits until it is released.",
                "Let it finish, or end that program yourself, before a repair.",
            )
    if stale:
        raise install_words.stale_lock(context, stale)


@pytest.mark.check("install.scratch", area="install", severity="minor")
@pytest.mark.guidance("docs/checks.md#install-scratch")
def test_no_scratch_folder_was_left(facts: FactBook, degraded: Degraded) -> None:
    """No killed run of these checks left its scratch folder behind."""
    now = time.time()
    for found in facts.get(install_scan.read_scratch_leftovers):
        age_seconds = now - found.modified_at_seconds
        if age_seconds > SCRATCH_IS_OLD_SECONDS:
            degraded(
                f"A killed run left its scratch folder {duration(age_seconds)} ago: "
                f"{printable(found.subject)}.",
                "",
                "Remove that folder; it holds nothing but tries of these checks.",
            )


@pytest.mark.check(
    "install.running", area="install", needs=["install.folder"], severity="minor",
    stage="installed",
)  # fmt: skip
@pytest.mark.guidance("docs/checks.md#install-running")
def test_nobody_uses_the_install(facts: FactBook, degraded: Degraded) -> None:
    """No program that this user may see runs from the install or holds its files open."""
    running = facts.get(processes.read_running)
    users = [user for user in running.users if not user.is_bystander]
    if users:
        degraded(*install_words.in_use(users))
    if running.is_cut:
        degraded("There are so many processes that not all were looked at in time.")


@pytest.mark.check("install.port", area="install", severity="minor")
@pytest.mark.guidance("docs/checks.md#install-port")
def test_port_of_the_app_is_free(
    facts: FactBook, context: Context, port: Port, degraded: Degraded
) -> None:
    """The port that the app listens on is free."""
    use = facts.get(ports.read_port, port.number)
    if use.is_free:
        return
    owners = facts.get(processes.read_running).users if use.pid and context.install_dir else ()
    if any(user.pid == use.pid for user in owners):
        degraded(
            f"The app of this install already listens on port {port.number}: process {use.pid} "
            f"({printable(use.program)}).",
            "A second start finds the port taken.",
            f"Open http://{ports.LOOPBACK}:{port.number}/ instead of starting it again.",
        )
        return
    raise install_words.port_taken(port, use)


@pytest.mark.check("install.others", area="install", severity="minor")
@pytest.mark.guidance("docs/checks.md#install-others")
def test_other_copies_of_the_model_are_known(
    facts: FactBook, request: pytest.FixtureRequest
) -> None:
    """Other copies of the model on this machine are listed in the record."""
    if not facts.profile.models:
        pytest.skip("The profile has no models.")
    for other in facts.get(other_installs.read_others):
        text = f"{other.model}: {other.found} of {other.tried} weight files at {other.folder}"
        # As pytest's record_property, which warns that xunit2 has no place for it.
        request.node.user_properties.append(("modelmedic.other_install", printable(text)))


@pytest.mark.check("install.programs", area="install", severity="major")
@pytest.mark.guidance("docs/checks.md#install-programs")
def test_program_is_on_the_path(
    facts: FactBook, profile: Profile, program: Program, degraded: Degraded
) -> None:
    """A program that the app calls is found; an ffmpeg can also encode sound."""
    if facts.get(programs.read_program, program.name) is None:
        words = install_words.no_program(profile, program)
    elif program.name == "ffmpeg" and "aac" not in facts.get(encoder.read_audio_encoders):
        words = install_words.no_sound(profile)
    else:
        return
    if not program.is_required:
        degraded(words.what, words.why, words.next_step, words.failure_id)
        return
    raise words


def _is_there(facts: FactBook, folder: str, path: str) -> bool:
    subject = path if folder == "." else f"{folder}/{path}"
    state = facts.get(weights.read_file_state, subject).state
    return state not in {safe_open.State.MISSING, safe_open.State.DANGLING}
