"""The kinds of secrets. Each value is put together here: none stands in this file as a whole."""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from random import Random

LETTERS = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
HEX = "0123456789abcdef"


def some(rng: Random, count: int, letters: str = LETTERS) -> str:
    """Return letters of which one is a digit, one small and one large, where that can be."""
    word = [rng.choice(letters) for _ in range(count)]
    for at, group in enumerate((string.digits, string.ascii_lowercase, string.ascii_uppercase)):
        usable = [letter for letter in group if letter in letters]
        if usable and count > at:
            word[at] = rng.choice(usable)
    return "".join(word)


def starting(start: str, count: int, letters: str = LETTERS) -> Callable[[Random], str]:
    return lambda rng: start + some(rng, count, letters)


def _jwt(rng: Random) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": some(rng, 8), "exp": 1}]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join([*(part.rstrip("=") for part in coded), some(rng, 43)])


def _storage(rng: Random) -> str:
    return base64.b64encode(rng.randbytes(64)).decode()


def _license(rng: Random) -> str:
    return "-".join(some(rng, 5, string.ascii_uppercase + string.digits) for _ in range(5))


# Known by their form wherever they stand.
SHAPED: dict[str, Callable[[Random], str]] = {
    "hub": starting("hf" + "_", 34),
    "hub organisation": starting("api_" + "org_", 34),
    "modelscope": lambda rng: "ms" + "-" + "-".join(some(rng, n, HEX) for n in (8, 4, 4, 4, 12)),
    "wandb": starting("wandb" + "_v1_", 40),
    "replicate": starting("r8" + "_", 37),
    "openai": starting("sk" + "-proj-", 48),
    "anthropic": starting("sk" + "-ant-api03-", 60),
    "nvidia": starting("nv" + "api-", 60),
    "github": starting("gh" + "p_", 36),
    "github app": starting("gh" + "s_", 36),
    "github fine": starting("github" + "_pat_", 60),
    "gitlab": starting("gl" + "pat-", 27),
    "bitbucket": starting("AT" + "BB", 32),
    "npm": starting("np" + "m_", 36),
    "pypi": starting("py" + "pi-AgEIcHlwaS5vcmc", 60),
    "slack": lambda rng: "xo" + "xb-" + "-".join(some(rng, n) for n in (12, 12, 24)),
    "discord": lambda rng: "M" + ".".join(some(rng, n) for n in (24, 6, 38)),
    "telegram": lambda rng: some(rng, 10, string.digits) + ":AA" + some(rng, 33),
    "stripe": starting("sk" + "_live_", 24),
    "sendgrid": lambda rng: "S" + "G." + some(rng, 22) + "." + some(rng, 43),
    "mailchimp": lambda rng: some(rng, 32, HEX) + "-us" + "12",
    "twilio": starting("S" + "K", 32, HEX),
    "aws id": starting("AK" + "IA", 16, string.ascii_uppercase + string.digits),
    "azure storage": _storage,
    "azure client": lambda rng: some(rng, 3) + "8" + "Q~" + some(rng, 34),
    "google": starting("AI" + "za", 35),
    "google oauth": starting("ya" + "29.", 60),
    "docker": starting("dckr" + "_pat_", 27),
    "vault": starting("hv" + "s.", 24),
    "jwt": _jwt,
    "license": _license,
}
# Known by the name they are set to; what it is, and what it looks like.
NAMED: dict[str, tuple[str, Callable[[Random], str]]] = {
    "civitai": ("CIVITAI_API_TOKEN", starting("", 32, HEX)),
    "wandb old": ("WANDB_API_KEY", starting("", 40, HEX)),
    "aws secret": ("AWS_SECRET_ACCESS_KEY", starting("", 40, LETTERS + "/+")),
    "aws session": ("AWS_SESSION_TOKEN", starting("", 120, LETTERS + "/+")),
    "twilio auth": ("TWILIO_AUTH_TOKEN", starting("", 32, HEX)),
    "database": ("DB_PASSWORD", starting("", 14, LETTERS + "!$^_%")),
    "postgres": ("PGPASSWORD", starting("", 12)),
    "service": ("MY_SERVICE_SECRET", starting("", 22)),
    "service key": ("BILLING_KEY", starting("", 24)),
    "cookie": ("SESSION_COOKIE", starting("", 26)),
    "basic": ("REGISTRY_AUTH", starting("", 28)),
    "passphrase": ("SSH_KEY_PASSPHRASE", starting("", 16)),
    "modelscope sdk": ("MODELSCOPE_API_TOKEN", starting("", 36, HEX)),
    "kubernetes": ("KUBE_TOKEN", starting("", 32)),
}
