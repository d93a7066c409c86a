"""The machine itself: what every install stands on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

import pytest

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import clock, filesystem, gpu, resources, system
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Profile
from modelmedic.text import duration, printable, size

Degraded = Callable[..., None]

# Kerberos, which proxies of companies ask for, allows 5 minutes (RFC 4120, "clock skew").
_SKEW_DEGRADED_SECONDS = 300
# Certificates are backdated by one hour against wrong clocks (Let's Encrypt); beyond that a
# fresh one is refused.
_SKEW_FAILED_SECONDS = 3600
# huggingface_hub takes a file for changed when it is over a second younger than its own note
# (_local_folder.py, read_download_metadata).
_DISK_AHEAD_SECONDS = 1.0
# Source: the failure catalogue's rule for shm-too-small, 1 GiB for each GPU in a container.
_SHM_OF_A_CARD_BYTES = 1 << 30


def warm(facts: FactBook) -> None:
    """Ask the servers for their time while the other checks run."""
    if not facts.context.offline:
        facts.start(clock.read_server_times)


@pytest.mark.check("system.os", area="system", severity="blocker")
@pytest.mark.guidance("docs/checks.md#system-os")
def test_operating_system_is_supported(facts: FactBook, profile: Profile) -> None:
    """The operating system and the processor's kind are ones the model's packages exist for."""
    asked = profile.hardware
    if not (asked.systems or asked.machines or asked.needs_gpu):
        pytest.skip("The profile asks for no operating system.")
    found = facts.get(system.read_system)
    evidence: dict[str, str | int | float | bool | None] = {
        "system": found.family,
        "release": printable(found.release),
        "machine": found.machine,
        "wsl": found.wsl,
        "container": found.container,
    }
    if found.wsl == 1 and asked.needs_gpu:
        raise Unhealthy(
            f"This Linux runs in WSL 1 (kernel {printable(found.release)}), which has no GPU.",
            "Only WSL 2 passes the graphics card through.",
            "In PowerShell: `wsl --list --verbose`, then `wsl --set-version NAME 2` with its name.",
            evidence=evidence,
        )
    for what, value, allowed in (
        ("operating system", found.family, asked.systems),
        ("kind of processor", found.machine, asked.machines),
    ):
        if allowed and value not in allowed:
            raise Unhealthy(
                f"This {what} is {printable(value)}; the profile is made for {', '.join(allowed)}.",
                "The packages it needs are not built for it.",
                "Use a machine of that kind, or a profile made for this one.",
                evidence=evidence,
            )


@pytest.mark.check("system.cpu", area="system", severity="blocker")
@pytest.mark.guidance("docs/checks.md#system-cpu")
def test_processor_has_the_features(facts: FactBook, profile: Profile) -> None:
    """The processor has the instructions that the model's packages are compiled for."""
    asked = profile.hardware.cpu_features
    if not asked:
        pytest.skip("The profile asks for no processor features.")
    processor = facts.get(system.read_processor)
    missing = [name for name in asked if processor.has(name) is False]
    if missing:
        raise Unhealthy(
            f"The processor lacks {', '.join(missing)}.",
            "Programs compiled for it end with 'illegal instruction'. A virtual machine most often "
            "hides it: its processor type is then a generic one.",
            "In a virtual machine set the processor type to 'host'; else use another machine.",
            evidence={"missing": ", ".join(missing), "asked": ", ".join(asked)},
        )
    unseen = [name for name in asked if processor.has(name) is None]
    if unseen:
        raise CannotTell(f"This system does not say whether it has {', '.join(unseen)}.")


@pytest.mark.check("system.open-files", area="system", severity="minor")
@pytest.mark.guidance("docs/checks.md#system-open-files")
def test_open_files_are_enough(facts: FactBook, profile: Profile) -> None:
    """A process may open as many files as the model's shards and workers take."""
    need = profile.hardware.min_open_files
    if need is None:
        pytest.skip("The profile asks for no number of open files.")
    if sys.platform == "win32":
        pytest.skip("Windows sets no limit on the open files of a process.")
    limits = facts.get(resources.read_process_limits)
    soft, hard = limits.open_files_soft, limits.open_files_hard
    if soft is None or soft >= need:
        return
    is_raisable = hard is None or hard >= need
    in_container = facts.get(system.read_system).container
    raise Unhealthy(
        f"A process may open {soft} files at once; the profile asks for {need}.",
        "Many shards, download workers or compilers at once then end in 'Too many open files'.",
        f"In the shell that starts the app: `ulimit -n {need}`."
        if is_raisable
        else f"Start the container with `--ulimit nofile={need}`."
        if in_container
        else f"An administrator raises the hard limit of {hard}: nofile in "
        "/etc/security/limits.conf, or LimitNOFILE= of the service.",
        failure_id="nofile-limit",
        evidence={"soft": soft, "hard": hard, "needed": need},
    )


