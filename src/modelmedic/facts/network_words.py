"""What a network fact means, in words: what happened, most likely why, what to do next."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from modelmedic.facts import network_commands, odd_addresses
from modelmedic.facts.answers import HttpFact, Limits
from modelmedic.facts.handshakes import TlsFact
from modelmedic.facts.network import DnsFact, Stage, TcpFact
from modelmedic.facts.wire_errors import Failure
from modelmedic.profile.model import Endpoint, Profile
from modelmedic.text import duration, printable

RATE_LIMIT_ID = "rate-limited-429"
PORTAL_ID = "error-page-saved-as-weight"
INTERCEPTION_ID = "tls-interception"


@dataclass(frozen=True, slots=True)
class Words:
    """The three parts of a message and the known failure it is, if one."""

    what: str
    why: str = ""
    next_step: str = ""
    failure_id: str | None = None


def of_failure(endpoint: Endpoint, fact: Stage) -> Words:
    """Return what a failed stage means; the stage is told by the kind of fact."""
    failure = fact.failure
    if failure is None:
        raise ValueError("the stage did not fail")
    name = _name(endpoint)
    if failure.kind == "bad-address":
        return Words(failure.detail, next_step="write it as https://host or https://host/path.")
    if failure.kind.startswith("proxy-"):
        return _of_proxy(name, fact.via, failure)
    if isinstance(fact, DnsFact):
        return _of_dns(name, fact, failure)
    if isinstance(fact, TcpFact):
        words = of_connection(name if not fact.via else f"The proxy {fact.via}", fact, failure)
        return _with_odd_address(words, endpoint, fact)
    if isinstance(fact, TlsFact):
        return _with_odd_address(_of_tls(name, fact, failure), endpoint, fact)
    return _of_http_failure(name, fact, failure)


def _name(endpoint: Endpoint) -> str:
    return f"The server '{printable(endpoint.name)}'"


def _with_odd_address(words: Words, endpoint: Endpoint, fact: TcpFact | TlsFact) -> Words:
    """Return the words with what a name server's answer says, if it is none of the internet."""
    where = odd_addresses.place_of(fact.address)
    is_name = any(letter.isalpha() for letter in endpoint.url.partition("://")[2].split(":")[0])
    if fact.via or not where or not is_name or "localhost" in endpoint.url:
        return words
    told = f"Its name leads to {fact.address} here, {where}."
    return replace(words, why=f"{told} {words.why}".strip())


def _of_dns(name: str, fact: DnsFact, failure: Failure) -> Words:
    setting = f" (set by {fact.setting})" if fact.setting else ""
    host = f"{fact.host}{setting}"
    if fact.is_routeless:
        return Words(
            f"{name} is not found: this machine is offline. It has no route out of its own "
            f"network ({host}: {failure.detail}).",
            "No network is connected, the VPN is down, or a container was started without one.",
            f"connect it to a network ({network_commands.show_routes()} shows the routes), then "
            "run this again.",
        )
    if failure.kind == "no-real-address":
        return Words(
            f"{name} is blocked by the name server: it answers {failure.detail} for {host}, where "
            "no server can be.",
            "A filter does that: Pi-hole and its like, the provider, or a line of the hosts file.",
            f"{network_commands.look_up(fact.host)}   shows the answer; allow the name in the "
            "filter, or use another name server.",
        )
    if failure.kind == "no-such-name":
        return Words(
            f"{name} is not found: the name {host} has no address here ({failure.detail}).",
            "Most often this machine is offline, the name is mistyped, or the network's name "
            "server blocks it.",
            "open the address in a browser on this machine; behind a company proxy set "
            "HTTPS_PROXY.",
        )
    return Words(
        f"{name} is not found: the name server gave no answer for {host} ({failure.detail}).",
        "Most often this machine is offline, or its name server is down or out of reach.",
        "check the network connection or VPN of this machine, then run this again.",
    )


