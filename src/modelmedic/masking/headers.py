"""Rules for what stands in requests: headers, logins in addresses, signed addresses."""

from __future__ import annotations

import base64
import binascii
import re

from modelmedic.masking.rule import MASK, QUOTED, Rule

_NAMES = (
    r"(?:proxy-)?authorization|set-cookie2?|cookie|x-api-key|x-auth-token|x-auth-key|"
    r"x-amz-security-token|x-goog-api-key|private-token|job-token|deploy-token|"
    r"ocp-apim-subscription-key|x-vault-token|x-csrf-?token|x-xsrf-token|x-access-token|api-key"
)
_WORDS = ("authorization", "cookie", "-key", "-token")
_MARKS = r"(?:\\{0,7}[\"']|&quot;)?"
_QUERY = (
    r"token|access_token|refresh_token|id_token|key|api_?key|signature|sig|x-amz-signature|"
    r"x-amz-credential|x-amz-security-token|x-goog-signature|x-goog-credential|googleaccessid|"
    r"awsaccesskeyid|policy|key-pair-id|password|passwd|pwd|pass|secret|client_secret|code|auth|"
    r"hdnts|hmac|credential|session|sessionid|jwt|state|x-xet-cas-uid"
)


def _login(found: re.Match[str]) -> str:
    """Mask user and password; a port and a later "@" in the path are none."""
    user, password = found["user"], found["password"]
    port, slash, _rest = (password or "").partition("/")
    is_server = "." in user or user.lower() == "localhost"
    if slash and port.isdigit() and is_server:
        return found[0]
    return f"{found[1]}{MASK}@"


def _scheme(found: re.Match[str]) -> str:
    """Mask what follows "Bearer" or "Basic", unless it is the next word of a sentence."""
    word, value = found[1].lower(), found[3]
    is_told = any(letter.isdigit() for letter in value) or value != value.lower()
    if word == "basic":
        is_told = is_told and (_holds_login(value) or len(value) >= 16)  # noqa: PLR2004
        is_told = is_told or _holds_login(value)
    elif not is_told:
        is_told = len(value) >= 20  # noqa: PLR2004 - longer than the words that follow it
    return f"{found[1]}{found[2]}{MASK}" if is_told else found[0]


def _holds_login(value: str) -> bool:
    try:
        data = base64.b64decode(value.replace("-", "+").replace("_", "/") + "==")
    except (binascii.Error, ValueError):
        return False
    return b":" in data and data.isascii()


