"""Rules for keys in PEM form, lines of .netrc, logins on command lines, and texts in base64."""

from __future__ import annotations

import base64
import binascii
import re

from modelmedic.masking.rule import MASK, SPACE, Rule

_BEGIN = r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
_END = r"-----END (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
_END_FOUND = re.compile(_END)
_BREAK_BACK = r"(?:\s|[nr]\\{1,8}){1,40}"  # the end of a line, from behind
_LINES_BACK = re.compile(
    rf"(?:{_BREAK_BACK}[A-Za-z0-9+/=]{{1,128}})?(?:{_BREAK_BACK}[A-Za-z0-9+/=]{{16,128}}){{0,800}}"
)
_ASCII_AT_HEAD = 12  # bytes by which base64 of a text is told from other words
_MOST_ENCODED = 1 << 16
# What makes decoded text a secret: the first letters of tokens, a login, a name that is set.
_TELLING = re.compile(
    r"\b(?:hf_|api_org_|gh[pousr]_|github_pat_|glpat-|sk-|npm_|pypi-|r8_|wandb_v1_|xox[abeprs]-|"
    r"nvapi-|AKIA|AIza|ms-)[A-Za-z0-9_-]{10}|://[^\s/@]{0,80}:[^\s@]{1,200}@|"
    r"(?i:passw(?:or)?d|passwd|secret|token|api_?key)[\"']?\s{0,3}[=:]|-----BEGIN [A-Z ]*PRIVATE|"
    r"^[\w.@-]{2,60}:[^\s:]{6,100}\Z"
)


def _encoded(found: re.Match[str]) -> str:
    """Mask base64 that stands for a text with a secret in it."""
    run = found[0][:_MOST_ENCODED].replace("-", "+").replace("_", "/").rstrip("=")
    for skip in range(4):  # it may begin behind letters that are none of it
        part = run[skip:]
        try:
            head = base64.b64decode(part[: _ASCII_AT_HEAD // 3 * 4])
            if not head.isascii() or min(head, default=0) < 9:  # noqa: PLR2004 - tab
                continue
            plain = base64.b64decode(part + "=" * (-len(part) % 4)).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            continue
        if _TELLING.search(plain):
            return MASK
    return found[0]


def without_ends_of_keys(text: str) -> str:
    """Return ``text`` without the keys whose beginning was cut off, read from their end back."""
    parts, at = [], 0
    for found in _END_FOUND.finditer(text):
        before = text[max(at, found.start() - _MOST_ENCODED) : found.start()]
        lines = _LINES_BACK.match(before[::-1])
        parts += [text[at : found.start() - (lines.end() if lines else 0)], MASK]
        at = found.end()
    return "".join([*parts, text[at:]]) if parts else text


def _of_user(found: re.Match[str]) -> str:
    """Mask "user:password" behind -u; two numbers are the ids of a user and a group."""
    return found[0] if found[2].isdigit() and found[3].isdigit() else f"{found[1]}{MASK}"


RULES: tuple[Rule, ...] = (
    Rule(
        "private key",
        ("-----begin ",),
        # Up to its end; where that is missing, all that can belong to it.
        rf"{_BEGIN}(?:(?:(?!-----)[\s\S]){{0,60000}}?{_END}|"
        r"(?:(?:(?:\s|\\+[nrt\"]|[:,>|\"'+-]|(?<=\n)E(?=[ \t])){0,40}|"
        r"(?:\r?\n|\\+n)[^\r\n\\]{0,60}?[ |>:](?=[A-Za-z0-9+/=]{4,128}(?:\s|\\|\.|\Z)))"
        r"(?:Proc-Type:[^\r\n\\]{1,40}|"
        r"DEK-Info:[^\r\n\\]{1,80}|[A-Za-z0-9+/=]{8,}|[A-Za-z0-9+/]{2,12}==?)){0,8000}"
        r"(?:(?:\s|\\+[nr]){1,4}[A-Za-z0-9+/=]{1,64}(?=\s{0,40}\Z))?)",
        ignore_case=False,
    ),
    Rule(
        "key of PuTTY",
        ("private-lines:",),
        r"(private-lines:\s{0,4}\d{1,4})(?:\s{1,8}[A-Za-z0-9+/=]{8,128}){1,400}",
        rf"\g<1> {MASK}",
    ),
    Rule(
        "line of .netrc",
        ("password", "passwd"),
        rf"(\b(?:machine{SPACE}{{1,40}}\S{{1,200}}?|default|login{SPACE}{{1,40}}\S{{1,200}}?)"
        rf"{SPACE}{{1,40}}(?:(?:login|account){SPACE}{{1,40}}\S{{1,200}}?{SPACE}{{1,40}}){{0,2}}"
        rf"passw(?:or)?d{SPACE}{{1,40}})"
        r"(?!\*\*\*)(?:\"[^\"\r\n]{1,300}\"|\S{1,300})",
        rf"\g<1>{MASK}",
    ),
    Rule(
        "login on a command line",
        ("-u", "--user", "--proxy-user"),
        r"((?<![\w-])(?:-u|--user|--proxy-user)(?:\s{1,8}|=|[\"'],\s{0,3}[\"'])[\"']?)"
        r"([\w.@+-]{1,100}):(?!\*\*\*)([^\s\"']{1,200})",
        _of_user,
    ),
    Rule(
        "password on a command line",
        ("mysql", "sshpass", "docker login", "podman login", "smbclient"),
        r"(\b(?:mysql(?:dump|admin)?|sshpass|docker login|podman login)\b[^\r\n]{0,200}?\s-p ?)"
        r"(?!\*\*\*)[^\s\"'-][^\s\"']{2,200}",
        rf"\g<1>{MASK}",
    ),
)
# Tried on every text with so long a word; its work is to decode it, and most are told at once.
ENCODED = Rule(
    "base64",
    (),
    r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{20,}={0,2}",
    _encoded,
    ignore_case=False,
    least=20,
)
