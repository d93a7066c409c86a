"""Hide credentials, the home folder, user and host before anything is written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MASK = "***"
_MAX_MEMO = 2000  # a run says the same short things in its journal, record, page and XML file
_MAX_MEMO_LETTERS = 2000  # a whole file is masked once
_LEAST_LETTERS = 4  # a shorter name is a word of the text more often than a name
# Names that are words: masking them would make reports unreadable and hide nobody.
_COMMON = frozenset(
    {
        "root",
        "user",
        "admin",
        "administrator",
        "home",
        "ubuntu",
        "debian",
        "guest",
        "test",
        "localhost",
        "default",
        "public",
        "python",
        "model",
        "models",
        "local",
        "main",
        "work",
        "data",
        "build",
        "runner",
        "docker",
        "server",
        "desktop",
        "windows",
        "linux",
    }
)

# Each rule: one of these stands, in small letters, in all that it finds; what it finds; what it
# leaves. To look for a word costs a hundredth of a search for the pattern, and nearly all that is
# masked holds none of them. Sources: the token formats' own documentation and the always-on rules
# of common support-bundle tools (docs/privacy.md lists them).
_RULES: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (("hf_", "api_org_"), re.compile(r"\b(hf_|api_org_)[A-Za-z0-9]{8,}"), rf"\1{MASK}"),
    (
        (
            *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
            *("sk-", "pypi-", "npm_", "ms-", "r8_"),
        ),
        re.compile(r"\b(gh[pousr]_|github_pat_|glpat-|sk-|pypi-|npm_|ms-|r8_)[A-Za-z0-9_\-]{12,}"),
        rf"\1{MASK}",
    ),
    (("akia",), re.compile(r"\bAKIA[0-9A-Z]{16}\b"), f"AKIA{MASK}"),
    (
        ("eyj",),
        re.compile(r"\b(eyJ[A-Za-z0-9_-]{8,}\.)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
        MASK,
    ),
    (
        ("authorization", "cookie", "x-api-key"),
        re.compile(
            r"(?i)\b(authorization|proxy-authorization|cookie|set-cookie|x-api-key)"
            r"(\s*[:=]\s*)[^\r\n,;]+"
        ),
        rf"\1\2{MASK}",
    ),
    (
        ("bearer", "basic"),
        re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"),
        rf"\1 {MASK}",
    ),
    (
        ("://",),
        re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{0,20}://)[^/\s:@]*(?::[^/\s@]*)?@"),
        rf"\1{MASK}@",
    ),
    (
        ("?", "&"),
        re.compile(
            r"(?i)([?&](?:token|access_token|key|api_key|signature|sig|x-amz-signature|"
            r"x-amz-credential|policy|password|secret)=)[^&\s\"']+"
        ),
        rf"\1{MASK}",
    ),
    (
        ("password", "passwd", "secret", "token", "apikey", "api_key"),
        re.compile(
            r"(?i)\b([A-Z0-9_]*(?:password|passwd|secret|token|api_?key)[A-Z0-9_]*\s*[=:]\s*)"
            r"(?!\*\*\*)[^\s,;\"']{4,}"
        ),
        rf"\1{MASK}",
    ),
    (
        ("-----begin ",),
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL
        ),
        MASK,
    ),
)
_WORDS = tuple(word for words, _pattern, _left in _RULES for word in words)


@dataclass(frozen=True, slots=True)
class Masker:
    """Masks text. ``homes`` become "~"; ``names`` (user, host) become words in brackets."""

    homes: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    _memo: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of_this_machine(cls) -> Masker:
        """Return the masker for this user on this machine, with its literal known tokens."""
        import getpass
        import socket

        try:
            user = getpass.getuser()
        except (OSError, KeyError, ImportError):
            user = ""  # no name in the password file (a container): nothing to mask
        host = socket.gethostname()
        names = [(host, "<host>"), (host.partition(".")[0], "<host>"), (user, "<user>")]
        home = str(Path.home())
        homes = {home, os.path.realpath(home)} - {"/", ""}
        return cls(
            tuple(sorted(homes, key=len, reverse=True)),
            tuple(pair for pair in names if is_telling(pair[0])),
            tuple(_known_secrets()),
        )

    def mask(self, text: str) -> str:
        """Return ``text`` without credentials, home, user and host."""
        known = self._memo.get(text)
        if known is None:
            known = self._masked(text)
            if len(text) <= _MAX_MEMO_LETTERS and len(self._memo) < _MAX_MEMO:
                self._memo[text] = known
        return known

    def _masked(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        for pattern, left in _rules_for(text):
            text = pattern.sub(left, text)
        for home in (home for home in self.homes if home in text):  # the look is cheap, re is not
            text = re.sub(rf"{re.escape(home)}(?=$|[/\\\s:;,'\")\]])", "~", text)
        for name, word in (pair for pair in self.names if pair[0] in text):
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", word, text)
        return text

    def mask_json(self, value: Any) -> Any:
        """Return a JSON value with every string in it masked, keys included."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {self.mask(str(key)): self.mask_json(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_json(part) for part in value]
        return value


def _rules_for(text: str) -> list[tuple[re.Pattern[str], str]]:
    """Return the rules that can find something in ``text``; no rule makes another one needed.

    All, where a letter is not ASCII: to a pattern, some of those are the same as an ASCII letter.
    """
    is_there = text.lower().__contains__ if text.isascii() else bool
    if not any(map(is_there, _WORDS)):  # nearly always
        return []
    return [(pattern, left) for words, pattern, left in _RULES if any(map(is_there, words))]


def is_telling(name: str) -> bool:
    """Return whether a name hides somebody: no common word, and four letters or more."""
    return len(name) >= _LEAST_LETTERS and name.lower() not in _COMMON


def _known_secrets() -> Iterable[str]:
    """Return the literal tokens of this environment, long enough not to be words."""
    least = 8
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN", "DASH_API_KEY"):
        value = os.environ.get(name, "").strip()
        if len(value) >= least:
            yield value
