"""What is found in and around an install, in words: what happened, why, what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from modelmedic.context import Context
from modelmedic.errors import Unhealthy
from modelmedic.facts import layout
from modelmedic.facts.install_scan import Found
from modelmedic.facts.layout import Candidate, Listing
from modelmedic.facts.locks import Lock
from modelmedic.facts.ports import LOOPBACK, PortUse
from modelmedic.facts.processes import User
from modelmedic.profile.model import ModelRepo, Port, Profile, Program
from modelmedic.text import counted, duration, printable, size

Evidence = dict[str, str | int | float | bool | None]

_SHOWN = 3
_OLD_SECONDS = 3600.0  # the Hub's own client and cache tools call a download stale after an hour


def wrong_layout(
    context: Context, model: ModelRepo, listing: Listing, missing: frozenset[str]
) -> Unhealthy | None:
    """Return the verdict on a folder that holds the model in another form; None if it does not.

    Args:
        context: The subject of the run.
        model: The model, some of whose required files are missing.
        listing: The names in its folder.
        missing: The paths of its required files that are not there, relative to its folder.
    """
    if not listing.exists:
        return None
    fetch = f"`{context.run_command('--heal', '--allow', 'costly')}` fetches the missing files"
    known: Evidence = {"folder": listing.subject, "missing_files": len(missing)}
    if (
        model.layout == "native"
        and listing.is_diffusers
        and layout.DIFFUSERS_INDEX in listing.files
    ):
        if any(file.path == layout.DIFFUSERS_INDEX for file in model.files):
            return None
        return Unhealthy(
            f"{printable(listing.subject)} holds a Diffusers pipeline; the app reads the native "
            f"layout and misses {counted(len(missing), 'file')}, {_first(missing)} among them.",
            "The -Diffusers repo of the model was downloaded for code that reads the native one.",
            f"Run the app with Diffusers, check with the -diffusers profile, or {fetch}.",
            failure_id="diffusers-repo-for-native-code",
            evidence=known,
        )
    if model.layout == "diffusers" and listing.has_native_weights:
        return Unhealthy(
            f"{printable(listing.subject)} holds native weights; the app reads a Diffusers "
            f"pipeline and misses {counted(len(missing), 'file')}, {_first(missing)} among them.",
            "The native repo of the model was downloaded for code that reads Diffusers pipelines.",
            f"Run the model's own code, check with the native profile, or {fetch}.",
            failure_id="native-repo-for-diffusers-code",
            evidence=known,
        )
    marked = layout.bf16_names(missing, listing.files)
    if marked:
        return Unhealthy(
            f"{printable(listing.subject)} holds {counted(len(marked), 'file')} with a bf16 mark, "
            f"{printable(marked[0])} among them; the app reads {_first(missing)}.",
            "ModelScope also serves a half-size revision of the model named bf16.",
            f"{fetch} of the full revision.",
            failure_id="modelscope-bf16-suffix",
            evidence=known,
        )
    return None


def elsewhere(
    context: Context, model: ModelRepo, folder: str, candidates: Sequence[Candidate]
) -> Unhealthy | None:
    """Return the verdict on a model that lies in another folder than ``folder``; None if not."""
    if not candidates:
        return None
    best = candidates[0]
    name = best.subject.rsplit("/", 1)[-1]
    aliased = "___" in name
    why = "Most often the model was downloaded one folder too deep, or beside the install."
    if aliased:
        why = "ModelScope's cache puts ___ in place of each dot of a folder's name."
    return Unhealthy(
        f"{printable(model.name)} is expected in {printable(folder)}; {best.found} of its "
        f"{best.tried} weight files lie in {printable(best.subject)}.",
        why,
        f"Rename or move {printable(best.subject)} to {printable(folder)} in "
        f"{printable(context.place)}, or give the app its true path.",
        failure_id="modelscope-dir-names" if aliased else "ckpt-dir-relative-wrong",
        evidence={"folder": folder, "found_in": best.subject, "files_found": best.found},
    )


def leftovers(found: Sequence[Found], now_seconds: float) -> tuple[str, str, str]:
    """Return what, why and next about unfinished downloads; ``now_seconds`` since the epoch."""
    total_bytes = sum(each.size_bytes for each in found)
    what = (
        f"{counted(len(found), 'unfinished download')} "
        f"{'take' if len(found) > 1 else 'takes'} {size(total_bytes)}: {_shown(found)}."
    )
    newest = max((each.modified_at_seconds for each in found), default=0.0)
    age_seconds = now_seconds - newest
    if age_seconds < _OLD_SECONDS:
        why = f"The newest was written {duration(max(age_seconds, 0.0))} ago: it may still run."
        return what, why, "Let the download finish, then run again."
    why = "Most often a download that was killed; the program that began it may go on with it."
    return what, why, "Let that program finish it, or delete them when no download runs."


def orphans(context: Context, found: Sequence[Found], now_seconds: float) -> Unhealthy:
    """Return the verdict on parts that the Hub's client left, the oldest first."""
    total_bytes = sum(each.size_bytes for each in found)
    age_seconds = now_seconds - max(each.modified_at_seconds for each in found)
    return Unhealthy(
        f"{counted(len(found), 'orphaned part')} of Hub downloads "
        f"{'take' if len(found) > 1 else 'takes'} {size(total_bytes)}: {_shown(found)}.",
        f"No download holds a lock beside them, and the newest was written {duration(age_seconds)} "
        "ago. Newer clients never use them again; older ones go on with them unproven, which "
        "makes a file of the right size with wrong bytes.",
        f"`{context.run_command('--heal')}` sets them aside.",
        failure_id="orphan-incomplete-files",
        subject=found[0].subject,
        evidence={"parts": len(found), "bytes": total_bytes, "age_seconds": round(age_seconds)},
    )


