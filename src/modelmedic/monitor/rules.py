"""The limits that the monitor knows from the beginning. A limit without a source is none."""

from __future__ import annotations

from modelmedic.monitor.thresholds import Rule

_GIB = 1 << 30

RULES = (
    Rule(
        key="memory_short", series="memory.available_ratio", is_above=False, limit=0.10, clear=0.13,
        for_seconds=10, severity="warning", also=("swap.used_ratio", True, 0.90),
        what="{percent} of the memory are left.",
        why="What asks for more next is slow at first, and then the kernel ends a process.",
        advice="memory",
        source="earlyoom(1): it ends processes at 10 % of memory and 10 % of swap left",
    ),
    Rule(
        key="memory_short", series="memory.available_ratio", is_above=False, limit=0.05, clear=0.08,
        for_seconds=5, severity="critical", also=("swap.used_ratio", True, 0.95),
        what="{percent} of the memory are left.",
        why="The kernel is about to end a process, most often the largest.",
        advice="memory",
        source="earlyoom(1): SIGKILL at half of the limits for SIGTERM, which is 5 %",
    ),
    Rule(
        key="memory_pressure", series="pressure.memory_full_ratio", is_above=True, limit=0.60,
        clear=0.40, for_seconds=30, severity="critical",
        what="All work waited for memory during {percent} of the last 10 s.",
        why="The machine moves pages to the disk and back instead of working.",
        advice="memory",
        source="oomd.conf(5): DefaultMemoryPressureLimit=60%, DefaultMemoryPressureDurationSec=30s",
    ),
    Rule(
        key="swap_full", series="swap.used_ratio", is_above=True, limit=0.90, clear=0.80,
        for_seconds=30, severity="warning",
        what="{percent} of the swap space are used.",
        why="When the memory is full too, the kernel ends a process.",
        advice="memory",
        source="oomd.conf(5): SwapUsedLimit=90%",
    ),
    Rule(
        key="memory_killed", series="memory.killed", is_above=True, limit=1, clear=1,
        for_seconds=0, severity="critical",
        what="The kernel has ended processes for want of memory, {value} in the last minutes.",
        why="What is gone was most often the largest: the installer or the model.",
        advice="kernel-log",
        source="proc_vmstat(5) and cgroup-v2.rst, oom_kill: the kernel counts each",
    ),
    Rule(
        key="disk_full", series="disk.free_ratio*", is_above=False, limit=0.05, clear=0.06,
        for_seconds=30, severity="warning", also=("disk.free_bytes", False, 50.0 * _GIB),
        what="{percent} of the disk of {subject} are free.",
        why='A download or an install that needs more ends with "No space left on device".',
        advice="disk",
        source="Prometheus node-mixin, fsSpaceAvailableWarningThreshold 5; and where 50 GiB are "
        "free the 5B variant of Wan 2.2 (34 GiB) fits, whatever part of the disk that is",
    ),
    Rule(
        key="disk_full", series="disk.free_ratio*", is_above=False, limit=0.03, clear=0.04,
        for_seconds=10, severity="critical", also=("disk.free_bytes", False, 5.0 * _GIB),
        what="{percent} of the disk of {subject} are free.",
        why='What is written next ends with "No space left on device", and files are cut short.',
        advice="disk",
        source="Prometheus node-mixin, fsSpaceAvailableCriticalThreshold 3; 5 GiB is what a new "
        "environment with torch takes",
    ),
    Rule(
        key="inodes_full", series="disk.inodes_free_ratio*", is_above=False, limit=0.05, clear=0.07,
        for_seconds=30, severity="warning",
        what="{percent} of the file entries of {subject} are free.",
        why="At none, no file can be made, whatever space is left.",
        advice="inodes",
        source="kubelet's eviction signal nodefs.inodesFree<5%",
    ),
    Rule(
        key="files_full", series="process.open_files_ratio*", is_above=True, limit=0.70, clear=0.60,
        for_seconds=10, severity="warning",
        what="A process of the tree {subject} has {percent} of the files open that it may.",
        why='At all of them it ends with "Too many open files".',
        advice="open-files",
        source="Prometheus node-mixin, NodeFileDescriptorLimit: warning at 70 %",
    ),
    Rule(
        key="files_full", series="process.open_files_ratio*", is_above=True, limit=0.90, clear=0.80,
        for_seconds=5, severity="critical",
        what="A process of the tree {subject} has {percent} of the files open that it may.",
        why='At all of them it ends with "Too many open files".',
        advice="open-files",
        source="Prometheus node-mixin, NodeFileDescriptorLimit: critical at 90 %",
    ),
    Rule(
        key="files_full", series="files.open_ratio", is_above=True, limit=0.90, clear=0.80,
        for_seconds=10, severity="critical",
        what="{percent} of the open files that the whole system allows are used.",
        why="At all of them no program can open a file.",
        advice="open-files",
        source="Prometheus node-mixin, NodeFileDescriptorLimit: critical at 90 %",
    ),
    Rule(
        key="gpu_throttled", series="gpu.is_too_hot*", is_above=True, limit=1, clear=1,
        for_seconds=30, severity="warning",
        what="GPU {subject} has slowed itself down for heat for half a minute.",
        why="The card is hotter than it bears; work on it takes longer.",
        advice="gpu",
        source="nvml.h, nvmlClocksEventReasonSwThermalSlowdown and HwThermalSlowdown",
    ),
    Rule(
        key="gpu_lost", series="gpu.is_lost*", is_above=True, limit=1, clear=1,
        for_seconds=0, severity="critical",
        what="GPU {subject} has dropped off the bus or needs a reset.",
        why="What runs on it fails until the computer is started anew.",
        advice="gpu",
        source="nvml.h, NVML_ERROR_GPU_IS_LOST (15) and NVML_ERROR_RESET_REQUIRED (16)",
    ),
)  # fmt: skip
