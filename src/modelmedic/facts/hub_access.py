"""What the Hub says to this machine: is the saved token accepted, are the repos given out.

A token is sent only to the server it belongs to: ``HF_ENDPOINT`` where that is set, else the
Hub clients' own default. It never crosses a redirect, and never stands in a fact or a message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from modelmedic.errors import CannotTell
from modelmedic.facts import answers, network, talk
from modelmedic.facts.answers import UNLIMITED, HttpFact, Limits
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.endpoint import Address, address_of, parse
from modelmedic.facts.wire import Answer
from modelmedic.facts.wire_errors import Failure, WireError
from modelmedic.profile.model import Endpoint, ModelSource
from modelmedic.text import printable

DEFAULT_HOME = "https://huggingface.co"  # huggingface_hub constants.py, _HF_DEFAULT_ENDPOINT
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
NO_TOKEN = "HF_HUB_DISABLE_IMPLICIT_TOKEN"  # noqa: S105 - the variable that keeps it unsent
_MAX_TOKEN_BYTES = 4096


@dataclass(frozen=True, slots=True)
class TokenFact:
    """What became of the saved token; never the token itself.

    Args:
        where: The variable or file it stands in; "" when there is none.
        home: Origin of the server it belongs to.
        verdict: "absent", "unused" (clients are told not to send it), "malformed", "not-sent"
            (its server is plain HTTP), "accepted", "refused", "unclear" (see status, failure).
    """

    where: str
    home: str
    verdict: str
    status: int = 0
    limits: Limits = UNLIMITED
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class RepoFact:
    """The Hub's answer to a client that is about to download one file of a repo.

    Args:
        storage: Origin of the server that holds the file's bytes; "" when it is the Hub itself.
        has_commit: X-Repo-Commit was there; clients refuse to download without it.
        has_etag: X-Linked-Etag or ETag was there; the same.
        listed_sha256: What the Hub says the file's SHA-256 is; "" when it does not.
        listed_git: The same for its Git hash, which small files have in place of it.
    """

    repo: str
    revision: str
    file: str
    answer: HttpFact
    storage: str = ""
    has_commit: bool = False
    has_etag: bool = False
    listed_sha256: str = ""
    listed_git: str = ""
    is_token_sent: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    where: str
    value: str

    def __repr__(self) -> str:
        return f"_Token({self.where!r})"


@probe("http_request", connects="network")
def read_token(facts: FactBook) -> TokenFact:
    """Return whether the saved Hub token is accepted by the server it belongs to.

    Raises:
        CannotTell: The token file cannot be read, or HF_ENDPOINT is no address.
    """
    del facts
    home = token_home(os.environ)
    token = _find_token(os.environ)
    if token is None:
        return TokenFact("", home.origin, "absent")
    if _is_true(os.environ.get(NO_TOKEN, "")):
        return TokenFact(token.where, home.origin, "unused")
    if not re.fullmatch(r"[\x21-\x7e]+", token.value):
        return TokenFact(token.where, home.origin, "malformed")
    if not (home.is_tls or home.is_loopback):
        return TokenFact(token.where, home.origin, "not-sent")
    request = talk.Request("GET", "/api/whoami-v2", _bearer(token))
    try:
        answer = talk.ask(
            talk.path_to(home), request, deadline=network.own_deadline("http_request")
        )
    except WireError as error:
        return TokenFact(token.where, home.origin, "unclear", failure=error.failure)
    limits = answers.judge(talk.path_to(home), "GET", answer).limits
    return TokenFact(token.where, home.origin, _verdict(answer), answer.status, limits)


def _verdict(answer: Answer) -> str:
    if answer.status == 200 and isinstance(answers.parsed(answer), dict):  # noqa: PLR2004 - OK
        return "accepted"
    return "refused" if answer.status == 401 else "unclear"  # noqa: PLR2004 - unauthorized


@probe("http_request", connects="network")
def read_repo(facts: FactBook, endpoint: Endpoint, source: ModelSource, file: str) -> RepoFact:
    """Return what a client learns that is about to download ``file``: asked for, not fetched.

    Raises:
        CannotTell: The Hub's address is none, or it gave no answer.
    """
    token = _usable_token(facts, endpoint)
    path = f"/{quote(source.repo)}/resolve/{quote(source.revision, safe='')}/{quote(file)}"
    deadline = network.own_deadline("http_request")
    try:
        where, answer = talk.ask_onward(
            talk.path_to(address_of(endpoint)),
            talk.Request("HEAD", path, _bearer(token) if token else {}),
            deadline=deadline,
        )
    except ValueError as error:
        raise CannotTell(str(error)) from error
    except WireError as error:
        raise CannotTell(
            f"The Hub at {endpoint.url} gave no answer about {printable(source.repo)}: "
            f"{error.failure.kind}, {error.failure.detail}."
        ) from error
    fact = answers.judge(where, "HEAD", answer)
    # As Hub clients read it. Source: huggingface_hub 2.4.0 ``file_download.py``.
    etag = answer.headers.get("x-linked-etag") or answer.headers.get("etag", "")
    return RepoFact(
        repo=source.repo,
        revision=source.revision,
        file=file,
        answer=fact,
        storage=fact.redirect,
        has_commit="x-repo-commit" in answer.headers,
        has_etag="x-linked-etag" in answer.headers or "etag" in answer.headers,
        listed_sha256=_hash_in(etag, 64),
        listed_git=_hash_in(etag, 40),
        is_token_sent=token is not None,
    )


def _hash_in(etag: str, letters: int) -> str:
    told = etag.strip().removeprefix("W/").strip('"').lower()
    return told if re.fullmatch(rf"[0-9a-f]{{{letters}}}", told) else ""


def start_all(facts: FactBook) -> None:
    """Begin asking every Hub of the profile, so that the waiting overlaps."""
    for hub in (endpoint for endpoint in facts.profile.endpoints if endpoint.kind == "hub"):
        if is_at_home(hub):
            facts.start(read_token)
        for source, file in network.samples(hub, facts.profile):
            facts.start(read_repo, hub, source, file)


def token_home(environ: Mapping[str, str]) -> Address:
    """Return the server a saved token belongs to.

    Raises:
        CannotTell: HF_ENDPOINT is set and is no address.
    """
    told = environ.get("HF_ENDPOINT", "").strip()
    try:
        return parse(told, "HF_ENDPOINT") if told else parse(DEFAULT_HOME)
    except ValueError as error:
        raise CannotTell(f"The variable HF_ENDPOINT cannot be used: {error}") from error


def is_at_home(endpoint: Endpoint, environ: Mapping[str, str] | None = None) -> bool:
    """Return whether an endpoint is the server the saved token belongs to."""
    environ = os.environ if environ is None else environ
    try:
        return address_of(endpoint, environ).origin == token_home(environ).origin
    except (ValueError, CannotTell):
        return False


def bearer_tokens(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the Hub's token by the one origin it may be sent to; empty when there is none.

    Never over plain http, except to this machine itself, and never when clients are told not to
    send a saved token.
    """
    environ = os.environ if environ is None else environ
    if _is_true(environ.get(NO_TOKEN, "")):
        return {}
    token = _find_token(environ)
    home = token_home(environ)
    if token is None or not (home.is_tls or home.is_loopback):
        return {}
    return {home.origin: token.value}


