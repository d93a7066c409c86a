"""Rules for values that are secrets by the name they are set to, in whatever language that is."""

from __future__ import annotations

import re

from modelmedic.masking.names import KEYWORD, WORDS, is_secret_with
from modelmedic.masking.rule import LINE_ENDS, MASK, NEWLINE, QUOTE, QUOTED, SPACE, Rule

_NAME_LETTERS = re.compile(r"[\w.-]{0,60}\Z")
# A name, what stands between it and its value: a mark that closes it, a type, "=", ":", "=>".
_SET = (
    rf"(?:{QUOTE})?[ \t]{{0,20}}(?::[ \t]?[A-Za-z][\w.\[\], |]{{0,40}}?[ \t]?(?==))?"
    r"(?:=>|:=|={1,3}|:|%3[da])[ \t]{0,20}"
)
_NEXT_LINE = rf"(?:[|>][-+]?)?[ \t]{{0,20}}{NEWLINE}[ \t]{{1,80}}"
_BREAK_BEFORE = re.compile(_NEXT_LINE)
# A value without marks: to the next space, or to what sets the next name.
_BARE = r"(?:(?![,;&][ \t]?[\w .-]{1,40}[=:])(?!&quot;|&#|&lt;)[^\s\"'\\<]|\\(?![\"'])){4,4000}"
_LINE = r"(?:(?!\s[\w.-]{1,40}[=:])(?![,;&][ \t]?[\w .-]{1,40}=)[^\r\n]){3,4000}"
# What code says where a value would stand.
_CODE = re.compile(
    r"(?:none|null|true|false|yes|no|on|off|str|string|int|bool|bytes|float|dict|list|optional|"
    r"undefined|any|object|required|invalid|missing|expired|not|is|the|your|and|or|set|unset|"
    r"empty|ok|valid|found|n/a)[\W_]*\Z|"
    r"(?:self|cls|args|kwargs|opts?|options|config|cfg|conf|settings|request|response|os|env|environ"
    r"|ctx|context|params?|data|secrets|utils|parser|match|headers?|session|client|creds?|auth)"
    r"(?:\.\w+|\[[\"'\w.]+\]?)+[(),\]:]*\Z|"
    r"(?:get|load|read|input|fetch|create|make|generate|str|bytes|len|int|dict|list|set|tuple|bool|"
    r"repr|getattr|hasattr|isinstance|field|getenv|getpass|quote|unquote|hash|sha256|open|format|"
    r"Optional|Union|Callable|Annotated|Literal|SecretStr|List|Dict|Tuple)(?:_[a-z_]+)?[.(\[]|"
    r"\$\{?[A-Za-z_]\w*\}?\Z|%[A-Za-z_]\w*%\Z|\{\{?[^{}]*\}\}?\Z|<[a-z][\w :-]*>\Z|"
    r"[._*x-]{1,200}\Z|%[sdr]\Z|@[\w.]+\Z"
)
_TYPE = re.compile(
    r"(?:str|int|bool|bytes|float|Any|SecretStr|(?:Optional|Union|List|Dict|list|dict)\[[^=]{0,80}\])"
    r"(?: \| \w+){0,3}\s{0,3}(?:=|,|\)|$)"
)
_FEW_DIGITS = re.compile(r"[\d_.,]{1,7}\Z")
_IN_PROSE = re.compile(r"[A-Za-z] \Z")
_A_PLACE = re.compile(r"[~/.]|[A-Za-z]:[\\/]|<home>")


# What a password is called elsewhere; of a wireless network, too.
_OTHER_WORDS = (
    *("passwort", "kennwort", "contrase\u00f1a", "mot de passe", "senha", "wachtwoord"),
    *("\u5bc6\u7801", "\u5bc6\u78bc", "\u53e3\u4ee4", "\u4ee4\u724c", "\u5bc6\u94a5"),
    *("\u30d1\u30b9\u30ef\u30fc\u30c9", "\ube44\ubc00\ubc88\ud638"),
    *("\u043f\u0430\u0440\u043e\u043b\u044c", "psk", "pre-shared key", "key content"),
)


def _set(found: re.Match[str]) -> str:
    """Mask the value of a secret's name; where it had marks, it keeps them."""
    name = _whole_name(found)
    value = found["v"] if found["v"] is not None else found["v2"].rstrip(",;)]}")
    if not is_secret_with(name, _BREAK_BEFORE.sub("", value).strip()) or _is_code(name, found):
        return found[0]
    mark, closing = found["q"] or "", _closing(found["v2"] or "")
    if not mark and found["between"][:1] in {'"', "'"}:
        mark = found["between"][:1]  # a number in JSON: three stars alone are no JSON
    return f"{found['name']}{found['between']}{mark}{MASK}{mark}{closing}"


