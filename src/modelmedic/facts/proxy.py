"""The proxies that Python programs on this machine would use, by the rules they follow."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from modelmedic.facts.endpoint import Address, split
from modelmedic.text import printable

NAMES = ("https_proxy", "http_proxy", "all_proxy")
_DEFAULT_PORTS = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}
SYSTEM_SETTINGS = "the system's proxy settings"


@dataclass(frozen=True, slots=True)
class ProxySetting:
    """One proxy setting as it was read, without its credentials.

    Args:
        name: "https_proxy", "http_proxy" or "all_proxy".
        variable: The variable as it is spelled, or "the system's proxy settings".
        shown: The address with credentials masked.
        scheme: "http", "https", "socks5", ...; "http" when none is given.
        port: None when it is none.
        fault: "", "no-scheme" (works in some programs only), "unknown-scheme", "no-host",
            "bad-port", "unquoted" (no host is taken from it: it may be half a password).
        other_spelling: The same name in the other case when it holds another value, else "".
    """

    name: str
    variable: str
    shown: str
    scheme: str
    host: str
    port: int | None
    fault: str = ""
    other_spelling: str = ""

    @property
    def is_usable(self) -> bool:
        """Return whether a program could connect to it at all."""
        return self.fault in {"", "no-scheme"}

    @property
    def is_socks(self) -> bool:
        """Return whether it speaks SOCKS, for which clients need an extra package."""
        return self.scheme.startswith("socks")


@dataclass(frozen=True, slots=True)
class Route:
    """The proxy that leads to one address. Credentials are for the wire, never for a fact."""

    setting: ProxySetting
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ProxyEnvironment:
    """All proxy settings of this machine's environment.

    ``leads_loopback_away`` is the variable through which programs would ask for 127.0.0.1 or
    localhost, "" when none would. ``ignored`` are variables no Python program reads here.
    """

    settings: tuple[ProxySetting, ...]
    no_proxy: str
    leads_loopback_away: str
    ignored: tuple[str, ...] = ()


def read_environment(environ: Mapping[str, str]) -> ProxyEnvironment:
    """Return the proxy settings of an environment; no settings when there are none."""
    raw = _raw_settings(environ)
    no_proxy = _value(environ, "no_proxy")[1]
    return ProxyEnvironment(
        settings=tuple(_parse(name, variable, url, environ) for name, variable, url in raw),
        no_proxy=no_proxy,
        leads_loopback_away=_loopback_leak(raw, no_proxy),
        ignored=("HTTP_PROXY",) if "REQUEST_METHOD" in environ and "HTTP_PROXY" in environ else (),
    )


def route_to(address: Address, environ: Mapping[str, str] | None = None) -> Route | None:
    """Return the proxy for an address; None when it is asked for directly.

    Loopback is always direct: nothing of this machine belongs into a proxy. The variable of the
    scheme goes before ALL_PROXY.

    Source: requests 2.32 ``utils.py:select_proxy``, CPython ``urllib.request``.
    """
    environ = os.environ if environ is None else environ
    if address.is_loopback or is_bypassed(
        address.host, address.port, _value(environ, "no_proxy")[1]
    ):
        return None
    raw = {name: (variable, url) for name, variable, url in _raw_settings(environ)}
    for name in (f"{address.scheme}_proxy", "all_proxy"):
        if name in raw:
            variable, url = raw[name]
            return Route(_parse(name, variable, url, environ), _authorization(url))
    return None


def route_by(url: str, variable: str) -> Route:
    """Return the route through a proxy that a program's own setting names (pip's ``proxy``)."""
    return Route(_parse("all_proxy", variable, url, {}), _authorization(url))


def is_bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Return whether NO_PROXY names a host: a name, its parent domain, host:port, IP or CIDR.

    Source: CPython ``urllib.request.proxy_bypass_environment``; CIDR blocks as in requests 2.32
    ``utils.py:should_bypass_proxies``.
    """
    host = host.lower()
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if not entry:
            continue
        if entry == "*" or entry in {host, f"{host}:{port}", f"[{host}]"}:
            return True
        if _is_in_block(host, entry):
            return True
        name = entry.lstrip(".")
        if host == name or host.endswith(f".{name}") or f"{host}:{port}".endswith(f".{name}"):
            return True
    return False


def has_system_settings() -> bool:
    """Return whether the system has proxies in its settings: without variables they are used."""
    return sys.platform in {"win32", "darwin"} and bool(_system_settings())


def masked(url: str) -> str:
    """Return a URL or path as it may be shown: without user, password, query and fragment."""
    scheme, has_scheme, rest = url.strip().rpartition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority = rest.partition("/")[0]
    if "@" in authority:
        rest = "***@" + authority.rpartition("@")[2] + rest[len(authority) :]
    elif "@" in rest and re.search(r":.*\D", authority):  # a password with an unquoted slash
        rest = "***@" + rest.rpartition("@")[2]
    return printable(scheme + has_scheme + rest)


