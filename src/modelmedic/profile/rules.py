"""What the values of a profile must look like: each rule once, for the loader and for editors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_PATH = 1024  # POSIX PATH_MAX is 4096 with the install folder in front; Windows takes 32,767
MAX_PART = 240  # NAME_MAX is 255 bytes; a part of ours may get a suffix such as ".incomplete"

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file: reserved with any extension too.
_RESERVED = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{device}{n}" for device in ("COM", "LPT") for n in "0123456789¹²³"}
)
_FORBIDDEN = r"\\:*?\"<>|\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069"
_OWN = ".modelmedic"  # context.OWN_FOLDER and SCRATCH_PREFIX both begin with it
_CONTROL = r"\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069"  # and bidi marks


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for one string.

    Args:
        expected: What a value must be, as the end of "expected ...".
        pattern: Regular expression that means the same to Python (fullmatch) and to ECMA-262.
        complaint: Returns what is wrong with a value, "" when nothing is; None: the pattern
            alone decides.
    """

    expected: str
    pattern: str
    complaint: Callable[[str], str] | None = None

    def refusal(self, value: str) -> str:
        """Return why ``value`` breaks the rule, starting with "expected"; "" when it holds."""
        if self.complaint is not None:
            found = self.complaint(value)
            return f"expected {self.expected}, but {found}" if found else ""
        return "" if re.fullmatch(self.pattern, value) else f"expected {self.expected}"


def path_complaint(value: str) -> str:
    """Return why ``value`` is no path inside an install on every system, "" when it is one."""
    if not value or len(value) > MAX_PATH:
        return "it is empty" if not value else f"it is longer than {MAX_PATH} characters"
    if "\\" in value:
        return "it has a backslash (write / between folders on every system)"
    if value.startswith("/"):
        return "it is absolute"
    if re.match("[A-Za-z]:", value):
        return "it begins with a drive letter"
    return next(filter(None, map(_part_complaint, value.split("/"))), "")


def folder_complaint(value: str) -> str:
    """Return why ``value`` is neither "." nor a path inside an install, "" when it is."""
    return "" if value == "." else path_complaint(value)


def requirement_complaint(value: str) -> str:
    """Return why ``value`` is no PEP 508 requirement that we can check, "" when it is one."""
    if _PLAIN_REQUIREMENT.fullmatch(value):
        return ""
    if not value.isprintable():
        return "it has a control character"
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(value)
    except InvalidRequirement as error:
        return _first_line(error)
    return "it names a URL; only a name with versions can be checked" if requirement.url else ""


def specifier_complaint(value: str) -> str:
    """Return why ``value`` is no PEP 440 specifier set, "" when it is one."""
    if _PLAIN_SPECIFIERS.fullmatch(value):
        return ""
    if not value.isprintable():
        return "it has a control character"
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(value)
    except InvalidSpecifier as error:
        return _first_line(error)
    return ""


def url_complaint(value: str) -> str:
    """Return why ``value`` is no address of an endpoint, "" when it is one."""
    from urllib.parse import urlsplit

    if re.fullmatch(_URL, value) is None:
        return "it is not" if "@" not in value else "it holds a user name or password"
    try:
        _ = urlsplit(value).port
    except ValueError:
        return "its port is not between 0 and 65535"
    return ""


def _part_complaint(part: str) -> str:
    if not part or part in {".", ".."}:
        return f'it has the part "{part}"' if part else "it has an empty part"
    if len(part) > MAX_PART:
        return f"it has a part longer than {MAX_PART} characters"
    if re.search(f"[{_FORBIDDEN}]", part):
        return "it has a character that no file name may have on Windows"
    return _name_complaint(part)


def _name_complaint(part: str) -> str:
    if part[-1] in ". ":
        return f'its part "{part}" ends with a dot or space, which Windows drops'
    if part.partition(".")[0].rstrip(" ").upper() in _RESERVED:
        return f'its part "{part}" is a device name on Windows'
    if part.lower().startswith(_OWN):
        return f'its part "{part}" is a name modelmedic keeps for itself'
    return ""


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or "it is not"


def _any_case(word: str) -> str:
    """Return a pattern for ``word`` in any case: ECMA-262 has no inline flag for it."""
    return "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else re.escape(c) for c in word)


