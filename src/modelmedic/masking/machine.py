"""What is masked on this machine: its names, and the literal secrets that are kept on it.

A secret that is known letter by letter is found wherever it stands; no pattern is as sure.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from modelmedic.masking.names import is_secret, is_telling

_LEAST_LETTERS = 8  # of the value of a variable: "true" and "1" are no secrets
_LEAST_PASSWORD = 4  # letters of a password in an address
_MOST_BYTES = 64 << 10
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NAMES_A_PLACE = re.compile(r"(?i)(path|file|dir|home|sock)$")
_LOGIN = re.compile(r"://([^/\s:@\"]*)(?::([^\s\"]*))?@")
_NETRC = re.compile(r"(?i)\bpassword\s+(\"[^\"\n]+\"|\S+)")
_SETTING = re.compile(
    r"[\"']?([A-Za-z_][\w.-]{1,80})[\"']?[ \t]*[=:][ \t]*[\"']?([^\s\"',]{8,4000})"
)
# Files that are one token, and files with settings; below the home folder. Sources: the pages of
# each tool on how it keeps a login (huggingface.co/docs, modelscope.cn/docs, pip.pypa.io,
# docs.astral.sh/uv, git-scm.com, docs.wandb.ai, kaggle.com/docs, docs.docker.com,
# docs.aws.amazon.com, docs.npmjs.com, packaging.python.org, everything.curl.dev).
TOKENS = (
    *(".cache/huggingface/token", ".huggingface/token", ".modelscope/credentials/git_token"),
    *(".modelscope/credentials/session", ".civitai/token", ".config/civitai/token"),
    *(".replicate/token", ".config/replicate/token", ".cache/modelscope/token"),
)
SETTINGS = (
    *(".cache/huggingface/stored_tokens", ".netrc", "_netrc", ".git-credentials"),
    *(".config/git/credentials", ".pypirc", ".npmrc", ".yarnrc.yml", ".config/pip/pip.conf"),
    *(".pip/pip.conf", "AppData/Roaming/pip/pip.ini", "pip/pip.ini", ".config/uv/uv.toml"),
    *("Library/Application Support/pip/pip.conf", ".local/share/uv/credentials/credentials.toml"),
    *(".config/wandb/settings", ".config/comfy-cli/config.ini", ".civitai/config.json"),
    *(".config/civitai/config.json", ".kaggle/kaggle.json", ".config/kaggle/kaggle.json"),
    *(".docker/config.json", ".aws/credentials", ".config/gh/hosts.yml", ".kube/config"),
    *(".config/gcloud/application_default_credentials.json", ".azure/credentials"),
)
_TOKEN_VARIABLES = ("HF_TOKEN_PATH",)
_SETTING_VARIABLES = ("PIP_CONFIG_FILE", "NETRC")


def names(home: str) -> Iterator[tuple[str, str]]:
    """Yield the names of this machine and its user, with their category."""
    import socket

    host = socket.gethostname()
    for name in (host, os.environ.get("COMPUTERNAME", "")):
        yield name, "host"
        yield name.partition(".")[0], "host"
    yield from ((name, "user") for name in _users(home))


def _users(home: str) -> Iterator[str]:
    import getpass

    # No name in the password file (a container): nothing to mask.
    with contextlib.suppress(OSError, KeyError, ImportError):
        yield getpass.getuser()
    yield os.environ.get("SUDO_USER", "")
    yield re.split(r"[/\\]", home.rstrip("/\\"))[-1]
    try:
        import pwd  # there is none on Windows

        full = pwd.getpwuid(os.getuid()).pw_gecos.partition(",")[0]
    except (ImportError, KeyError, AttributeError):
        return
    if " " in full:  # one word is a role more often than a person
        yield full


def telling_names(home: str) -> tuple[tuple[str, str], ...]:
    """Return names with their category, once each, the longest first."""
    found = dict(pair for pair in names(home) if is_telling(pair[0]))
    return tuple(sorted(found.items(), key=lambda pair: (-len(pair[0]), pair[0])))


def secrets_in(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of variables that are secrets by name, and passwords in addresses."""
    for name, value in environ.items():
        yield from passwords_in(value)
        bare = value.strip()
        is_long = len(bare) >= _LEAST_LETTERS and "://" not in bare and os.sep != bare[:1]
        if is_long and is_secret(name) and not _NAMES_A_PLACE.search(name):
            yield bare


def passwords_in(text: str) -> Iterator[str]:
    """Yield the passwords in addresses, as they are written there and as they are meant."""
    for found in _LOGIN.finditer(text) if "://" in text else ():
        password = found[2] if found[2] is not None else found[1]
        for meant in (password, unquote(password)):
            if len(meant) >= _LEAST_PASSWORD and not is_common(meant):
                yield meant


def is_common(value: str) -> bool:
    """Return whether a value is a word that would be masked out of every sentence."""
    return not is_telling(value) or value in {"token", "__token__", "oauth2", "x-access-token"}


def secrets_in_files(home: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets that tools keep in files of their own; nothing for what cannot be read."""
    hub = environ.get("HF_HOME")
    tokens = [home / name for name in TOKENS] + ([Path(hub, "token")] if hub else [])
    tokens += [Path(environ[name]) for name in _TOKEN_VARIABLES if environ.get(name)]
    for place in tokens:
        token = _read(place).strip()
        if len(token) >= _LEAST_LETTERS and len(token.split()) == 1:
            yield token
    settings = [home / name for name in SETTINGS]
    settings += [Path(hub, "stored_tokens")] if hub else []
    settings += [Path(environ[name]) for name in _SETTING_VARIABLES if environ.get(name)]
    for place in settings:
        text = _read(place)
        if text:
            yield from _in_settings(text, is_netrc="netrc" in place.name)


def _in_settings(text: str, *, is_netrc: bool) -> Iterator[str]:
    yield from passwords_in(text)
    if is_netrc:
        yield from (word.strip('"') for word in _NETRC.findall(text) if len(word) >= _LEAST_LETTERS)
        return
    for name, value in _SETTING.findall(text):
        if name == "key" or is_secret(name):  # "key": kaggle.json
            yield value
        if name == "auth":
            yield from _password_in_auth(value)


def _password_in_auth(value: str) -> Iterator[str]:
    try:
        password = base64.b64decode(value).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return
    if len(password) >= _LEAST_PASSWORD:
        yield password


def _read(path: Path) -> str:
    """Return the beginning of a regular file; "" for what is none, or cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | _FLAGS)
    except (OSError, ValueError):
        return ""
    try:
        is_file = stat.S_ISREG(os.fstat(handle).st_mode)
        return os.read(handle, _MOST_BYTES).decode("utf-8", "replace") if is_file else ""
    except OSError:
        return ""
    finally:
        os.close(handle)