RULES: tuple[Rule, ...] = (
    Rule(
        "cookie of a content network",
        ("cloudfront-",),
        r"(\bcloudfront-(?:signature|policy|key-pair-id)[=:]\s{0,3})(?!\*\*\*)[^\s;,\"'&<>]{4,4000}",
        rf"\g<1>{MASK}",
    ),
    Rule(
        "line of a cookie file",
        ("true\t", "false\t"),
        r"(\t(?:true|false)\t/[^\t\r\n]{0,200}\t(?:true|false)\t\d{1,12}\t[^\t\r\n]{1,200}\t)"
        r"(?!\*\*\*)[^\s]{1,4000}",
        rf"\g<1>{MASK}",
    ),
    Rule(
        "token in the path of a channel",
        ("/t/",),
        r"(://[^/\s\"']{1,200}/t/)(?=[\w-]{0,80}\d)[\w-]{16,200}(?=/)",
        rf"\g<1>{MASK}",
    ),
    Rule(
        "login without a scheme",
        ("@",),
        r"(?<![\w/@.:\\-])(?!mailto:)[\w.-]{1,60}(?:\\[\w.-]{1,60})?:(?!\*\*\*)"
        r"[^\s:/@\"'<>()]{3,100}(@(?!sha\d)[A-Za-z0-9][\w.-]{0,100}:\d{2,5}\b)",
        rf"{MASK}\g<1>",
    ),
    Rule(
        "headers, quoted value",
        _WORDS,
        rf"\b({_NAMES})({_MARKS}\s{{0,5}}[:=]\s{{0,5}})(?:b(?=['\"]))?{QUOTED}",
        lambda found: f"{found[1]}{found[2]}{found['q']}{MASK}{found['q']}",
    ),
    Rule(
        "headers in quotation marks",
        _WORDS,
        rf"(?P<mark>[\"'])({_NAMES})(\s{{0,5}}[:=]\s{{0,5}})(?!\s|\*\*\*)(?:(?!(?P=mark))[^\r\n])"
        rf"{{1,8000}}",
        lambda found: f"{found['mark']}{found[2]}{found[3]}{MASK}",
    ),
    Rule(
        "cookies, Digest and the like",
        ("cookie", "authorization"),
        r"\b((?:set-)?cookie2?|(?:proxy-)?authorization)(\s{0,5}[:=]\s{0,5}|%3a(?:%20|\+)?)"
        r"(?!\s|\*\*\*)(?:(?:(?<=okie: )|(?<=okie:)|(?<=okie=)|(?<=okie = ))[^\r\n\"]+|"
        r"(?:digest\b|aws4|hawk\b|oauth\b)[^\r\n]+)",
        rf"\g<1>\g<2>{MASK}",
    ),
    Rule(
        "headers",
        _WORDS,
        rf"\b({_NAMES})(\s{{0,5}}[:=]\s{{0,5}}|%3a(?:%20|\+)?)(?![\"'\s])(?!\*\*\*)"
        r"(?:[A-Za-z][\w-]{1,20}(?:[ \t]+|%20|\+)(?=[^\s]))?[^\s\"',;]+",
        rf"\g<1>\g<2>{MASK}",
    ),
    Rule(
        "bearer, basic",
        ("bearer", "basic"),
        r"\b(bearer|basic)(\s{1,8}|%20|\+)([A-Za-z0-9._~+/=-]{6,})",
        _scheme,
    ),
    Rule(
        "login in an address",
        ("://",),
        r"([a-zA-Z][a-zA-Z0-9+.-]{0,20}://)(?P<user>[^\s/:@\"<>`]{0,200})"
        r"(?::(?P<password>(?:(?!://)[^\s\"<>`]){0,300}))?@",
        _login,
    ),
    Rule(
        "login in an encoded address",
        ("%3a%2f%2f",),
        r"(%3a%2f%2f)(?:(?!%2f|%40)[^\s\"'&<>]){1,300}%40",
        rf"\g<1>{MASK}%40",
    ),
    Rule(
        "login of a database driver",
        ("@tcp(", "@unix(", "@//", "@(description"),
        r"(?<![^\s\"'=:(])[\w.$#-]{1,60}[:/](?:(?!@(?:tcp|unix)\()[^\s\"'<>]){1,200}"
        r"(@(?:tcp\(|unix\(|//|\(description))",
        rf"{MASK}\g<1>",
    ),
    Rule(
        "signed address",
        (
            "token=",
            "key=",
            "sig",
            "credential=",
            "accessid=",
            "accesskeyid=",
            "policy=",
            "pair-id=",
            "password=",
            "pwd=",
            "passwd=",
            "pass=",
            "secret=",
            "code=",
            "auth=",
            "hdnts=",
            "hmac=",
            "session",
            "jwt=",
            "state=",
            "uid=",
            "%3d",
        ),
        rf"((?:[?&]|&amp;|%3f|%26|\\u0026)(?:{_QUERY})(?:=|%3d))(?!\*\*\*)"
        r"(?:(?!&amp;|%26|\\u0026)[^&\s\"'<>\\])+",
        rf"\g<1>{MASK}",
    ),
    Rule(
        "shared access signature",
        ("sharedaccesssignature",),
        r"(sharedaccesssignature[=\s]{1,3})(?!\*\*\*)[^\s\"';]+",
        rf"\g<1>{MASK}",
    ),
)
