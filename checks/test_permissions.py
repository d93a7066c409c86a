"""What this user may do where the install, the Hub's cache and temporary files go."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import disk, filesystem, permissions
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Profile
from modelmedic.text import counted, printable

Degraded = Callable[..., None]
Evidence = dict[str, str | int | float | bool | None]

_SYSTEM_FOLDERS = frozenset(
    f"/{name}"
    for name in (
        *("", "bin", "boot", "data", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt"),
        *("proc", "root", "run", "sbin", "scratch", "shared", "srv", "sys", "tmp", "usr"),
        *("usr/lib", "usr/local", "usr/share", "var", "var/cache", "var/lib", "var/tmp"),
        *("Applications", "Library", "System", "Users", "Volumes", "private"),
    )
)
_SHOWN = 3  # names in a message; the evidence has the count


def warm(facts: FactBook) -> None:
    """Try the folders while other checks run."""
    facts.start(filesystem.read_weight_scratches)


@pytest.mark.check("permissions.install-folder", area="permissions", severity="blocker")
@pytest.mark.guidance("docs/checks.md#permissions-install-folder")
def test_install_folder_can_be_written(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """Files can be made, written, run and removed where the install goes."""
    home = facts.get(disk.read_volume, context.place)
    for scratch in facts.get(filesystem.read_weight_scratches):
        broken = _first_denied(scratch, "create", "write", "rename", "lock")
        if broken is not None:
            if broken[1].is_read_only and _is_complete(facts, context):
                _say_read_only(scratch, degraded)
                continue
            raise _not_writable(context, scratch, *broken)
        if scratch.leftover:
            raise _stays(scratch)
        if scratch.device == home.device and profile.python.is_required:
            _judge_execute(scratch, context, degraded)
    closed = [f for f in facts.get(permissions.read_closed_folders) if not _is_read_only(facts, f)]
    if closed:
        raise Unhealthy(
            f"{_me()} cannot write in {_names(closed, context)}.",
            _whose(closed[0]),
            _let_in(context, closed[0]),
            failure_id="cache-owned-by-root",
            evidence={"folder": printable(closed[0]), "count": len(closed)},
        )


@pytest.mark.check("permissions.cache", area="permissions", severity="major")
@pytest.mark.guidance("docs/checks.md#permissions-cache")
def test_hub_cache_can_be_written(facts: FactBook, profile: Profile, context: Context) -> None:
    """The Hub client can write its cache folder."""
    if not any(source.kind == "hub" for model in profile.models for source in model.sources):
        pytest.skip("The profile takes nothing from a Hub.")
    cache = facts.get(permissions.read_cache_folder)
    scratch = facts.get(filesystem.read_scratch, facts.get(disk.read_volume, cache.path).folder)
    broken = _first_denied(scratch, "create", "write", "rename", "lock")
    if broken is not None:
        raise _cache_closed(context, cache, scratch, broken[1])
    if sys.platform == "win32":
        return
    closed = [
        entry
        for entry in facts.get(permissions.read_cache_owners).by_others
        if entry.is_folder and not entry.is_writable
    ]
    if closed:
        raise Unhealthy(
            f"{printable(closed[0].path)} belongs to {printable(closed[0].owner)} and cannot be "
            f"written ({counted(len(closed), 'such folder')} in the Hub's cache).",
            "Most often one run with sudo or in a container made it.",
            _give_back(cache.base),
            failure_id="cache-owned-by-root",
            evidence={"folders": len(closed), "owner": printable(closed[0].owner)},
        )


@pytest.mark.check("permissions.temp", area="permissions", severity="blocker")
@pytest.mark.guidance("docs/checks.md#permissions-temp")
def test_temporary_folder_can_be_written(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """Files can be made, written, run and removed in the temporary folder."""
    folder = facts.get(disk.read_temp).folder
    scratch = facts.get(filesystem.read_scratch, folder)
    cure = _own_temp(context)
    for name in ("create", "write", "rename", "lock"):
        trial: filesystem.Trial = getattr(scratch, name)
        if trial.works is None:
            raise CannotTell(f"{printable(folder)} was not tried: {printable(trial.error)}.")
        if not trial.works:
            raise Unhealthy(
                f"In the temporary folder {printable(folder)} this fails: {name}, with "
                f"'{printable(trial.error)}'.",
                "pip, compilers and the Hub client all put files there first.",
                cure,
                failure_id="no-space-on-tmp" if trial.is_full else None,
                evidence=_evidence(scratch, name, trial),
            )
    if scratch.leftover:
        raise _stays(scratch)
    if scratch.execute.works is False and profile.python.is_required:
        degraded(
            f"Programs in the temporary folder {printable(folder)} may not be run: "
            f"{printable(scratch.execute.error)}.",
            "It is most often mounted with noexec. Packages that are built, and torch.compile, "
            "run what they make there.",
            cure,
        )


@pytest.mark.check("permissions.owner", area="permissions", severity="major")
@pytest.mark.guidance("docs/checks.md#permissions-owner")
def test_files_belong_to_this_user(facts: FactBook, context: Context, degraded: Degraded) -> None:
    """The install belongs to the user who runs this, and nobody else can change it."""
    if sys.platform == "win32":
        pytest.skip("Windows keeps access lists instead of one owner per file.")
    owners = facts.get(permissions.read_owners)
    closed = [entry for entry in owners.by_others if not entry.is_writable]
    if context.is_installed and closed:
        raise Unhealthy(
            f"{counted(len(closed), 'file or folder', 'files and folders')} of the install cannot "
            f"be changed by {printable(owners.user)} and "
            f"{'belongs' if len(closed) == 1 else 'belong'} to {printable(closed[0].owner)}: "
            f"{_names([entry.path for entry in closed], context)}.",
            "Most often one run with sudo or in a container made them.",
            _give_back(context.place),
            failure_id="cache-owned-by-root",
            evidence={"count": len(closed), "owner": printable(closed[0].owner), "uid": owners.uid},
        )
    if context.is_installed and owners.is_root and owners.by_others:
        other = owners.by_others[0]
        degraded(
            f"This runs as root, and {printable(other.path)} belongs to {printable(other.owner)}.",
            "What root makes in it, the owner could no longer change.",
            f"Run it as the owner: `sudo -u {shlex.quote(other.owner)} {context.command}`.",
        )
    if owners.open_to_all:
        degraded(
            f"Every user of this machine can change {_names(list(owners.open_to_all), context)}.",
            "Another user could exchange the programs and models in it; a repair as root refuses "
            "to work there.",
            f"`chmod o-w {shlex.quote(str(owners.open_to_all[0]))}`.",
        )


def _first_denied(scratch: filesystem.Scratch, *names: str) -> tuple[str, filesystem.Trial] | None:
    """Return the first trial that failed for want of permission or on a read-only disk.

    Raises:
        CannotTell: Making or writing a file failed for another reason: a full disk, an I/O error.
    """
    for name in names:
        trial: filesystem.Trial = getattr(scratch, name)
        if trial.is_denied or trial.is_read_only:
            return name, trial
        if not trial.works and name in {"create", "write"}:
            raise CannotTell(
                f"Whether {printable(scratch.folder)} can be written was not seen: "
                f"{printable(trial.error)}.",
                "The disk is full." if trial.is_full else "The file system reports an error.",
            )
    return None


def _is_complete(facts: FactBook, context: Context) -> bool:
    return context.is_installed and not any(m.files for m in facts.get(disk.read_missing))


def _is_read_only(facts: FactBook, folder: Path) -> bool:
    return facts.get(disk.read_volume, folder).is_read_only


def _say_read_only(scratch: filesystem.Scratch, degraded: Degraded) -> None:
    degraded(
        f"{printable(scratch.folder)} is on a read-only file system.",
        "Every model file is there, so the model can run; nothing can be repaired or updated.",
        "In the shell that starts the app: `export HF_HUB_OFFLINE=1`, so that the Hub client does "
        "not try to write there.",
        failure_id="read-only-model-store",
    )


def _not_writable(
    context: Context, scratch: filesystem.Scratch, name: str, trial: filesystem.Trial
) -> Unhealthy:
    folder = scratch.folder
    if trial.is_read_only:
        return Unhealthy(
            f"{printable(folder)} is on a read-only file system: {printable(trial.error)}.",
            "It was mounted read-only, or the kernel made it so after a disk error.",
            f"See why: `findmnt -T {shlex.quote(str(folder))}`; or choose an install folder on "
            "another disk.",
            failure_id="read-only-model-store",
            evidence=_evidence(scratch, name, trial),
        )
    return Unhealthy(
        f"{_me()} cannot {_WORDS[name]} in {printable(folder)}: {printable(trial.error)}.",
        _whose(folder),
        _let_in(context, folder),
        evidence=_evidence(scratch, name, trial),
    )


def _stays(scratch: filesystem.Scratch) -> Unhealthy:
    return Unhealthy(
        f"What was made in {printable(scratch.folder)} for a trial cannot be removed: "
        f"{printable(scratch.leftover)}.",
        "Most often a virus scanner holds it, or the folder only takes files and gives none back.",
        f"Delete the folder that begins with .modelmedic-probe- in {printable(scratch.folder)}.",
        evidence={"folder": printable(scratch.folder), "error": printable(scratch.leftover)},
    )


def _judge_execute(scratch: filesystem.Scratch, context: Context, degraded: Degraded) -> None:
    if scratch.execute.works is not False:
        return
    what = (
        f"Programs in {printable(scratch.folder)} may not be run: "
        f"{printable(scratch.execute.error)}."
    )
    why = (
        "It is most often mounted with noexec. A Python environment there cannot load compiled "
        "packages such as torch."
    )
    cure = f"See its options: `findmnt -T {shlex.quote(str(scratch.folder))}`; or choose another."
    if context.target_python is None:
        raise Unhealthy(what, why, cure, evidence=_evidence(scratch, "execute", scratch.execute))
    degraded(what, why, cure)


def _cache_closed(
    context: Context,
    cache: permissions.CacheFolder,
    scratch: filesystem.Scratch,
    trial: filesystem.Trial,
) -> Unhealthy:
    elsewhere = shlex.quote(str(context.place / "hub-home"))
    is_ours = sys.platform != "win32" and scratch.folder.stat().st_uid == os.geteuid()
    cure = _let_in(context, scratch.folder) if is_ours else _give_back(cache.base)
    return Unhealthy(
        f"{_me()} cannot write the Hub's cache {printable(cache.path)} (from {cache.reason}): "
        f"{printable(scratch.folder)}, {printable(trial.error)}.",
        _whose(scratch.folder),
        f"{cure} Or for this shell: `export HF_HOME={elsewhere}`.",
        failure_id="read-only-model-store" if trial.is_read_only else "cache-owned-by-root",
        evidence=_evidence(scratch, "write", trial),
    )


_WORDS = {
    "create": "make a folder",
    "write": "write a file",
    "rename": "replace a file",
    "lock": "lock a file",
}


def _me() -> str:
    return "This user" if sys.platform == "win32" else permissions.user_name(os.geteuid())


def _whose(folder: Path) -> str:
    if sys.platform == "win32":
        return "Its access list does not let this user."
    info = folder.stat()
    owner = printable(permissions.user_name(info.st_uid))
    return f"The folder belongs to {owner} and has the mode {info.st_mode & 0o7777:04o}."


def _let_in(context: Context, folder: Path) -> str:
    """Return the command that would open the folder to this user."""
    if sys.platform == "win32":
        return "Choose an install folder below your own user folder."
    if folder.stat().st_uid == os.geteuid():
        return f"`chmod u+rwx {shlex.quote(str(folder))}`."
    if context.is_installed or not context.place.exists():
        return _give_back(context.place)
    return 'Choose a folder of your own: `mkdir -p "$HOME/models" && cd "$HOME/models"`.'


def _give_back(folder: Path) -> str:
    """Return the command that makes a folder of the install or the cache ours.

    It is recursive only below a folder that is nobody's but the install's: printed commands get
    pasted.
    """
    if sys.platform == "win32":
        return "Give your user full access in the folder's properties, Security."
    where = shlex.quote(str(folder))
    if not folder.exists():
        return f'`sudo mkdir -p {where} && sudo chown "$(id -un)" {where}`.'
    if os.path.realpath(folder) in _SYSTEM_FOLDERS or folder == Path.home():
        return "Choose a folder of your own inside it, or another place."
    uid = folder.stat().st_uid
    owner = printable(permissions.user_name(uid))
    ask = "" if uid in {0, os.geteuid()} else f"Ask {owner}; or, if the files are yours: "
    return f'{ask}`sudo chown -R "$(id -un)" {where}`.'


def _own_temp(context: Context) -> str:
    if sys.platform == "win32":
        return "Set TEMP and TMP to a folder that you can write."
    folder = shlex.quote(str(context.place / "tmp"))
    return f"In the shell that installs: `mkdir -p {folder} && export TMPDIR={folder}`."


def _names(paths: list[Path], context: Context) -> str:
    shown = [printable(_relative(path, context.place)) for path in paths[:_SHOWN]]
    more = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _relative(path: Path, place: Path) -> Path:
    return path.relative_to(place) if path != place and path.is_relative_to(place) else path


def _evidence(scratch: filesystem.Scratch, name: str, trial: filesystem.Trial) -> Evidence:
    return {
        "folder": printable(scratch.folder),
        "fs_type": scratch.fs_type,
        "failed": name,
        "error": printable(trial.error),
        "errno": trial.errno,
    }
