"""Proxy settings: who reads which variable, what goes around the proxy, what may be shown."""

from __future__ import annotations

import subprocess
import sys

import pytest

from modelmedic.exchange import Exchange
from modelmedic.facts import access_words, proxy
from modelmedic.facts.endpoint import parse
from modelmedic.http_answer import TransferFailed
from modelmedic.masking import Masker
from modelmedic.patience import Deadline
from modelmedic.reliability import environment_names
from modelmedic.reliability.veil import Veil

HUB = parse("https://hub.example")


def via(address, **environ):
    route = proxy.route_to(parse(address), environ)
    return route.setting.variable if route else None


def only(**environ):
    (setting,) = proxy.read_environment(environ).settings
    return setting


def test_the_variable_of_the_scheme_goes_before_all_proxy():
    settings = {"ALL_PROXY": "http://a:1", "HTTPS_PROXY": "http://b:2"}
    assert via("https://hub.example", **settings) == "HTTPS_PROXY"
    assert via("http://hub.example", **settings) == "ALL_PROXY"


def test_the_lower_case_spelling_wins_and_the_difference_is_told():
    environ = {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:2"}
    assert via("https://hub.example", **environ) == "https_proxy"
    assert only(**environ).other_spelling == "HTTPS_PROXY"
    same = {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://low:1"}
    assert only(**same).other_spelling == ""


def test_an_empty_lower_case_variable_switches_the_upper_one_off():
    assert via("https://hub.example", https_proxy="", HTTPS_PROXY="http://up:2") is None


def test_http_proxy_of_a_cgi_program_is_what_a_visitor_sent_and_is_not_obeyed():
    environ = {"HTTP_PROXY": "http://evil:1", "REQUEST_METHOD": "GET"}
    assert via("http://hub.example", **environ) is None
    assert proxy.read_environment(environ).ignored == ("HTTP_PROXY",)
    assert via("http://hub.example", **environ, http_proxy="http://own:1") == "http_proxy"


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000", "http://127.9.9.9"],
)
def test_loopback_is_always_direct(address):
    assert via(address, HTTP_PROXY="http://a:1", ALL_PROXY="http://a:1") is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_bypassed"),
    [
        ("*", "hub.example", True),
        ("hub.example", "hub.example", True),
        ("HUB.example", "hub.EXAMPLE", True),
        (".example", "hub.example", True),
        ("example", "hub.example", True),
        ("ub.example", "hub.example", False),
        ("other, hub.example ,", "hub.example", True),
        ("hub.example:443", "hub.example", True),
        ("hub.example:80", "hub.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/99", "10.1.2.3", False),
        ("", "hub.example", False),
    ],
)
def test_no_proxy_names_hosts_domains_ports_and_blocks(no_proxy, host, is_bypassed):
    assert proxy.is_bypassed(host, 443, no_proxy) is is_bypassed


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"HTTP_PROXY": "http://a:1"}, "HTTP_PROXY"),
        ({"ALL_PROXY": "http://a:1"}, "ALL_PROXY"),
        ({"HTTPS_PROXY": "http://a:1"}, ""),
        ({"HTTP_PROXY": "http://a:1", "NO_PROXY": "localhost"}, "HTTP_PROXY"),
        ({"HTTP_PROXY": "http://a:1", "NO_PROXY": "localhost,127.0.0.1"}, ""),
        ({"HTTP_PROXY": "http://a:1", "no_proxy": "localhost,127.0.0.0/8"}, ""),
        ({"HTTP_PROXY": "http://a:1", "NO_PROXY": "*"}, ""),
        ({}, ""),
    ],
)
def test_a_proxy_that_catches_loopback_is_found(environ, variable):
    assert proxy.read_environment(environ).leads_loopback_away == variable


