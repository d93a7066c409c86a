"""The corpus: every secret in every kind of text in which it was seen to leak, the same each time."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from planted.kinds import NAMED, SHAPED, some

SEED = 20260101


@dataclass(frozen=True, slots=True)
class Planted:
    """A secret: its kind, how it is carried, the text, and what must not be found of it."""

    kind: str
    carrier: str
    text: str
    needles: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.kind}, {self.carrier}"


def _broken(value: str) -> str:
    at = len(value) - len(value) // 3
    return f"the terminal broke {value[:at]}\n{value[at:]}\nin two"


BARE: dict[str, Callable[[str], str]] = {
    "log": lambda v: f"2026-01-05 10:11:12 ERROR download: server refused {v}, 3 tries left",
    "environment": lambda v: f"LANG=C\nSOME_VALUE={v}\nSHLVL=1",
    "file name": lambda v: f"/srv/cache/model-{v}/config.json is missing",
    "json": lambda v: json.dumps({"items": [{"id": 3, "value": v}], "ok": False}),
    "traceback": lambda v: (
        f'  File "client.py", line 12, in login\n    login({v!r})\nValueError: {v}'
    ),
    "address": lambda v: f"GET https://files.example.net/a.bin?download=1&x={v} 403",
    "base64": lambda v: f"blob {base64.b64encode(f'use {v} now'.encode()).decode()} end",
    "header": lambda v: f"> Authorization: Bearer {v}",
}
# A secret that lines break is known where its beginning is; the other forms have no beginning.
BROKEN = {
    "hub", "wandb", "replicate", "openai", "anthropic", "nvidia", "github", "github fine",
    "gitlab", "npm", "pypi", "stripe", "docker",
}  # fmt: skip
SET: dict[str, Callable[[str, str], str]] = {
    "environment": lambda n, v: f"HOME=/x\n{n}={v}\nTERM=xterm",
    "shell": lambda n, v: f'export {n}="{v}" && python run.py',
    "powershell": lambda n, v: f"PS> $env:{n} = '{v}'",
    "yaml": lambda n, v: f"server:\n  {n.lower()}: {v}\n  port: 80",
    "yaml block": lambda n, v: f"{n.lower()}: |\n  {v}\nnext: 1",
    "json": lambda n, v: json.dumps({n.lower(): v, "retries": 3}),
    "json in json": lambda n, v: json.dumps({"body": json.dumps({n.lower(): v})}),
    "toml": lambda n, v: f'[login]\n{n.lower()} = "{v}"\n',
    "ini": lambda n, v: f"[login]\n{n.lower()} = {v}\ntimeout = 3",
    "option": lambda n, v: f"app --{n.lower().replace('_', '-')} {v} --size 5",
    "option with sign": lambda n, v: f"app --{n.lower().replace('_', '-')}={v} --size 5",
    "option in a list": lambda n, v: repr(["app", f"--{n.lower().replace('_', '-')}", v, "-v"]),
    "continued line": lambda n, v: f"app --{n.lower().replace('_', '-')} \\\n    {v} \\\n    -v",
    "entry": lambda n, v: f"env:\n- name: {n}\n  value: {v}\n- name: A\n  value: b",
    "code": lambda n, v: f'    client = Client({n.lower()}="{v}", retries=3)',
    "xml": lambda n, v: f"<settings><{n.lower()}>{v}</{n.lower()}></settings>",
    "next line": lambda n, v: f"{n.lower()}:\n    {v}\nother: 1",
    "form": lambda n, v: f"body: user=joe&{n.lower()}={urllib.parse.quote(v, safe='')}&x=1",
}


def planted() -> list[Planted]:
    """Return the corpus."""
    rng = Random(SEED)
    return [*_shaped(rng), *_named(rng), *_special(rng)]


def _shaped(rng: Random) -> Iterator[Planted]:
    for kind, make in SHAPED.items():
        for carrier, carry in BARE.items():
            value = make(rng)
            if carrier == "base64" and kind in _NOT_IN_BASE64:
                continue
            yield Planted(kind, carrier, carry(value), _needles(value))
        if kind in BROKEN:
            value = make(rng)
            rest = value[len(value) - len(value) // 3 :]
            yield Planted(kind, "two lines", _broken(value), (*_needles(value), rest))


# In a blob only what is told without doubt is looked for: these are letters like any.
_NOT_IN_BASE64 = {
    "telegram", "mailchimp", "azure storage", "azure client", "license", "discord", "twilio",
    "bitbucket", "jwt", "docker", "vault", "stripe", "google oauth", "sendgrid",
}  # fmt: skip


def _named(rng: Random) -> Iterator[Planted]:
    for kind, (name, make) in NAMED.items():
        for carrier, carry in SET.items():
            value = make(rng)
            yield Planted(kind, carrier, carry(name, value), _needles(value))


def _needles(value: str) -> tuple[str, ...]:
    """Return the secret as it can be found: whole, its last letters, encoded."""
    data = value.encode()
    return tuple(
        dict.fromkeys(
            [
                value,
                value[-10:],
                urllib.parse.quote(value, safe=""),
                json.dumps(value)[1:-1],
                base64.b64encode(data).decode().rstrip("=")[:-1],
                base64.b64encode(b"use " + data).decode()[8:-4],
                data.hex(),
            ]
        )
    )


def _special(rng: Random) -> Iterator[Planted]:
    from planted.special import special

    for kind, carrier, make in special():
        value = some(rng, 18)
        yield Planted(kind, carrier, make(value), _needles(value))