def masked_proxy(value: str) -> str:
    """Return a proxy's address as it may be shown; all before its last "@" is user and password.

    Unlike `masked`, which takes paths and URLs that may hold an innocent "@".
    """
    scheme, rest = _after_scheme(value)
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    return printable(scheme + re.split(r"[?#]", rest, maxsplit=1)[0])


def is_unquoted(value: str) -> bool:
    """Return whether a proxy's user or password hold what ends a host: none can be told then.

    Programs take the text before it as the host, and would look up half a password.
    """
    _scheme, rest = _after_scheme(value)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return "@" in rest[len(authority) :]


def _after_scheme(value: str) -> tuple[str, str]:
    """Return a scheme with its "://", "" without one, and what stands behind it."""
    value = value.strip()
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value)
    scheme = found[0] if found else ""
    return scheme, value[len(scheme) :]


def _raw_settings(environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return name, variable as spelled, and value; falls back to the system's own settings."""
    found = [(name, *_value(environ, name)) for name in NAMES]
    found = [entry for entry in found if entry[2]]
    if found or sys.platform not in {"win32", "darwin"}:
        return found
    return _system_settings()


def _system_settings() -> list[tuple[str, str, str]]:
    """Return what Windows or macOS have in their settings: programs use it without variables."""
    from urllib.request import getproxies

    proxies = getproxies()
    return [
        (f"{scheme}_proxy", SYSTEM_SETTINGS, proxies[scheme])
        for scheme in ("https", "http", "all")
        if proxies.get(scheme)
    ]


def _value(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the variable as spelled and its value; the lower-case spelling wins.

    In a CGI program HTTP_PROXY is whatever a visitor sent, so it is not believed there.

    Source: CPython ``urllib.request.getproxies_environment``.
    """
    if environ.get(name, "").strip():
        return name, environ[name].strip()
    upper = name.upper()
    if name in environ or (upper == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
        return name, ""
    return upper, environ.get(upper, "").strip()


def _parse(name: str, variable: str, url: str, environ: Mapping[str, str]) -> ProxySetting:
    has_scheme = "://" in url
    scheme, host, port = _parts(url if has_scheme else f"http://{url}")
    fault = "" if has_scheme else "no-scheme"
    if is_unquoted(url):
        fault, port = "unquoted", None
    elif scheme not in _DEFAULT_PORTS:
        fault = "unknown-scheme"
    elif not re.fullmatch(r"[\w.:-]+", host):
        fault = "no-host"
    elif not port:
        fault = "bad-port"
    return ProxySetting(
        name=name,
        variable=variable,
        shown=masked_proxy(url),
        scheme=printable(scheme),
        host="" if fault in {"no-host", "bad-port", "unquoted"} else host,
        port=port,
        fault=fault,
        other_spelling=_other_spelling(name, variable, environ),
    )


def _parts(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a proxy URL; port None when it is no port."""
    scheme = _after_scheme(url)[0].removesuffix("://").lower()
    try:
        parts = split(url)
    except ValueError:
        return scheme, "", None
    try:
        port = parts.port
    except ValueError:
        return scheme, parts.hostname or "", None
    return scheme, parts.hostname or "", _DEFAULT_PORTS.get(scheme) if port is None else port


def _other_spelling(name: str, variable: str, environ: Mapping[str, str]) -> str:
    """Return the other case of a variable when both are set and differ; never on Windows."""
    other = name.upper() if variable == name else name
    if sys.platform == "win32" or variable == SYSTEM_SETTINGS:
        return ""
    value = environ.get(other, "").strip()
    return other if value and value != environ.get(variable, "").strip() else ""


def _authorization(url: str) -> str:
    """Return the Proxy-Authorization value of a proxy URL; "" when it has no credentials."""
    try:
        parts = split(url if "://" in url else f"http://{url}")
    except ValueError:
        return ""
    if parts.username is None:
        return ""
    import base64

    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")


def _loopback_leak(raw: list[tuple[str, str, str]], no_proxy: str) -> str:
    """Return the variable that sends http://127.0.0.1 or http://localhost into a proxy."""
    by_name = {name: variable for name, variable, _url in raw}
    variable = by_name.get("http_proxy") or by_name.get("all_proxy") or ""
    if not variable or variable == SYSTEM_SETTINGS:  # those bypass local names by default
        return ""
    is_safe = all(is_bypassed(host, 80, no_proxy) for host in ("localhost", "127.0.0.1"))
    return "" if is_safe else variable


def _is_in_block(host: str, entry: str) -> bool:
    if "/" not in entry:
        return False
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