@pytest.mark.parametrize(
    ("url", "fault", "scheme", "port"),
    [
        ("http://proxy.example:3128", "", "http", 3128),
        ("http://proxy.example", "", "http", 80),
        ("https://proxy.example", "", "https", 443),
        ("socks5h://proxy.example", "", "socks5h", 1080),
        ("proxy.example:3128", "no-scheme", "http", 3128),
        ("ftp://proxy.example", "unknown-scheme", "ftp", None),
        ("http://proxy.example:99999", "bad-port", "http", None),
        ("http://proxy.example:http", "bad-port", "http", None),
        ("http://proxy.example:0", "bad-port", "http", 0),
        ("http://", "no-host", "http", 80),
        ("http://[::1", "no-host", "http", None),
        ("http://a b:1", "no-host", "http", 1),
    ],
)
def test_a_setting_that_cannot_be_used_says_why(url, fault, scheme, port):
    setting = only(HTTPS_PROXY=url)
    assert (setting.fault, setting.scheme, setting.port) == (fault, scheme, port)
    assert setting.is_usable == (fault in {"", "no-scheme"})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://ann:secret@proxy.example:3128", "http://***@proxy.example:3128"),
        ("ann:secret@proxy.example:3128", "***@proxy.example:3128"),
        ("http://ann:se@cret@proxy.example", "http://***@proxy.example"),
        ("http://ann:se/cret@proxy.example:1/x", "http://***@proxy.example:1/x"),
        ("https://secret@index.example/simple/", "https://***@index.example/simple/"),
        ("https://index.example/simple?token=secret", "https://index.example/simple"),
        ("https://index.example/simple#secret", "https://index.example/simple"),
        ("https://index.example/a@b/simple", "https://index.example/a@b/simple"),
        ("/srv/wheels", "/srv/wheels"),
        ("http://ho\x1bst", "http://ho\\x1bst"),
    ],
)
def test_what_is_shown_has_no_credentials(url, shown):
    assert proxy.masked(url) == shown
    assert "secret" not in proxy.masked(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:hunter2@proxy.example:1",
        "http://ann:hun/ter2@proxy.example:1",
        "ftp://ann:hunter2@proxy.example",
        "http://ann:hunter2@[::1",
        "ann:hunter2@proxy.example",
    ],
)
def test_no_repr_of_a_setting_or_route_has_credentials(url):
    environ = {"HTTPS_PROXY": url}
    told = repr(proxy.read_environment(environ)) + repr(proxy.route_to(HUB, environ))
    assert "***@" in told
    assert "ann" not in told
    assert "ter2" not in told


def test_credentials_become_the_header_the_proxy_wants():
    route = proxy.route_to(HUB, {"HTTPS_PROXY": "http://ann:p%40ss@proxy.example:1"})
    assert route.authorization == "Basic YW5uOnBAc3M="


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("hub.example", "no scheme"),
        ("ftp://hub.example", "ftp://"),
        ("https://hub.example:x", "port"),
        ("https://hub.example:70000", "port"),
        ("https://", "no host name"),
        ("https://a..b", "no host name"),
        ("https://" + "a" * 70 + ".example", "no host name"),
        ("https://[::1", "no URL"),
        ("https://ho st", "no host name"),
        ("https://<script>", "no host name"),
    ],
)
def test_an_address_that_is_none_says_why(url, why):
    with pytest.raises(ValueError, match=why):
        parse(url)


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://Hub.example/", "https://hub.example", ""),
        ("HTTPS://hub.example:443/x/", "https://hub.example", "/x"),
        ("http://hub.example:8080/x y", "http://hub.example:8080", "/x%20y"),
        ("http://[::1]:80", "http://[::1]", ""),
        ("https://ann:secret@hub.example", "https://hub.example", ""),
        ("https://bücher.example", "https://xn--bcher-kva.example", ""),
    ],
)
def test_an_address_is_kept_without_credentials(url, origin, path):
    address = parse(url)
    assert (address.origin, address.path) == (origin, path)


