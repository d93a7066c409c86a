"""Rules for what names a person or a machine: mail addresses, others' home folders, networks."""

from __future__ import annotations

import re
from collections.abc import Callable

from modelmedic.masking.names import is_person, is_telling
from modelmedic.masking.rule import Rule

Stand = Callable[[str, str], str]  # category and value; returns what stands for it
_NO_PERSON = frozenset({"git", "hg", "svn", "noreply", "no-reply", "postmaster", "daemon"})
_HOME_WORDS = ("home/", "home\\", "users/", "users\\", "home%2f", "users%5c", "users%2f")
# In what a number of four parts stands behind, so that it is an address and no version.
_NETWORK = (
    r"(?:hosts?|addr(?:ess)?|ip|ipv4|inet|from|to|at|peer|server|gateway|dns|nameserver|proxy|"
    r"connect\w*|route|listen\w*|bind|client|remote|ssh|ping|endpoint|via|src|dst|resolve\w*|"
    r"interface|dev|node|master|rank\d*|broadcast|netmask)"
)
_VERSION_BEFORE = re.compile(
    r"(?:[=~<>!]=|[-_@+]v?|(?i:version|release|driver|cuda|cudnn|toolkit)\W{1,4}v?|"
    r"\b[a-z]\w*-cu\d\d\W{1,40}|\bv)\Z"
)
_NETWORK_BEFORE = re.compile(rf"(?i)(?:\b{_NETWORK}\W{{1,6}}|://|@|\[)\Z")
_LEAST_PUBLIC = 20  # versions of CUDA's parts begin with smaller numbers; such addresses need words
_SERIAL = (
    r"(?:board[ _-]?|chassis[ _-]?)?serial(?:[ _-]?(?:number|num|no\.?))?|machine[_-]?id|"
    r"product_uuid"
)


def rules(stand: Stand) -> tuple[Rule, ...]:
    """Return the rules for all that is written: mail addresses and other users' home folders."""
    return (
        Rule(
            "mail address",
            ("@", "%40"),
            r"(?<![\w.+*%-])([A-Za-z0-9._+-]{1,64})(@|%40)[A-Za-z0-9-]{1,63}"
            r"(?:\.[A-Za-z0-9-]{1,63}){0,5}\.[A-Za-z]{2,24}(?![\w.-]*[:/]\w)(?!\w)",
            lambda found: found[0] if found[1].lower() in _NO_PERSON else stand("mail", found[0]),
        ),
        Rule(
            "another user's home folder",
            _HOME_WORDS,
            r"((?<![\w.~-])(?:/(?:export|mnt|nfs|net|data|var|private|media|srv)(?:/\w{1,20})?)?"
            r"/(?:home|Users)/{1,2}|\b[A-Za-z]:(?:\\{1,8}|/)Users(?:\\{1,8}|/)|"
            r"(?:%2f|%5c)(?:home|users)(?:%2f|%5c)|/mnt/[a-z]/Users/)"
            r"([^\\/\s:;,'\"<>()\[\]{}|*?&#%]{1,64}"
            r"(?: [^\\/\s:;,'\"<>()\[\]{}|*?&#%]{1,30}){0,2}(?=\\)|"
            r"(?:(?<=[A-Za-z]:/Users/)|(?<=[A-Za-z]:\\Users\\)|(?<=[A-Za-z]:\\\\Users\\\\))"
            r"[^\\/\s:;,'\"<>()\[\]{}|*?&#%]{1,64}"
            r"(?: (?-i:[A-Z])[^\\/\s:;,'\"<>()\[\]{}|*?&#%]{1,30})"
            r"{1,2}(?=[/\"'\r\n]|\Z)|"
            r"[^\\/\s:;,'\"<>()\[\]{}|*?&#%]{1,64})",
            lambda found: (
                f"{found[1]}{stand('user', found[2])}"
                if is_person(found[2].strip("."))
                else found[0]
            ),
        ),
    )


