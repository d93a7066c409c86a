"""The loopback Hub speaks the protocol, and keeps a record of what was asked."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import hub_support
import pytest
import requests
from hub_support import (
    API,
    CONFIG,
    FILES,
    REPO,
    RESOLVE,
    WEIGHTS,
    bearer,
    body_of,
    cdn_url,
    dial,
    read_to_end,
    refused,
)

from modelmedic.testing.hub import LoopbackHub


@pytest.fixture
def hub():
    with hub_support.small_hub() as hub:
        yield hub


@pytest.fixture
def web(hub):
    with hub_support.client(hub) as web:
        yield web


# --- the protocol: listing


def test_a_revision_names_its_commit_and_files(hub, web):
    answer = web.get(f"{API}/revision/main").json()
    assert answer["sha"] == hub.commit == hub.repo(REPO).commit
    assert answer["id"] == REPO
    assert [each["rfilename"] for each in answer["siblings"]] == sorted(FILES)
    assert web.get(API).json() == answer


def test_a_commit_is_a_revision_and_follows_from_the_content(hub, web):
    assert web.get(f"{API}/revision/{hub.commit}").json()["sha"] == hub.commit
    assert len(hub.commit) == 40
    other = LoopbackHub()
    assert other.add_repo(REPO, FILES).commit == hub.commit
    assert other.add_repo(REPO, {**FILES, "config.json": b"{}"}).commit != hub.commit


def test_a_repo_has_several_revisions(hub, web):
    hub.add_repo(REPO, {"config.json": b"old"}, revision="refs/pr/1")
    assert web.get(f"/{REPO}/resolve/refs%2Fpr%2F1/config.json").content == b"old"
    assert web.get(f"{RESOLVE}/config.json").content == CONFIG
    old = web.get(f"{API}/revision/refs%2Fpr%2F1").json()["sha"]
    assert web.get(f"/{REPO}/resolve/{old}/config.json").content == b"old"


def test_the_tree_lists_size_and_hashes(web):
    entries = web.get(f"{API}/tree/main?recursive=true").json()
    by_path = {each["path"]: each for each in entries}
    assert list(by_path) == sorted([*FILES, "vae", "vae/deep"])
    assert by_path["vae/deep"]["type"] == "directory"
    small = by_path["config.json"]
    assert small["oid"] == hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()
    assert (small["size"], "lfs" in small) == (len(CONFIG), False)
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize 300000\n"
    ).encode()
    assert by_path["weights.safetensors"] == {
        "type": "file",
        "path": "weights.safetensors",
        "size": 300_000,
        "oid": hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest(),
        "lfs": {"oid": sha256, "size": 300_000, "pointerSize": len(pointer)},
    }


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("", ["config.json", "vae", "weights.safetensors"]),
        ("/vae", ["vae/deep", "vae/notes.txt"]),
        ("/vae?recursive=true", ["vae/deep", "vae/deep/decoder.safetensors", "vae/notes.txt"]),
    ],
)
def test_a_tree_can_be_listed_folder_by_folder(web, query, paths):
    answer = web.get(f"{API}/tree/main{query}")
    assert [each["path"] for each in answer.json()] == paths
    assert "Link" not in answer.headers


def test_a_long_tree_comes_in_pages():
    with LoopbackHub(page_size=2) as hub, requests.Session() as session:
        session.trust_env = False
        hub.add_repo(REPO, FILES)
        url, pages = f"{hub.endpoint}{API}/tree/main?recursive=true&expand=false", []
        while url:
            answer = session.get(url, timeout=10)
            pages.append([each["path"] for each in answer.json()])
            url = answer.links.get("next", {}).get("url")
    assert [len(page) for page in pages] == [2, 2, 2]
    assert [path for page in pages for path in page] == sorted([*FILES, "vae", "vae/deep"])


def test_paths_info_answers_for_the_paths_it_knows(web):
    form = {"paths": ["weights.safetensors", "none", "config.json"], "expand": "false"}
    answer = web("POST", f"{API}/paths-info/main", data=form)
    assert [each["path"] for each in answer.json()] == ["weights.safetensors", "config.json"]


# --- the protocol: files


def test_a_small_file_comes_from_the_hub(hub, web):
    for method in ("HEAD", "GET"):
        answer = web(method, f"{RESOLVE}/config.json", allow_redirects=False)
        assert answer.status_code == 200
        assert answer.headers["X-Repo-Commit"] == hub.commit
        assert answer.headers["Content-Length"] == str(len(CONFIG))
        oid = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()
        assert answer.headers["ETag"] == f'"{oid}"'
        assert answer.content == (CONFIG if method == "GET" else b"")


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_file_in_lfs_is_redirected_to_another_origin(hub, web, method):
    answer = web(method, f"{RESOLVE}/weights.safetensors", allow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["X-Repo-Commit"] == hub.commit
    assert answer.headers["X-Linked-Etag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    assert answer.headers["X-Linked-Size"] == "300000"
    assert answer.headers["ETag"] != answer.headers["X-Linked-Etag"]
    assert answer.headers["Location"].startswith(f"{hub.cdn_endpoint}/")
    assert hub.cdn_endpoint != hub.endpoint


def test_a_file_in_lfs_arrives_whole(web):
    answer = web.get(f"{RESOLVE}/weights.safetensors")
    assert (answer.status_code, answer.content) == (200, WEIGHTS)


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-", 0, 300_000),
        ("bytes=100000-100009", 100_000, 100_010),
        ("bytes=299990-400000", 299_990, 300_000),
        ("bytes=-10", 299_990, 300_000),
        ("BYTES=5-5", 5, 6),
    ],
)
def test_a_range_is_answered_with_the_part(web, asked, first, end):
    answer = web.get(f"{RESOLVE}/weights.safetensors", headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/300000"
    assert answer.headers["Content-Length"] == str(end - first)
    assert answer.content == WEIGHTS[first:end]


def test_head_takes_no_notice_of_a_range(web):
    url = f"{RESOLVE}/config.json"
    answer = web("HEAD", url, headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(len(CONFIG)))


def test_a_large_file_is_in_lfs_whatever_its_name(hub, web):
    hub.add_repo("odd/sizes", {"large.txt": bytes((10 << 20) + 1), "less.txt": bytes(10 << 20)})
    large, less = web.get("/api/models/odd/sizes/tree/main").json()
    assert (large["path"], "lfs" in large, "lfs" in less) == ("large.txt", True, False)


@pytest.mark.parametrize("asked", ["bytes=300000-", "bytes=999999-1000000", "bytes=-0"])
def test_a_range_beyond_the_end_is_416(web, asked):
    answer = web.get(f"{RESOLVE}/weights.safetensors", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["Content-Range"] == "bytes */300000"


@pytest.mark.parametrize(
    "asked", ["bytes=9-5", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=x-"]
)
def test_a_range_that_says_nothing_is_passed_over(web, asked):
    answer = web.get(f"{RESOLVE}/weights.safetensors", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, WEIGHTS)


@pytest.mark.parametrize(("etag", "status"), [("same", 206), ('"another"', 200)])
def test_a_range_of_another_version_is_answered_with_the_whole_file(web, etag, status):
    same = f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    headers = {"Range": "bytes=5-9", "If-Range": same if etag == "same" else etag}
    assert web.get(f"{RESOLVE}/weights.safetensors", headers=headers).status_code == status


def test_the_content_network_wants_its_signature_and_no_token(web):
    url = cdn_url(web)
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(url, timeout=10).content == WEIGHTS
        assert session.get(url.partition("?")[0], timeout=10).status_code == 403
        leaked = session.get(url, headers=bearer(LoopbackHub.token), timeout=10)
        assert leaked.status_code == 400


@pytest.mark.parametrize(
    "name",
    ["with space.txt", "größe #1?.txt", "line\nbreak.json", "<script>.safetensors", "%41.txt"],
)
def test_any_file_name_is_served(hub, web, name):
    hub.add_repo("odd/names", {name: b"content"})
    (entry,) = web.get("/api/models/odd/names/tree/main?recursive=true").json()
    assert entry["path"] == name
    assert web.get(f"/odd/names/resolve/main/{quote(name, safe='')}").content == b"content"


def test_files_on_disk_are_served_and_not_held_in_memory(hub, web, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(WEIGHTS)
    hub.add_repo("local", {"model.safetensors": path, "config.json": path})
    assert web.get("/local/resolve/main/model.safetensors").content == WEIGHTS
    assert web.get("/local/resolve/main/config.json").content == WEIGHTS
    path.write_bytes(WEIGHTS[:1000])
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="1000 bytes read"):
        web.get("/local/resolve/main/config.json")
    path.unlink()
    assert web.get("/local/resolve/main/config.json").status_code == 500


# --- the protocol: who may


def test_what_is_not_there_is_named_in_the_headers(hub, web):
    assert refused(web.get("/api/models/no/such/revision/main")) == (401, "RepoNotFound")
    known = web.get("/api/models/no/such/revision/main", headers=bearer(hub.token))
    assert refused(known) == (404, "RepoNotFound")
    assert refused(web.get(f"{API}/revision/v9")) == (404, "RevisionNotFound")
    assert refused(web.get(f"{API}/tree/v9")) == (404, "RevisionNotFound")
    assert refused(web.get(f"{API}/tree/main/no/folder")) == (404, "EntryNotFound")
    assert refused(web.get(f"/{REPO}/resolve/v9/config.json")) == (404, "RevisionNotFound")
    missing = web.get(f"{RESOLVE}/none.json")
    assert refused(missing) == (404, "EntryNotFound")
    assert missing.headers["X-Repo-Commit"] == hub.commit
    assert missing.headers["X-Error-Message"] == "Entry not found: none.json"
    assert "none.json" in missing.json()["error"]
    hostile = web.get(f"{RESOLVE}/none%0D%0ASet-Cookie:%20a=b")
    assert hostile.headers["X-Error-Message"] == "Entry not found: none%0D%0ASet-Cookie%3A a%3Db"
    assert "Set-Cookie" not in hostile.headers
    assert refused(web("POST", f"{API}/paths-info/v9")) == (404, "RevisionNotFound")
    assert refused(web.get("/nothing/of/the/kind")) == (404, None)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (None, (401, "GatedRepo")),
        (LoopbackHub.outsider_token, (403, "GatedRepo")),
        ("hf_unknown", (401, None)),
        (LoopbackHub.token, (200, None)),
    ],
)
def test_a_gated_repo_is_read_by_members_only(hub, web, token, expected):
    headers = bearer(token) if token else {}
    for path in ("weights.safetensors", "config.json"):
        answer = web.get(f"/someone/gated/resolve/main/{path}", headers=headers)
        assert refused(answer) == expected
        assert (answer.content == FILES[path]) is (expected[0] == 200)
    assert refused(web.get("/api/models/someone/gated/auth-check", headers=headers)) == expected
    if token != "hf_unknown":
        assert web.get("/api/models/someone/gated", headers=headers).json()["gated"] == "manual"


def test_whoami_tells_the_tokens_apart(hub, web):
    def name(token):
        return web.get("/api/whoami-v2", headers=bearer(token)).json().get("name")

    assert (name(hub.token), name(hub.outsider_token)) == ("member", "outsider")
    assert web.get("/api/whoami-v2").status_code == 401
    unknown = web.get("/api/whoami-v2", headers=bearer("hf_unknown"))
    assert unknown.headers["X-Error-Message"] == "Invalid credentials in Authorization header"


def test_a_token_may_be_checked_against_a_repo(hub, web):
    assert web.get(f"{API}/auth-check").status_code == 200
    assert refused(web.get("/api/models/no/such/auth-check")) == (401, "RepoNotFound")


# --- the record


def test_requests_are_recorded_in_order(hub, web):
    web.get(f"{RESOLVE}/weights.safetensors", headers={"Range": "bytes=0-9", **bearer(hub.token)})
    first, second = hub.requests
    assert (first.side, first.method, first.path) == (
        "hub",
        "GET",
        f"{RESOLVE}/weights.safetensors",
    )
    assert (first.authorization, first.status, first.range) == (True, 302, "bytes=0-9")
    assert (second.side, second.status, second.bytes_sent) == ("cdn", 206, 10)
    assert not second.authorization
    hub.clear()
    assert hub.requests == ()


def test_a_body_that_is_too_large_is_refused(web, hub):
    with dial(hub.endpoint + API, "Content-Length: 99999999") as connection:
        head, _ = body_of(read_to_end(connection)[0])
    assert head.startswith("HTTP/1.1 413")
