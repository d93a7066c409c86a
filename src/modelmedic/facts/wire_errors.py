"""The ways a conversation with a server fails, each with one word for it."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelmedic.errors import CannotTell
from modelmedic.text import printable

if TYPE_CHECKING:
    import ssl

MAX_DETAIL = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stage did not succeed.

    Args:
        kind: One word of a closed set, explained in ``network_words.py``.
        detail: What the system or the server said, printable, without secrets.
        status: HTTP status of a proxy that refused, else None.
    """

    kind: str
    detail: str = ""
    status: int | None = None


class WireError(Exception):
    """A stage failed; ``failure`` says how."""

    def __init__(self, kind: str, detail: str = "", status: int | None = None) -> None:
        super().__init__(kind, detail)
        self.failure = Failure(kind, printable(detail)[:MAX_DETAIL], status)


@contextlib.contextmanager
def telling(seconds: float, *protocol_errors: type[Exception]) -> Iterator[None]:
    """Turn errors of sockets, TLS and HTTP into a `WireError` with its kind."""
    try:
        yield
    except protocol_errors as error:
        if isinstance(error, OSError):  # RemoteDisconnected is a reset, too
            raise WireError("closed", "the connection was closed without an answer") from error
        raise WireError("not-http", f"{type(error).__name__}: {error}") from error
    except OSError as error:
        raise WireError(*kind_of(error, seconds)) from error


_ERRNO_KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ECONNABORTED: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.EAFNOSUPPORT: "unreachable",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
}
# Source: OpenSSL x509_vfy.h, X509_V_ERR_*.
_VERIFY_KINDS = {
    9: "not-yet-valid",
    10: "expired",
    18: "self-signed",
    19: "untrusted",
    20: "untrusted",
    21: "untrusted",
    62: "wrong-host",
    64: "wrong-host",
}


def kind_of(error: BaseException, seconds: float = 0.0) -> tuple[str, str]:
    """Return kind and detail of a system error.

    Raises:
        CannotTell: It is our own trouble (no file descriptors left) and says nothing about the
            server.
    """
    import ssl

    if isinstance(error, TimeoutError):
        return "timeout", f"no answer within {seconds:g} s" if seconds else "no answer in time"
    if isinstance(error, ssl.SSLError):
        return _tls_kind(error)
    if isinstance(error, socket.gaierror):
        return _resolver_kind(error)
    code = getattr(error, "errno", None)
    if code in _ERRNO_KINDS:
        return _ERRNO_KINDS[code], str(getattr(error, "strerror", "") or error)
    raise CannotTell(f"A connection could not be tried: {error}.") from error


def _tls_kind(error: ssl.SSLError) -> tuple[str, str]:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_KINDS.get(error.verify_code, "untrusted"), error.verify_message
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "closed", "the connection was closed during the handshake"
    reason = error.reason or str(error)
    if reason in {
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "UNKNOWN_PROTOCOL",
        "PACKET_LENGTH_TOO_LONG",
    }:
        return "not-tls", reason
    return "tls-other", reason


def _resolver_kind(error: socket.gaierror) -> tuple[str, str]:
    if error.errno == socket.EAI_AGAIN:
        return "resolver-down", str(error.strerror)
    return "no-such-name", str(error.strerror)
