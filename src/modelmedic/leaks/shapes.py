"""Words that are secrets by their shape: first letters, checksums, randomness, their name."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

Span = tuple[int, int, str]
# First letters, least letters of the whole, whose it is. Sources: the pages of each vendor on its
# tokens; docs.github.com, "Behind GitHub's new authentication token formats".
_PREFIXES: tuple[tuple[str, int, str], ...] = (
    *(("hf_", 12, "Hub"), ("api_org_", 16, "Hub"), ("r8_", 20, "Replicate")),
    *(("wandb_v1_", 24, "W&B"), ("sk-ant-", 20, "Anthropic"), ("sk-", 20, "OpenAI")),
    *((f"gh{letter}_", 24, "GitHub") for letter in "pousr"),
    *(("github_pat_", 30, "GitHub"), ("glpat-", 20, "GitLab"), ("gldt-", 20, "GitLab")),
    *(("glrt-", 20, "GitLab"), ("glptt-", 20, "GitLab"), ("glcbt-", 20, "GitLab")),
    *(("ATBB", 28, "Bitbucket"), ("ATATT3", 40, "Atlassian"), ("ATCTT3", 40, "Atlassian")),
    *(("npm_", 30, "npm"), ("pypi-AgE", 40, "PyPI"), ("dckr_pat_", 24, "Docker")),
    *((f"xox{letter}-", 20, "Slack") for letter in "abeoprs"),
    *(("xapp-", 20, "Slack"), ("AIza", 35, "Google"), ("ya29.", 30, "Google")),
    *(("GOCSPX-", 24, "Google"), ("AKIA", 20, "AWS"), ("ASIA", 20, "AWS")),
    *(("sk_live_", 20, "Stripe"), ("sk_test_", 20, "Stripe"), ("rk_live_", 20, "Stripe")),
    *(("whsec_", 24, "Stripe"), ("SG.", 40, "SendGrid"), ("hvs.", 24, "Vault")),
    *(("dop_v1_", 40, "DigitalOcean"), ("gsk_", 30, "Groq"), ("nvapi-", 30, "NVIDIA")),
    *(
        ("ms-", 36, "ModelScope"),
        ("rpa_", 30, "RunPod"),
        ("tgp_v1_", 24, "Together"),
        ("eyJ", 60, "JWT"),
    ),
)
_BY_LETTER: dict[str, list[tuple[str, int, str]]] = {}
for _prefix in _PREFIXES:
    _BY_LETTER.setdefault(_prefix[0][0], []).append(_prefix)
_WORD = re.compile(r"[A-Za-z0-9_\-.~]{12,}")
# Behind letters that are none of it only the long ones count.
_GLUED = re.compile(
    r"(?<=[A-Za-z0-9])(?:hf_[A-Za-z0-9]{34}|gh[pousr]_[A-Za-z0-9]{36}|npm_[A-Za-z0-9]{36})"
    r"(?![A-Za-z0-9])"
)
_MOST_TOKEN = 1000  # letters by which a word is judged to be a token
_MASKED_TAIL = "***"
_UPPER_ONLY = frozenset({"AWS"})

_VALUE = r"([^\s\"'\\,;<>{}()\[\]]{8,400})"
_MARK = r"(?:\\{0,7}[\"'])?"
_BREAK = r"(?:[|>]?\s{0,2}\\?\r?\n\s{1,20})?"
# How a name and its value stand together: set, as an option, as an element, as an entry.
_PAIRS = (
    # Tried only where a word begins: in a word of a million letters it would take half a minute.
    re.compile(
        rf"(?<![A-Za-z])([A-Za-z][\w.-]{{0,60}}){_MARK}\s{{0,3}}(?:=|:)\s{{0,3}}{_BREAK}{_MARK}"
        rf"{_VALUE}"
    ),
    re.compile(
        rf"--?([A-Za-z][\w-]{{2,60}})(?:\s{{1,3}}(?:\\\r?\n\s{{0,20}})?|['\"],\s?['\"]){_VALUE}"
    ),
    re.compile(rf"<([A-Za-z][\w.-]{{2,60}})>{_VALUE}"),
    re.compile(
        rf"name{_MARK}:\s{{0,3}}{_MARK}([A-Za-z]\w{{2,60}}){_MARK},?\s{{0,20}}{_MARK}value"
        rf"{_MARK}:\s{{0,3}}{_MARK}{_VALUE}"
    ),
)
_SECRET_PARTS = frozenset(
    {
        *("token", "secret", "password", "passwd", "passphrase", "pwd", "apikey", "cookie"),
        *("credential", "credentials", "pat"),
    }
)
_TWO_PARTS = frozenset(
    f"{first}{second}"
    for first in ("api", "access", "private", "account", "secret", "signing", "license", "auth")
    for second in ("key", "token")
)
_HARMLESS_LAST = frozenset(
    {
        *("file", "path", "dir", "name", "type", "id", "ids", "count", "url", "uri", "limit"),
        *("length", "index", "class", "size"),
    }
)
_HASH_NAMES = re.compile(
    r"(?i)sha|md5|hash|digest|etag|commit|revision|integrity|oid|blob|crc|uuid"
)
_HEX = re.compile(r"(?i)[0-9a-f-]+\Z")
_LEAST_BITS = 2.0  # of each letter of a value that a secret's name is set to
_LEAST_RANDOM = 32  # letters of a value that is called nothing
_LEAST_RANDOM_BITS = 4.5
_MOST_USERINFO = 300
_BEGINS_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(r"(?:\\+[nr]|[\s\"',>|])*[A-Za-z0-9+/=]{8,}")


def tokens(text: str) -> Iterator[Span]:
    """Yield words that begin as the tokens of a known service do."""
    for found in _WORD.finditer(text):
        word = found[0]
        for part in re.finditer(r"(?:^|(?<=[._~-]))[A-Za-z]", word):
            kind = _kind_of(word, part.start())
            if kind:
                yield found.start() + part.start(), found.end(), kind
                break
    for found in _GLUED.finditer(text):
        yield *found.span(), "token behind other letters"


def _kind_of(word: str, at: int) -> str:
    for prefix, least, whose in _BY_LETTER.get(word[at], ()):
        if not word.startswith(prefix, at) or len(word) - at < least:
            continue
        rest = word[at + len(prefix) : at + len(prefix) + _MOST_TOKEN]
        if whose in _UPPER_ONLY and not (rest.isupper() and rest.isalnum()):
            continue
        if not any(letter.isdigit() or letter.isupper() for letter in rest):
            continue  # words joined by hyphens
        if whose == "GitHub" and has_github_checksum(word[at:]):
            return "GitHub token, its checksum holds"
        return f"{whose} token"
    return ""


def has_github_checksum(token: str) -> bool:
    """Return whether the last six letters are the CRC-32 of the rest, in base 62.

    Source: github.blog, "Behind GitHub's new authentication token formats" (2021-04-05).
    """
    letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    rest, told = token[4:-6], token[-6:]
    number, written = zlib.crc32(rest.encode("utf-8", "replace")), ""
    while number:
        number, digit = divmod(number, 62)
        written = letters[digit] + written
    return written.rjust(6, "0") == told


def assigned(text: str) -> Iterator[Span]:
    """Yield values that a secret's name is set to, and long random ones under any name."""
    for pattern in _PAIRS:
        at = 0
        while (found := pattern.search(text, at)) is not None:
            at = found.start(2)  # a value may be a pair itself: a=b=c
            if kind := _kind_of_pair(text, found):
                yield found.start(2), found.end(2), kind


