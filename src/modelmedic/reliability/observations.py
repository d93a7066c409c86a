"""The network in an error's context: what was seen of it lately. Nobody is asked."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from modelmedic import observations
from modelmedic.reliability.error_context import NetworkStatus

_NAME_ERRORS = frozenset({"NameResolutionError", "ClientConnectorDNSError"})  # urllib3, aiohttp

note_connection = observations.SEEN.note_connection
note_transfer = observations.SEEN.note_transfer


def note_errors(errors: Iterable[BaseException]) -> None:
    """Take note of what an error and its causes show: a name not found, a server not there."""
    kinds = [type(error) for error in errors]
    names = {kind.__name__ for entry in kinds for kind in entry.__mro__}
    if names & _NAME_ERRORS or any(issubclass(kind, socket.gaierror) for kind in kinds):
        observations.SEEN.note_connection(False, dns_ok=False)
    elif any(issubclass(kind, ConnectionError) for kind in kinds):
        observations.SEEN.note_connection(False)


def status(*, proxy_configured: bool) -> NetworkStatus:
    """Return the network as it was seen lately."""
    seen = observations.SEEN.last()
    return NetworkStatus(
        connectivity=seen.is_connected,
        latency_ms=seen.latency_ms,
        bandwidth_mbps=seen.mbps,
        proxy_configured=proxy_configured,
        dns_resolution=seen.has_names,
        age_seconds=seen.age_seconds,
    )


def recent_mbps() -> float:
    """Return megabits a second over the transfers of the last minute; NaN without any."""
    return observations.SEEN.recent_mbps()
