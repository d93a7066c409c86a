"""What is known about a failed call: the data models of the user's design.

The first fields of each class are the design's, in its order; those after them are additions. A
number that could not be read is NaN or -1, as its field says, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class GPUInfo:
    """The first graphics card, as it was last read.

    Args:
        name: As the driver names it.
        memory_total_mb: Of the card, in MiB; -1 when not known.
        memory_used_mb: By all processes, in MiB; -1 when not known.
        driver_version: Empty when not known.
        count: How many cards there are.
        age_seconds: How long ago it was read: nothing asks the driver while a call fails.
    """

    name: str
    memory_total_mb: int = -1
    memory_used_mb: int = -1
    driver_version: str = ""
    count: int = 1
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SystemInfo:
    """The machine and its Python.

    Args:
        os_version: Name and release of the system.
        python_version: Of the process that failed.
        available_memory_gb: In GiB; NaN when not known.
        available_disk_gb: In GiB, where the install lies; NaN when not known.
        cpu_usage_percent: 0 to 100 over all processors; NaN before a second reading.
        gpu_info: None when there is no card, or none was read yet.
        installed_packages: Version by name of the failing process; may be from a cache.
    """

    os_version: str
    python_version: str
    available_memory_gb: float
    available_disk_gb: float
    cpu_usage_percent: float
    gpu_info: GPUInfo | None
    installed_packages: dict[str, str]


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """What the machine is made of.

    Args:
        cpu_model: As the system names it; empty when not known.
        cpu_count: Processors that this process may use.
        memory_total_gb: In GiB; NaN when not known.
        architecture: "x86_64", "aarch64", ...
        gpu: None when there is no card, or none was read yet.
    """

    cpu_model: str
    cpu_count: int
    memory_total_gb: float
    architecture: str
    gpu: GPUInfo | None = None


@dataclass(frozen=True, slots=True)
class ResourceSnapshot:
    """What was in use when the call failed.

    Args:
        memory_usage_mb: Resident memory of this process, in MiB; -1 when not known.
        disk_usage_gb: Used on the install's file system, in GiB; NaN when not known.
        cpu_usage_percent: 0 to 100 over all processors; NaN before a second reading.
        gpu_memory_usage_mb: Of the first card, in MiB; -1 when not known.
        network_bandwidth_mbps: Megabits a second in the last transfers of this process; NaN
            without any.
        open_file_handles: Of this process; -1 when not known.
    """

    memory_usage_mb: int
    disk_usage_gb: float
    cpu_usage_percent: float
    gpu_memory_usage_mb: int
    network_bandwidth_mbps: float
    open_file_handles: int


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """What recent calls showed of the network; nobody is asked for it.

    Args:
        connectivity: Whether the last observation reached its server; True before any.
        latency_ms: Of the last connection, in milliseconds; NaN before any.
        bandwidth_mbps: Megabits a second of the last transfer; NaN before any.
        proxy_configured: Whether the environment or the system names a proxy.
        dns_resolution: Whether the last name that was looked up was found; True before any.
        age_seconds: How old the newest observation is; infinite before any.
    """

    connectivity: bool
    latency_ms: float
    bandwidth_mbps: float
    proxy_configured: bool
    dns_resolution: bool
    age_seconds: float = float("inf")


@dataclass(frozen=True, slots=True)
class EnhancedErrorContext:
    """Everything about one failed call, masked when it was captured.

    Args:
        timestamp: When it failed, with its time zone.
        phase: Of the installation, as the installer calls it; empty when it does not say.
        task: Inside the phase, likewise.
        component: Name of the failing component.
        method: That was called.
        hardware_profile: Of this machine.
        system_info: Of this machine and process.
        environment_vars: Of an allow-list of names; values masked.
        stack_trace: The traceback, masked, its chain included.
        retry_count: How often the call had been repeated before.
        previous_errors: What those calls raised, oldest first.
        recovery_attempts: What was tried in between, as sentences.
        system_resources: In use at that time.
        network_status: As observed lately.
        correlation_id: The same for one exception in all calls it passes, and for all errors in
            one `correlated` block.
        error_id: Of this error alone.
        category: Value of its `EnhancedErrorCategory`; None when nothing says which.
        error: Type and message, masked.
        chain: Type and message of its causes and of what it arose in, nearest first.
        summary: Arguments and locals by name: type, size and shape, never their contents.
        remediation: What a person can do, as sentences; empty when nothing is known.
        seconds: How long the capture took.
    """

    timestamp: datetime
    phase: str
    task: str
    component: str
    method: str
    hardware_profile: HardwareProfile
    system_info: SystemInfo
    environment_vars: dict[str, str]
    stack_trace: str
    retry_count: int
    previous_errors: list[str]
    recovery_attempts: list[str]
    system_resources: ResourceSnapshot
    network_status: NetworkStatus
    correlation_id: str = ""
    error_id: str = ""
    category: str | None = None
    error: str = ""
    chain: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    remediation: list[str] = field(default_factory=list)
    seconds: float = 0.0