def _closing(bare: str) -> str:
    """Return what closes a bracket or a list behind a bare value: it is none of it."""
    return bare[len(bare.rstrip(",;)]}")) :]


def _whole_name(found: re.Match[str]) -> str:
    before = _NAME_LETTERS.search(found.string, max(0, found.start() - 60), found.start())
    return (before[0] if before else "") + found["name"]


def _is_code(name: str, found: re.Match[str]) -> bool:
    """Return whether what is there is masked already, or no value."""
    quoted, bare = found["v"], found["v2"]
    value = (quoted if quoted is not None else bare).strip()
    if not value or value.startswith((MASK, "<prompt:", "<s>", "</s>", "<|")):
        return True
    if quoted is not None:
        return bool(re.fullmatch(r"\$\{?\w+\}?|<[a-z][\w :-]*>|\{\{?[^{}]*\}\}?|%[sdr]", value))
    before = found.string[max(0, found.start() - 2) : found.start()]
    if name.lower() == "pass" and _IN_PROSE.match(before):
        return ":" in found["between"]  # "Closing pass: it holds."
    if name.rpartition(".")[2] in {"PWD", "OLDPWD"} and _A_PLACE.match(value):
        return True
    if name.lower().endswith(("tokens", "pass", "auth", "cookies")) and _FEW_DIGITS.match(value):
        return True
    return _code(value)


def _code(value: str) -> bool:
    plain = value.rstrip(",;)")
    return bool(_CODE.match(plain) or _CODE.match(plain.lower()))


def _at_line(found: re.Match[str]) -> str:
    """Mask all that stands behind a name at the beginning of a line."""
    value = found["value"].strip()
    if not is_secret_with(found["name"], value) or value.startswith(MASK):
        return found[0]
    if found["name"] in {"PWD", "OLDPWD"} and _A_PLACE.match(value):
        return found[0]
    few = found["name"].lower().endswith(("tokens", "pass", "auth", "cookies"))
    if _code(value) or _TYPE.match(value) or (few and _FEW_DIGITS.match(value)):
        return found[0]
    return f"{found['head']}{MASK}"


def _option(found: re.Match[str]) -> str:
    """Mask the value of an option."""
    value = found["v"] if found["v"] is not None else found["v2"]
    is_open = is_secret_with(found["name"], value) and not value.startswith((MASK, "$", "<"))
    mark = found["q"] or ""
    return f"{found['head']}{mark}{MASK}{mark}" if is_open else found[0]


def _pair(found: re.Match[str]) -> str:
    """Mask the value of an entry that says its name beside it."""
    value = found["v"] or found["v2"] or MASK
    if not is_secret_with(found["name"], value) or value.startswith(MASK):
        return found[0]
    mark = found["q"] or ""
    return f"{found['head']}{mark}{MASK}{mark}"


def _element(found: re.Match[str]) -> str:
    if not is_secret_with(found[2], found[4]) or found[4].startswith(MASK):
        return found[0]
    return f"{found[1]}{found[2]}{found[3]}{MASK}{found[5]}"


def _secret_object(found: re.Match[str]) -> str:
    """Mask the values of a Secret of Kubernetes, whatever they are called."""
    begins = max(0, found.start() - _MOST_AROUND)
    around = found.string[begins : found.end() + _MOST_AROUND]
    if not _IS_SECRET_OBJECT.search(around):
        return found[0]
    return _VALUE_OF_LINE.sub(rf"\g<1>{MASK}", found[0])


def _in_other_words(found: re.Match[str]) -> str:
    value = found["v"] if found["v"] is not None else found["v2"]
    mark = found["q"] or ""
    is_open = not value.startswith(MASK) and not _code(value)
    return f"{found['head']}{mark}{MASK}{mark}" if is_open else found[0]


_MOST_AROUND = 2000  # letters between the data of an object and its kind
_IS_SECRET_OBJECT = re.compile(r"(?im)^[ \t-]{0,40}kind: ?Secret[ \t]*\r?$")
_VALUE_OF_LINE = re.compile(r"(?m)^([ \t]+[\w.-]{1,200}: )(?!\*\*\*)[^\s]{1,8000}")

