"""The saved token and the Hub's repos, against a Hub on loopback."""

from __future__ import annotations

import pytest
from network_support import Reply, calm, endpoint, serving
from support import make_facts, make_profile

from modelmedic.errors import CannotTell
from modelmedic.facts import hub_access, network
from modelmedic.profile.model import ModelFile, ModelRepo, ModelSource
from modelmedic.testing.hub import Fault, LoopbackHub

SOURCE = ModelSource("hub", "acme/model", "main", "hub")
MODEL = ModelRepo(
    "model",
    (".",),
    "native",
    (ModelFile("config.json", 2), ModelFile("a.safetensors", 5000)),
    (SOURCE,),
)


@pytest.fixture(autouse=True)
def _calm(monkeypatch, tmp_path):
    calm(monkeypatch)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture
def hub(monkeypatch):
    """A Hub that HF_ENDPOINT names, so that a saved token belongs to it."""
    with LoopbackHub() as server:
        server.add_repo("acme/model", {"config.json": b"{}", "a.safetensors": b"w" * 5000})
        server.add_repo("acme/gated", {"a.safetensors": b"w" * 5000}, gated=True)
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def book(tmp_path, url="https://hub.invalid"):
    place = endpoint(url, name="hub", kind="hub")
    profile = make_profile(endpoints=(place,), models=(MODEL,))
    return make_facts(tmp_path, profile), place


def token(tmp_path):
    return book(tmp_path)[0].get(hub_access.read_token)


def ask(tmp_path, source=SOURCE, file="a.safetensors", url="https://hub.invalid"):
    facts, place = book(tmp_path, url)
    return facts.get(hub_access.read_repo, place, source, file)


def test_without_a_token_nothing_is_sent(hub, tmp_path):
    assert token(tmp_path).verdict == "absent"
    assert hub.requests == ()


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
def test_a_token_in_a_variable_is_accepted(hub, tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, f" {hub.token}\n")
    fact = token(tmp_path)
    assert (fact.verdict, fact.where) == ("accepted", f"the variable {variable}")
    assert [(r.path, r.authorization) for r in hub.requests] == [("/api/whoami-v2", True)]


@pytest.mark.parametrize("place", ["HF_HOME", "HF_TOKEN_PATH", "XDG_CACHE_HOME"])
def test_a_token_in_a_file_is_found_where_clients_find_it(hub, tmp_path, monkeypatch, place):
    path = {
        "HF_HOME": tmp_path / "hf" / "token",
        "HF_TOKEN_PATH": tmp_path / "mine",
        "XDG_CACHE_HOME": tmp_path / "xdg" / "huggingface" / "token",
    }[place]
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(hub.token + "\n")
    if place == "XDG_CACHE_HOME":
        monkeypatch.delenv("HF_HOME")
        monkeypatch.setenv(place, str(tmp_path / "xdg"))
    elif place == "HF_TOKEN_PATH":
        monkeypatch.setenv(place, str(path))
    fact = token(tmp_path)
    assert (fact.verdict, fact.where) == ("accepted", f"the file {path}")


