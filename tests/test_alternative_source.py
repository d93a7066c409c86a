"""AlternativeSource in real runs: the log of the other server shows that it was contacted."""

from __future__ import annotations

import hashlib
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from demo_support import SHORT_WAITS, Desk
from network_support import Reply, calm, serving
from support import CHECKOUT

from modelmedic.testing.conformance import prepare_demo
from modelmedic.testing.hub import DEMO_REPO, Fault, LoopbackHub, demo_hub
from modelmedic.testing.specimens import demo_files

NAME = "diffusion_pytorch_model-00002-of-00003.safetensors"
SHARD = f"model/{NAME}"
GONE = "http://hub.test"  # a name without an address
TOKEN = "hf_" + "OfTheFirstHub".ljust(34, "x")
SOURCE = """
[[models.sources]]
kind = "{kind}"
repo = "modelmedic/demo"
revision = "{revision}"
endpoint = "other"
"""
ENDPOINT = """
[[endpoints]]
name = "other"
url = "{url}"
kind = "{kind}"
required = false
"""


@pytest.fixture(autouse=True)
def calm_network(monkeypatch):
    calm(monkeypatch)


@pytest.fixture
def desk(tmp_path):
    folder = tmp_path / "desk"
    folder.mkdir()
    prepare_demo(folder / "demo-install")
    (folder / "demo-install" / SHARD).unlink()
    return Desk(folder, first=SHORT_WAITS)


def profile(desk, first, other, kind):
    """Write the demo profile with its Hub at ``first`` and a second source at ``other``."""
    text = (CHECKOUT / "profiles" / "demo.toml").read_text(encoding="utf-8")
    text = text.replace('"embedded:demo"', f'"{first}"').replace('"demo"', '"two"', 1)
    text = re.sub(r'install_dir = "[^"]*"\n', "", text)
    text = text.replace(
        "[[endpoints]]", ENDPOINT.format(url=other, kind=kind) + "\n[[endpoints]]", 1
    )
    revision = "main" if kind == "hub" else "master"
    source = SOURCE.format(kind=kind, revision=revision)
    text = text.replace("[[models.files]]", source + "\n[[models.files]]", 1)
    path = desk.folder.parent / "two.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def run(desk, path, *options, only="weights", **env):
    desk.env = env
    return desk.run(
        f"--install-dir={desk.install}", "--stage=installed", "-k", only, *options, profile=path
    )


def static(seen):
    """Answer as a plain server of files that knows nothing of the Hub's headers."""
    name = urlsplit(seen.target).path.rpartition("/resolve/main/")[2]
    return _file(name, seen)


def modelscope(seen):
    """Answer as ModelScope does: the listing of a repo, and one file by its path."""
    parts = urlsplit(seen.target)
    if parts.path.endswith("/repo/files"):
        return Reply(200, b'{"Code": 200, "Data": {"Files": []}}')
    if not parts.path.endswith(f"/api/v1/models/{DEMO_REPO}/repo"):
        return Reply(404)
    return _file(parse_qs(parts.query)["FilePath"][0], seen)


def _file(name, seen):
    data = demo_files().get(name)
    if data is None:
        return Reply(404)
    told = re.fullmatch(r"bytes=(\d+)-", seen.headers.get("range", ""))
    if not told:
        return Reply(200, data)
    start = int(told[1])
    return Reply(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})


def is_proven(desk):
    found = hashlib.sha256((desk.install / SHARD).read_bytes()).digest()
    return found == hashlib.sha256(demo_files()[NAME]).digest()


def attempts(finding):
    return [(each["recovery"], each["verdict"]) for each in finding["attempts"]]


@pytest.mark.once
@pytest.mark.parametrize("kind", ["hub", "modelscope", "plain"])
def test_an_erring_first_source_is_left_for_the_other_server(desk, kind):
    with (
        LoopbackHub() as first,
        demo_hub() as hub,
        serving(modelscope if kind == "modelscope" else static) as plain,
    ):
        first.fault("", Fault(status=503), times=None)
        other = hub.endpoint if kind == "hub" else plain.url
        path = profile(desk, GONE, other, "modelscope" if kind == "modelscope" else "hub")
        healed = run(desk, path, "--heal", HF_ENDPOINT=first.endpoint, HF_TOKEN=TOKEN)
        finding = healed.finding(f"weights.present[{SHARD}]")
        assert finding["outcome"] == "healed", finding
        assert attempts(finding)[-1] == ("fetch_from_alternative_source", "healed")
        assert ("refetch_model_file", "failed") in attempts(finding)
        assert is_proven(desk)
        if kind == "hub":
            contacted = [r.path for r in hub.requests if r.method == "GET"]
            with_token = [r for r in hub.requests if r.authorization]
        else:
            contacted = [seen.target for seen in plain.seen]
            with_token = [seen for seen in plain.seen if "authorization" in seen.headers]
        assert any(NAME in target for target in contacted), contacted
        assert not with_token
        # The token goes to the Hub it belongs to, so its absence above means something.
        assert any(record.authorization for record in first.requests)


@pytest.mark.once
def test_another_hub_stands_in_for_a_lost_one_for_this_run(desk):
    with demo_hub() as mirror:
        path = profile(desk, GONE, mirror.endpoint, "hub")
        healed = run(desk, path, "--heal", only="network or weights", HF_TOKEN=TOKEN)
        finding = healed.finding("network.dns[demo-hub]")
        assert finding["outcome"] == "degraded", finding
        assert attempts(finding)[-1] == ("use_alternative_endpoint", "degraded")
        assert f"export HF_ENDPOINT={mirror.endpoint}" in finding["next"]
        assert "the saved token is not sent there" in finding["what"]
        assert healed.finding("network.hub-access[demo-hub]")["outcome"] == "passed"
        assert healed.finding(f"weights.present[{SHARD}]")["outcome"] == "healed"
        assert healed.code == 0, healed.out
        assert is_proven(desk)
        assert any(NAME in record.path for record in mirror.requests if record.method == "GET")
        assert not [record for record in mirror.requests if record.authorization]
        closing = json.loads((healed.folder / "closing" / "report.json").read_text())
        outcomes = {each["check"]: each["outcome"] for each in closing["findings"]}
        assert outcomes["network.dns[demo-hub]"] == "degraded"


@pytest.mark.once
def test_a_modelscope_that_has_the_models_makes_a_lost_hub_a_stated_loss(desk):
    with serving(modelscope) as server:
        path = profile(desk, GONE, server.url, "modelscope")
        healed = run(desk, path, "--heal", only="network or weights")
        finding = healed.finding("network.dns[demo-hub]")
        assert finding["outcome"] == "degraded", finding
        assert "'other' has the same models" in finding["what"]
        assert f"modelscope download --model {DEMO_REPO}" in finding["next"]
        assert healed.finding(f"weights.present[{SHARD}]")["outcome"] == "healed"
        assert healed.code == 0, healed.out
        assert is_proven(desk)
        assert any(NAME in seen.target for seen in server.seen)