RULES: tuple[Rule, ...] = (
    Rule(
        "Secret of Kubernetes",
        ("data:",),
        r"(?m)^(?P<indent>[ \t]{0,40})(?:data|stringData):[ \t]{0,8}\r?\n"
        r"(?:(?P=indent)[ \t]{1,40}[\w.-]{1,200}: [^\r\n]{0,8000}(?:\r?\n|\Z)){1,200}",
        _secret_object,
    ),
    Rule(
        "password by another word",
        _OTHER_WORDS,
        rf"(?P<head>(?:{'|'.join(_OTHER_WORDS)})(?:{QUOTE})?[ \t]{{0,30}}[:=\uff1a][ \t]{{0,8}})"
        rf"(?:{QUOTED}|(?P<v2>[^\s\"',;<\uff0c]{{4,400}}))",
        _in_other_words,
    ),
    Rule(
        "variable in a table",
        WORDS,
        r"(?m)^(?P<head>(?P<name>[A-Z][A-Z0-9]{0,40}_[A-Z0-9_]{2,60})[ ]{2,60})"
        r"(?P<value>(?!\*\*\*|[=:|(])\S{4,4000})(?=[ \t]{0,200}\r?$)",
        _at_line,
        ignore_case=False,
    ),
    Rule(
        "name and value of an entry",
        ("value",),
        rf"(?P<head>\b(?:name|key|variable)(?:{QUOTE})?[ \t]{{0,8}}[:=]\s{{0,8}}(?:{QUOTE})?"
        rf"(?P<name>[\w.-]{{3,80}})(?:{QUOTE})?{SPACE}{{0,8}}[,;]?{SPACE}{{0,80}}(?:{QUOTE})?value"
        rf"(?:{QUOTE})?[ \t]{{0,8}}[:=]\s{{0,8}})(?:{QUOTED}|(?P<v2>[^\s\"',}}<]{{1,2000}}))",
        _pair,
    ),
    Rule(
        "element of XML",
        ("</", "&lt;/"),
        r"((?:<|&lt;))([A-Za-z][\w:.-]{1,60})((?:\s[^<>]{0,200})?(?:>|&gt;))"
        r"([^<>&]{3,500})((?:<|&lt;)/\2)",
        _element,
    ),
    Rule(
        "option",
        WORDS,
        r"(?<![\w-])(?P<head>--?(?P<name>[A-Za-z][\w-]{2,60})"
        rf"(?:=|[ \t]{{0,20}}{NEWLINE}[ \t]{{0,80}}|[ \t]{{1,20}}))"
        rf"(?:{QUOTED}|(?P<v2>(?![-\"'=:])[^\s\"'|]{{1,4000}}))",
        _option,
    ),
    Rule(
        "option in a list",
        WORDS,
        rf"(?<![\w-])(?P<head>--?(?P<name>[A-Za-z][\w-]{{2,60}})(?:{QUOTE}),\s{{0,8}})"
        rf"(?:{QUOTED}|(?P<v2>(?!)))",
        _option,
    ),
    Rule(
        "setting on a line",
        WORDS,
        r"(?m)^(?P<head>(?:E(?=[ \t]))?[ \t>+$#*|-]{0,40}"
        r"(?:export |set |setx |ENV |ARG |env |\$env:|declare -x |-e )?"
        r"(?P<name>[A-Za-z_][\w.-]{2,80}|[A-Za-z]{3,12} key)[ \t]{0,20}"
        r"(?:=|:(?![:/=])|:=)[ \t]{0,20})"
        rf"(?P<value>(?![\"'=|>\\({{\[]|&quot;|[ \t]){_LINE})",
        _at_line,
    ),
    Rule(
        "setting of a container file",
        ("env ", "arg ", "setx "),
        r"(?m)^(?P<head>[ \t]{0,8}(?:ENV|ARG|setx)[ \t]{1,8}(?P<name>\w{3,80})[ \t]{1,8})"
        r"(?P<value>[^\s=\"'][^\r\n]{3,400})",
        _at_line,
    ),
    Rule(
        "part of a connection string",
        ("password", "pwd", "key", "secret", "token"),
        r"(;[ \t]?(?:password|pwd|account ?key|shared ?access ?key|secret|token)[ \t]?=[ \t]?)"
        r"(?!\s|\*\*\*)[^;\"'\r\n]{1,300}(?=[;\"'\r\n]|\Z)",
        rf"\g<1>{MASK}",
    ),
    Rule(
        "setting",
        WORDS,
        rf"(?P<name>(?:{KEYWORD})[\w.-]{{0,40}})(?P<between>{_SET})"
        rf"(?:(?:{_NEXT_LINE}|\s{{0,8}})(?:[bfru]{{1,2}}(?=[\"']))?{QUOTED}|"
        rf"(?P<v2>{_NEXT_LINE}[^\s:=\"']{{4,4000}}={{0,2}}"
        rf"(?:[ \t]{{0,4}}{NEWLINE}[ \t]{{1,80}}[A-Za-z0-9+/=_-]{{20,}}){{0,200}}{LINE_ENDS}|"
        rf"[\"'][^\r\n]{{4,4000}}|\{{[^{{}}\s\"']{{3,300}}\}}|{_BARE}))",
        _set,
    ),
)
