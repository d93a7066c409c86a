"""Names: which variable, key or option is called a secret, and which user or host hides nobody."""

from __future__ import annotations

import re
from functools import lru_cache

_LEAST_LETTERS = 4  # a shorter name is a word of the text more often than a name
# Names that are words: masking them would make reports unreadable and hide nobody.
_COMMON = frozenset(
    {
        *("root", "user", "users", "admin", "administrator", "home", "ubuntu", "debian", "fedora"),
        *("guest", "test", "tests", "localhost", "default", "public", "shared", "python", "model"),
        *("models", "local", "main", "work", "workspace", "data", "build", "runner", "docker"),
        *("server", "desktop", "windows", "linux", "host", "name", "node", "none", "system"),
        *("nobody", "service", "localdomain", "example", "username", "jovyan", "vscode", "conda"),
        *(
            "linuxbrew",
            "container",
            "machine",
            "laptop",
            "all users",
            "default user",
            "runneradmin",
        ),
        *("ec2-user", "azureuser", "opc", "center", "cluster", "worker", "master", "head"),
    }
)
# The word of a name by which it is a secret; the whole name is judged by `is_secret`.
KEYWORD = (
    r"passw(?:or)?d|passphrase|passcode|pass|pwd|secret|token|credential|cookie|auth|"
    r"session[_-]?id|sessid|(?:api|app|access|private|account|shared|storage|signing|encryption|"
    r"master|license|licence|product|activation|serial|subscription|service|client|consumer|"
    r"webhook|deploy|session|ssh|function|host|webui|user|admin)[ _-]?key|key[_-]data|"
    r"activation[ _-]?code|[_-]key|[_-]pat\b|\bkey(?=[=:])"
)
WORDS = (
    *("pass", "pwd", "secret", "token", "credential", "cookie", "auth", "session", "sessid"),
    *("key", "activation", "pat"),
)
_SECRET = re.compile(
    r"passw(?:or)?d|passwd|passphrase|passcode|(?:^|_)pass(?:_?\d)?$|pwd(?:_?\d)?$|secret|"
    r"(?<!de)token(?!iz)|credentials?$|cookies?$|(?:^|_)auth(?:_(?:data|string|header|code))?$|"
    r"(?:session|ses)_?id$|sess_?id$|"
    r"(?:api|app|access|private|account|shared|storage|signing|encryption|master|licen[sc]e|"
    r"product|activation|serial|subscription|service|client|consumer|webhook|deploy|session|ssh|"
    r"function|webui|admin)_?key(?:_?id|_?data|_?\d)?$|key_data$|activation_?code$|"
    r"(?:^|_)pat$"
)
_UPPER_KEY = re.compile(r"[A-Z][A-Z0-9_]*_KEY(?:_?\d)?\Z")
# Words of models and texts; places and counts of secrets.
_HARMLESS = re.compile(
    r"tokeniz|"
    r"(?:^|_)(?:max|min|num|n|new|bos|eos|pad|unk|cls|sep|mask|image|video|audio|special|added|"
    r"prompt|completion|total|input|output|text|start|end|stop|vision|visual|patch|context|time|"
    r"class|register|query|generated|per|boi|eoi|sot|eot|first|last|next|lm|img|vid|sub|fake)"
    r"_tokens?(?:_ids?|_index|_length|_limit)?$|"
    r"tokens?_(?:ids?|type|types|type_ids|map|count|counts|len|length|limit|per_\w+|index|idx|"
    r"embed\w*|dim|size|budget|classes|ratio|mask|weights?|shape|merge\w*|shuffle\w*|refiner\w*|"
    r"replace\w*|usage|num|num\w*|level|pos\w*)$|"
    r"_(?:file|files|path|paths|dir|url|uri|endpoint|name|type|count|length|len|limit|sock|socket|"
    r"helper|provider|store|expires?|expiry|expires_(?:in|at)|ttl|age|policy|required|env|hash|"
    r"jar|mode|method|scheme|manager|backend|class|stdin|regex|pattern|field|prompt|format|error|"
    r"valid|is_set|set|present|missing|id_token_type|plugin|header_name|min_len\w*)$|"
    r"_(?:json|py|toml|yaml|yml|txt|md|cfg|ini|log|bin|pth|pt|model|safetensors)$|"
    r"^(?:author|authority|authors|authentication|authenticated|no_\w+|has_\w+|is_\w+|use_\w+|"
    r"max_\w+|min_\w+|require_\w+|missing_\w+|unexpected_\w+|primary_\w+|foreign_\w+|public_\w+)$"
)
_PROMPT = re.compile(r"(?:^|_)prompts?(?:_?\d|_text|_str)?$")
_ANY_KEY = re.compile(r"(?i)(?:[_-]|[a-z](?=K))key$")
_RANDOM = re.compile(r"(?=\D*\d)(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[A-Za-z0-9+/=_-]{16,}\Z")
_HEX = re.compile(r"[0-9a-fA-F]+\Z")
_HUMP = re.compile(r"([a-z0-9])([A-Z])")
_SEPARATORS = re.compile(r"[^a-z0-9]+")


def is_telling(name: str) -> bool:
    """Return whether a name hides somebody: no common word, and four letters or more."""
    return len(name) >= _LEAST_LETTERS and name.lower() not in _COMMON


def is_person(name: str) -> bool:
    """Return whether a folder among the home folders is a person's; there a short name counts."""
    return len(name) > 1 and name[0].isalnum() and name.lower() not in _COMMON


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Return whether a variable, key or option of this name holds a secret.

    Args:
        name: In any spelling: ``HF_TOKEN``, ``apiKey``, ``--db-password``, ``License key``.
    """
    if _UPPER_KEY.match(name.strip("-. ")):
        return not name.endswith(("PUBLIC_KEY", "PRIMARY_KEY", "FOREIGN_KEY", "REGISTRY_KEY"))
    plain = _plain(name)
    return bool(_SECRET.search(plain)) and not _HARMLESS.search(plain)


def is_secret_with(name: str, value: str) -> bool:
    """Return whether a name with this value holds a secret: a random one under any ``_key``."""
    if is_secret(name):
        return True
    return bool(_ANY_KEY.search(name)) and bool(_RANDOM.match(value)) and not _HEX.match(value)


@lru_cache(maxsize=4096)
def is_prompt(name: str) -> bool:
    """Return whether a key or option of this name holds what a user asked a model for."""
    return bool(_PROMPT.search(_plain(name)))


def _plain(name: str) -> str:
    """Return a name in small ASCII letters, its parts joined by underscores."""
    folded = _HUMP.sub(r"\1_\2", name).casefold().replace("\u0131", "i")  # the i without a dot
    return _SEPARATORS.sub("_", folded).strip("_")
