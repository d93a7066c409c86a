"""The second look: what it finds in which form, and what it passes over."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import urllib.parse
import zipfile
import zlib

import pytest

from modelmedic import leaks
from modelmedic.leaks import shapes
from modelmedic.masking import Masker

SECRET = "odd/One+with&all 'of' it"
KNOWN = leaks.Known(
    secrets=(SECRET,), users=("jane.doe",), hosts=("thinkpad7",), homes=("/home/jane.doe",)
)


def kinds(text, known=KNOWN):
    return [leak.kind for leak in leaks.in_text(text, known)]


@pytest.mark.parametrize(
    "text",
    [
        SECRET, urllib.parse.quote(SECRET), urllib.parse.quote_plus(SECRET), json.dumps(SECRET),
        json.dumps(json.dumps({"x": SECRET + '"'})), html.escape(SECRET), SECRET.encode().hex(),
        *(base64.b64encode(b"x" * n + SECRET.encode() + b"y").decode() for n in range(4)),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(SECRET.encode("utf-16-le")).decode(), SECRET[:9] + "\\\n   " + SECRET[9:],
        SECRET[::-1],
    ],
)  # fmt: skip
def test_a_known_secret_is_found_in_every_form(text):
    assert any(kind.startswith("known secret") for kind in kinds(f"before {text} behind")), text
    left = leaks.without(f"before {text} behind", KNOWN)
    assert leaks.in_text(left, KNOWN) == []
    assert left.startswith("before")
    assert left.endswith("behind")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("by jane.doe.", "user name"), ("/x/JANE.DOE/y", "user name"), ("thinkpad7:", "host name"),
        ("/home/jane.doe/x", "home folder"), ("/home/bob/x", "home folder"),
        (r"C:\\Users\\Mary\\x", "home folder"), ("x=%2Fhome%2Fmary%2Fy", "home folder"),
        ("https://joe:a/b?c@h/x", "password in an address"),
        ("PASSWORD=hunter22x", "value of a secret's name"),
        ("payload: aB3xY9kLmQ2wE" + "r5Tz7UiOp4AsDf6GhJ1", "random value"),
    ],
)  # fmt: skip
def test_names_paths_and_shapes_are_found(text, kind):
    assert kind in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "jane.doeson and thinkpad70, thinkpad7-x", "/home/ubuntu/x /Users/Shared/y", "~/x <user>",
        "https://localhost:4873/@types/node", "https://***@host/x", "token: ***",
        "sha256=720b06c4ade5e87c1246bba8ac95b664c638749cd9b102cf84d823bb44c026a1",
        "max_tokens: 123456789", "https://h.example.net/home/news/x1",
    ],
)  # fmt: skip
def test_what_is_no_leak_is_passed_over(text):
    assert kinds(text) == []


def test_the_checksum_of_a_token_of_github_is_computed():
    rest, number, written = "Ab1" * 10, zlib.crc32(b"Ab1" * 10), ""
    letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    while number:
        number, digit = divmod(number, 62)
        written = letters[digit] + written
    token = "gh" + "p_" + rest + written.rjust(6, "0")
    assert shapes.has_github_checksum(token)
    assert kinds(f"x {token} y") == ["GitHub token, its checksum holds"]
    assert kinds(f"x {token[:-1]}_ y") == ["GitHub token"]


def test_the_line_that_is_shown_does_not_leak_and_is_short():
    text = "first\n" + "x" * 9000 + f" jane.doe {SECRET} " + "y" * 9000
    found = leaks.in_text(text, KNOWN)
    assert {leak.line for leak in found} == {2}
    assert all("jane" not in leak.masked_line and "odd/" not in leak.masked_line for leak in found)
    assert all(len(leak.masked_line) <= 400 for leak in found)


def archive(**members):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return made.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        {"a.txt": SECRET}, {f"by jane.doe/{1}.txt": "x"}, {"u.txt": SECRET.encode("utf-16")},
        {"l.log": b"\xff\xfe".join([b"x", SECRET.encode(), b"y"])},
        {"n.json": json.dumps({"a": json.dumps({"b": json.dumps([SECRET])})})},
        {"in.zip": archive(x=archive(y=SECRET))}, {"z.gz": gzip.compress(SECRET.encode())},
        {"h.jsonl": 'x\n{"a": "\\u006fdd/One+with&all \'of\' it"}\n'},
    ],
)  # fmt: skip
def test_an_archive_is_looked_into(members, tmp_path):
    data = archive(**members)
    found = leaks.in_archive(data, KNOWN)
    assert found
    assert all("jane.doe" not in leak.member for leak in found)
    (tmp_path / "x.zip").write_bytes(data)
    assert leaks.in_archive(tmp_path / "x.zip", KNOWN) == found


def test_a_clean_archive_has_no_leak_and_what_cannot_be_looked_at_has_one(tmp_path):
    assert leaks.in_archive(archive(a="torch 2.7.1", b="{}"), KNOWN) == []
    assert [leak.kind for leak in leaks.in_archive(b"no archive", KNOWN)] == ["could not look"]
    assert [leak.kind for leak in leaks.in_archive(tmp_path / "none", KNOWN)] == ["could not look"]
    broken = bytearray(archive(a="torch 2.7.1 " * 50))
    broken[35] ^= 255
    assert "could not look" in [leak.kind for leak in leaks.in_archive(bytes(broken), KNOWN)]


def test_a_member_that_is_too_large_to_look_at_does_not_pass(monkeypatch):
    monkeypatch.setattr("modelmedic.leaks.archive.MOST_BYTES", 100)
    found = leaks.in_archive(archive(a="x " * 90, b="y"), KNOWN)
    assert [(leak.member, leak.kind) for leak in found] == [("a", "could not look")]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A home folder with the files in which tools keep their logins."""
    home = tmp_path / "mary.major"
    for name, text in {
        ".cache/huggingface/token": "odd-hub-1-token\n",
        ".netrc": "machine api.wandb.ai login user password netrc-2-password",
        ".config/pip/pip.conf": "[global]\nindex-url = https://joe:pip-3-password@i/s",
        ".git-credentials": "https://joe:git-4-password@h.example.net",
        ".modelscope/credentials/git_token": "scope-5-token",
        ".kaggle/kaggle.json": '{"username": "joe", "key": "kaggle6789abc"}',
        ".docker/config.json": json.dumps(
            {"auths": {"h": {"auth": base64.b64encode(b"joe:docker-7-password").decode()}}}
        ),
        ".pypirc": "[pypi]\nusername = __token__\npassword = pypirc-8-password",
    }.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    for name in ("HF_HOME", "HF_TOKEN_PATH", "PIP_CONFIG_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MY_SERVICE_SECRET", "environment-9-secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://joe:proxy/0%40word@p:3128")
    return home


