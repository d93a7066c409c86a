"""Which proxy is chosen, by asking through each; what is set, kept out of it, and never shown."""

from __future__ import annotations

import os
import subprocess
import sys

import network_facts_support
import pytest
from network_support import proxying, refusing_port, server_context, serving
from support import make_facts, make_profile

from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.facts import lasting, pip_config, proxy_candidates, setting_source
from modelmedic.profile.model import Endpoint
from modelmedic.strategies import network

calm_network = network_facts_support.calm_network
authority = network_facts_support.authority
trusted = network_facts_support.trusted


@pytest.fixture(autouse=True)
def no_pip_no_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


def facts_of(place, *endpoints):
    return make_facts(place, make_profile(endpoints=endpoints))


def planned(facts, subject, ask=network.nobody):
    (operation,) = network.plan_proxy(facts, subject, ask)
    return {name: (source, shown) for name, source, shown in operation.settings}


def test_an_https_server_is_proven_by_connect_and_its_certificate(trusted, tmp_path, monkeypatch):
    """The first proxy leads to a server that is another; only TLS tells."""
    hub = Endpoint("hub", "https://hub.test", "other")
    with (
        serving(tls=server_context(trusted.issue_cert("elsewhere.test"))) as wrong,
        serving(tls=server_context(trusted.issue_cert("hub.test"))) as right,
        proxying({"hub.test:443": wrong.port}) as lying,
        proxying({"hub.test:443": right.port}) as good,
    ):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{refusing_port()}")
        monkeypatch.setenv("HTTP_PROXY", lying.url)
        monkeypatch.setenv("ALL_PROXY", good.url)
        settings = planned(facts_of(tmp_path, hub), "hub")
        assert lying.asked
        assert all(line.startswith("CONNECT hub.test:443 ") for line in lying.asked + good.asked)
    assert settings["https_proxy"] == ("value", good.url)
    assert settings["http_proxy"] == ("value", good.url)
    assert settings["ALL_PROXY"] == ("unset", "")


def test_what_kept_the_server_from_the_proxy_goes_and_loopback_comes(tmp_path, monkeypatch):
    hub = Endpoint("hub", "http://hub.test", "other")
    with serving() as server, proxying({"hub.test": server.port}) as good:
        monkeypatch.setenv("HTTP_PROXY", good.url)
        monkeypatch.setenv("no_proxy", "internal.example, .test,127.0.0.1")
        settings = planned(facts_of(tmp_path, hub), "hub")
    assert settings["no_proxy"] == ("value", "internal.example,127.0.0.1,localhost,::1")
    assert settings["NO_PROXY"] == settings["no_proxy"]


def test_a_server_that_is_reached_now_must_stay_so(tmp_path, monkeypatch):
    """The proxy that leads to the lost server forbids the other one: it is none."""
    lost = Endpoint("lost", "https://lost.test", "other")
    held = Endpoint("held", "http://held.test", "other")
    with serving() as server, proxying({"held.test": server.port}) as good:
        monkeypatch.setenv("http_proxy", good.url)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{refusing_port()}")
        with pytest.raises(RecoveryRefused, match="'lost', 'held'"):
            planned(facts_of(tmp_path, lost, held), "lost")


def test_a_server_of_this_machine_has_no_proxy_to_be_found(tmp_path):
    with serving() as server, pytest.raises(NotItsCase):
        planned(facts_of(tmp_path, Endpoint("here", server.url, "other")), "here")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("gopher://p:70", "is no kind of proxy"),
        ("http://:3128", "names no host"),
        ("http://ann:s3c/ret@p:3128", "is not percent-encoded"),
        ("http://p:99999", "has no port from 1 to 65535"),
    ],
)
def test_a_malformed_value_is_named_without_its_password(tmp_path, monkeypatch, value, reason):
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(RecoveryRefused) as caught:
        planned(facts_of(tmp_path, Endpoint("hub", "http://hub.test", "other")), "hub")
    assert reason in str(caught.value)
    assert "s3c" not in str(caught.value)


def test_a_login_that_python_programs_do_not_do_is_named_and_nobody_asked(tmp_path, monkeypatch):
    hub = Endpoint("hub", "http://hub.test", "other")
    asked = []
    refusal = "407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate"
    with proxying({}, refusal=refusal) as closed:
        monkeypatch.setenv("http_proxy", closed.url)
        with pytest.raises(RecoveryRefused) as caught:
            planned(facts_of(tmp_path, hub), "hub", asked.append)
    assert "asks for a login by Negotiate" in str(caught.value)
    assert "px or cntlm" in caught.value.next_step
    assert not asked


@pytest.mark.skipif(sys.platform == "win32", reason="git reads HOME there in another way")
def test_a_proxy_of_git_and_one_of_pip_are_candidates_with_their_sources(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[http]\n\tproxy = http://ann:s3cret@of-git.test:1\n")
    # The user's own file: of one that PIP_CONFIG_FILE names, pip 23.0 lists what it does not get.
    own = home / ".config" / "pip" / "pip.conf"
    own.parent.mkdir(parents=True)
    own.write_text("[install]\nproxy = http://ann:s3cret@of-pip.test:2\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    known = facts_of(tmp_path).get(proxy_candidates.read_candidates)
    python = pip_config.interpreter(None)
    assert [each.source for each in known] == [
        f"pip:install.proxy:{python}",
        "git:http.proxy",
    ]
    assert "s3cret" not in repr(known)
    assert [setting_source.value_of(each.source, "") for each in known] == [
        "http://ann:s3cret@of-pip.test:2",
        "http://ann:s3cret@of-git.test:1",
    ]
    for each in known:  # and the printed command reads them from there
        settings = (("MM_X", each.source, "http://***@x"),)
        line = lasting.commands(settings, "linux")[0]
        done = subprocess.run(
            ["sh", "-c", f'{line}; printf %s "$MM_X"'], capture_output=True, text=True, check=True
        )
        assert done.stdout == setting_source.value_of(each.source, "")
