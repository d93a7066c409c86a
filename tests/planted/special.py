"""Secrets that have a text of their own: logins, headers, signed addresses, keys, prompts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

Make = Callable[[str], str]
_DASHES = "-" * 5


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _key(value: str, kind: str = "RSA PRIVATE KEY", end: str = "\n") -> str:
    lines = [f"{_DASHES}BEGIN {kind}{_DASHES}", "MIIEow" + "Ab3" * 18, value * 3, value, "Q2w=="]
    return end.join([*lines, f"{_DASHES}END {kind}{_DASHES}"])


def special() -> Iterator[tuple[str, str, Make]]:
    yield from _logins()
    yield from _headers()
    yield from _signed()
    yield from _keys()
    yield from _prompts()
    yield from _files()


def _logins() -> Iterator[tuple[str, str, Make]]:
    for mark in ("", "?", "/", "#", "@", ":", "'", "%40", "&"):
        yield (
            "login in an address",
            f"with {mark or 'nothing'!r}",
            (lambda v, mark=mark: f"cannot reach http://joe:{v[:6]}{mark}{v[6:]}@proxy:3128/x?y=1"),
        )
    for scheme in ("postgresql", "mongodb+srv", "redis", "mysql+pymysql", "amqp", "socks5", "ftp"):
        yield (
            "database address",
            scheme,
            (lambda v, scheme=scheme: f"DSN {scheme}://svc:{v}@db.example.net:5432/prod failed"),
        )
    yield "login in an address", "token only", lambda v: f"git clone https://{v}@host/x.git"
    yield "login in an address", "encoded", lambda v: f"u=https%3A%2F%2Fjoe%3A{v}%40host%2Fx"
    yield (
        "connection string",
        "ado",
        (lambda v: f"Server=tcp:db,1433;Database=x;User ID=joe;Password={v};Encrypt=true"),
    )
    yield (
        "connection string",
        "azure",
        (lambda v: f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={v}==;Suffix=x"),
    )
    yield "connection string", "libpq", lambda v: f"host=db user=joe password='{v}' dbname=x"
    yield "connection string", "go", lambda v: f"dsn joe:{v}@tcp(db:3306)/x"
    yield "pip", "index", lambda v: f"pip install --extra-index-url https://joe:{v}@pypi.lan/s x"
    yield "pip", "uv", lambda v: f"UV_INDEX_LAN_PASSWORD={v}"


def _headers() -> Iterator[tuple[str, str, Make]]:
    yield "cookie", "header", lambda v: f"Cookie: theme=dark; lang=en; sid={v}; x=1"
    yield "cookie", "set", lambda v: f"< Set-Cookie: sid={v}; Path=/; HttpOnly"
    yield "cookie", "json", lambda v: json.dumps({"Set-Cookie": f"a=b; sid={v}; Path=/"})
    yield "cookie", "curl", lambda v: f"curl -b x -H 'Cookie: a=1; sid={v}' https://h/x"
    yield "basic", "header", lambda v: f"Authorization: Basic {_coded('joe:' + v)}"
    yield "basic", "dict", lambda v: repr({"authorization": f"Basic {_coded('joe:' + v)}", "a": 1})
    yield "bearer", "log", lambda v: f"sent bearer {v} to the server"
    yield (
        "digest",
        "header",
        (lambda v: f'Authorization: Digest username="joe", nonce="{v}", response="{v[::-1]}"'),
    )
    for name in ("X-Api-Key", "PRIVATE-TOKEN", "X-Auth-Token", "Ocp-Apim-Subscription-Key"):
        yield "header", name, lambda v, name=name: f'curl -H "{name}: {v}" https://h/x'


def _signed() -> Iterator[tuple[str, str, Make]]:
    for name in (
        *("X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "Signature", "sig"),
        *("X-Goog-Signature", "GoogleAccessId", "Policy", "token", "access_token", "api_key"),
    ):
        yield (
            "signed address",
            name,
            (
                lambda v, name=name: (
                    f"GET https://cdn.example.net/b.bin?Expires=9&{name}={v}&z=1 403"
                )
            ),
        )
    yield (
        "signed address",
        "sas",
        (lambda v: f"https://a.blob.core.windows.net/c/f?sv=2022-11-02&sig={v}%3D&se=2026"),
    )
    yield "signed address", "html", lambda v: f'<a href="https://h/x?a=1&amp;sig={v}">x</a>'
    yield (
        "web hook",
        "slack",
        (lambda v: f"POST https://hooks.slack.com/services/T0{v[:8]}/B0{v[4:12]}/{v}"),
    )
    yield "web hook", "discord", lambda v: f"https://discord.com/api/webhooks/1234567890/{v}x"


def _keys() -> Iterator[tuple[str, str, Make]]:
    for kind in ("RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"):
        yield "private key", kind, lambda v, kind=kind: _key(v, kind)
        yield (
            "private key",
            f"{kind} in JSON",
            (lambda v, kind=kind: json.dumps({"type": "service_account", "k": _key(v, kind)})),
        )
    yield "private key", "in a log", lambda v: _key(v, end="\n2026-01-01 INFO | ")
    yield "private key", "without its end", lambda v: _key(v).partition(f"\n{_DASHES}END")[0]


def _prompts() -> Iterator[tuple[str, str, Make]]:
    yield "prompt", "log", lambda v: f"INFO: Input prompt: a cat called {v}, in the rain"
    yield "prompt", "option", lambda v: f'python generate.py --prompt "a cat {v}" --size 5'
    yield "prompt", "bare option", lambda v: f"python generate.py --prompt a cat {v} --size 5"
    yield "prompt", "namespace", lambda v: f"Namespace(task='t2v', prompt='a {v} cat', seed=3)"
    yield "prompt", "json", lambda v: json.dumps({"negative_prompt": f"ugly {v}", "seed": 1})
    yield "prompt", "list", lambda v: json.dumps({"prompts": [f"a {v}", "b"], "seed": 1})
    yield (
        "media metadata",
        "workflow",
        (lambda v: json.dumps({"workflow": {"nodes": [{"text": f"cat {v}"}]}, "x": 1})),
    )
    yield (
        "media metadata",
        "workflow as text",
        (lambda v: json.dumps({"workflow": json.dumps({"nodes": [{"text": f"cat {v}"}]})})),
    )
    yield (
        "media metadata",
        "parameters",
        (lambda v: f"parameters: a cat {v}\nNegative prompt: dog {v}\nSteps: 20, Sampler: Euler"),
    )


def _files() -> Iterator[tuple[str, str, Make]]:
    yield ".netrc", "line", lambda v: f"machine api.wandb.ai login user password {v}"
    yield ".netrc", "lines", lambda v: f"machine h\n  login joe\n  password {v}\n"
    yield ".pypirc", "lines", lambda v: f"[pypi]\nusername = __token__\npassword = {v}"
    yield ".npmrc", "line", lambda v: f"//registry.example.net/:_authToken={v}"
    yield (
        "docker",
        "auth",
        (lambda v: json.dumps({"auths": {"https://h/v1/": {"auth": _coded("joe:" + v)}}})),
    )
    yield "kubernetes", "user", lambda v: f"users:\n- name: a\n  user:\n    token: {v}"
    yield "kubernetes", "key", lambda v: f"    client-key-data: {_coded(v * 3)}"
    yield "command line", "curl", lambda v: f"curl -u joe:{v} https://h/x"
    yield "command line", "mysql", lambda v: f"mysql -h db -u joe -p{v} prod"
    yield "google", "service account", lambda v: json.dumps({"private_key_id": v, "type": "x"})
