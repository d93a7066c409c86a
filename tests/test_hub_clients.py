"""The real huggingface_hub, as of today and as Wan 2.2 pins it, works against the loopback Hub."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import hub_support
import pytest
from support import PYTHON, child_env

from modelmedic.testing.hub import DEMO_REPO, Fault, LoopbackHub, demo_hub
from modelmedic.testing.specimens import demo_files, seeded_bytes

OLD = "0.36.2"  # the newest that transformers 4.51.3 accepts, and so what a Wan 2.2 venv gets
DOWNLOAD = """
import json, sys, warnings
warnings.simplefilter("ignore")
import huggingface_hub
try:
    folder = huggingface_hub.snapshot_download(sys.argv[1], revision=sys.argv[2])
except Exception as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error)}))
else:
    print(json.dumps({"folder": folder, "version": huggingface_hub.__version__}))
"""
WHO = "import huggingface_hub; print(huggingface_hub.whoami()['name'])"
HAS_VERIFY = int(importlib.metadata.version("huggingface_hub").partition(".")[0]) >= 2
SHARD_2 = "diffusion_pytorch_model-00002-of-00003.safetensors"


class Client:
    """A Python that has huggingface_hub, and a home of its own for it."""

    def __init__(self, python: str, home: Path) -> None:
        self.python, self.home = python, home

    def environment(self, hub, token=None):
        own = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        env = {k: v for k, v in child_env().items() if not k.startswith(("HF_", "HUGGING"))}
        return {**env, **own, **({"HF_TOKEN": token} if token else {})}

    def run(self, hub, *arguments, token=None):
        return subprocess.run(
            [str(each) for each in arguments],
            env=self.environment(hub, token),
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def download(self, hub, repo=DEMO_REPO, revision="main", **options):
        done = self.run(hub, self.python, "-c", DOWNLOAD, repo, revision, **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def verify(self, hub, repo=DEMO_REPO):
        hf = Path(self.python).with_name("hf.exe" if sys.platform == "win32" else "hf")
        return self.run(hub, hf, "cache", "verify", repo)


@pytest.fixture
def hub():
    with demo_hub() as hub:
        yield hub


@pytest.fixture(scope="session")
def old_python(tmp_path_factory):
    """Make an environment with the older huggingface_hub; skip if no registry answers."""
    venv = tmp_path_factory.mktemp("old") / "venv"
    subprocess.run([PYTHON, "-m", "venv", str(venv)], check=True, timeout=110, env=child_env())
    python = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, f"huggingface_hub=={OLD}"],
        env=child_env(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"pip cannot install huggingface_hub {OLD}: {done.stderr.strip()[-300:]}")
    return str(python)


@pytest.fixture(
    params=["ours", pytest.param("old", marks=[pytest.mark.network, pytest.mark.timeout(300)])]
)
def client(request, tmp_path):
    (tmp_path / "home").mkdir()
    python = PYTHON if request.param == "ours" else request.getfixturevalue("old_python")
    return Client(python, tmp_path / "home")


def content_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_a_snapshot_arrives_whole(hub, client):
    answer = client.download(hub)
    expected = importlib.metadata.version("huggingface_hub") if client.python == PYTHON else OLD
    assert answer["version"] == expected
    assert content_of(answer["folder"]) == demo_files()
    assert Path(answer["folder"]).name == hub.commit
    assert {each.side for each in hub.requests} == {"hub", "cdn"}


def test_a_commit_is_fetched_as_a_revision(hub, client):
    assert Path(client.download(hub, revision=hub.commit)["folder"]).name == hub.commit


def test_a_tree_in_pages_is_followed_to_its_end(client):
    with LoopbackHub(page_size=2) as hub:
        hub.add_repo(DEMO_REPO, demo_files())
        hub.fault("hub GET /api/models/[^?]*/revision/", no_siblings(hub), times=None)
        assert content_of(client.download(hub)["folder"]) == demo_files()
        assert sum("/tree/" in each.path for each in hub.requests) == 5


def no_siblings(hub):
    """The older client asks for the tree only if the revision lists no files."""
    body = json.dumps({"id": DEMO_REPO, "sha": hub.commit}).encode()
    return Fault(status=200, headers={"Content-Type": "application/json"}, body=body)


def test_a_gated_repo_needs_the_token_and_the_token_stays_at_home(client):
    with hub_support.small_hub() as hub:
        assert client.download(hub, "someone/gated")["error"] == "GatedRepoError"
        outsider = client.download(hub, "someone/gated", token=hub.outsider_token)
        assert outsider["error"] == "GatedRepoError"
        hub.clear()
        answer = client.download(hub, "someone/gated", token=hub.token)
        assert content_of(answer["folder"]) == hub_support.FILES
        assert {each.authorization for each in hub.requests if each.side == "hub"} == {True}
        assert {each.authorization for each in hub.requests if each.side == "cdn"} == {False}


def test_errors_have_the_class_that_the_header_names(hub, client):
    assert client.download(hub, "no/such")["error"] == "RepositoryNotFoundError"
    assert client.download(hub, revision="v9")["error"] == "RevisionNotFoundError"


def test_whoami_knows_the_token(hub, client):
    done = client.run(hub, client.python, "-c", WHO, token=hub.token)
    assert done.stdout.strip() == "member", done.stderr


def test_a_short_body_is_noticed_by_the_client(hub, client):
    hub.fault(f"cdn GET .*{SHARD_2}", Fault(short_body_bytes=1000), times=None)
    answer = client.download(hub)
    assert answer["error"] == "OSError"
    assert "Consistency check failed" in answer["text"]


def test_a_flipped_byte_is_not_noticed_by_the_client(hub, client):
    """This is why modelmedic hashes what it fetches."""
    hub.fault(f"cdn GET .*{SHARD_2}", Fault(flip_byte_at=1_000_000))
    got = content_of(client.download(hub)["folder"])
    assert {path for path, content in demo_files().items() if got[path] != content} == {SHARD_2}


@pytest.mark.skipif(not HAS_VERIFY, reason="hf cache verify came with huggingface_hub 1")
def test_hf_cache_verify_accepts_the_snapshot_and_finds_the_damage(hub, tmp_path):
    (tmp_path / "home").mkdir()
    client = Client(PYTHON, tmp_path / "home")
    folder = Path(client.download(hub)["folder"])
    done = client.verify(hub)
    assert done.returncode == 0, done.stderr
    assert "Verified 8 file(s)" in done.stdout
    blob = (folder / SHARD_2).resolve()
    content = bytearray(blob.read_bytes())
    content[500_000] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    done = client.verify(hub)
    assert done.returncode == 1
    assert SHARD_2 in done.stdout + done.stderr


@pytest.mark.skipif(not HAS_VERIFY, reason="0.36 gives up at the first close")
def test_a_close_in_the_middle_makes_the_client_ask_for_the_rest(hub, tmp_path):
    """It keeps what came in whole pieces of 10 MB."""
    (tmp_path / "home").mkdir()
    files = {"big.safetensors": seeded_bytes("big", 15_000_000)}
    hub.add_repo("someone/big", files)
    hub.fault("cdn GET", Fault(cut_after_bytes=14_000_000))
    answer = Client(PYTHON, tmp_path / "home").download(hub, "someone/big")
    assert content_of(answer["folder"]) == files
    first, second = [each for each in hub.requests if each.side == "cdn"]
    assert (first.range, first.status) == (None, 200)
    assert second.range.startswith("bytes=1")
    assert (second.status, second.bytes_sent < 5_000_000) == (206, True)
