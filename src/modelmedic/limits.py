"""How long anything may take: one table for probes, recoveries and the reliability library."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelmedic.timelimit import Limit


class TimeoutManager:
    """Time limits by operation name, in seconds, adjusted to the context.

    Source: the first five are the user's own design; the others are measured or reasoned in the
    comment beside them. An unknown operation gets ``FALLBACK_SECONDS``.
    """

    FALLBACK_SECONDS = 300
    DEFAULT_TIMEOUTS: Mapping[str, int] = MappingProxyType(
        {
            "model_download": 1800,
            "dependency_install": 600,
            "system_detection": 60,
            "validation": 300,
            "network_test": 30,
            # One stage of reaching an endpoint: three seconds lost SYNs twice, five did not.
            "dns_lookup": 5,
            "tcp_connect": 5,
            "tls_handshake": 5,
            "http_request": 10,
            # Reads of /proc, /sys, statvfs: milliseconds when alive, for ever on a dead mount.
            "local_read": 5,
            # Doing things in the scratch folder; slow network shares answer within it.
            "scratch_probe": 10,
            # NVML takes 1 to 3 s per GPU without persistence mode (its driver-persistence guide).
            "gpu_query": 20,
            # Starting the target interpreter from a cold disk or a virus scanner's hands.
            "interpreter_probe": 20,
            # Importing torch from a cold disk: 3 GB of libraries, a virus scanner reading along.
            "module_import": 120,
            # The first kernel loads CUDA and its libraries onto each card: 10 to 30 s when cold.
            "kernel_probe": 120,
            # Eight small frames through ffmpeg and back: 0.3 s here, 8 s for each step at most.
            "video_encode": 20,
            # One size-and-header verdict; a file on a dead mount must not hold the run.
            "file_header": 10,
            # Listing an install: it stops itself after 6 s and says so; this is for a dead mount.
            "folder_scan": 15,
            # Every process with its open files: 3 ms each here, thousands of them on a server.
            "process_scan": 15,
            # One whole-file sha256: 10 GB at 100 MB/s is 100 s, doubled by size below.
            "file_hash": 600,
            "quick_repair": 60,
            # Planning a repair in place: the file is read once to locate the damage.
            "model_repair": 1800,
        }
    )

    def get_timeout(self, operation: str, context: Mapping[str, Any] | None = None) -> int:
        """Return the limit of ``operation`` in whole seconds.

        Args:
            operation: A name of the table; any other gets the fallback.
            context: May hold ``file_size_gb`` (doubled above 5), ``network_speed`` ("slow": half
                as much again) and ``retry_count`` (a fifth more once it is above 0).
        """
        context = context or {}
        seconds: float = self.DEFAULT_TIMEOUTS.get(operation, self.FALLBACK_SECONDS)
        if context.get("file_size_gb", 0) > 5:  # noqa: PLR2004 - the seed's own rule
            seconds *= 2
        if context.get("network_speed", "fast") == "slow":
            seconds *= 1.5
        if context.get("retry_count", 0) > 0:
            seconds *= 1.2
        return int(seconds)

    def limit(
        self,
        operation: str,
        context: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> Limit:
        """Return a context manager that breaks off its block when the time is over.

        ``with limits.limit("validation"): ...``, or ``async with`` in a coroutine.

        Args:
            operation: A name of the table.
            context: As of `get_timeout`.
            seconds: Another limit than that of the table; above 0.

        Raises:
            OperationTimedOut: By the block, a `TimeoutError`; see `modelmedic.timelimit.Limit`.
            ValueError: The limit is not above 0.
        """
        from modelmedic.timelimit import Limit

        given = float(self.get_timeout(operation, context) if seconds is None else seconds)
        if not given > 0:
            raise ValueError(f"the limit of {operation} is {given:g} s; it must be above 0")
        return Limit(operation, given)
