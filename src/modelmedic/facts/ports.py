"""Whether a TCP port of 127.0.0.1 is free, and who listens on it."""

from __future__ import annotations

import errno
import socket
import sys
from dataclasses import dataclass

from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.processes import read_program_of
from modelmedic.text import printable

LOOPBACK = "127.0.0.1"
# Who listens on every address also has the loopback one.
_HEARD_ON_LOOPBACK = frozenset({LOOPBACK, "0.0.0.0", "::", "::ffff:127.0.0.1"})  # noqa: S104 - read


@dataclass(frozen=True, slots=True)
class PortUse:
    """One port. ``pid`` is None and ``program`` "" when the owner may not be seen.

    ``error`` is why it could not be taken, in the system's words; "" when it is free.
    ``is_reserved`` says that the system keeps it from this user, without anybody listening.
    """

    number: int
    is_free: bool
    pid: int | None = None
    program: str = ""
    error: str = ""
    is_reserved: bool = False


@probe("local_read", connects="loopback")
def read_port(facts: FactBook, number: int) -> PortUse:
    """Return whether ``number`` can be listened on at 127.0.0.1, by taking it for a moment."""
    del facts
    error = _take(number)
    if error is None:
        return PortUse(number, is_free=True)
    text = printable(error.strerror or error)
    if error.errno == errno.EADDRINUSE:
        pid = _listener(number)
        program = read_program_of(pid) if pid else ""
        return PortUse(number, is_free=False, pid=pid, program=program, error=text)
    return PortUse(number, is_free=False, error=text, is_reserved=error.errno == errno.EACCES)


def _take(number: int) -> OSError | None:
    if sys.platform == "darwin" and _is_answered(number):
        # There a second socket may take 127.0.0.1 beside one that listens on every address.
        return OSError(errno.EADDRINUSE, "Address already in use")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe_socket:
        if sys.platform == "win32":
            probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:  # connections that just ended (TIME_WAIT) do not hold the port
            probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe_socket.bind((LOOPBACK, number))
            probe_socket.listen(1)
        except OSError as error:
            return error
    return None


def _is_answered(number: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.settimeout(1.0)
        return caller.connect_ex((LOOPBACK, number)) == 0


def _listener(number: int) -> int | None:
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:  # macOS shows them to root only
        return None
    for connection in connections:
        local = connection.laddr
        is_here = local and local.port == number and local.ip in _HEARD_ON_LOOPBACK
        if is_here and connection.status == psutil.CONN_LISTEN:
            return connection.pid
    return None
