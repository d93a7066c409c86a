"""Which certificate authorities this run believes: only those this machine trusts already."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from modelmedic.errors import CannotTell, NotItsCase, RecoveryRefused
from modelmedic.facts import network, network_commands, trust
from modelmedic.facts.book import FactBook
from modelmedic.facts.handshakes import TlsFact
from modelmedic.facts.trust import TrustStore
from modelmedic.operations.base import Operation
from modelmedic.operations.run_environment import SetRunEnvironment
from modelmedic.profile.model import Endpoint
from modelmedic.text import printable

# requests and older Hub clients, then curl and what asks it, then httpx, OpenSSL and newer Hub
# clients, then pip. Source: `modelmedic.facts.trust.stores`; pip, "Configuration", PIP_CERT.
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT")
_DISTRUSTED = frozenset({"untrusted", "self-signed"})


def plan_trust(facts: FactBook, subject: str) -> Iterator[Operation]:
    """Yield what lets this run verify by a store of this machine that does trust the server.

    Nothing is trusted that this machine does not trust already: not what a server sends along, and
    verification is never off. A store is taken only if the other servers are proven by it, too.

    Args:
        facts: Of the run.
        subject: The endpoint whose certificate is refused.

    Raises:
        NotItsCase: Its certificate is refused for another reason, or is not.
        RecoveryRefused: No store of this machine trusts it.
    """
    lost = _distrusted(facts, subject)
    others = [each for each in facts.profile.endpoints if each.name != subject]
    proven = [each for each in others if each.is_required and _is_proven(facts, each)]
    reasons = []
    for store in trust.stores()[1:]:
        fact = _by(facts, lost, store)
        if fact is None or fact.failure is not None:
            continue
        against = [each for each in proven if not _is_proven_by(facts, each, store)]
        if against:
            names = ", ".join(f"'{printable(each.name)}'" for each in against)
            reasons.append(f"{store.label} trusts it and does not trust {names}.")
        elif store.file is None:
            reasons.append(f"{store.label} trusts it and is no file that programs can be given.")
        else:
            issuer = f", which trusts {fact.issuer}" if fact.issuer else ""
            values = dict.fromkeys(VARIABLES, str(store.file))
            yield SetRunEnvironment.of(values, f"by {store.label}{issuer}")
            return
    raise _nobody_trusts(lost, reasons)


def _distrusted(facts: FactBook, subject: str) -> Endpoint:
    endpoint = facts.profile.endpoint(subject)
    if endpoint is None:
        raise NotItsCase(f"{printable(subject)} is no server of the profile.")
    fact = network.reach(facts, endpoint, network.read_tls)
    kind = fact.failure.kind if fact.failure else ""
    is_lost = isinstance(fact, TlsFact) and kind in {*_DISTRUSTED, "bad-trust-store"}
    if not is_lost:
        raise NotItsCase("What is wrong is not that nobody trusts the certificate's issuer.")
    return endpoint


def _is_proven(facts: FactBook, endpoint: Endpoint) -> bool:
    """Return whether a server proves who it is now, and so must go on doing so."""
    try:
        fact = network.reach(facts, endpoint, network.read_tls)
    except CannotTell:
        return False
    return isinstance(fact, TlsFact) and fact.is_tls and fact.failure is None


def _is_proven_by(facts: FactBook, endpoint: Endpoint, store: TrustStore) -> bool:
    fact = _by(facts, endpoint, store)
    return fact is not None and fact.failure is None


def _by(facts: FactBook, endpoint: Endpoint, store: TrustStore) -> TlsFact | None:
    try:
        fact: TlsFact = facts.get(network.read_tls_by, endpoint, store.label)
    except CannotTell:
        return None
    return fact


def _nobody_trusts(endpoint: Endpoint, reasons: list[str]) -> RecoveryRefused:
    name = f"'{printable(endpoint.name)}'"
    if reasons:
        return RecoveryRefused(
            f"No other trust store can be taken for {name}.", " ".join(reasons), _export()
        )
    return RecoveryRefused(
        f"No trust store of this machine trusts the certificate of {name}.",
        "What a server sends along proves nothing, so it is never taken.",
        f"ask who runs the network for its root certificate and {_install()}",
    )


def _export() -> str:
    """Return the command that writes the system's store as a file."""
    code = (
        "import ssl; print(''.join(map(ssl.DER_cert_to_PEM_cert, "
        "ssl.create_default_context().get_ca_certs(True))))"
    )
    return (
        f'{network_commands.own_python()} -c "{code}" > system-roots.pem   '
        "writes the system's store as a file; set "
        "SSL_CERT_FILE and REQUESTS_CA_BUNDLE to its path."
    )


def _install() -> str:
    """Return how a root certificate that was handed over gets into the system's store."""
    if sys.platform == "win32":
        return "install it with: certutil -addstore Root root.crt"
    if sys.platform == "darwin":
        return (
            "install it with: sudo security add-trusted-cert -d -k "
            "/Library/Keychains/System.keychain root.crt"
        )
    return (
        "install it with: sudo cp root.crt /usr/local/share/ca-certificates/ && sudo "
        "update-ca-certificates   (Fedora, RHEL: /etc/pki/ca-trust/source/anchors/ and "
        "update-ca-trust)"
    )
