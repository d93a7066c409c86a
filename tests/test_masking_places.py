"""Secrets and names in the places where programs print them, and behind what a reader never sees."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from random import Random

import pytest
from planted.corpus import planted
from planted.kinds import HEX, some

from modelmedic import leaks
from modelmedic.masking import Masker
from modelmedic.masking.stand_ins import StandIns

PLAIN = Masker()
CORPUS = planted()
GRAM = 10
RNG = Random(20260105)
HUB, GITHUB, WORD = f"hf_{some(RNG, 34)}", f"ghp_{some(RNG, 36)}", f"Tr0ub4dor{some(RNG, 6)}"
HEX40 = some(RNG, 40, HEX)
UUID = "-".join(some(RNG, count, HEX) for count in (8, 4, 4, 4, 12))
VALUES = {
    "hub": HUB, "hub tail": HUB[2:], "github": GITHUB, "password": WORD, "uuid": UUID,
    "modelscope": f"ms-{UUID}", "hex40": HEX40, "hex32": HEX40[:32], "hex24": HEX40[:24],
    "hex64": some(RNG, 64, HEX), "sig": some(RNG, 43), "pair": f"K{some(RNG, 13).upper()}",
    "b64 password": base64.b64encode(WORD.encode()).decode(),
    "b64 login": base64.b64encode(f"joe:{WORD}".encode()).decode(),
    "b64 github": base64.b64encode(f"x-access-token:{GITHUB}".encode()).decode(),
}  # fmt: skip
PLACES = json.loads(Path(__file__).with_name("planted").joinpath("places.json").read_text("utf-8"))


def filled(text: str) -> str:
    return re.sub(r"%([a-z0-9 ]+)%", lambda found: VALUES.get(found[1], found[0]), text)


def seen(text: str) -> str:
    """Return a text as it is read; this test's own way to do it."""
    text = re.sub(r"\x1b\[[0-9;]*m|[\u200b\u2060\ufeff\xad\0]", "", text)
    return "".join(chr(ord(c) - 0xFEE0) if "\uff01" <= c <= "\uff5e" else c for c in text)


@pytest.mark.parametrize(
    ("text", "kind", "hidden"),
    [pytest.param(filled(text), kind, filled(part), id=name) for name, kind, text, part in PLACES],
)
def test_what_a_program_prints_is_masked(text, kind, hidden, tmp_path):
    maskers = [Masker((), (), (), StandIns(tmp_path))] + [PLAIN] * (kind == "secret")
    for masker in maskers:
        masked = masker.mask(text)
        assert hidden[-min(GRAM, len(hidden)) :] not in masked
        assert masker.mask(masked) == masked


HIDDEN = {
    "colours": lambda text: f"\x1b[1;32m{text}\x1b[0m",
    "printed colours": lambda text: rf"\x1b[32m{text}\x1b[0m",
    "colours without their first letter": lambda text: f"[32m{text}[0m",
    "a byte order mark": lambda text: f"\ufeff{text}",
    "wide letters": lambda text: "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text
    ),
    "two bytes a letter": lambda text: "".join(f"{c}\0" for c in text),
    "unseen letters": lambda text: re.sub("(....)", "\\1\u200b", text),
    "ends of lines of Windows": lambda text: text.replace("\n", "\r\n"),
    "a zero byte": lambda text: f"LANG=C\0{text}\0SHLVL=1",
}


@pytest.mark.once
@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
def test_no_planted_secret_is_left_behind_what_nobody_sees(hide):
    left = {}
    for one in CORPUS:
        masked = seen(PLAIN.mask(hide(one.text)))
        if any(needle[-GRAM:] in masked for needle in one.needles):
            left[one.id] = masked
    assert left == {}


@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
def test_the_second_engine_finds_a_token_behind_what_nobody_sees(hide):
    text = hide(f"{HUB}\nnext")
    assert leaks.in_text(text, leaks.Known())
    assert HUB[-GRAM:] not in seen(leaks.without(text, leaks.Known()))


def test_colours_stay_where_they_hide_nothing():
    text = "\x1b[32mok\x1b[0m \uff08wide\uff09 password=hunter22 \0"
    assert PLAIN.mask(text) == text.replace("hunter22", "***")


@pytest.mark.parametrize(
    "text",
    [
        "[0m 12.5m [INFO] model.safetensors 34.2 GiB", "shape [32m] at 10:20@host",
        "image repo/app:1.2@sha256:0123456789", "\x1b[33mWARNING\x1b[0m: 3 of 10 passed",
        "pip 24.0 from /opt/x (python 3.11)", "thf_model_weights_v2_final_large",
        r"pattern \\d+\.\w", r"\\?\C:\models\x.bin", "USER=root", "10.1.2.3 - a release",
        "connected to https://huggingface.co", "wandb 0.16.3 at commit " + "0123456789" * 4,
        "data:\n  train: 10\n  kind: text\n", "Author: none", "psk: none",
        "https://example.net/t/a-topic-about-models/12345", "HF_TOKEN    not set",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_stays(text, tmp_path):
    assert Masker((), (), (), StandIns(tmp_path)).mask(text) == text
