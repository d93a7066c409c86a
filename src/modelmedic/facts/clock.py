"""Whether the local clock can be right: against dates it cannot precede, and against servers."""

from __future__ import annotations

import queue
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from modelmedic.errors import CannotTell
from modelmedic.facts import system, trust
from modelmedic.facts.book import FactBook, probe
from modelmedic.profile.model import Endpoint

# No copy of this program existed before; a clock that says so is wrong.
FLOOR = datetime(2026, 1, 1, tzinfo=timezone.utc)
CEILING = FLOOR.replace(year=FLOOR.year + 10)
_TIMEOUT_SECONDS = 4.0
_ALL_SECONDS = 4.0  # name lookups know no timeout of their own; other checks must not wait for them
_REST_SECONDS = 0.5  # once one server has answered, the others get this much longer
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL.
_DATE_ERRORS = {9: "not valid yet", 10: "no longer valid"}


@dataclass(frozen=True, slots=True)
class Clock:
    """The local clock, in UTC."""

    now: datetime

    @property
    def is_possible(self) -> bool:
        """Return whether the date lies between ``FLOOR`` and ``CEILING``."""
        return FLOOR <= self.now < CEILING


@dataclass(frozen=True, slots=True)
class ServerTime:
    """What one server's Date header says. Positive: our clock is ahead of the server's."""

    endpoint: str
    ahead_seconds: float


@dataclass(frozen=True, slots=True)
class ServerTimes:
    """What the servers that answered say; ``suspicion`` is the text of a refused certificate."""

    times: tuple[ServerTime, ...]
    suspicion: str = ""

    @property
    def ahead_seconds(self) -> float | None:
        """Return the smallest difference, as one server may be wrong; None without an answer."""
        return min((one.ahead_seconds for one in self.times), key=abs, default=None)


class ClockSuspected(CannotTell):
    """A server's certificate is outside its dates by our clock: one of the two is wrong."""


@probe("local_read")
def read_clock(facts: FactBook) -> Clock:  # noqa: ARG001 - a probe's signature
    """Return the local time."""
    return Clock(datetime.now(timezone.utc))


@probe("http_request", connects="network")
def read_server_times(facts: FactBook) -> ServerTimes:
    """Ask all endpoints of the profile at once for their time; those that are silent are left out.

    A server whose certificate is outside its dates by our clock is asked once more with the dates
    left aside; chain and name are verified. It shows how wrong the clock is.
    Name lookups and connections that hang are given up together after ``_ALL_SECONDS``.
    """
    answers: queue.SimpleQueue[ServerTime | CannotTell] = queue.SimpleQueue()
    endpoints = facts.profile.endpoints
    for endpoint in endpoints:
        threading.Thread(target=_answer, args=(endpoint, answers), daemon=True).start()
    ends = time.monotonic() + _ALL_SECONDS
    times: list[ServerTime] = []
    suspicion = ""
    for _ in endpoints:
        try:
            answer = answers.get(timeout=max(0.0, ends - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(answer, ServerTime):
            times.append(answer)
            ends = min(ends, time.monotonic() + _REST_SECONDS)
        elif isinstance(answer, ClockSuspected):
            suspicion = str(answer)
    return ServerTimes(tuple(times), suspicion)


def _answer(endpoint: Endpoint, answers: queue.SimpleQueue[ServerTime | CannotTell]) -> None:
    try:
        answers.put(server_time(endpoint))
    except ClockSuspected as suspected:
        try:
            answers.put(server_time(endpoint, ignores_dates=True))
        except CannotTell:
            answers.put(suspected)
    except CannotTell as error:
        answers.put(error)


def server_time(endpoint: Endpoint, *, ignores_dates: bool = False) -> ServerTime:
    """Ask a server for its time with one HEAD request; proxies and TLS checks are the usual ones.

    Args:
        endpoint: The server.
        ignores_dates: Leave the dates of its certificate aside; see `trust.context`.

    Raises:
        ClockSuspected: TLS refused the server's certificate for its dates.
        CannotTell: It did not answer, or its answer has no usable Date.
    """
    if not endpoint.url.startswith(("http://", "https://")):
        raise CannotTell(f"{endpoint.name} is not reached over HTTP.")
    import http.client
    import urllib.error

    started = time.time()
    try:
        stated = _ask(endpoint.url, ignores_dates=ignores_dates)
    except urllib.error.HTTPError as error:  # an answer all the same; a redirect is one too
        stated = error.headers.get("Date")
        error.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _silent(endpoint, error) from error
    return ServerTime(endpoint.name, _ahead(endpoint, stated, (started + time.time()) / 2))


def _ask(url: str, *, ignores_dates: bool) -> str | None:
    import urllib.request

    handlers: list[Any] = []
    if ignores_dates:
        handlers.append(urllib.request.HTTPSHandler(context=trust.dateless()))

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            """Follow nothing: where it points to is not our business."""

    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - http(s) only, see caller
    opener = urllib.request.build_opener(NoRedirect, *handlers)
    with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
        date: str | None = answer.headers.get("Date")
        return date


def _ahead(endpoint: Endpoint, stated: str | None, local_seconds: float) -> float:
    ahead = ahead_of(stated, local_seconds)
    if ahead is None:
        raise CannotTell(f"{endpoint.name} answered without a date.")
    return ahead


def ahead_of(stated: str | None, local_seconds: float) -> float | None:
    """Return how far our clock is ahead of a Date header; None when it is no date."""
    try:
        server = parsedate_to_datetime(stated or "")
    except (TypeError, ValueError):
        return None
    if server.tzinfo is None:
        server = server.replace(tzinfo=timezone.utc)
    return local_seconds - server.timestamp()


def cure(facts: FactBook) -> str:
    """Return the command that sets the clock of this machine right; nobody runs it but a person."""
    if sys.platform == "win32":
        return "In a PowerShell of the administrator: `w32tm /resync`."
    if sys.platform == "darwin":
        return "`sudo sntp -sS time.apple.com`."
    found = facts.get(system.read_system)
    if found.wsl:
        return "Set it by Windows' clock: `sudo hwclock -s`."
    if found.container:
        return "Set the clock of the machine that runs this container."
    return "Let a time server set it: `sudo timedatectl set-ntp true`."


def _silent(endpoint: Endpoint, error: Exception) -> CannotTell:
    import ssl

    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError) and reason.verify_code in _DATE_ERRORS:
        return ClockSuspected(
            f"The certificate of {endpoint.name} is {_DATE_ERRORS[reason.verify_code]} by the "
            "local clock.",
            "Either the certificate is out of date or the clock is wrong.",
        )
    return CannotTell(f"{endpoint.name} did not tell its time: {reason}.")
