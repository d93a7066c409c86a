"""What must not leave this machine, read from where it is kept, in all its written forms."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

LEAST_SECRET = 6  # letters; a shorter value is a word of the text more often than a secret
_MOST_BYTES = 64 << 10
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# Parts of a variable's name that say its value is a secret.
_TELLING_PARTS = frozenset(
    {
        *("token", "tokens", "secret", "secrets", "password", "passwd", "pwd", "pass", "pat"),
        *("passphrase", "key", "apikey", "credential", "credentials", "auth", "cookie"),
    }
)
_PLACE_PARTS = frozenset(
    {"file", "path", "dir", "home", "sock", "socket", "url", "uri", "name", "type", "cache", "id"}
)
# Files that hold secrets, below the home folder. Sources: the pages of each tool on signing in
# (huggingface.co/docs, pip.pypa.io, git-scm.com, docs.wandb.ai, modelscope.cn/docs, kaggle.com,
# docs.docker.com, docs.aws.amazon.com, docs.npmjs.com, cli.github.com, curl's netrc).
FILES = (
    *(".cache/huggingface/token", ".cache/huggingface/stored_tokens", ".huggingface/token"),
    *(".netrc", "_netrc", ".git-credentials", ".config/git/credentials", ".pypirc", ".npmrc"),
    *(".config/pip/pip.conf", ".pip/pip.conf", "pip/pip.ini", "AppData/Roaming/pip/pip.ini"),
    *("Library/Application Support/pip/pip.conf", ".config/uv/uv.toml", ".config/uv/credentials"),
    *(".config/wandb/settings", ".civitai/config", ".config/civitai/config"),
    *(".config/comfy-cli/config.ini", ".modelscope/credentials/git_token"),
    *(".modelscope/credentials/session", ".kaggle/kaggle.json", ".docker/config.json"),
    *(".aws/credentials", ".config/gh/hosts.yml", ".replicate/config", ".kube/config"),
)
_FILE_VARIABLES = ("HF_TOKEN_PATH", "NETRC", "PIP_CONFIG_FILE", "KAGGLE_CONFIG", "DOCKER_AUTH_FILE")
_WORDS = re.compile(r"""[^\s"'=,;{}\[\]()<>]+""")
_IS_ADDRESS = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}(:\d+)?(/.*)?$")
_USERINFO = re.compile(r"://[^\s/:@\"]*:([^\s\"]+)@")