def unfinished(folders: Sequence[str]) -> tuple[str, str, str]:
    """Return what, why and next about ModelScope downloads that did not end."""
    shown = ", ".join(printable(folder) for folder in folders[:_SHOWN])
    more = ", ..." if len(folders) > _SHOWN else ""
    return (
        f"{counted(len(folders), 'ModelScope download')} did not end: {shown}{more}.",
        "Its client collects the files of a model there and moves them out at the end.",
        "Start the same download again: it goes on where it ended.",
    )


def _shown(found: Sequence[Found]) -> str:
    names = ", ".join(printable(each.subject) for each in found[:_SHOWN])
    return f"{names}{', ...' if len(found) > _SHOWN else ''}"


def stale_lock(context: Context, stale: Sequence[Lock]) -> Unhealthy:
    """Return the verdict on locks that nobody holds, the oldest first."""
    lock = stale[0]
    gone = f"process {lock.pid}, which is gone," if lock.pid else "a process that named no name"
    more = f" So do {counted(len(stale) - 1, 'other lock')}." if len(stale) > 1 else ""
    return Unhealthy(
        f"{printable(lock.subject)} blocks downloads: {gone} left it {duration(lock.age_seconds)} "
        f"ago.{more}",
        "Where the file system cannot lock, such a file is the lock, and clients wait for ever.",
        f"`{context.run_command('--heal')}` takes it away.",
        failure_id="stale-lock-infinite-wait",
        subject=lock.subject,
        evidence={
            "age_seconds": round(lock.age_seconds),
            "pid": lock.pid,
            "locks": len(stale),
            "hold": lock.hold.value,
        },
    )


def in_use(users: Sequence[User]) -> tuple[str, str, str]:
    """Return what, why and next about programs that use the install."""
    shown = "; ".join(
        f"process {user.pid} ({printable(user.program)}) {user.ways[0]}: {printable(user.path)}"
        for user in users[:_SHOWN]
    )
    more = f"; {len(users) - _SHOWN} more" if len(users) > _SHOWN else ""
    return (
        f"The install is in use: {shown}{more}.",
        "Repairs leave alone what a program has open, and a second start may find its port taken.",
        "Close it before a repair.",
    )


def port_taken(port: Port, use: PortUse) -> Unhealthy:
    """Return the verdict on a port that another program has or that may not be taken."""
    purpose = f" ({printable(port.purpose)})" if port.purpose else ""
    if use.is_reserved:
        what = f"Port {port.number}{purpose} may not be taken by this user: {use.error}."
        why = "The system reserves it: ports below 1024, or a range of Hyper-V or Docker."
    else:
        who = f"process {use.pid} ({printable(use.program)})" if use.pid else "another program"
        hidden = "" if use.pid else ", which this user may not see,"
        what = f"Port {port.number}{purpose} at {LOOPBACK} is taken: {who}{hidden} listens on it."
        why = "Most often an earlier start of this or a similar app that still runs."
    return Unhealthy(
        what,
        why,
        "Close that program, or start the app with another port.",
        failure_id="port-range-reserved-windows" if use.is_reserved else "port-7860-in-use",
        evidence={"port": port.number, "pid": use.pid, "program": use.program, "error": use.error},
    )


def no_program(profile: Profile, program: Program) -> Unhealthy:
    """Return the verdict on a program that is not found."""
    purpose = f" It is for: {printable(program.purpose)}." if program.purpose else ""
    return Unhealthy(
        f"The program {printable(program.name)} is neither on PATH nor in the app's environment.",
        f"{printable(profile.title)} calls it.{purpose}",
        f"Install {printable(program.name)} with the system's package manager.",
        failure_id="ffmpeg-missing-s2v-muted" if program.name == "ffmpeg" else None,
        evidence={"program": program.name},
    )


def no_sound(profile: Profile) -> Unhealthy:
    """Return the verdict on an ffmpeg that has no encoder for AAC.

    Source: wan/utils/utils.py, merge_video_audio: "-c:a aac"; its errors are only logged.
    """
    return Unhealthy(
        "The program ffmpeg that is found cannot encode AAC sound.",
        f"{printable(profile.title)} puts the sound into the video with it; without it the video "
        "is mute, and the app ends as if all were well.",
        "Install the system's own ffmpeg and let it come first on PATH; `ffmpeg -encoders` lists "
        "what it can.",
        failure_id="ffmpeg-missing-s2v-muted",
        evidence={"program": "ffmpeg", "encoder": "aac"},
    )


def _first(names: frozenset[str]) -> str:
    return printable(min(names))
