"""The proxies that are set somewhere on this machine, and whether one leads to a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from modelmedic.errors import CannotTell, RecoveryRefused
from modelmedic.facts import answers, network_words, pip_config, proxy, setting_source, talk
from modelmedic.facts.answers import HttpFact
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.endpoint import address_of, question
from modelmedic.facts.network import REPO_BODY_BYTES, own_deadline
from modelmedic.facts.proxy import ProxySetting
from modelmedic.facts.setting_source import FROM_GIT, FROM_PIP, FROM_VARIABLE, VALUE
from modelmedic.facts.wire_errors import Failure, WireError
from modelmedic.limits import TimeoutManager
from modelmedic.profile.model import Endpoint
from modelmedic.purity import OWN_PYTHON, TARGET_PYTHON

PROXY_AUTH = 407
_GIT_SETTING = "http.proxy"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One proxy that is set somewhere. ``source`` leads to its value; nothing here is secret.

    Args:
        source: See `modelmedic.facts.setting_source`; "" stands for no proxy at all.
        where: What sets it, in words.
        setting: What it says, with credentials masked.
    """

    source: str
    where: str
    setting: ProxySetting | None

    @property
    def shown(self) -> str:
        """Return the proxy for a message."""
        return f"{self.setting.shown} ({self.where})" if self.setting else self.where


DIRECT = Candidate("", "without a proxy", None)


@probe("network_test", connects="network", spawns=(TARGET_PYTHON, OWN_PYTHON, "git"))
def read_candidates(facts: FactBook) -> tuple[Candidate, ...]:
    """Return each proxy once: of the environment in both spellings, the system, pip, and git.

    One that cannot be used at all is among them: its ``setting.fault`` says why.
    """
    found: dict[str, Candidate] = {}
    for source, where, value in (*_of_environment(), *_of_system(), *_of_pip(facts), *_of_git()):
        setting = proxy.route_by(value, where).setting
        has_secret = setting.shown != value
        found.setdefault(value, Candidate(source if has_secret else VALUE, where, setting))
    return tuple(found.values())


def _of_environment() -> Iterator[tuple[str, str, str]]:
    for name in proxy.NAMES:
        for spelled in dict.fromkeys((name, name.upper())):
            if value := os.environ.get(spelled, "").strip():
                yield f"{FROM_VARIABLE}{spelled}", f"set by {spelled}", value


def _of_system() -> Iterator[tuple[str, str, str]]:
    """Yield what Windows or macOS have in their settings; elsewhere there are none."""
    found: dict[str, str] = {}
    if sys.platform == "win32":
        from urllib.request import getproxies_registry

        found = getproxies_registry()
    elif sys.platform == "darwin":
        from urllib.request import getproxies_macosx_sysconf

        found = getproxies_macosx_sysconf()
    for scheme in ("https", "http"):
        if (value := found.get(scheme, "")) and "@" not in value:
            yield VALUE, proxy.SYSTEM_SETTINGS, value


def _of_pip(facts: FactBook) -> Iterator[tuple[str, str, str]]:
    python = pip_config.interpreter(facts.target_python)
    try:
        found = pip_config.ask(python, TimeoutManager().get_timeout("interpreter_probe") / 2)
    except CannotTell:
        return  # the check of the package index says so
    if not found.proxy:
        return
    if found.proxy_name.startswith(":env:"):
        yield f"{FROM_VARIABLE}PIP_PROXY", "set by PIP_PROXY", found.proxy
        return
    yield f"{FROM_PIP}{found.proxy_name}:{python}", f"pip's setting {found.proxy_name}", found.proxy


def _of_git() -> Iterator[tuple[str, str, str]]:
    if value := setting_source.git_setting(_GIT_SETTING):
        yield f"{FROM_GIT}{_GIT_SETTING}", f"git's setting {_GIT_SETTING}", value


@probe("http_request", connects="network", spawns=(TARGET_PYTHON, OWN_PYTHON, "git"))
def read_through(facts: FactBook, source: str, shown: str, endpoint: Endpoint) -> HttpFact:
    """Return what an endpoint answers through a proxy (source "": without one).

    It is the question of the check itself: CONNECT and TLS for https, an absolute URL for http.

    Raises:
        CannotTell: The proxy speaks SOCKS, or its value cannot be read from its source.
    """
    try:
        path = _path(source, shown, endpoint)
    except (ValueError, RecoveryRefused) as error:
        raise CannotTell(str(error)) from error
    method, target = question(endpoint, facts.profile)
    size = REPO_BODY_BYTES if endpoint.kind == "hub" else talk.SMALL_BODY_BYTES
    try:
        request = talk.Request(method, target, max_body_bytes=size)
        answer = talk.ask(path, request, deadline=own_deadline("http_request"))
    except WireError as error:
        return HttpFact(path.address.origin, method, via=path.via, failure=error.failure)
    return answers.judge(path, method, answer)


def _path(source: str, shown: str, endpoint: Endpoint) -> talk.Path:
    value = setting_source.value_of(source, shown) if source else None
    route = proxy.route_by(value, "the proxy") if value else None
    return talk.Path(address_of(endpoint), route)


def loss_through(endpoint: Endpoint, fact: HttpFact) -> Failure | None:
    """Return why an answer is none of the server that is meant; None when it is one."""
    if fact.failure is not None:
        return fact.failure
    if fact.status == PROXY_AUTH:
        return Failure("proxy-auth", fact.proxy_scheme, fact.status)
    words = network_words.of_answer(endpoint, fact)
    return Failure("wrong-answer", words.what, fact.status) if words else None
