"""No secret, home, user or host name reaches what is written; words stay readable."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmedic.masking import Masker

MASKER = Masker(
    homes=("/home/jane.doe",),
    names=(("jane.doe", "<user>"), ("thinkpad7", "<host>")),
    secrets=("literal-secret-value",),
)
TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWx"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"token {TOKEN} used", TOKEN),
        (f"Authorization: Bearer {TOKEN}", TOKEN),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
        ("http://jane:pa55word@proxy:3128/", "pa55word"),
        ("socks5://:onlypass@proxy", "onlypass"),
        ("https://user-token@host/simple", "user-token"),
        ("https://cdn/x?Signature=abcdef123456&x=1", "abcdef123456"),
        ("HF_TOKEN=verysecretvalue", "verysecretvalue"),
        ("DASH_API_KEY: sk-aaaaaaaaaaaaaaaaaaaa", "sk-aaaaaaaaaaaaaaaaaaaa"),
        ("password = hunter22", "hunter22"),
        ("AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
        ("ghp_0123456789abcdefABCDEF", "ghp_0123456789abcdefABCDEF"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "abc"),
        ("see literal-secret-value here", "literal-secret-value"),
        ("/home/jane.doe/models/x", "jane.doe"),
        ("on host thinkpad7, port 3", "thinkpad7"),
        ("owner jane.doe", "jane.doe"),
        ("pa\u017f\u017fword = hunter22", "hunter22"),  # to a pattern, the long s is an s
        ("author\u0131zation: hunter22", "hunter22"),  # and the i without a dot an i
        ("x-api-\u212aey: hunter22", "hunter22"),
    ],
)
def test_a_secret_is_hidden(text, hidden):
    assert hidden not in MASKER.mask(text)


@pytest.mark.parametrize(
    "token",
    [
        *(f"{start}0123456789abcdef" for start in ("hf_", "api_org_", "github_pat_", "glpat-")),
        *(f"gh{letter}_0123456789abcdef" for letter in "pousr"),
        *(f"{start}0123456789abcdef" for start in ("sk-", "pypi-", "npm_", "ms-", "r8_")),
        *(f"{n}: 0123456789abcdef" for n in ("Cookie", "set-cookie", "X-API-Key", "passwd")),
        *(f"{n}: 0123456789abcdef" for n in ("proxy-authorization", "my_secret", "APIKEY")),
        *(f"/x{mark}sig=0123456789abcdef" for mark in "?&"),
        *(f"{word} 0123456789abcdef" for word in ("bearer", "BASIC")),
        "eyJ0123456789.0123456789abcdef.x",
    ],
)
def test_each_form_of_a_credential_is_hidden(token):
    assert "456789abcdef" not in MASKER.mask(f"what was {token} there")


def test_home_becomes_a_tilde_and_the_rest_of_the_path_stays():
    assert MASKER.mask("/home/jane.doe/models/a.bin") == "~/models/a.bin"


@pytest.mark.parametrize(
    "text",
    [
        "/home/ubuntu/x",
        "thinkpad70 is another host",
        "read 15009 of 20000 bytes",
        "https://huggingface.co/Wan-AI/Wan2.2-TI2V-5B",
        "token_count is 5",
        "tokenizer.json",
        "sha256 720b06c4ade5e87c1246bba8ac95b664c638749cd9b102cf84d823bb44c026a1",
        "special_tokens_map.json has 6,623 bytes",
    ],
)
def test_what_is_no_secret_stays(text):
    assert MASKER.mask(text) == text


def test_masking_goes_into_keys_and_lists():
    masked = MASKER.mask_json({"/home/jane.doe/x": [f"a {TOKEN}", {"n": 1, "t": True}]})
    assert masked == {"~/x": ["a hf_***", {"n": 1, "t": True}]}


@given(st.text())
def test_masking_twice_is_masking_once(text):
    once = MASKER.mask(text)
    assert MASKER.mask(once) == once


def test_this_machines_own_token_is_hidden(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "oddly-shaped-token-1")
    assert "oddly" not in json.dumps(Masker.of_this_machine().mask_json(["x oddly-shaped-token-1"]))


def test_a_user_called_root_is_not_masked_out_of_every_sentence(monkeypatch):
    monkeypatch.setenv("USER", "root")
    monkeypatch.setenv("LOGNAME", "root")
    assert Masker.of_this_machine().mask("the root cause") == "the root cause"
