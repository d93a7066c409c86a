"""The places pip takes packages from: asked from a real pip, tried against real servers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trustme
from network_support import (
    Reply,
    calm,
    proxying,
    refusing_port,
    server_context,
    serving,
)
from support import make_facts

from modelmedic.errors import CannotTell
from modelmedic.facts import package_index, pip_config

SIMPLE_HTML = Reply(
    200, b'<!DOCTYPE html><a href="pip-1.whl#sha256=0">pip</a>', {"Content-Type": "text/html"}
)
SIMPLE_JSON = Reply(
    200, b'{"meta": {}, "files": []}', {"Content-Type": "application/vnd.pypi.simple.v1+json"}
)


@pytest.fixture(autouse=True)
def _own_pip(monkeypatch):
    """pip is configured by the test alone."""
    import os

    calm(monkeypatch)
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def read(tmp_path, **overrides):
    values = {"target_python": Path(sys.executable)} | overrides
    return make_facts(tmp_path, **values).get(package_index.read_index)


def place_of(tmp_path):
    (place,) = read(tmp_path).places
    return place


# --- what pip is configured with -----------------------------------------------------------------


def test_pips_list_is_read_with_its_escapes_and_other_lines_are_passed_over():
    text = (
        "WARNING: something = else\n"
        "global.index-url='https://a.example/simple'\n"
        "global.extra-index-url='\\nhttps://b.example/simple\\nhttps://c.example/simple'\n"
        "install.find_links='/srv/with \\'quote'\n"
        ":env:.no-index='true'\n"
        "evil.value=__import__('os').getcwd()\n"
        "number.value=3\n"
        "no-section='x'\n"
    )
    assert pip_config.parse_list(text) == {
        "global.index-url": "https://a.example/simple",
        "global.extra-index-url": "\nhttps://b.example/simple\nhttps://c.example/simple",
        "install.find-links": "/srv/with 'quote",
        ":env:.no-index": "true",
    }


def test_install_wins_over_global_and_the_environment_over_both():
    found = {
        "global.index-url": "https://g.example",
        "install.index-url": "https://i.example",
        "global.cert": "/g.pem",
        ":env:.cert": "/e.pem",
        "global.find-links": "/a /b",
        "install.find-links": "/c",
        "download.index-url": "https://d.example",
        "global.trusted-host": "a.example\nb.example",
    }
    settings = pip_config.settings(found)
    assert settings.index_url == "https://i.example"
    assert settings.cert == "/e.pem"
    assert settings.find_links == ("/c",)  # lists are replaced, as pip does
    assert settings.trusted_hosts == ("a.example", "b.example")
    assert not settings.is_no_index


def test_without_configuration_it_is_pips_own_default():
    settings = pip_config.settings({})
    assert (settings.index_url, settings.is_index_configured) == (pip_config.DEFAULT_INDEX, False)


def test_settings_with_a_password_never_show_it():
    settings = pip_config.settings({"global.index-url": "https://ann:secret@a.example/simple"})
    assert "secret" not in repr(settings)


def test_a_real_pip_reads_files_and_environment(tmp_path, monkeypatch):
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://g.example/simple\nno-index = true\n[install]\nfind-links =\n  /a\n  /b\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_CERT", "/e.pem")
    found = pip_config.ask(Path(sys.executable), 20)
    assert (found.find_links, found.is_no_index, found.cert) == (("/a", "/b"), True, "/e.pem")


def test_a_broken_configuration_is_an_unknown_with_pips_reason(tmp_path, monkeypatch):
    config = tmp_path / "pip.conf"
    config.write_text("no section\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    with pytest.raises(CannotTell, match="does not tell its configuration"):
        read(tmp_path)


def test_an_interpreter_without_pip_is_an_unknown(tmp_path):
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = next((tmp_path / "bare").glob("[bS]*/python*"))
    with pytest.raises(CannotTell, match="No module named pip"):
        read(tmp_path, target_python=python)


def test_an_interpreter_that_is_gone_is_an_unknown(tmp_path):
    with pytest.raises(CannotTell, match="could not be started"):
        read(tmp_path, target_python=tmp_path / "gone" / "python")


def test_without_a_target_our_own_pip_is_asked_and_that_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    fact = read(tmp_path, target_python=None)
    assert (fact.is_target, fact.is_no_index, fact.places) == (False, True, ())


# --- the places ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [SIMPLE_HTML, SIMPLE_JSON])
def test_an_index_is_asked_for_pip_and_answers_as_one(tmp_path, monkeypatch, page):
    with serving(page) as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        place = place_of(tmp_path)
        assert (place.role, place.answers_as_index, place.status) == ("index", True, 200)
        assert [seen.target for seen in server.seen] == ["/simple/pip/"]


@pytest.mark.parametrize(
    "page",
    [
        Reply(200, b"<html><form>Sign in</form></html>", {"Content-Type": "text/html"}),
        Reply(200, b"welcome"),
        Reply(404, b"<a href=x>no</a>", {"Content-Type": "text/html"}),
        Reply(503),
    ],
)
def test_a_page_that_lists_nothing_is_no_index(tmp_path, monkeypatch, page):
    with serving(page) as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.url)
        place = place_of(tmp_path)
        assert (place.answers_as_index, place.status) == (False, page.status)


def test_credentials_of_the_url_go_to_the_server_and_nowhere_else(tmp_path, monkeypatch):
    with serving(SIMPLE_HTML) as server:
        url = f"http://ann:p%40ss@127.0.0.1:{server.port}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", url)
        fact = read(tmp_path)
        (place,) = fact.places
        assert place.shown == f"http://***@127.0.0.1:{server.port}/simple"
        assert place.has_credentials
        assert "ann" not in repr(fact)
        assert server.seen[0].headers["authorization"] == "Basic YW5uOnBAc3M="


def test_a_redirect_within_the_index_is_followed(tmp_path, monkeypatch):
    def answer(seen):
        moved = Reply(301, b"", {"Location": "/moved/pip/"})
        return SIMPLE_HTML if seen.target == "/moved/pip/" else moved

    with serving(answer) as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        assert place_of(tmp_path).answers_as_index


def test_a_redirect_to_plain_http_elsewhere_is_not_followed(tmp_path, monkeypatch):
    with (
        serving(SIMPLE_HTML) as other,
        serving(Reply(302, b"", {"Location": other.url})) as server,
    ):
        monkeypatch.setenv("PIP_INDEX_URL", f"http://ann:secret@127.0.0.1:{server.port}")
        place = place_of(tmp_path)
        assert (place.redirect, place.answers_as_index) == (other.url, False)
        assert other.seen == []


def test_a_redirect_over_tls_elsewhere_is_followed_without_the_credentials(tmp_path, monkeypatch):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "root.pem")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "root.pem"))
    tls = server_context(authority.issue_cert("127.0.0.1"))
    with serving(SIMPLE_HTML, tls) as other:
        to = Reply(302, b"", {"Location": f"{other.url}/simple/pip/"})
        with serving(to) as server:
            monkeypatch.setenv("PIP_INDEX_URL", f"http://ann:secret@127.0.0.1:{server.port}")
            assert place_of(tmp_path).answers_as_index
            assert "authorization" in server.seen[0].headers
            assert "authorization" not in other.seen[0].headers


def test_pips_cert_is_what_the_index_is_verified_with(tmp_path, monkeypatch):
    authority = trustme.CA()
    tls = server_context(authority.issue_cert("127.0.0.1"))
    authority.cert_pem.write_to_path(tmp_path / "root.pem")
    with serving(SIMPLE_HTML, tls) as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.url)
        assert place_of(tmp_path).failure.kind == "untrusted"
        monkeypatch.setenv("PIP_CERT", str(tmp_path / "root.pem"))
        assert place_of(tmp_path).answers_as_index
        monkeypatch.setenv("PIP_CERT", str(tmp_path / "gone.pem"))
        assert place_of(tmp_path).failure.kind == "bad-trust-store"


def test_pips_own_proxy_is_used(tmp_path, monkeypatch):
    with serving(SIMPLE_HTML) as server, proxying({"index.invalid": server.port}) as proxy:
        monkeypatch.setenv("PIP_INDEX_URL", "http://index.invalid/simple")
        monkeypatch.setenv("PIP_PROXY", f"http://ann:secret@127.0.0.1:{proxy.port}")
        fact = read(tmp_path)
        assert fact.places[0].answers_as_index
        assert fact.places[0].is_plain_http
        assert fact.proxy == f"http://***@127.0.0.1:{proxy.port}"
        assert "secret" not in repr(fact)


def test_an_index_that_is_down_is_a_failure_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"http://ann:secret@127.0.0.1:{refusing_port()}/simple")
    fact = read(tmp_path)
    assert fact.places[0].failure.kind == "refused"
    assert "secret" not in repr(fact)


@pytest.mark.parametrize("url", ["http://ann:secret@[::1/simple", "http://ann:sec ret@/"])
def test_a_url_that_is_none_is_a_failure_without_its_password(tmp_path, monkeypatch, url):
    monkeypatch.setenv("PIP_INDEX_URL", url)
    fact = read(tmp_path)
    assert fact.places[0].failure is not None
    assert "secret" not in repr(fact)


def test_every_place_is_told_in_its_role(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    page = tmp_path / "page.html"
    page.write_text("<a href='x'>x</a>")
    with serving(SIMPLE_HTML) as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.url)
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{server.url}/extra {wheels.as_uri()}")
        links = [str(wheels), page.as_uri(), str(tmp_path / "gone"), "svn+ssh://x.invalid/y"]
        monkeypatch.setenv("PIP_FIND_LINKS", " ".join([*links, f"{server.url}/links"]))
        monkeypatch.setenv("PIP_TRUSTED_HOST", "x.invalid")
        fact = read(tmp_path)
    told = [(p.role, p.kind, p.failure.kind if p.failure else "") for p in fact.places]
    assert told == [
        ("index", "http", ""),
        ("extra index", "http", ""),
        ("extra index", "local", ""),
        ("find-links", "local", ""),
        ("find-links", "local", ""),
        ("find-links", "local", "missing"),
        ("find-links", "local", "unsupported"),
        ("find-links", "http", ""),
    ]
    assert fact.trusted_hosts == ("x.invalid",)
    assert {seen.target for seen in server.seen} == {"/pip/", "/extra/pip/", "/links"}


def test_a_place_that_cannot_be_looked_into_is_a_failure_and_never_a_hang(tmp_path, monkeypatch):
    import os

    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path}/fifo {'x' * 300}")
    kinds = [place.failure.kind for place in read(tmp_path).places]
    assert kinds == ["unsupported", "unreadable"]


def test_no_index_leaves_only_find_links(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "https://never.invalid")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert [place.role for place in read(tmp_path).places] == ["find-links"]