UNQUOTED = [
    "http://user:sec?ret9@127.0.0.1:3128",
    "http://user:sec#ret9@127.0.0.1:3128",
    "http://user:sec/ret9@127.0.0.1:3128",
    "http://user:4711/ret9@127.0.0.1:3128",
    "http://sec/ret9@127.0.0.1:3128",
    "//user:sec@127.0.0.1:3128",
    "http:/user:sec@127.0.0.1:3128",
    "http://user:sec://ret9@127.0.0.1:3128",
    "user:sec://ret9@127.0.0.1:3128",
    "user:[sec://ret9@127.0.0.1:3128",
    "socks5://user:sec/re@t9@127.0.0.1:3128",
]
PIECES = ("user", "sec", "ret9", "t9", "4711")


@pytest.mark.parametrize("url", UNQUOTED)
def test_a_password_that_is_not_percent_encoded_is_neither_shown_nor_taken_as_a_host(url):
    setting = only(HTTPS_PROXY=url)
    assert setting.fault == "unquoted"
    assert not setting.is_usable
    assert (setting.host, setting.port) == ("", None)
    assert setting.shown.endswith("***@127.0.0.1:3128")
    told = f"{setting.shown} {access_words.of_setting(setting)}"
    told += repr(proxy.read_environment({"HTTPS_PROXY": url}))
    told = told.replace("asks for a password", "").replace("user and password", "")
    if not url.startswith("user:"):  # there the user reads as a scheme
        assert "user" not in told
    assert not [piece for piece in PIECES[1:] if piece in told]


@pytest.mark.parametrize("url", ["user:[sec@127.0.0.1://x", "http://us:sec@a@127.0.0.1:1/x"])
def test_no_other_odd_setting_shows_a_password(url):
    setting = only(HTTPS_PROXY=url)
    assert "sec" not in repr(setting)
    assert "sec" not in repr(access_words.of_setting(setting))


@pytest.mark.skipif(sys.platform == "win32", reason="a command for sh")
def test_the_command_that_encodes_a_password_runs_as_it_is_printed(monkeypatch, tmp_path):
    python = tmp_path / "it's here" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setattr("sys.executable", str(python))
    command = access_words.of_setting(only(HTTPS_PROXY=UNQUOTED[0])).next_step.partition("   ")[0]
    done = subprocess.run(
        ["sh", "-c", command], input="se/c?\n", capture_output=True, text=True, check=True,
        start_new_session=True,  # without a terminal getpass reads what is sent
    )  # fmt: skip
    assert done.stdout.strip().endswith("se%2Fc%3F")


@pytest.mark.parametrize(
    "url", [*UNQUOTED, "user:sec@127.0.0.1:3128", "http://user:s[ec@127.0.0.1"]
)
def test_an_error_context_keeps_no_piece_of_a_proxys_password(url):
    names = {"HTTPS_PROXY": url, "PIP_PROXY": url, "NO_PROXY": "a.b"}
    told = environment_names.kept(names, Veil(Masker()))
    assert told["NO_PROXY"] == "a.b"
    for name in ("HTTPS_PROXY", "PIP_PROXY"):
        assert "***@127.0.0.1" in told[name]
        assert not [piece for piece in PIECES if piece in told[name]]


@pytest.mark.parametrize("url", [*UNQUOTED, "http://user:s[ec@127.0.0.1", "http://user:sec@:x"])
def test_a_download_tells_nothing_of_a_proxy_it_cannot_read_and_connects_to_nothing(
    url, monkeypatch
):
    monkeypatch.setenv("HTTPS_PROXY", url)
    monkeypatch.setattr("modelmedic.addresses.look_up", never)
    asking = Exchange({}, Deadline(20))
    with asking, pytest.raises(TransferFailed) as caught, asking.ask("https://hub.example/f", {}):
        pass
    told = str(caught.value)
    assert caught.value.__cause__ is None  # the text of what it came of repeats the address
    assert "the address of the proxy cannot be read" in told
    assert not [piece for piece in PIECES if piece in told.replace("User and password", "")]


def never(*_args):
    raise AssertionError("a name was looked up")