def support_rules(stand: Stand) -> tuple[Rule, ...]:
    """Return the rules for what leaves the machine: networks, serial numbers, cards."""
    return (
        Rule(
            "hardware address",
            (":", "-"),
            r"(?<![\w:-])(?:[0-9a-f]{2}([:-]))(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}(?![\w:-])",
            lambda found: _mac(found[0], stand),
        ),
        Rule(
            "address",
            (".",),
            r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)",
            lambda found: _ip4(found, stand),
        ),
        Rule(
            "address of six",
            (":",),
            r"(?<![\w:.])(?:(?:fe80|f[cd][0-9a-f]{2}|[23][0-9a-f]{3}):"
            r"(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){6}|(?:[0-9a-f]{1,4}:){0,6}:"
            r"(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?))(?:%\w{1,16})?(?![\w:])",
            lambda found: stand("ip6", found[0]),
        ),
        Rule(
            "card",
            ("gpu-", "mig-"),
            r"(?<![\w-])(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:/\d+/\d+)?",
            lambda found: stand("gpu", found[0]),
        ),
        Rule(
            "serial number",
            ("serial", "machine", "product_uuid"),
            rf"\b({_SERIAL})((?:\\{{0,7}}[\"'])?\s{{0,20}}[:=]\s{{0,8}}(?:\\{{0,7}}[\"'])?)"
            r"(?!<)(?=[\w-]{0,40}\d)([\w-]{5,64})",
            lambda found: f"{found[1]}{found[2]}{stand('serial', found[3])}",
        ),
        Rule(
            "wireless network",
            ("ssid", "wi-fi network", "connected to"),
            r"((?<![A-Za-z])E?SSID(?: name)?(?:\\{0,7}[\"'])?[ \t]{0,40}[:=][ \t]{0,8}|"
            r"wi-fi network[ \t]{0,8}:[ \t]{0,8}|\bwl\w{1,16}: connected to )"
            r"(?:\\{0,7}[\"'])?(?!<)([^\s\"'\\,<][^\r\n\"\\,<]{0,40})",
            lambda found: f"{found[1]}{stand('network', found[2].rstrip())}",
        ),
        Rule(
            "name of a person beside a mail address",
            (": ",),
            r"\b((?:author|commit|committer|tagger|(?:signed-off|reviewed|co-authored)-by): {1,8})"
            r"(?!<)([^\s<>\r\n][^<>\r\n]{0,60}?)(?= <)",
            lambda found: f"{found[1]}{stand('user', found[2])}",
        ),
        Rule(
            "name of a person for git",
            ("user.name", "[user]"),
            r"(\buser\.name[ =:]{1,3}|\[user\][ \t]{0,8}"
            r"(?:\r?\n[ \t]{0,8}(?!name\b|\[)[^\r\n]{1,200}){0,4}"
            r"\r?\n[ \t]{0,8}name[ \t]{0,8}=[ \t]{0,8})[\"']?(?!<)([^\s\"'<\r\n][^\"'<\r\n]{1,60})",
            lambda found: f"{found[1]}{stand('user', found[2].rstrip())}",
        ),
        Rule(
            "variable with a user's or a machine's name",
            ("user", "logname=", "computername=", "hostname=", "logonserver="),
            r"(?<![\w.])(USERNAME|USER|LOGNAME|SUDO_USER|USERDOMAIN(?:_ROAMINGPROFILE)?|"
            r"COMPUTERNAME|HOSTNAME|LOGONSERVER|USERDNSDOMAIN)="
            r"(\\{0,4})([A-Za-z0-9][\w.-]{1,62}(?: [A-Z][\w.-]{1,30})?)",
            lambda found: _of_variable(found, stand),
            ignore_case=False,
        ),
        Rule(
            "server in a path of Windows",
            ("\\\\",),
            r"(?<![\w:\\/.*+)\]])(\\{2}(?=[\w.-]{1,63}\\(?!\\))|\\{4}(?=[\w.-]{1,63}\\{2}(?!\\)))"
            r"([A-Za-z][\w.-]{2,62})(?=\\{1,2}[\w$])",
            lambda found: (
                f"{found[1]}{stand('host', found[2])}" if is_telling(found[2]) else found[0]
            ),
        ),
        Rule(
            "name of a machine inside",
            (".corp", ".internal", ".intranet", ".lan", ".home.arpa", ".localdomain", ".local:"),
            r"(?<![\w.@-])(?:[a-z0-9-]{1,63}\.){1,5}"
            r"(?:corp|internal|intranet|lan|home\.arpa|localdomain|local(?=:\d))(?![\w.(-])",
            lambda found: stand("host", found[0]),
        ),
    )


def _of_variable(found: re.Match[str], stand: Stand) -> str:
    name, value = found[1], found[3]
    if not is_telling(value):
        return found[0]
    category = "user" if name in {"USERNAME", "USER", "LOGNAME", "SUDO_USER"} else "host"
    return f"{name}={found[2]}{stand(category, value)}"


def _mac(value: str, stand: Stand) -> str:
    plain = re.sub("[^0-9a-f]", "", value.lower())
    return value if len(set(plain)) == 1 else stand("mac", value.lower().replace("-", ":"))


def _ip4(found: re.Match[str], stand: Stand) -> str:
    """Return what stands for an address; this machine itself and versions stay."""
    import ipaddress  # for what leaves the machine only

    try:
        address = ipaddress.IPv4Address(found[0])
    except ValueError:
        return found[0]  # a number over 255, or one with a zero before it
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return found[0]
    text, begins, ends = found.string, found.start(), found.end()
    before = text[max(0, begins - 60) : begins]
    has_port = bool(re.match(r":\d{2,5}(?!\d)|/\d{1,2}(?!\d)", text[ends : ends + 6]))
    has_port = has_port or bool(re.match(r" - \S{1,60} \[\d", text[ends : ends + 70]))
    is_named = has_port or bool(_NETWORK_BEFORE.search(before))
    if not is_named and (_VERSION_BEFORE.search(before) or address.packed[0] < _LEAST_PUBLIC):
        return found[0]
    return stand("ip-private" if address.is_private else "ip", found[0])