@dataclass(frozen=True, slots=True)
class Known:
    """Secrets, user and host names, and home folders that must not be in what leaves."""

    secrets: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    _forms: list[tuple[str, str]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    @classmethod
    def of_this_machine(cls, state_dir: Path | None = None) -> Known:
        """Return what is known here: variables, files with credentials, and the map of stand-ins.

        Args:
            state_dir: The state folder; what was replaced by stand-ins (`Masker.for_support`) is
                looked for as well.
        """
        home = str(Path("~").expanduser())
        users, hosts = _names(home)
        secrets = {*_of_environment(os.environ), *_of_files(Path(home), os.environ)}
        for category, value in _replaced(state_dir):
            (users if category == "user" else hosts if category == "host" else set()).add(value)
        return cls(
            _longest_first(secrets),
            _longest_first({name for name in users if is_telling(name)}),
            _longest_first({name for name in hosts if is_telling(name)}),
            _longest_first({home, os.path.realpath(home)} - {"", "/", "/root"}),
        )

    def forms(self) -> list[tuple[str, str]]:
        """Return every form of every secret, longest first, with the name of the form."""
        if not self._forms:
            found: dict[str, str] = {}
            for form, kind in (pair for secret in self.secrets for pair in forms_of(secret)):
                found.setdefault(form, kind)
            self._forms.extend(sorted(found.items(), key=lambda pair: -len(pair[0])))
        return self._forms


def is_telling(name: str) -> bool:
    """Return whether a name hides somebody: as masking judges it, or no archive could pass."""
    from modelmedic.masking import is_telling as judged

    return judged(name)


def forms_of(secret: str) -> Iterator[tuple[str, str]]:
    """Yield how a secret can be written, and what that form is called."""
    data = secret.encode("utf-8", "surrogateescape")
    yield secret, "known secret"
    for safe in ("", "/"):
        yield quote(data, safe=safe), "known secret, URL-encoded"
    yield quote(data, safe="").replace("%", "%25"), "known secret, URL-encoded twice"
    yield quote_plus(data), "known secret, URL-encoded"
    yield (
        re.sub("%..", lambda found: found[0].lower(), quote(data, safe="")),
        ("known secret, URL-encoded"),
    )
    once = json.dumps(secret)[1:-1]
    yield once, "known secret, JSON-escaped"
    yield json.dumps(once)[1:-1], "known secret, JSON-escaped twice"
    yield once.replace("/", "\\/"), "known secret, JSON-escaped"
    yield html.escape(secret), "known secret, HTML-escaped"
    yield html.escape(secret, quote=False), "known secret, HTML-escaped"
    yield data.hex(), "known secret, hexadecimal"
    yield data.hex().upper(), "known secret, hexadecimal"
    yield secret[::-1], "known secret, backwards"
    for text in base64_forms(data):
        yield text, "known secret, base64"
        yield text.replace("+", "-").replace("/", "_"), "known secret, base64"
    for utf16 in (secret.encode("utf-16-le", "replace"), secret.encode("utf-16-be", "replace")):
        for text in base64_forms(utf16):  # as PowerShell's -EncodedCommand
            yield text, "known secret, base64 of UTF-16"


def base64_forms(data: bytes) -> Iterator[str]:
    """Yield the letters that stay the same wherever ``data`` lies in what was encoded."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        begins = (0, 2, 3)[before]  # letters that depend on the bytes before
        ends = len(text) - (1 if (before + len(data)) % 3 else 0)  # and on those behind
        if ends - begins >= LEAST_SECRET:
            yield text[begins:ends]


def _of_environment(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        parts = set(re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))
        last = re.split(r"[^a-z0-9]+", name.lower())[-1]
        named = bool(parts & _TELLING_PARTS) or name.lower().endswith(("password", "passwd"))
        if named and last not in _PLACE_PARTS and is_secret_enough(value):
            yield value.strip()
        yield from _passwords_of(value)


def _passwords_of(text: str) -> Iterator[str]:
    for found in _USERINFO.finditer(text):
        for password in (found[1], unquote(found[1])):
            if len(password) >= LEAST_SECRET:
                yield password


def is_secret_enough(value: str) -> bool:
    """Return whether a value of a variable with such a name is worth a search."""
    value = value.strip()
    is_word = value.isalpha() and value.islower() and len(value) < 2 * LEAST_SECRET
    return (
        len(value) >= LEAST_SECRET + 2
        and not is_word
        and not value.startswith(("/", "~", "./", "C:\\"))
        and "***" not in value
        and len(set(value)) > 2  # noqa: PLR2004 - a row of one letter is no secret
    )


def _of_files(home: Path, environ: Mapping[str, str]) -> Iterator[str]:
    places = [home / name for name in FILES]
    places += [Path(environ[name]) for name in _FILE_VARIABLES if environ.get(name)]
    if environ.get("HF_HOME"):
        places += [Path(environ["HF_HOME"], name) for name in ("token", "stored_tokens")]
    for place in places:
        text = _read(place)
        yield from _passwords_of(text)
        yield from filter(_is_random, _WORDS.findall(text))
        if place.name in {".netrc", "_netrc"}:
            yield from re.findall(r"(?i)\bpassword\s+(\S{6,})", text)
        for encoded in re.findall(r'"auth"\s*:\s*"([^"]+)"', text):
            yield from _password_of_auth(encoded)


def _password_of_auth(encoded: str) -> Iterator[str]:
    try:
        password = base64.b64decode(encoded).decode().partition(":")[2]
    except ValueError:
        return
    if len(password) >= LEAST_SECRET:
        yield password


def _is_random(word: str) -> bool:
    """Return whether a word in a file of credentials is one: letters and digits, no address."""
    return (
        len(word) >= 12  # noqa: PLR2004 - of all tools named above the shortest token has 20
        and any(letter.isdigit() for letter in word)
        and any(letter.isalpha() for letter in word)
        and "://" not in word
        and not _IS_ADDRESS.match(word)
        and not word.startswith(("/", "~", "#"))
    )


def _read(path: Path) -> str:
    """Return the beginning of a regular file; "" for what is none, or cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | _FLAGS)
    except (OSError, ValueError):
        return ""
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return ""
        return os.read(handle, _MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(handle)


def _names(home: str) -> tuple[set[str], set[str]]:
    import socket

    users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    users.add(re.split(r"[/\\]", home.rstrip("/\\"))[-1])
    try:
        import pwd  # no such module on Windows

        users.add(pwd.getpwuid(os.getuid()).pw_name)
    except (ImportError, KeyError, AttributeError):
        pass
    hosts = {socket.gethostname(), os.environ.get("COMPUTERNAME", "")}
    return users - {""}, (hosts | {host.partition(".")[0] for host in hosts}) - {""}


def _replaced(state_dir: Path | None) -> Iterator[tuple[str, str]]:
    """Yield category and value of each stand-in that masking kept in its map."""
    if state_dir is None:
        return
    from modelmedic.facts import own_records

    kept = own_records.read(state_dir / "pseudonyms.json")
    for token, value in kept.items() if isinstance(kept, dict) else ():
        if isinstance(value, str):
            yield str(token).strip("<").partition(":")[0], value


def _longest_first(values: set[str]) -> tuple[str, ...]:
    return tuple(sorted(values, key=lambda value: (-len(value), value)))