_CONNECTION_CAUSES = {
    "refused": (
        "refuses the connection",
        "The machine is there; nothing listens on that port, or a firewall rejects it.",
    ),
    "timeout": (
        "takes no connection",
        "Most often a firewall that drops packets, or a server that is down.",
    ),
    "reset": ("breaks the connection off", "Most often a firewall or filter on the way."),
    "unreachable": (
        "cannot be reached",
        "This machine has no route there: most often it is offline or a VPN is down.",
    ),
    "denied": (
        "may not be connected to",
        "The system denied it: most often a firewall or sandbox on this machine.",
    ),
    "no-such-name": ("is not found", "Its name has no address here."),
    "resolver-down": ("is not found", "The name server gives no answer."),
}


def of_connection(name: str, fact: TcpFact, failure: Failure) -> Words:
    """Return what a failed TCP connection means; ``name`` begins the sentence."""
    verb, why = _CONNECTION_CAUSES.get(failure.kind, ("cannot be connected to", ""))
    peer = "" if fact.peer in name else f" at {printable(fact.peer)}"
    next_step = (
        "correct or unset the proxy variable, or start the proxy program."
        if fact.via or name.startswith("The proxy")
        else "ask who runs the network to allow it, or set HTTPS_PROXY to the proxy to use."
    )
    return Words(f"{name}{peer} {verb} ({failure.detail}).", why, next_step)


def _of_proxy(name: str, via: str, failure: Failure) -> Words:
    if failure.kind == "proxy-auth":
        asks = f" ({failure.detail})" if failure.detail else ""
        return Words(
            f"The proxy {via} asks for a login{asks} before it leads to {_lower(name)} (HTTP 407).",
            "No user and password stand in the proxy variable, or they are not accepted.",
            "set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT; NTLM and Negotiate proxies need a "
            "local helper such as px or cntlm.",
        )
    if failure.kind == "proxy-refused":
        return Words(
            f"The proxy {via} does not lead to {_lower(name)}: it answers '{failure.detail}'.",
            "The proxy forbids this host, or cannot reach it itself.",
            "ask who runs the proxy to allow it, or name the host in NO_PROXY if it is reached "
            "directly.",
        )
    if failure.kind == "proxy-not-http":
        return Words(
            f"The proxy {via} does not speak HTTP: it answers '{failure.detail}'.",
            "Most often the port belongs to another program, or the proxy is a SOCKS one.",
            "correct the proxy variable.",
        )
    return Words(
        f"{name} cannot be asked for: the proxy setting cannot be used ({failure.detail}).",
        next_step="write it as http://HOST:PORT.",
    )


def _of_tls(name: str, fact: TlsFact, failure: Failure) -> Words:
    if failure.kind == "bad-trust-store":
        return Words(
            f"{name} cannot be verified: {failure.detail}.",
            "The setting points at a file or folder of certificates that is not there or not one.",
            f"correct the path, or unset {failure.detail.partition('=')[0]}.",
        )
    if failure.kind in {"untrusted", "self-signed"}:
        return _of_untrusted(name, fact, failure)
    if failure.kind in {"expired", "not-yet-valid"}:
        return _of_dates(name, fact, failure)
    if failure.kind == "wrong-host":
        return Words(
            f"{name} shows a certificate for another host ({failure.detail}).",
            "Most often a captive portal or filter answers in its place, or the address is wrong.",
            "open the address in a browser on this machine and look who answers.",
        )
    if failure.kind == "not-tls":
        return Words(
            f"{name} does not answer in TLS ({failure.detail}).",
            "Most often a captive portal, or an http address written as https.",
            "open the address in a browser on this machine and look who answers.",
        )
    return Words(
        f"{name} does not finish the TLS handshake ({failure.detail}).",
        "Most often a firewall that filters by name lets the connection in and cuts it here.",
        "ask who runs the network to allow it, or try another network.",
    )


