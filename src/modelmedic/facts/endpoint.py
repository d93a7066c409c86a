"""Where an endpoint really is, and the cheapest question that shows whether it answers."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from modelmedic.errors import CannotTell
from modelmedic.profile.model import Endpoint, ModelSource, Profile
from modelmedic.text import printable

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Scheme, host, port and path of a server; credentials of the URL are never kept.

    ``setting`` names the variable that replaced the profile's address, "" when none did.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    setting: str = ""

    @property
    def origin(self) -> str:
        """Return "https://host", with the port only when it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if _PORTS[self.scheme] == self.port else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def is_tls(self) -> bool:
        """Return whether the server is spoken to over TLS."""
        return self.scheme == "https"

    @property
    def is_loopback(self) -> bool:
        """Return whether the server is this machine itself."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address stands for this machine."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def parse(url: str, setting: str = "") -> Address:
    """Return the address in an http or https URL.

    Raises:
        ValueError: It is none; the text says why and never repeats credentials.
    """
    parts = split(url)
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ValueError(f"it does not begin with https:// or http:// but '{_beginning(url)}'")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("its port is not a number from 0 to 65535") from None
    host = _plain_host(parts.hostname or "")
    return Address(
        scheme,
        host,
        _PORTS[scheme] if port is None else port,
        quote(unquote(parts.path), safe="/:@!$&'()*+,;=~").rstrip("/"),
        setting,
    )


def split(url: str) -> SplitResult:
    """Return the parts of a URL.

    Raises:
        ValueError: It cannot be taken apart; unlike urlsplit's own text, this one has no part of
            the URL in it, which may be a password.
    """
    try:
        return urlsplit(url.strip())
    except ValueError:
        raise ValueError("it is no URL") from None


def _beginning(url: str) -> str:
    """Return what stands before the host; nothing of what may be a credential."""
    scheme, found, _rest = url.partition("://")
    return printable(scheme + found) if found else "no scheme"


def _plain_host(host: str) -> str:
    """Return a host as ASCII.

    Raises:
        ValueError: It is no host name and no IP address.
    """
    if ":" in host:
        import ipaddress

        try:
            return str(ipaddress.IPv6Address(host.partition("%")[0]))
        except ValueError:
            raise ValueError(f"'{printable(host)}' is no host name") from None
    try:
        name = host.encode("idna").decode("ascii")  # also refuses empty and overlong labels
    except UnicodeError:
        name = ""
    if not _HOST.fullmatch(name):
        raise ValueError(f"'{printable(host)}' is no host name")
    return name


def address_of(endpoint: Endpoint, environ: Mapping[str, str] | None = None) -> Address:
    """Return where an endpoint of the profile is asked for on this machine.

    A Hub is looked for at ``HF_ENDPOINT`` when that is set, as every Hub client does; a Hub on
    loopback (our own, for the demo) stays where it is.

    Raises:
        CannotTell: The embedded Hub of this run was not started.
        ValueError: The address is no http or https URL; says which setting is wrong.
    """
    environ = os.environ if environ is None else environ
    if endpoint.url.startswith("embedded:"):
        raise CannotTell(
            f"The Hub that modelmedic serves itself ({printable(endpoint.url)}) is not running."
        )
    try:
        address = parse(endpoint.url)
    except ValueError as error:
        raise ValueError(
            f"The profile's address of '{printable(endpoint.name)}' cannot be used: {error}"
        ) from None
    mirror = environ.get("HF_ENDPOINT", "").strip()
    if endpoint.kind != "hub" or not mirror or address.is_loopback:
        return address
    try:
        return parse(mirror, "HF_ENDPOINT")
    except ValueError as error:
        raise ValueError(f"The variable HF_ENDPOINT cannot be used: {error}") from None


def sources_at(endpoint: Endpoint, profile: Profile) -> tuple[ModelSource, ...]:
    """Return the model sources that lie at an endpoint, each repo and revision once."""
    found = (
        source
        for model in profile.models
        for source in model.sources
        if source.endpoint == endpoint.name
    )
    return tuple(dict.fromkeys(found))


def question(endpoint: Endpoint, profile: Profile) -> tuple[str, str]:
    """Return method and path (after the address's own) that show the server does its job.

    Hubs are asked for the small JSON of a repo the profile needs: a login page or a wrong mirror
    cannot answer that. Others are only asked for the headers of their address.
    """
    sources = sources_at(endpoint, profile)
    if endpoint.kind == "hub" and sources:
        return "GET", revision_path(sources[0])
    if endpoint.kind == "modelscope" and sources:
        repo, revision = quote(sources[0].repo), quote(sources[0].revision, safe="")
        return "GET", f"/api/v1/models/{repo}/repo/files?Revision={revision}"
    if endpoint.kind == "hub":
        return "GET", "/api/models?limit=1"
    return "HEAD", ""


def revision_path(source: ModelSource) -> str:
    """Return the Hub's path of a repo at a revision.

    Source: huggingface_hub 2.4.0 ``hf_api.py:repo_info``.
    """
    return f"/api/models/{quote(source.repo)}/revision/{quote(source.revision, safe='')}"
