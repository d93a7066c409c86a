"""The forms in which a known secret can stand in a text."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

_LEAST_LETTERS = 6  # of a form: base64 of a short value is a part of any word
_LEAST_WRAPPED = 12  # letters of a secret that is looked for across the ends of lines
_PARTS = 4  # of a split secret, one of which is whole when it was split up to three times
_BREAK = r"(?:[ \t\"'+\\]{0,8}(?:\r?\n|\\n)(?:E(?=[ \t]))?[ \t\"'>|+]{0,40})?"


def all_forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return the secrets in all their forms, the longest first: a part must not go before it."""
    found = {form for secret in secrets for form in _forms(secret) if len(form) >= _least(secret)}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def _least(secret: str) -> int:
    return min(_LEAST_LETTERS, len(secret))


def _forms(secret: str) -> Iterator[str]:
    data = secret.encode("utf-8", "surrogatepass")
    yield secret
    for encoded in (quote(data, safe=""), quote(data, safe="/"), quote_plus(data)):
        yield encoded
        yield re.sub("%..", lambda found: found[0].lower(), encoded)
        yield encoded.replace("%", "%25")
    once = json.dumps(secret)[1:-1]
    yield from (once, json.dumps(once)[1:-1], once.replace("/", "\\/"))
    yield from (json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
    in_xml = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    yield in_xml
    yield in_xml.replace('"', "&quot;").replace("'", "&#x27;")
    yield in_xml.replace('"', "&#34;").replace("'", "&#39;")
    yield from (data.hex(), data.hex().upper())
    for bytes_ in (data, secret.encode("utf-16-le", "surrogatepass")):
        for text in _in_base64(bytes_):
            yield text
            yield text.replace("+", "-").replace("/", "_")


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield its base64 at each of the three places it can have in three bytes."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data)
        kept = len(whole.rstrip(b"=")) - bool((before + len(data)) % 3)
        yield whole[(0, 2, 3)[before] : kept].decode()


def split_over_lines(text: str, secrets: Iterable[str], mask: str) -> str:
    """Return ``text`` without the secrets that ends of lines break apart."""
    if "\n" not in text and "\\n" not in text:
        return text
    for secret in secrets:
        if len(secret) < _LEAST_WRAPPED:
            continue
        size = -(-len(secret) // _PARTS)
        if any(secret[at : at + size] in text for at in range(0, len(secret), size)):
            text = _broken(secret).sub(mask, text)
    return text


@lru_cache(maxsize=512)
def _broken(secret: str) -> re.Pattern[str]:
    return re.compile(_BREAK.join(map(re.escape, secret)))