def _of_dates(name: str, fact: TlsFact, failure: Failure) -> Words:
    kind = failure.kind.replace("-", " ")
    dates = f" (it holds from {fact.begins} to {fact.expires})" if fact.expires else ""
    if fact.is_clock_off:
        ahead = fact.ahead_seconds or 0.0
        side = "ahead of" if ahead > 0 else "behind"
        return Words(
            f"The clock of this machine is off by {_far(abs(ahead))}: it says "
            f"{time.strftime('%Y-%m-%d %H:%M')}, {side} the time of {_lower(name)}. So its "
            f"certificate looks {kind}{dates}.",
            "Certificates are judged by the local clock. By the server's own clock this one holds.",
            "set the clock of this machine, then run this again.",
        )
    is_told = fact.ahead_seconds is not None
    return Words(
        f"{name} shows a certificate that is {kind}{dates}; this machine's clock says "
        f"{time.strftime('%Y-%m-%d %H:%M')}.",
        "The server's clock agrees with this one: its certificate was not renewed."
        if is_told
        else "Either this clock is wrong, or the server's certificate was not renewed.",
        "only the server's owner can renew it; use another server until then."
        if is_told
        else "compare the clock with a phone; if it is right, only the server's owner can help.",
    )


def _far(seconds: float) -> str:
    """Return a difference of clocks, in days where it is some."""
    days = round(seconds / 86_400)
    return f"{days} days" if days > 1 else duration(seconds)


def _of_untrusted(name: str, fact: TlsFact, failure: Failure) -> Words:
    what = f"{name} shows a certificate that {fact.store} does not trust ({failure.detail})."
    if fact.trusted_by:
        by = f", issued by {fact.issuer}" if fact.issuer else ""
        return Words(
            what,
            f"It is trusted by {fact.trusted_by}{by}: most often a company proxy or virus scanner "
            "opens TLS and its root is missing from the bundle Python programs take.",
            network_commands.take_bundle(fact.trusted_by_file)
            or "export the issuer's root certificate as a PEM file and set SSL_CERT_FILE and "
            "REQUESTS_CA_BUNDLE to it.",
            INTERCEPTION_ID,
        )
    return Words(
        what,
        "No trust store of this machine accepts it: most often a company proxy, filter or virus "
        "scanner opens TLS with its own certificate.",
        "ask who runs the network for its root certificate as a PEM file, and set SSL_CERT_FILE "
        "and REQUESTS_CA_BUNDLE to that file. Never turn verification off.",
        INTERCEPTION_ID,
    )


def _of_http_failure(name: str, fact: HttpFact, failure: Failure) -> Words:
    how = {
        "timeout": "gives no HTTP answer",
        "not-http": "does not answer in HTTP",
    }.get(failure.kind, "closes the connection without an HTTP answer")
    through = f" through the proxy {fact.via}" if fact.via else ""
    return Words(
        f"{name} at {fact.origin} {how}{through} ({failure.detail}).",
        "Most often the server is overloaded, or a filter on the way holds the request.",
        "run this again in a few minutes; if it stays, try another network.",
    )


def of_answer(endpoint: Endpoint, fact: HttpFact) -> Words | None:
    """Return what is wrong with an answer; None when the server does its job.

    A rate limit (429) is an answer of the right server and is judged by its own check; so is
    what the Hub says about a repo.
    """
    name = f"{_name(endpoint)} at {fact.origin}"
    is_api = endpoint.kind in {"hub", "modelscope"}
    if fact.status == 407:  # noqa: PLR2004 - proxy authentication required
        return _of_proxy(name, fact.via or "on the way", Failure("proxy-auth", fact.proxy_scheme))
    if fact.status == 429:  # noqa: PLR2004 - too many requests
        return None
    if fact.status == 511 or (is_api and fact.status < 400 and _is_elsewhere(fact)):  # noqa: PLR2004
        return _of_portal(name, fact)
    if fact.status >= 500:  # noqa: PLR2004 - server errors
        return Words(
            f"{name} answers HTTP {fact.status} {fact.reason}.",
            "The server, or a proxy before it, is in trouble; this machine is not the cause.",
            "run this again in a few minutes.",
        )
    if fact.is_from_hub and is_api:
        return None
    return _of_client_error(endpoint, name, fact, is_api=is_api)