def _usable_token(facts: FactBook, endpoint: Endpoint) -> _Token | None:
    """Return the token for an endpoint; None when it is not its own or is not accepted.

    Raises:
        CannotTell: The Hub did not answer when it was asked about the token.
    """
    if not is_at_home(endpoint):
        return None
    fact = facts.get(read_token)
    if fact.failure is not None:
        raise CannotTell(f"The Hub at {fact.home} gave no answer: {fact.failure.detail}.")
    return _find_token(os.environ) if fact.verdict == "accepted" else None


def _bearer(token: _Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.value}"}


def _find_token(environ: Mapping[str, str]) -> _Token | None:
    """Return the token as Hub clients find it; None without one.

    Source: huggingface_hub 2.4.0 ``utils/_auth.py:get_token``, ``constants.py``.

    Raises:
        CannotTell: The token file is there and cannot be read.
    """
    for name in TOKEN_VARIABLES:
        if value := _clean(environ.get(name, "")):
            return _Token(f"the variable {name}", value)
    path = _token_file(environ)
    try:
        with path.open("rb") as file:
            value = _clean(file.read(_MAX_TOKEN_BYTES).decode("utf-8", "replace"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CannotTell(
            f"The token file {printable(path)} cannot be read: {error.strerror or error}.",
            next_step="give it back to the user who runs this, with read permission.",
        ) from error
    return _Token(f"the file {printable(path)}", value) if value else None


def _token_file(environ: Mapping[str, str]) -> Path:
    if told := environ.get("HF_TOKEN_PATH"):
        return Path(os.path.expandvars(told)).expanduser()
    cache = environ.get("XDG_CACHE_HOME") or str(Path("~", ".cache"))
    home = environ.get("HF_HOME") or str(Path(cache, "huggingface"))
    return Path(os.path.expandvars(home)).expanduser() / "token"


def _clean(value: str) -> str:
    return value.replace("\r", "").replace("\n", "").strip()


def _is_true(value: str) -> bool:
    """Return whether a variable says yes. Source: huggingface_hub ``constants.py:_is_true``."""
    return value.upper() in {"1", "ON", "YES", "TRUE"}
