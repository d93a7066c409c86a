"""The disks that the install goes to: space, inodes, quota, and what their file systems can do."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator

import pytest

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import disk, filesystem, quota
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Profile
from modelmedic.text import counted, printable, size

Degraded = Callable[..., None]

# Blocks, folders and lists take some more than the bytes of the files. Source: the failure
# catalogue's rule for no-space-on-model-disk, missing bytes x 1.05.
_MARGIN_RATIO = 1.05
# What pip keeps in the temporary folder at once while it installs torch 2.6.0 for CUDA 12.4 on
# Linux: torch 767 MB, cuDNN 665, cuBLAS 363, cuFFT 212, cuSPARSE 208, NCCL 189, triton 156,
# cuSPARSELt 150, cuSOLVER 128, cuRAND 56, others 60, as its own download lines say.
_TORCH_DOWNLOAD_BYTES = 2_950_000_000
# Building a package beside it (flash-attn). Source: the failure catalogue, no-space-on-tmp.
_TEMP_COMFORT_BYTES = 10_000_000_000
_FOUR_GIB_BYTES = 4 << 30


def warm(facts: FactBook) -> None:
    """Try the file systems while other checks run."""
    facts.start(filesystem.read_weight_scratches)


@pytest.mark.check("disk.space", area="disk", severity="blocker")
@pytest.mark.guidance("docs/checks.md#disk-space")
def test_disk_holds_what_is_missing(facts: FactBook, profile: Profile, degraded: Degraded) -> None:
    """The disk has room for every model file that is still missing."""
    if not profile.models:
        pytest.skip("The profile asks for no model files.")
    for missing in facts.get(disk.read_missing):
        volume, need = missing.volume, missing.certain_bytes
        if need > volume.free_bytes or volume.free_bytes == 0:
            raise _no_space(missing)
        most = need + missing.uncertain_bytes
        if max(most, round(need * _MARGIN_RATIO)) > volume.free_bytes:
            amount = size(need) if most == need else f"{size(need)} to {size(most)}"
            degraded(
                f"{printable(volume.name)} has {size(volume.free_bytes)} free; the "
                f"{counted(missing.files, 'missing file')} of the model need {amount}.",
                "The profile is not sure of every size, and a disk filled to its end loses some "
                "to its own lists.",
                _free_some(volume, most - volume.free_bytes),
                failure_id="no-space-on-model-disk",
            )
        if missing.unsized_files:
            degraded(
                f"{counted(missing.unsized_files, 'missing file')} of unknown size will also go to "
                f"{printable(volume.name)}, which has {size(volume.free_bytes)} free.",
                "The profile does not state how large they are.",
            )


@pytest.mark.check("disk.temp-space", area="disk", severity="major")
@pytest.mark.guidance("docs/checks.md#disk-temp-space")
def test_temporary_folder_holds_downloads(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """The temporary folder has room for what pip downloads and builds."""
    if not any(requirement.name == "torch" for requirement in profile.python.requirements):
        pytest.skip("The profile asks for no packages of gigabytes.")
    temp = facts.get(disk.read_temp)
    if temp.free_bytes >= _TEMP_COMFORT_BYTES:
        return
    what = f"The temporary folder {printable(temp.folder)} has {size(temp.free_bytes)} free."
    why = (
        f"pip downloads PyTorch and CUDA there, {size(_TORCH_DOWNLOAD_BYTES)} at once; building "
        f"flash-attn takes up to {size(_TEMP_COMFORT_BYTES)}."
    )
    home = facts.get(disk.read_volume, context.place)
    cure = _other_temp(context, temp, home)
    if temp.free_bytes < _TORCH_DOWNLOAD_BYTES and context.target_python is None:
        raise Unhealthy(
            what,
            why,
            cure,
            failure_id="no-space-on-tmp",
            evidence={
                "folder": printable(temp.folder),
                "free_bytes": temp.free_bytes,
                "needed_bytes": _TORCH_DOWNLOAD_BYTES,
            },
        )
    degraded(what, why, cure, failure_id="no-space-on-tmp")


@pytest.mark.check("disk.inodes", area="disk", severity="blocker")
@pytest.mark.guidance("docs/checks.md#disk-inodes")
def test_disk_can_hold_more_files(facts: FactBook) -> None:
    """The file system can hold as many more files as are missing."""
    missing = {entry.volume.device: entry.files for entry in facts.get(disk.read_missing)}
    counts = [v for v in facts.get(disk.read_weight_volumes) if v.inodes_total]
    if not counts:
        pytest.skip("This file system does not count its files.")
    for volume in counts:
        need = max(1, missing.get(volume.device, 0))
        if volume.inodes_free < need:
            where = shlex.quote(volume.name)
            raise Unhealthy(
                f"{printable(volume.name)} can hold {counted(volume.inodes_free, 'more file')}; "
                f"{need} will be made.",
                "A file system has a fixed number of inodes, one for each file. When they are used "
                "up it says 'No space left on device' while bytes are free.",
                "See which folders hold the most files: "
                f"`du --inodes -x --max-depth=3 {where} | sort -n | tail`.",
                failure_id="no-space-on-model-disk",
                evidence={
                    "mount": printable(volume.name),
                    "inodes_free": volume.inodes_free,
                    "inodes_total": volume.inodes_total,
                    "needed": need,
                },
            )


@pytest.mark.check("disk.quota", area="disk", severity="blocker")
@pytest.mark.guidance("docs/checks.md#disk-quota")
def test_quota_allows_what_is_missing(
    facts: FactBook, profile: Profile, degraded: Degraded
) -> None:
    """No quota keeps this user from writing the model files that are missing."""
    if not profile.models:
        pytest.skip("The profile asks for no model files.")
    unseen = ""
    for missing in facts.get(disk.read_missing):
        found = facts.get(quota.read_quotas, missing.volume.folder)
        unseen = unseen or found.unseen
        for limit in found.quotas:
            _judge_quota(limit, missing, degraded)
    if unseen:
        pytest.skip(unseen)


@pytest.mark.check(
    "disk.symlinks", area="disk", needs=["permissions.install-folder"], severity="minor"
)
@pytest.mark.guidance("docs/checks.md#disk-symlinks")
def test_symbolic_links_work(facts: FactBook, degraded: Degraded) -> None:
    """Symbolic links can be made where the models go."""
    for scratch, trial in _failures(facts, "symlink"):
        is_privilege = trial.winerror == 1314  # noqa: PLR2004 - ERROR_PRIVILEGE_NOT_HELD
        degraded(
            f"No symbolic link can be made in {_place(scratch)}: {printable(trial.error)}.",
            "The Hub client's cache then keeps whole copies, which may double its size; other "
            "programs that link may fail.",
            "In Windows' settings, For developers, switch on Developer Mode."
            if is_privilege
            else "Keep the models in a plain folder, as this profile does, and the Hub's cache on "
            "a file system with links.",
            failure_id="windows-symlink-privilege" if is_privilege else None,
        )


@pytest.mark.check(
    "disk.long-paths", area="disk", needs=["permissions.install-folder"], severity="major"
)
@pytest.mark.guidance("docs/checks.md#disk-long-paths")
def test_long_paths_work(facts: FactBook, context: Context, degraded: Degraded) -> None:
    """Paths of more than 260 characters can be made where the models go."""
    for scratch, trial in _failures(facts, "long_path"):
        longest = max((len(str(entry.path)) for entry in context.expected_files()), default=0)
        what = f"No path over 260 characters can be made in {_place(scratch)}: {trial.error}."
        why = "Windows' old limit holds here; what goes beyond looks like a missing file."
        cure = (
            "Move the install to a short folder such as C:\\ai, or in a PowerShell of the "
            "administrator: `reg add HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem /v "
            "LongPathsEnabled /t REG_DWORD /d 1 /f`, and restart."
            if sys.platform == "win32"
            else "Move the install to a folder with a shorter path, or to another file system."
        )
        if longest >= filesystem.LONG_PATH_CHARS:
            raise Unhealthy(
                what,
                f"{why} The longest path of a model file has {longest}.",
                cure,
                failure_id="windows-path-too-long",
                evidence={"longest_path": longest, "error": printable(trial.error)},
            )
        degraded(what, f"{why} Packages that are built there may need it.", cure)


@pytest.mark.check(
    "disk.large-files", area="disk", needs=["permissions.install-folder"], severity="blocker"
)
@pytest.mark.guidance("docs/checks.md#disk-large-files")
def test_large_files_fit(facts: FactBook, context: Context) -> None:
    """Files of 4 GiB and more can be kept where the models go."""
    large = [e for e in context.expected_files() if (e.file.size_bytes or 0) >= _FOUR_GIB_BYTES]
    if not large:
        pytest.skip("No file of the profile has 4 GiB or more.")
    volumes = {facts.get(disk.read_volume, context.model_dir(e.model)).device for e in large}
    for scratch in facts.get(filesystem.read_weight_scratches):
        trial = scratch.large_file
        if scratch.device not in volumes or trial.works:
            continue
        if trial.works is None:
            raise CannotTell(f"Large files in {_place(scratch)} were not tried: {trial.error}.")
        raise Unhealthy(
            f"{_place(scratch)} keeps no file of 4 GiB or more: {printable(trial.error)}.",
            f"{counted(len(large), 'file')} of the model are that large, such as "
            f"{printable(large[0].subject)}.",
            "Put the models on another file system: NTFS, ext4, APFS or exFAT; or lift the limit "
            "of the shell: `ulimit -f unlimited`.",
            evidence={"fs_type": scratch.fs_type, "error": printable(trial.error)},
        )


@pytest.mark.check(
    "disk.rename", area="disk", needs=["permissions.install-folder"], severity="blocker"
)
@pytest.mark.guidance("docs/checks.md#disk-rename")
def test_a_file_replaces_another_at_once(facts: FactBook) -> None:
    """A finished file can take the place of an old one in a single step."""
    for scratch, trial in _failures(facts, "rename"):
        raise Unhealthy(
            f"A file in {_place(scratch)} cannot be renamed over another: "
            f"{printable(trial.error)}.",
            "Downloads and repairs finish a file beside the old one and then replace it; without "
            "that a model file could be left half-written under its real name.",
            "Put the install on a local disk.",
            evidence={"fs_type": scratch.fs_type, "error": printable(trial.error)},
        )


@pytest.mark.check(
    "disk.lock", area="disk", needs=["permissions.install-folder"], severity="blocker"
)
@pytest.mark.guidance("docs/checks.md#disk-lock")
def test_files_can_be_locked(facts: FactBook) -> None:
    """A file can be locked, so that two programs never change the install at once."""
    for scratch, trial in _failures(facts, "lock"):
        raise Unhealthy(
            f"Files in {_place(scratch)} cannot be locked: {printable(trial.error)}.",
            "Network and FUSE file systems most often lack it. Two downloads at once may then "
            "destroy each other's files, and a repair refuses to begin.",
            "Put the install on a local disk, or mount this one with locks.",
            failure_id="flock-unsupported-filesystem",
            evidence={"fs_type": scratch.fs_type, "error": printable(trial.error)},
        )


def _failures(facts: FactBook, name: str) -> Iterator[tuple[filesystem.Scratch, filesystem.Trial]]:
    """Yield the folders where a trial failed.

    Raises:
        CannotTell: It failed nowhere but was not tried somewhere.
    """
    untried = ""
    for scratch in facts.get(filesystem.read_weight_scratches):
        trial: filesystem.Trial = getattr(scratch, name)
        if trial.works is None:
            untried = f"{_place(scratch)} was not tried: {printable(trial.error)}."
        elif not trial.works:
            yield scratch, trial
    if untried:
        raise CannotTell(untried)


def _place(scratch: filesystem.Scratch) -> str:
    kind = f" ({scratch.fs_type})" if scratch.fs_type else ""
    return f"{printable(scratch.folder)}{kind}"


def _no_space(missing: disk.Missing) -> Unhealthy:
    volume = missing.volume
    need = missing.certain_bytes
    return Unhealthy(
        f"{printable(volume.name)} has {size(volume.free_bytes)} free of "
        f"{size(volume.total_bytes)}; the {counted(missing.files, 'missing file')} of the model "
        f"need {size(need)}."
        if need
        else f"{printable(volume.name)} is full: no byte of {size(volume.total_bytes)} is free.",
        "A download would stop with 'No space left on device' after most of it was fetched."
        if need
        else "Nothing can be written or repaired there.",
        _free_some(volume, need - volume.free_bytes),
        failure_id="no-space-on-model-disk",
        evidence={
            "mount": printable(volume.name),
            "folders": printable(", ".join(missing.folders)),
            "free_bytes": volume.free_bytes,
            "needed_bytes": need,
            "uncertain_bytes": missing.uncertain_bytes,
            "missing_files": missing.files,
        },
    )


def _free_some(volume: disk.Volume, short: int) -> str:
    amount = f"{size(short)} there" if short > 0 else "some space there"
    if sys.platform == "win32":
        return f"Free {amount}, or choose an install folder on a larger disk."
    look = f"du -xh --max-depth=2 {shlex.quote(volume.name)} | sort -h | tail"
    return (
        f"Free {amount} (what takes the most: `{look}`), or choose an install folder on a larger "
        "disk."
    )


def _other_temp(context: Context, temp: disk.Volume, home: disk.Volume) -> str:
    free = f"Free {size(_TEMP_COMFORT_BYTES - temp.free_bytes)} there"
    if home.device == temp.device or home.free_bytes < _TEMP_COMFORT_BYTES:
        return f"{free}, or point TMPDIR (on Windows TEMP and TMP) to a larger disk."
    if sys.platform == "win32":
        return f"{free}, or set TEMP and TMP to a folder on {printable(home.name)}."
    where = shlex.quote(str(context.place / "tmp"))
    return f"{free}, or in the shell that installs: `mkdir -p {where} && export TMPDIR={where}`."


def _judge_quota(limit: quota.Quota, missing: disk.Missing, degraded: Degraded) -> None:
    need, where = missing.certain_bytes, printable(missing.volume.name)
    free, files = limit.free_bytes, limit.free_files
    if (free is not None and free < need) or (files is not None and files < missing.files):
        room = f"{size(free)}" if free is not None and free < need else counted(files or 0, "file")
        raise Unhealthy(
            f"The {limit.kind} quota on {where} leaves room for {room}; "
            f"{counted(missing.files, 'missing file')} of {size(need)} will be written.",
            f"This {limit.kind} uses {size(limit.used_bytes)} there, and the limit is "
            f"{size(limit.hard_bytes or 0)}.",
            "Ask the administrator for more, or choose an install folder on another disk: most "
            "clusters have one for data.",
            failure_id="no-space-on-model-disk",
            evidence={
                "used_bytes": limit.used_bytes,
                "hard_bytes": limit.hard_bytes,
                "hard_files": limit.hard_files,
                "used_files": limit.used_files,
                "needed_bytes": need,
                "missing_files": missing.files,
            },
        )
    if limit.soft_bytes is not None and limit.used_bytes + need > limit.soft_bytes:
        degraded(
            f"With the {size(need)} still missing this {limit.kind} passes its soft quota of "
            f"{size(limit.soft_bytes)} on {where}.",
            "Above it writing goes on for a grace time only.",
            "See the grace time: `quota -s`.",
            failure_id="no-space-on-model-disk",
        )