def of_rate_limit(server: str, limits: Limits) -> Words:
    """Return what a 429 means, with the time the server names."""
    wait = limits.wait_seconds
    told = f" and asks to wait {duration(wait)}" if wait is not None else ""
    return Words(
        f"{server} answers HTTP 429 Too Many Requests{told}.",
        "Many programs share this machine's address (office, cloud, CI), or one asks too often.",
        f"wait {duration(wait) if wait is not None else 'some minutes'}, then run this again; a "
        "Hub token (hf auth login) raises the limit.",
        RATE_LIMIT_ID,
    )


def _is_elsewhere(fact: HttpFact) -> bool:
    return bool(fact.redirect) or (fact.content == "html" and not fact.is_from_hub)


def _of_portal(name: str, fact: HttpFact) -> Words:
    what = (
        f"{name} sends the request on to {fact.redirect}."
        if fact.redirect
        else f"{name} answers HTTP {fact.status} with a web page where its API answers in JSON."
    )
    return Words(
        what,
        "Most often the login page of the network (captive portal), a filter, or a mirror that is "
        "none. A client that believes it saves the page as a weight file.",
        "open the address in a browser on this machine, log in to the network, run this again.",
        PORTAL_ID,
    )


def _of_client_error(
    endpoint: Endpoint, name: str, fact: HttpFact, *, is_api: bool
) -> Words | None:
    if fact.status < 400:  # noqa: PLR2004 - client errors begin here
        return None
    if fact.status == 403 and (is_api or endpoint.kind == "wheels"):  # noqa: PLR2004 - forbidden
        return Words(
            f"{name} answers HTTP 403 {fact.reason}.",
            "Most often a firewall or proxy blocks it, or the server refuses this country or "
            "address.",
            "try another network, or ask who runs this one to allow it.",
        )
    if is_api or endpoint.kind == "wheels":
        return Words(
            f"{name} answers HTTP {fact.status} {fact.reason} and nothing the install can use.",
            "The address in the profile or in HF_ENDPOINT is wrong, or another server answers.",
            f"open {fact.origin} in a browser on this machine and compare.",
        )
    return None  # the server is there and has nothing at "/": that is its own business


def of_stand_in(words: Words, other: Endpoint, profile: Profile) -> Words:
    """Return what is lost when a Hub is out of reach whose models another server has."""
    repo = next(
        (s.repo for m in profile.models for s in m.sources if s.endpoint == other.name), "REPO"
    )
    return Words(
        f"{words.what} '{printable(other.name)}' has the same models and answers: repairs take "
        "them from there. Programs that ask the Hub itself for a model do not get it.",
        words.why,
        f"modelscope download --model {printable(repo)} --local_dir FOLDER   fetches them by hand; "
        f"to have the Hub again: {words.next_step}",
        words.failure_id,
    )


def loss_in(endpoint: Endpoint, fact: Stage) -> Words | None:
    """Return a stated loss in a stage that did succeed; None when there is none."""
    name = _name(endpoint)
    if isinstance(fact, TcpFact) and fact.silent:
        return _of_silent(name, fact.silent)
    if isinstance(fact, TlsFact) and not fact.is_tls and not fact.is_loopback:
        return Words(
            f"{name} is spoken to in plain HTTP: anyone on the way can read and change it.",
            next_step="use its https address if it has one.",
        )
    if isinstance(fact, HttpFact) and endpoint.kind == "wheels" and fact.redirect:
        return Words(
            f"{name} at {fact.origin} sends requests on to {fact.redirect}, which was not judged."
        )
    return None


def _of_silent(name: str, silent: tuple[str, ...]) -> Words:
    is_ipv6 = all(":" in address for address in silent)
    return Words(
        f"{name} has addresses that take no connection: {', '.join(silent)}.",
        "Programs that try them first wait for seconds each time"
        + (
            ": IPv6 is configured here and leads nowhere. modelmedic's own transfers take IPv4."
            if is_ipv6
            else "; modelmedic's own transfers take one that answers."
        ),
        network_commands.prefer_ipv4()
        if is_ipv6
        else "try another network; the server's owner should take them out of its name.",
    )


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