def test_a_token_the_hub_does_not_know_is_refused_and_never_told(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_expiredSecret")
    fact = token(tmp_path)
    assert (fact.verdict, fact.status) == ("refused", 401)
    assert "expiredSecret" not in repr(fact)


@pytest.mark.parametrize("value", ["hf_a b", "hf_\x1b[31m", "hf_ü", '"hf_x y"'])
def test_a_token_that_is_none_is_not_sent(hub, tmp_path, monkeypatch, value):
    monkeypatch.setenv("HF_TOKEN", value)
    fact = token(tmp_path)
    assert fact.verdict == "malformed"
    assert value not in repr(fact)
    assert hub.requests == ()


def test_a_token_clients_are_told_not_to_send_is_not_sent(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert token(tmp_path).verdict == "unused"
    assert not ask(tmp_path).is_token_sent
    assert not any(r.authorization for r in hub.requests)


def test_a_token_is_not_sent_in_plain_http_to_another_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.invalid")
    assert token(tmp_path).verdict == "not-sent"


def test_a_token_belongs_to_the_default_hub_and_not_to_the_profiles(tmp_path, monkeypatch):
    with LoopbackHub() as other:
        other.add_repo("acme/model", {"a.safetensors": b"w" * 5000})
        monkeypatch.setenv("HF_TOKEN", other.token)
        facts, place = book(tmp_path, other.endpoint)
        assert not hub_access.is_at_home(place)
        fact = facts.get(hub_access.read_repo, place, SOURCE, "a.safetensors")
        assert not fact.is_token_sent
        assert not any(r.authorization for r in other.requests)


def test_a_token_file_that_is_a_folder_is_an_unknown(hub, tmp_path):
    (tmp_path / "hf" / "token").mkdir(parents=True)
    with pytest.raises(CannotTell, match="token file"):
        token(tmp_path)


@pytest.mark.parametrize("status", [403, 404, 429, 500])
def test_other_answers_about_a_token_are_unclear(hub, tmp_path, monkeypatch, status):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    hub.fault("whoami", Fault(status=status))
    fact = token(tmp_path)
    assert (fact.verdict, fact.status) == ("unclear", status)


def test_a_login_page_does_not_accept_a_token(tmp_path, monkeypatch):
    with serving(Reply(200, b"<html>")) as portal:
        monkeypatch.setenv("HF_ENDPOINT", portal.url)
        monkeypatch.setenv("HF_TOKEN", "hf_x")
        assert token(tmp_path).verdict == "unclear"


def test_a_public_repo_names_its_storage_and_no_byte_of_it_is_fetched(hub, tmp_path):
    fact = ask(tmp_path)
    assert (fact.answer.status, fact.has_commit, fact.has_etag) == (302, True, True)
    assert fact.storage == hub.cdn_endpoint
    assert [(r.method, r.side) for r in hub.requests] == [("HEAD", "hub")]


def test_the_biggest_file_is_asked_for():
    assert network.samples(
        endpoint("https://h.invalid", name="hub"), make_profile(models=(MODEL,))
    ) == ((SOURCE, "a.safetensors"),)


@pytest.mark.parametrize(
    ("source", "file", "code"),
    [
        (ModelSource("hub", "acme/none", "main", "hub"), "a.safetensors", "RepoNotFound"),
        (ModelSource("hub", "acme/model", "v9", "hub"), "a.safetensors", "RevisionNotFound"),
        (SOURCE, "none.safetensors", "EntryNotFound"),
        (ModelSource("hub", "acme/gated", "main", "hub"), "a.safetensors", "GatedRepo"),
    ],
)
def test_the_hubs_reason_is_kept(hub, tmp_path, source, file, code):
    fact = ask(tmp_path, source, file)
    assert fact.answer.error_code == code
    assert fact.answer.status in {401, 403, 404}


def test_an_accepted_token_opens_a_gated_repo(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    fact = ask(tmp_path, ModelSource("hub", "acme/gated", "main", "hub"))
    assert (fact.answer.status, fact.is_token_sent) == (302, True)


def test_a_refused_token_is_not_sent_to_the_repos(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    fact = ask(tmp_path)
    assert (fact.answer.status, fact.is_token_sent) == (302, False)
    assert [r.authorization for r in hub.requests if "resolve" in r.path] == [False]


def test_a_redirect_on_the_same_server_is_followed_with_the_token_another_is_not(
    tmp_path, monkeypatch
):
    with serving() as storage:

        def answer(seen):
            if seen.target == "/api/whoami-v2":
                return Reply(200, b'{"name": "ann"}')
            if seen.target.startswith("/acme/model/resolve"):
                return Reply(307, b"", {"Location": "/cache/a?x=1"})
            headers = {"Location": f"{storage.url}/blob", "X-Repo-Commit": "c", "ETag": "e"}
            return Reply(302, b"", headers)

        with serving(answer) as server:
            monkeypatch.setenv("HF_ENDPOINT", server.url)
            monkeypatch.setenv("HF_TOKEN", "hf_mine")
            fact = ask(tmp_path)
            assert (fact.storage, fact.has_commit) == (storage.url, True)
            assert [seen.target for seen in server.seen][-1] == "/cache/a?x=1"
            assert all(seen.headers["authorization"] == "Bearer hf_mine" for seen in server.seen)
            assert storage.seen == []


def test_a_hub_that_stops_answering_is_an_unknown(tmp_path, monkeypatch):
    with LoopbackHub() as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.endpoint)
    with pytest.raises(CannotTell, match="acme/model"):
        ask(tmp_path)
