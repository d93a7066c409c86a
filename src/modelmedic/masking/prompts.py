"""Rules for what a user asked a model for, and what is written into pictures: its length stays."""

from __future__ import annotations

import json
import re

from modelmedic.masking.names import is_prompt
from modelmedic.masking.rule import QUOTE, QUOTED, Rule

_MOST_OBJECT = 1 << 20  # letters of a workflow; what is longer goes to the end of the text
_ENDS = r"(?=\s{0,4}(?:[,;)\]}&<]|\\|\s--?\w|\r|\n|\Z))"
_REST = r"(?:(?![ \t]--?[a-z]|\\n)[^\r\n]){1,8000}"
_CODE = re.compile(
    r"(?:none|null|str|string|true|false|optional|list)[\W_]*\Z|"
    r"[A-Za-z_]+(?:\.[A-Za-z_]+)+(?:[(\[].*)?\Z|[a-z_]+\(.*\)?\Z|f[\"']|\[\s*\Z|\{|[a-z_]+[,)\]]*\Z",
    re.DOTALL,
)
_OBJECT = re.compile(
    r"(?i)\b(prompt|workflow|extra_pnginfo)((?:\\{0,7}[\"'])?\s{0,3}[:=\0]?\s{0,3})"
    r"(?=\{\s{0,40}(?:\\{0,7}[\"'][^\"']{1,60}[\"']|\}))"
)


def length_of(value: str, what: str = "prompt") -> str:
    """Return the words that stand for a prompt."""
    return f"<{what}: {len(value)} letters>"


def _asked(found: re.Match[str]) -> str:
    before = re.search(r"[\w.-]{0,40}\Z", found.string[max(0, found.start() - 40) : found.start()])
    name = (before[0] if before else "") + found["name"]
    value = found["v"] if found["v"] is not None else found["v2"].strip()
    if not is_prompt(name) or not value or value.startswith(("<prompt:", "<workflow:", "***")):
        return found[0]
    if found["v"] is None and _CODE.match(value):
        return found[0]
    mark = found["q"] or ""
    return f"{found['name']}{found['between']}{mark}{length_of(value)}{mark}"


def _metadata(found: re.Match[str]) -> str:
    if found["v"].startswith("<"):
        return found[0]
    return f"{found['head']}{found['q']}{length_of(found['v'], 'workflow')}{found['q']}"


def objects(text: str) -> str:
    """Return ``text`` with the JSON of prompts and workflows replaced by its length."""
    parts, at = [], 0
    for found in _OBJECT.finditer(text):
        if found.start() < at:
            continue
        end = _object_end(text, found.end())
        parts += [text[at : found.end()], length_of(text[found.end() : end], "workflow")]
        at = end
    return "".join([*parts, text[at:]]) if parts else text


def _object_end(text: str, begins: int) -> int:
    part = text[begins : begins + _MOST_OBJECT]
    try:
        return begins + json.JSONDecoder().raw_decode(part)[1]
    except (ValueError, RecursionError):
        pass
    depth = 0
    for brace in re.finditer(r"[{}]", part):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return begins + brace.end()
    return begins + len(part) if len(part) < _MOST_OBJECT else len(text)


RULES: tuple[Rule, ...] = (
    Rule(
        "workflow in quotation marks",
        ("workflow", "prompt", "extra_pnginfo"),
        rf"(?P<head>\b(?:workflow|prompt|extra_pnginfo)(?:{QUOTE})?\s{{0,3}}[:=]\s{{0,3}})"
        rf"(?={QUOTE})(?=.{{1,8}}?\{{){QUOTED}",
        _metadata,
    ),
    Rule(
        "parameters of a picture",
        ("steps:",),
        r"(\bparameters(?:\\{0,7}[\"'])?\s{0,3}[:=\0]\s{0,3}(?:\\{0,7}[\"'])?)"
        r"(?!\s{0,3}<prompt)((?:(?!\bparameters\b)[\s\S]){1,20000}?)(?=(?:\\n|\s)steps: ?\d)",
        lambda found: f"{found[1]}{length_of(found[2])}",
    ),
    Rule(
        "prompt as an option",
        ("prompt",),
        rf"(?<![\w-])(?P<name>--?(?:[a-z]{{1,12}}[_-])?prompt)"
        rf"(?P<between>[= ]{{1,4}}|(?:{QUOTE}),\s{{0,8}}|\s{{0,2}}\\\r?\n[ \t]{{0,80}})"
        rf"(?:{QUOTED}|(?P<v2>(?![-\"'\s]|<prompt){_REST}))",
        _asked,
    ),
    Rule(
        "list of prompts",
        ("prompts",),
        rf"(?P<name>\bprompts)(?P<between>(?:{QUOTE})?\s{{0,8}}[:=]\s{{0,8}})(?P<q>)(?P<v>)?"
        r"(?P<v2>\[\s{0,8}\\{0,7}[\"'](?:[^\]\[]){1,20000}\])",
        lambda found: f"{found['name']}{found['between']}{length_of(found['v2'])}",
    ),
    Rule(
        "prompt",
        ("prompt",),
        rf"(?<!<)(?P<name>prompts?(?:_?\d|_text|_str)?)"
        rf"(?P<between>(?:{QUOTE})?[ \t]{{0,8}}(?:=>?|:|%3[da])\s{{0,8}})"
        rf"(?:{QUOTED}{_ENDS}|(?P<v2>(?!\s|\\|<prompt|<workflow){_REST}))",
        _asked,
    ),
)
