"""What an HTTP answer is: an API's, a web page, a redirect elsewhere, a rate limit."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from urllib.parse import urljoin

from modelmedic.facts.endpoint import parse
from modelmedic.facts.talk import REDIRECTS, Path
from modelmedic.facts.wire import Answer
from modelmedic.facts.wire_errors import Failure
from modelmedic.text import printable


@dataclass(frozen=True, slots=True)
class Limits:
    """What an answer says about how much may be asked. None: nothing was said."""

    wait_seconds: float | None = None  # Retry-After, or the end of the window
    remaining: int | None = None  # requests left in the window


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class HttpFact:
    """One answer, with nothing secret in it.

    Args:
        origin: The server that was asked.
        content: "json", "html", "other", or "none" (no body and no type).
        redirect: Origin a redirect leads to, "" when there is none or it stays.
        error_code: The Hub's X-Error-Code, or "".
        is_from_hub: A header or JSON as only a Hub sends it.
        seconds: From the request to the answer's header.
    """

    origin: str
    method: str
    status: int = 0
    reason: str = ""
    content: str = "none"
    redirect: str = ""
    error_code: str = ""
    error_message: str = ""
    is_from_hub: bool = False
    proxy_scheme: str = ""  # what a proxy's 407 asks for
    server: str = ""
    limits: Limits = UNLIMITED
    seconds: float = 0.0
    via: str = ""
    failure: Failure | None = None


def judge(path: Path, method: str, answer: Answer) -> HttpFact:
    """Return the fact in an answer of the server at the end of ``path``."""
    headers = answer.headers
    told = headers.get("proxy-authenticate", "").split(maxsplit=1)
    return HttpFact(
        origin=path.address.origin,
        method=method,
        status=answer.status,
        reason=answer.reason,
        content=content_of(answer),
        redirect=redirect_of(path, answer),
        error_code=printable(headers.get("x-error-code", "")),
        error_message=printable(headers.get("x-error-message", ""))[:200],
        is_from_hub=is_from_hub(answer),
        proxy_scheme=printable(told[0]) if told else "",
        server=printable(headers.get("server", ""))[:80],
        limits=limits_of(answer, time.time()),
        seconds=answer.seconds,
        via=path.via,
    )


def content_of(answer: Answer) -> str:
    """Return what the body is, by its beginning first and its stated type second."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    start = answer.body.lstrip()[:1]
    if kind in {"text/html", "application/xhtml+xml"} or start == b"<":
        return "html"
    if start in {b"{", b"["} and (not answer.is_whole or parsed(answer) is not None):
        return "json"
    if not answer.body and kind.endswith("json"):
        return "json"
    return "other" if answer.body or kind else "none"


def parsed(answer: Answer) -> object | None:
    """Return the JSON of a whole body; None when it is none."""
    try:
        value: object = json.loads(answer.body) if answer.is_whole else None
    except (ValueError, RecursionError):
        return None
    return value


def is_from_hub(answer: Answer) -> bool:
    """Return whether only a Hub would answer so: its headers, or a repo's JSON."""
    if any(name in answer.headers for name in ("x-error-code", "x-repo-commit")):
        return True
    value = parsed(answer)
    if isinstance(value, dict):
        return "sha" in value or "id" in value or "error" in value
    return isinstance(value, list) or (not answer.is_whole and content_of(answer) == "json")


def redirect_of(path: Path, answer: Answer) -> str:
    """Return the other origin a redirect leads to; "" without one or when it stays.

    A redirect from http to https of the same host stays.
    """
    location = answer.headers.get("location", "")
    if answer.status not in REDIRECTS or not location:
        return ""
    address = path.address
    try:
        target = parse(urljoin(f"{address.origin}{address.path}/", location))
    except ValueError:
        return "an address that is no URL"
    stays = target.host.lower() == address.host.lower() and (
        target.port == address.port or (target.is_tls and not address.is_tls)
    )
    return "" if stays else target.origin


def limits_of(answer: Answer, now: float) -> Limits:
    """Return what an answer says about rate limits.

    Args:
        answer: Any answer.
        now: Seconds since the epoch, for a Retry-After that is a date.

    Source: RFC 9110 section 10.2.3; huggingface_hub 1.x ``utils/_http.py:parse_ratelimit_headers``
    for ``RateLimit: "api";r=0;t=55``.
    """
    window = answer.headers.get("ratelimit", "")
    left = re.search(r"\br\s*=\s*(\d{1,9})", window)
    reset = re.search(r"\bt\s*=\s*(\d{1,9})", window)
    wait = _retry_after(answer.headers.get("retry-after", "").strip(), now)
    if wait is None and reset:
        wait = float(reset[1])
    return Limits(wait, int(left[1]) if left else None)


def _retry_after(text: str, now: float) -> float | None:
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now) if text else None
    except (TypeError, ValueError, OverflowError):
        return None