KEPT = (
    *("odd-hub-1-token", "netrc-2-password", "pip-3-password", "git-4-password", "scope-5-token"),
    *("kaggle6789abc", "docker-7-password", "pypirc-8-password", "environment-9-secret"),
    *("proxy/0%40word", "proxy/0@word"),
)


@pytest.mark.parametrize("secret", KEPT)
def test_both_engines_know_what_tools_keep_on_this_machine(secret, machine, tmp_path):
    known = leaks.Known.of_this_machine(tmp_path / "state")
    masker = Masker.of_this_machine()
    for text in (f"a {secret} b", base64.b64encode(f"x {secret} y".encode()).decode()):
        assert leaks.in_text(text, known) != []
        assert secret not in masker.mask(text)
        assert leaks.in_text(masker.mask(text), known) == []
    assert leaks.in_text(f"{machine}/x of mary.major", known) != []


def test_files_of_logins_that_are_none_are_passed_over(machine):
    (machine / ".netrc").unlink()
    (machine / ".netrc").mkdir()
    (machine / ".pypirc").write_bytes(b"\xff\x00" * 100_000)
    (machine / ".npmrc").symlink_to("/dev/zero")
    assert Masker.of_this_machine().mask("x") == "x"
    assert leaks.Known.of_this_machine().secrets


def test_stand_ins_are_the_same_each_time_and_their_map_stays_here(machine, tmp_path):
    state = tmp_path / "state"
    text = f"{machine}/x, mary.major, /home/bob/y, joe@example.com from 10.1.2.3 or 192.168.0.9"
    first = Masker.for_support(state)
    masked = first.mask(text)
    first.keep_map()
    assert Masker.for_support(state).mask(text) == masked
    assert Masker.for_support(tmp_path / "other").mask(text) != masked
    for name in ("mary.major", "bob", "joe@", "10.1.2.3", "192.168.0.9"):
        assert name not in masked
    assert first.mask(masked) == masked
    kept = json.loads((state / "pseudonyms.json").read_text("utf-8"))
    assert "joe@example.com" in kept.values()
    assert all(word in masked for word, name in kept.items() if name in text)
    assert (state / "pseudonyms.json").stat().st_mode & 0o077 == 0
    known = leaks.Known.of_this_machine(state)
    assert "mary.major" in known.users
    assert leaks.in_text(masked, known) == []


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("GPU-8f0c1a2b-1111-2222-3333-444455556666", "8f0c1a2b"),
        ("Serial Number : 1650921000123", "1650921000123"), ("link 00:1b:44:11:3a:b7", "11:3a"),
        ("connect to 3.120.4.5 failed", "3.120.4.5"), ("10.8.0.3:8188 refused", "10.8.0.3"),
        ("fe80::1b44:11ff:fe3a:b7", "1b44"), ("db7.corp is down", "db7"),
        ("2001:db8:0:1:1:1:1:1 up", "db8"),
    ],
)  # fmt: skip
def test_what_names_a_machine_is_masked_for_support_and_kept_here(text, hidden, tmp_path):
    assert hidden not in Masker.for_support(tmp_path).mask(text)
    assert Masker().mask(text) == text