def _kind_of_pair(text: str, found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    if _MASKED_TAIL in value or value[0] in "$%<{*":
        return ""
    if _is_secret_name(name):
        is_set = _bits(value) >= _LEAST_BITS and _is_no_word(text, found)
        return "value of a secret's name" if is_set else ""
    return "random value" if _is_random(name, value) else ""


def _is_no_word(text: str, found: re.Match[str]) -> bool:
    """Return whether a value is one: prose says "password: required" of nobody's."""
    is_set = "=" in text[found.end(1) : found.start(2)] and found[2].isascii()
    return is_set or any(letter.isdigit() for letter in found[2])


def _is_secret_name(name: str) -> bool:
    parts = [part for part in re.split(r"[^a-z0-9]+", _split_humps(name).lower()) if part]
    if not parts or parts[-1] in _HARMLESS_LAST:
        return False
    pairs = {first + second for first, second in pairwise(parts)}
    return bool(_SECRET_PARTS.intersection(parts) or _TWO_PARTS & (pairs | set(parts)))


def _split_humps(name: str) -> str:
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name)


def _is_random(name: str, value: str) -> bool:
    return (
        len(value) >= _LEAST_RANDOM
        and not _HEX.match(value)
        and not _HASH_NAMES.search(name)
        and not re.search(r"[/\\.:@]|[-_][a-z]+[-_]", value)  # paths, versions, names in parts
        and any(letter.isdigit() for letter in value)
        and any(letter.isupper() for letter in value)
        and any(letter.islower() for letter in value)
        and _bits(value) >= _LEAST_RANDOM_BITS
    )


def _bits(value: str) -> float:
    """Return Shannon's entropy of the letters, in bits a letter."""
    counted = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counted.values())


def in_addresses(text: str) -> Iterator[Span]:
    """Yield user and password in addresses."""
    at = text.find("://")
    while at >= 0:
        begins = at + 3
        rest = re.split(r"[\s\"`<>]|://", text[begins : begins + _MOST_USERINFO], maxsplit=1)[0]
        server, userinfo = rest.split("/", 1)[0], rest.rpartition("@")[0]
        user, colon, password = userinfo.partition(":")
        is_port = password.partition("/")[0].isdigit()
        is_login = "@" in server or (bool(colon and password) and not is_port)
        is_open = "***" not in userinfo and user != "git" and "/" not in user
        if userinfo and is_login and is_open:
            yield begins, begins + len(userinfo), "password in an address"
        at = text.find("://", begins)


def private_keys(text: str) -> Iterator[Span]:
    """Yield private keys, whole or begun."""
    for found in _BEGINS_KEY.finditer(text):
        body = _KEY_BODY.match(text, found.end())
        end = body.end() if body else 0
        while body:
            body = _KEY_BODY.match(text, body.end())
            end = body.end() if body else end
        if end:
            yield found.start(), end, "private key"