def _path_pattern() -> str:
    devices = [_any_case(name) for name in ("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$")]
    devices.append(f"(?:{_any_case('COM')}|{_any_case('LPT')})[0-9¹²³]")
    reserved = f"(?!(?:{'|'.join(devices)}) *(?:[./]|$))"
    own = f"(?!{_any_case(_OWN)})"
    part = rf"{reserved}{own}[^/{_FORBIDDEN}]{{0,{MAX_PART - 1}}}[^/. {_FORBIDDEN}]"
    return f"{part}(?:/{part})*"


_VERSION = r"\d+(?:\.\d+)*"
_CLAUSE = rf"(?:(?:==|!=) *{_VERSION}(?:\.\*)?|(?:>=|<=|<|>) *{_VERSION}|~= *\d+(?:\.\d+)+)"
_SPECIFIERS = rf"{_CLAUSE}(?: *, *{_CLAUSE})*"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
# The ordinary forms are accepted without importing packaging; anything else is asked of it.
_PLAIN_SPECIFIERS = re.compile(rf"(?:{_SPECIFIERS})?", re.ASCII)
_PLAIN_REQUIREMENT = re.compile(rf"{_NAME}(?:\[{_NAME}\])? *(?:{_SPECIFIERS})?", re.ASCII)
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
_URL = rf"embedded:demo|https?://{_HOST}(?::[0-9]{{1,5}})?(?:/[^\s?#\\\u0000-\u001f]*)?"

LINE = Rule("one line of text without control characters", rf"[^\u0000-\u001f{_CONTROL}]*")
TEXT = Rule(
    "text without control characters", rf"[^\u0000-\u0008\u000b-\u001f{_CONTROL}]*"
)  # tab and newline are allowed
NAME = Rule("a name of letters, digits, dot, dash and underscore", r"[A-Za-z0-9][A-Za-z0-9._-]*")
PATH = Rule("a path inside the install, with / between folders", _path_pattern(), path_complaint)
FOLDER = Rule(
    'a folder inside the install, or "." for the install itself',
    rf"\.|{_path_pattern()}",
    folder_complaint,
)
OUTSIDE = Rule(
    "an absolute path of a folder, or one that begins with ~/",
    rf"(?:~?/|[A-Za-z]:[/\\])[^\u0000-\u001f{_CONTROL}]*",
)
SHA256 = Rule("64 hexadecimal digits in lower case", r"[0-9a-f]{64}")
GIT_BLOB = Rule("40 hexadecimal digits in lower case", r"[0-9a-f]{40}")
REPO = Rule(
    "owner/name", r"(?!.*(?:\.\.|--))[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)?"
)
REVISION = Rule("a branch, tag or commit", r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]*")
URL = Rule("an address that begins with http:// or https://", _URL, url_complaint)
REQUIREMENT = Rule(
    "a PEP 508 requirement", rf"{_NAME} *(?:\[[^\]]*\])? *(?:[<>=!~;(].*)?", requirement_complaint
)
SPECIFIERS = Rule("a PEP 440 version range", rf"[^\u0000-\u001f{_CONTROL}]*", specifier_complaint)
VERSION = Rule("a version of numbers and dots", r"[0-9]+(?:\.[0-9]+)*")
CAPABILITY = Rule('a compute capability such as "8.0"', r"[0-9]+\.[0-9]+")
WORD = Rule("a word in lower case", r"[a-z0-9][a-z0-9._-]*")
MODULE = Rule("a dotted import path", r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
DATE = Rule("a date as YYYY-MM-DD", r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
WEB_PAGE = Rule("the address of a web page", r"https?://[^\s\u0000-\u001f]+")
# No "?", no "#": what a link adds begins there.
SECURE_PAGE = Rule(
    "the https:// address of a web page, without ? and #",
    rf"https://{_HOST}(?::[0-9]{{1,5}})?(?:/[A-Za-z0-9._~%/+-]*)?",
)
GLOB = Rule(
    "a pattern of file names with / between folders",
    rf"[^/\\\u0000-\u001f{_CONTROL}][^\\\u0000-\u001f{_CONTROL}]*",
)
EXTENDS = Rule("the name of a profile, or a path to a .toml file", rf"[^\u0000-\u001f{_CONTROL}]+")
