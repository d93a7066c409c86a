"""Which proxy a URL is asked through, by the rules of requests, told without its secrets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from modelmedic.facts import proxy
from modelmedic.http_answer import TransferFailed, chain
from modelmedic.text import printable


def is_unreadable(error: Exception, url: str) -> bool:
    """Return whether an address could not be taken apart, the URL's own or its proxy's."""
    import requests
    import urllib3

    if any(isinstance(each, urllib3.exceptions.LocationParseError) for each in chain(error)):
        return True
    if isinstance(error, requests.exceptions.InvalidSchema):  # SOCKS without the package for it
        return False
    return isinstance(error, ValueError) and bool(proxy_of(url))


def refuse_unquoted(url: str) -> None:
    """Refuse a proxy whose password holds what ends a host: half of it would be looked up.

    Raises:
        TransferFailed: Says what to do, and nothing of the address.
    """
    if proxy.is_unquoted(proxy_of(url)):
        raise unreadable(url)


def unreadable(url: str) -> TransferFailed:
    """Return that an address cannot be read, without its text: it may hold a password."""
    if not proxy_of(url):
        return TransferFailed("The server cannot be asked: its address cannot be read.")
    return TransferFailed(
        "The server cannot be asked: the address of the proxy cannot be read.",
        "User and password in it must be percent-encoded (@ is %40, / is %2F).",
    )


def proxy_of(url: str) -> str:
    """Return the proxy a URL is asked through, as it is set; "" when none is."""
    if not url or is_loopback(url):
        return ""
    from requests.utils import get_environ_proxies, select_proxy

    return select_proxy(url, get_environ_proxies(url)) or ""


def words(url: str) -> str:
    """Return which proxy a URL is asked through, in words; "" when none is."""
    value = proxy_of(url)
    if not value:
        return ""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return " (asked through a proxy whose address cannot be read)"
    return f" (asked through the proxy {printable(parts.hostname or '')}{port})"


def none() -> Any:
    """Return settings that win over the environment: a proxy cannot reach our loopback."""
    return {"http": None, "https": None, "all": None}


def is_loopback(url: str) -> bool:
    """Return whether a URL leads to this machine itself."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
