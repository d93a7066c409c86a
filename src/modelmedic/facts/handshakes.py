"""TLS sessions with a server, verified: who signed it, who trusts it, and whose clock is wrong."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import Any

from modelmedic.errors import CannotTell
from modelmedic.facts import clock, talk, trust, wire
from modelmedic.facts.wire import Deadline
from modelmedic.facts.wire_errors import Failure, WireError
from modelmedic.text import printable


@dataclass(frozen=True, slots=True)
class TlsFact:
    """A verified TLS session. ``is_tls`` False: plain HTTP, nothing to verify.

    ``trusted_by`` names another trust store of this machine that accepts the server when the
    one Python programs take (``store``) does not; ``trusted_by_file`` is its bundle.
    ``ahead_seconds`` is how far our clock is ahead of that of a server whose certificate is
    outside its dates; None when the server does not say, or was not asked. ``address`` is where
    the server was found.
    """

    is_tls: bool
    is_loopback: bool = False
    store: str = ""
    version: str = ""
    issuer: str = ""
    begins: str = ""
    expires: str = ""
    trusted_by: str = ""
    trusted_by_file: str = ""
    via: str = ""
    failure: Failure | None = None
    ahead_seconds: float | None = None
    address: str = ""

    @property
    def is_clock_off(self) -> bool:
        """Return whether the certificate is outside its dates by our clock, not by the server's."""
        if self.ahead_seconds is None or not self.expires:
            return False
        import ssl

        there = time.time() - self.ahead_seconds
        begins, ends = (ssl.cert_time_to_seconds(date) for date in (self.begins, self.expires))
        return begins <= there <= ends


def shake(
    path: talk.Path, store: trust.TrustStore, deadline: Deadline, *, ignores_dates: bool = False
) -> TlsFact:
    """Return the TLS session with a server, verified against one store."""
    try:
        made = trust.context(store, ignores_dates=ignores_dates)
        sock = talk.open_path(path, deadline, store)
        try:
            sock = secured = wire.start_tls(sock, path.address.host, made, deadline)
            certificate = secured.getpeercert() or {}
            version = secured.version() or ""
        finally:
            sock.close()
    except trust.BadTrustStore as error:
        return TlsFact(True, store=store.label, failure=Failure("bad-trust-store", str(error)))
    except WireError as error:
        return TlsFact(True, store=store.label, via=path.via, failure=error.failure)
    return TlsFact(
        True,
        path.address.is_loopback,
        store.label,
        version,
        _issuer(certificate),
        str(certificate.get("notBefore", "")),
        str(certificate.get("notAfter", "")),
        via=path.via,
    )


def with_other_store(
    fact: TlsFact, path: talk.Path, others: tuple[trust.TrustStore, ...], deadline: Deadline
) -> TlsFact:
    """Return the failed session with the name of a store that does accept the server, if any."""
    for store in others:
        second = shake(path, store, deadline)
        if second.failure is None:
            return replace(
                fact,
                issuer=second.issuer,
                begins=second.begins,
                expires=second.expires,
                trusted_by=store.label,
                trusted_by_file=str(store.file or ""),
            )
    return fact


def with_its_clock(
    fact: TlsFact, path: talk.Path, store: trust.TrustStore, deadline: Deadline
) -> TlsFact:
    """Return the failed session with the certificate's dates and the server's time.

    Chain and name are verified as ever, only the dates are left aside, and nothing but the
    time is asked for: one of the two clocks is wrong, and this tells which.
    """
    second = shake(path, store, deadline, ignores_dates=True)
    if second.failure is not None:
        return fact
    ahead = None
    with contextlib.suppress(WireError, CannotTell):
        began = time.time()
        request = talk.Request("HEAD")
        answer = talk.ask(path, request, deadline=deadline, store=store, ignores_dates=True)
        ahead = clock.ahead_of(answer.headers.get("date"), (began + time.time()) / 2)
    return replace(
        fact,
        issuer=second.issuer,
        begins=second.begins,
        expires=second.expires,
        ahead_seconds=ahead,
    )


def _issuer(certificate: Any) -> str:
    """Return organisation and name of who signed a verified certificate."""
    names = {key: value for part in certificate.get("issuer", ()) for key, value in part}
    told = [names.get("organizationName", ""), names.get("commonName", "")]
    return printable(", ".join(name for name in told if name))