@pytest.mark.check("system.shm", area="system", severity="major")
@pytest.mark.guidance("docs/checks.md#system-shm")
def test_shared_memory_is_enough(facts: FactBook, profile: Profile, degraded: Degraded) -> None:
    """Shared memory (/dev/shm) is large enough for the model's worker processes."""
    need = profile.hardware.min_shm_bytes
    if need is None:
        _judge_container_shm(facts, profile, degraded)
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("Only Linux keeps shared memory in a file system of its own.")
    found = facts.get(resources.read_shared_memory)
    cure = _more_shared_memory(facts, need)
    if not found.exists or not found.is_writable or found.total_bytes < need:
        state = (
            "does not exist"
            if not found.exists
            else f"holds {size(found.total_bytes)}"
            if found.total_bytes < need
            else "cannot be written"
        )
        raise Unhealthy(
            f"{resources.SHM} {state}; the profile asks for {size(need)}.",
            "Workers that hand tensors to each other then end in 'bus error'. Docker's own "
            "default is 64 MiB.",
            cure,
            failure_id="shm-too-small",
            evidence={
                "total_bytes": found.total_bytes,
                "exists": found.exists,
                "is_writable": found.is_writable,
                "needed_bytes": need,
            },
        )
    if found.free_bytes < need:
        degraded(
            f"{size(found.free_bytes)} of {size(found.total_bytes)} in /dev/shm are free; the "
            f"profile asks for {size(need)}.",
            "Other programs, or files left behind by ended ones, hold the rest.",
            "See what lies there: `ls -lhS /dev/shm`.",
            failure_id="shm-too-small",
        )


@pytest.mark.check("system.clock", area="system", severity="major")
@pytest.mark.guidance("docs/checks.md#system-clock")
def test_clock_is_right(facts: FactBook, context: Context, degraded: Degraded) -> None:
    """The clock is at a possible date and agrees with the disk and the servers that answer."""
    local = facts.get(clock.read_clock)
    cure = clock.cure(facts)
    if not local.is_possible:
        raise Unhealthy(
            f"The clock says {local.now:%Y-%m-%d %H:%M} UTC, which cannot be.",
            f"This program is from {clock.FLOOR:%Y}. With a wrong date every certificate looks "
            "expired or not yet valid, and no server can be trusted.",
            cure,
            evidence={"now": local.now.isoformat()},
        )
    _judge_disk_clock(facts, degraded)
    if context.offline:
        return
    servers = facts.get(clock.read_server_times)
    ahead = servers.ahead_seconds
    if ahead is None and servers.suspicion:
        raise CannotTell(servers.suspicion, "No other server told its time.", cure)
    if ahead is None or abs(ahead) <= _SKEW_DEGRADED_SECONDS:
        return
    side = "ahead of" if ahead > 0 else "behind"
    what = f"The clock is {duration(abs(ahead))} {side} the servers' clocks."
    if abs(ahead) > _SKEW_FAILED_SECONDS:
        raise Unhealthy(
            what,
            "Certificates and access tokens are judged by the local clock and get refused.",
            cure,
            evidence={"ahead_seconds": round(ahead, 1)},
        )
    degraded(what, "Logins by Kerberos and short-lived access tokens may be refused.", cure)


def _judge_container_shm(facts: FactBook, profile: Profile, degraded: Degraded) -> None:
    """Judge what processes on several cards of one container need to talk to each other."""
    if not profile.hardware.needs_gpu or not sys.platform.startswith("linux"):
        pytest.skip("The profile asks for no shared memory.")
    if not facts.get(system.read_system).container:
        pytest.skip("The profile asks for no shared memory, and this is no container.")
    cards = 0
    with contextlib.suppress(CannotTell):  # hardware.nvml says why the driver does not answer
        cards = len(facts.get(gpu.read_gpus).usable)
    if cards <= 1:
        pytest.skip("The profile asks for no shared memory, and a run on one card needs none.")
    found = facts.get(resources.read_shared_memory)
    need = cards * _SHM_OF_A_CARD_BYTES
    if found.total_bytes < need:
        degraded(
            f"{resources.SHM} holds {size(found.total_bytes)} in this container of {cards} cards.",
            f"A run on several cards hands tensors through it, about {size(_SHM_OF_A_CARD_BYTES)} "
            "for each card, and else ends in 'bus error' or an NCCL error. One card does not "
            "need it.",
            _more_shared_memory(facts, need),
            failure_id="shm-too-small",
        )


def _more_shared_memory(facts: FactBook, need: int) -> str:
    megabytes = -(-need // 2**20)
    if facts.get(system.read_system).container:
        return f"Start the container with `--shm-size={megabytes}m`, or with `--ipc=host`."
    return f"Until the next start: `sudo mount -o remount,size={megabytes}M /dev/shm`."


def _judge_disk_clock(facts: FactBook, degraded: Degraded) -> None:
    scratches: tuple[filesystem.Scratch, ...] = ()
    # A disk that cannot be tried is told by the checks of permissions and disk.
    with contextlib.suppress(CannotTell):
        scratches = facts.get(filesystem.read_weight_scratches)
    for scratch in scratches:
        ahead = scratch.clock_ahead_seconds
        if ahead is not None and ahead > _DISK_AHEAD_SECONDS:
            degraded(
                f"Files in {printable(scratch.folder)} are dated {duration(ahead)} ahead of this "
                "machine's clock.",
                "Its server's clock differs. The Hub client then takes finished downloads for "
                "changed ones and fetches them again.",
                "Set the clocks of this machine and of the file server by the same time server.",
            )
