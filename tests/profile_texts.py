"""What the tests of profiles share: small texts, and how to load and refuse them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelmedic import rooms
from modelmedic.errors import BadProfile
from modelmedic.profile.loader import load_profile

SHIPPED = [
    "demo",
    "wan2.2-animate-14b",
    "wan2.2-i2v-a14b",
    "wan2.2-i2v-a14b-diffusers",
    "wan2.2-s2v-14b",
    "wan2.2-t2v-a14b",
    "wan2.2-t2v-a14b-diffusers",
    "wan2.2-ti2v-5b",
    "wan2.2-ti2v-5b-diffusers",
]
FILES = sorted(rooms.room("profiles").glob("*.toml"))
# The smallest text that is a profile; wrong ones are made by adding to it.
SMALL = 'name = "small"\ntitle = "Small"\n'
HUB = '[[endpoints]]\nname = "hub"\nurl = "https://hub.example"\nkind = "hub"\n'
MODEL = '[[models]]\nname = "m"\nfolders = ["m"]\nlayout = "native"\n'


def load(name: str):
    return load_profile(name, cwd=Path.cwd())


def write(folder: Path, text: str | bytes, name: str = "p.toml") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refusal(file: Path | str, cwd: Path | None = None) -> BadProfile:
    with pytest.raises(BadProfile) as caught:
        load_profile(str(file), cwd=cwd or Path.cwd())
    return caught.value
