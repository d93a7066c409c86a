"""The places pip takes packages from, each asked the way pip would ask it."""

from __future__ import annotations

import base64
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelmedic.facts import answers, pip_config, proxy, talk, trust
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.endpoint import parse
from modelmedic.facts.network import own_deadline
from modelmedic.facts.pip_config import PipSettings
from modelmedic.facts.wire import Deadline
from modelmedic.facts.wire_errors import Failure, WireError
from modelmedic.limits import TimeoutManager
from modelmedic.purity import OWN_PYTHON, TARGET_PYTHON
from modelmedic.text import printable

_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_MAX_PLACES = 12


@dataclass(frozen=True, slots=True)
class Place:
    """One place of packages and what it answered.

    Args:
        role: "index", "extra index" or "find-links".
        shown: URL or path with credentials masked.
        kind: "http" or "local".
        answers_as_index: It listed files for the project pip.
        status: HTTP status; 0 without an answer.
        is_plain_http: Plain HTTP to another machine.
        failure: Why it cannot be used; kinds of `wire.Failure`, and "missing", "unreadable",
            "unsupported" for places that are no server.
    """

    role: str
    shown: str
    kind: str
    answers_as_index: bool = False
    status: int = 0
    content: str = "none"
    limits: answers.Limits = answers.UNLIMITED
    redirect: str = ""
    is_plain_http: bool = False
    has_credentials: bool = False
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class IndexFact:
    """Where pip of ``python`` takes packages from. Nothing in it is secret."""

    python: str
    is_target: bool
    is_no_index: bool
    is_index_configured: bool
    trusted_hosts: tuple[str, ...]
    cert: str
    proxy: str
    places: tuple[Place, ...]


@probe("network_test", connects="network", spawns=(TARGET_PYTHON, OWN_PYTHON))
def read_index(facts: FactBook) -> IndexFact:
    """Return every place the target's pip takes packages from, and whether it answers.

    Without a target interpreter our own pip is asked: the best guess at what one would inherit.

    Raises:
        CannotTell: pip does not tell its configuration.
    """
    python = pip_config.interpreter(facts.target_python)
    limits = TimeoutManager()
    found = pip_config.ask(python, limits.get_timeout("interpreter_probe") / 2)
    wanted = _wanted(found)[:_MAX_PLACES]
    return IndexFact(
        python=printable(python),
        is_target=facts.target_python is not None,
        is_no_index=found.is_no_index,
        is_index_configured=found.is_index_configured,
        trusted_hosts=tuple(printable(host) for host in found.trusted_hosts),
        cert=printable(found.cert),
        proxy=proxy.masked_proxy(found.proxy),
        places=_look_at_all(wanted, found, facts.context.place),
    )


def _wanted(found: PipSettings) -> list[tuple[str, str]]:
    places = [("find-links", link) for link in found.find_links]
    if not found.is_no_index:
        places.insert(0, ("index", found.index_url))
        places[1:1] = [("extra index", url) for url in found.extra_index_urls]
    return places


def _look_at_all(
    wanted: list[tuple[str, str]], found: PipSettings, base: Path
) -> tuple[Place, ...]:
    """Return what each place answers; servers are asked at the same time."""
    deadline = own_deadline("http_request")
    results: dict[int, Place] = {}

    def look(number: int, role: str, url: str) -> None:
        results[number] = _look_at(role, url, found, base, deadline)

    threads = [
        threading.Thread(target=look, args=(number, *place), daemon=True, name="package index")
        for number, place in enumerate(wanted)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(deadline.seconds + 1.0)
    silent = Failure("timeout", f"no answer within {deadline.seconds:g} s")
    return tuple(
        results.get(number, Place(role, proxy.masked(url), "http", failure=silent))
        for number, (role, url) in enumerate(wanted)
    )


def _look_at(role: str, url: str, found: PipSettings, base: Path, deadline: Deadline) -> Place:
    shown = proxy.masked(url)
    if url.lower().startswith(("http://", "https://")):
        try:
            return _ask_place(role, url, found, deadline)
        except WireError as error:
            return Place(role, shown, "http", failure=error.failure)
        except Exception as error:  # noqa: BLE001 - one odd place must not hide the others
            failure = Failure("unsupported", printable(f"{type(error).__name__}: {error}")[:200])
            return Place(role, shown, "http", failure=failure)
    return Place(role, shown, "local", failure=_local_failure(url, base))


def _ask_place(role: str, url: str, found: PipSettings, deadline: Deadline) -> Place:
    """Ask an index for the project pip, a find-links page for itself."""
    address = parse(url)
    suffix = "" if role == "find-links" else "/pip/"
    parts = urlsplit(url)
    headers = {"Accept": _ACCEPT, **_basic(parts.username, parts.password)}
    path = talk.path_to(address)
    if found.proxy and not address.is_loopback:
        path = talk.Path(address, proxy.route_by(found.proxy, "pip's setting proxy"))
    path, answer = talk.ask_onward(
        path,
        talk.Request("GET", suffix, headers),
        deadline=deadline,
        store=_store(found),
        may_leave=True,
    )
    fact = answers.judge(path, "GET", answer)
    return Place(
        role=role,
        shown=proxy.masked(url),
        kind="http",
        answers_as_index=_is_list(fact, answer.body),
        status=fact.status,
        content=fact.content,
        limits=fact.limits,
        redirect=fact.redirect,
        is_plain_http=not address.is_tls and not address.is_loopback,
        has_credentials=parts.username is not None,
    )


def _is_list(fact: answers.HttpFact, body: bytes) -> bool:
    """Return whether a page lists files: the simple API in JSON, or HTML with links."""
    if fact.status != 200:  # noqa: PLR2004 - OK
        return False
    return b"<a" in body.lower() if fact.content == "html" else b'"files"' in body


def _store(found: PipSettings) -> trust.TrustStore:
    """Return the authorities pip believes: its ``cert``, else REQUESTS_CA_BUNDLE, else the system.

    Source: pip 24.2 and later verify with the system's store (truststore) by default.
    """
    if found.cert:
        return trust.TrustStore(f"pip's setting cert={printable(found.cert)}", Path(found.cert))
    known = trust.stores()
    configured = known[0].label.startswith(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    return known[0] if configured else known[-1]


def _basic(user: str | None, password: str | None) -> dict[str, str]:
    """Return the header for credentials that stand in the URL; they go to that server only."""
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}


def _local_failure(url: str, base: Path) -> Failure | None:
    """Return why a folder or file of packages cannot be used; None when it can."""
    scheme, has_scheme, rest = url.partition("://")
    if scheme.lower() == "file":
        from urllib.request import url2pathname

        path = Path(url2pathname("/" + rest.partition("/")[2]))
    elif has_scheme:
        return Failure("unsupported", f"{printable(scheme)}:// is no server and no folder")
    else:
        path = base / Path(url).expanduser()
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                next(entries, None)
        elif path.exists() and not path.is_file():  # a pipe would hold whoever opens it
            return Failure("unsupported", "it is neither a folder nor a file")
        else:
            path.open("rb").close()
    except FileNotFoundError as error:
        return Failure("missing", str(error.strerror))
    except (OSError, ValueError) as error:
        return Failure("unreadable", str(getattr(error, "strerror", "") or error))
    return None
