"""The machine's memory: RAM, swap, and every limit that is laid over them."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from modelmedic.errors import Unhealthy
from modelmedic.facts import memory, resources, system, wsl
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Profile
from modelmedic.text import printable, size

Degraded = Callable[..., None]


@pytest.mark.check("system.memory-cap", area="system", severity="blocker")
@pytest.mark.guidance("docs/checks.md#system-memory-cap")
def test_no_cap_takes_the_memory(facts: FactBook, profile: Profile, degraded: Degraded) -> None:
    """No limit of a container, of WSL or of the shell keeps memory from the model."""
    need = _needed_memory(profile)
    found = facts.get(memory.read_memory)
    _judge_address_space(facts, need)
    if found.usable_bytes < need:
        if facts.get(system.read_system).wsl == 2:  # noqa: PLR2004 - the version that has a cap
            raise _wsl_cap(facts, found, need)
        if found.ram_bytes + found.swap_bytes >= need:
            raise _cgroup_cap(facts, found, need)
    soft = found.cap.soft_bytes
    if soft is not None and soft < need:
        degraded(
            f"Above {size(soft)} of memory this process is slowed down (memory.high); the model "
            f"needs {size(need)}.",
            "A soft limit of the container or the service lies below the need.",
            "Raise MemoryHigh of the service, or memory.high of its control group.",
            failure_id="host-ram-oom-killed",
        )


@pytest.mark.check("system.memory", area="system", needs=["system.memory-cap"], severity="blocker")
@pytest.mark.guidance("docs/checks.md#system-memory")
def test_memory_is_enough(facts: FactBook, profile: Profile, degraded: Degraded) -> None:
    """RAM and swap together hold what the model needs while it loads."""
    need = _needed_memory(profile)
    found = facts.get(memory.read_memory)
    if found.usable_bytes < need:
        raise Unhealthy(
            f"This machine has {size(found.ram_bytes)} of RAM and {size(found.swap_bytes)} of "
            f"swap, together {size(found.usable_bytes)} usable; the model needs {size(need)}.",
            "The weights pass through RAM on their way to the graphics card. When it runs out, "
            "the system ends the program: 'Killed', exit code 137.",
            _more_memory(facts, need - found.usable_bytes),
            failure_id="host-ram-oom-killed",
            evidence=_memory_numbers(found, need),
        )
    now = min(found.available_bytes, found.usable_ram_bytes) + found.free_swap_bytes
    if found.usable_ram_bytes < need:
        degraded(
            f"{size(found.usable_ram_bytes)} of RAM are less than the {size(need)} the model "
            "needs; swap holds the rest.",
            "Loading goes through the disk and takes several times as long.",
            "More RAM is the only cure; other programs closed first help a little.",
            failure_id="host-ram-oom-killed",
        )
    elif now < need:
        degraded(
            f"Only {size(now)} of memory are free now; the model needs {size(need)} of "
            f"{size(found.usable_bytes)}.",
            "Other programs hold the rest.",
            "Close programs that you do not need before the model starts.",
            failure_id="host-ram-oom-killed",
        )


@pytest.mark.check("system.commit-limit", area="system", severity="blocker")
@pytest.mark.guidance("docs/checks.md#system-commit-limit")
def test_system_promises_the_memory(facts: FactBook, profile: Profile, degraded: Degraded) -> None:
    """The system promises programs as much memory as the model asks for."""
    need = _needed_memory(profile)
    commit = facts.get(memory.read_commit)
    if not commit.is_limited or commit.free_bytes >= need:
        return
    is_windows = sys.platform == "win32"
    cure = (
        "Let Windows manage the size of the page file: System, Advanced system settings, "
        "Performance, Advanced, Virtual memory."
        if is_windows
        else "Allow the usual promises until the next start: `sudo sysctl vm.overcommit_memory=0`."
    )
    cause = "RAM plus page file" if is_windows else "vm.overcommit_memory is 2"
    if commit.limit_bytes < need:
        raise Unhealthy(
            f"The system promises programs at most {size(commit.limit_bytes)} of memory "
            f"({cause}); the model asks for {size(need)}.",
            "Asking for more fails at once, even while memory is free"
            + (": WinError 1455." if is_windows else ": 'Cannot allocate memory'."),
            cure,
            failure_id="pagefile-too-small" if is_windows else None,
            evidence={
                "limit_bytes": commit.limit_bytes,
                "promised_bytes": commit.promised_bytes,
                "needed_bytes": need,
            },
        )
    degraded(
        f"The system can promise {size(commit.free_bytes)} more of {size(commit.limit_bytes)}; "
        f"the model asks for {size(need)}.",
        "Other programs have been promised the rest.",
        f"Close other programs. {cure}",
        failure_id="pagefile-too-small" if is_windows else None,
    )


def _needed_memory(profile: Profile) -> int:
    need = profile.hardware.min_ram_bytes
    if need is None:
        pytest.skip("The profile asks for no amount of memory.")
    return need


def _memory_numbers(found: memory.Memory, need: int) -> dict[str, str | int | float | bool | None]:
    return {
        "ram_bytes": found.ram_bytes,
        "swap_bytes": found.swap_bytes,
        "usable_bytes": found.usable_bytes,
        "available_bytes": found.available_bytes,
        "cap_bytes": found.cap.ram_bytes,
        "cap_swap_bytes": found.cap.swap_bytes,
        "cap_ram_and_swap_bytes": found.cap.ram_and_swap_bytes,
        "cap_in": printable(found.cap.where),
        "processes_killed": found.cap.killed,
        "needed_bytes": need,
    }


def _judge_address_space(facts: FactBook, need: int) -> None:
    if sys.platform == "win32":
        return
    limit = facts.get(resources.read_process_limits).address_space_bytes
    if limit is not None and limit < need:
        raise Unhealthy(
            f"A process may use {size(limit)} of address space; the model needs {size(need)}.",
            "The shell or the batch system sets this limit (ulimit -v). Mapping a weight file "
            "then fails with 'Cannot allocate memory'.",
            "In the shell that starts the app: `ulimit -v unlimited`.",
            evidence={"address_space_bytes": limit, "needed_bytes": need},
        )


def _cgroup_cap(facts: FactBook, found: memory.Memory, need: int) -> Unhealthy:
    kind = facts.get(system.read_system).container
    killed = found.cap.killed
    seen = f" It has already ended {killed} processes here." if killed else ""
    return Unhealthy(
        f"A limit leaves {size(found.usable_bytes)} of the machine's "
        f"{size(found.ram_bytes + found.swap_bytes)} of RAM and swap; the model needs "
        f"{size(need)}.",
        f"The limit is set on the control group {printable(found.cap.where)}. The kernel ends "
        f"what goes above it: 'Killed', exit code 137.{seen}",
        f"Start the container with `--memory={-(-need // 2**30)}g` or more."
        if kind in {"Docker", "Podman"}
        else "Raise resources.limits.memory of the pod."
        if kind == "Kubernetes"
        else "Raise MemoryMax of the service or session, or the memory of the batch job.",
        failure_id="host-ram-oom-killed",
        evidence=_memory_numbers(found, need),
    )


def _wsl_cap(facts: FactBook, found: memory.Memory, need: int) -> Unhealthy:
    config = facts.get(wsl.read_wsl_config)
    why = "WSL 2 takes half of Windows' RAM, and a quarter of it as swap, unless told otherwise."
    if config is not None and config.trouble:
        why = f"{printable(config.path)} is ignored: {config.trouble}. {why}"
    elif config is not None and config.memory_bytes:
        why = f"{printable(config.path)} sets memory to {size(config.memory_bytes)}."
    gigabytes = -(-need // 2**30)
    return Unhealthy(
        f"Windows gives this Linux {size(found.ram_bytes)} of RAM and {size(found.swap_bytes)} of "
        f"swap; the model needs {size(need)}.",
        why,
        f"In %UserProfile%\\.wslconfig, saved as plain UTF-8, put the line [wsl2] and below it "
        f"memory={gigabytes}GB (less when Windows itself has less; swap={gigabytes}GB makes up "
        "for it). Then in PowerShell: `wsl --shutdown`.",
        failure_id="wsl-memory-cap",
        evidence=_memory_numbers(found, need),
    )


def _more_memory(facts: FactBook, short: int) -> str:
    if sys.platform == "win32":
        return (
            "Let Windows manage the size of the page file (System, Advanced system settings, "
            "Performance, Advanced, Virtual memory), or use a smaller model."
        )
    if sys.platform == "darwin" or facts.get(system.read_system).container:
        return f"Give the machine {size(short)} more memory, or use a smaller model."
    gigabytes = -(-short // 2**30)
    return (
        f"Add RAM, use a smaller model, or add swap: `sudo fallocate -l {gigabytes}G /swapfile && "
        "sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile`."
    )
