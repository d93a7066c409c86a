"""Which of a name's addresses a transfer connects to: one that answers, not one that is silent.

A network whose IPv6 leads nowhere keeps every client waiting that tries addresses one by one, ten
seconds and more for each connection. Source: RFC 8305, "Happy Eyeballs".
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from modelmedic.errors import CannotTell
from modelmedic.facts import wire
from modelmedic.facts.wire_errors import WireError
from modelmedic.text import printable

_HEAR_SECONDS = 0.2  # on Windows a wait in the system does not hear Ctrl-C


def look_up(host: str, port: int, seconds: float) -> tuple[str, ...]:
    """Return a name's addresses, none when it has none; Ctrl-C is heard meanwhile.

    Inside the system's own call it is not: that may take half a minute when no DNS answers.

    Raises:
        TimeoutError: It took too long.
    """
    found: list[str] = []

    def ask() -> None:
        with contextlib.suppress(OSError, UnicodeError):  # who connects is told again
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(str(entry[4][0]) for entry in entries)

    thread = threading.Thread(target=ask, name="transfer-name", daemon=True)
    thread.start()
    until = time.monotonic() + seconds
    while thread.is_alive():
        thread.join(_HEAR_SECONDS)
        if time.monotonic() > until:
            raise TimeoutError(f"the name {printable(host)} could not be looked up")
    return tuple(dict.fromkeys(found))


def answering(addresses: tuple[str, ...], port: int, seconds: float) -> str:
    """Return the address that answers first, where IPv6 and IPv4 are to choose from; else "".

    Where there is nothing to choose, or none answers, whoever connects finds out by itself.
    """
    if len({":" in address for address in addresses}) <= 1:
        return ""
    # Those of the family that comes first are tried by everyone; one of the other is enough.
    first = [each for each in addresses if (":" in each) == (":" in addresses[0])]
    other = [each for each in addresses if each not in first]
    tried = (*first[: wire.MAX_ADDRESSES - 1], other[0])
    try:
        return wire.connect_any(tried, port, wire.Deadline(seconds), straggler_seconds=0).address
    except (WireError, CannotTell):
        return ""
