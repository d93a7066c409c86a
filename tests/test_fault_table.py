"""What the Hub's own clients leave broken is found, and repaired where a source exists.

Both generations of the client make the states: the one that is installed here, and the one a
Wan 2.2 environment has. Each row ends within the bound of its run.
"""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from client_support import served
from demo_support import SHORT_WAITS, Desk
from fault_rows import INDEX, REPO, ROWS, SHARD, World
from support import CHECKOUT, PYTHON
from test_hub_clients import Client, old_python  # noqa: F401 - a fixture

from modelmedic.testing.hub import LoopbackHub
from modelmedic.testing.specimens import safetensors_bytes, seeded_tensor

FETCH = "import huggingface_hub, sys; huggingface_hub.snapshot_download(sys.argv[1])"
BOUND_SECONDS = 100


class RowClient(Client):
    """The client with the ways that only these rows need."""

    def download(self, hub, repo=REPO):
        return served(self.python).download(repo, hub, self.cache)

    def fetch_to(self, hub, folder):
        return served(self.python).download(REPO, hub, self.cache, folder)

    def forget(self):
        served(self.python).forget()

    @property
    def cache(self):
        return self.home / "hub"

    def start(self, hub, repo):
        return subprocess.Popen(
            [self.python, "-c", FETCH, repo],
            env=self.environment(hub),
            cwd=self.home.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def model_files() -> dict[str, bytes]:
    """Return a model of two shards: one of a block and a half, one small."""
    first = {"small": seeded_tensor("small", "F32", (1000, 10))}
    second = {
        f"blocks.{n}.weight": seeded_tensor(f"block {n}", "F32", (500, 256)) for n in range(12)
    }
    names = {
        "model-00001-of-00002.safetensors": first,
        SHARD: second,
    }
    files = {name: safetensors_bytes(tensors) for name, tensors in names.items()}
    weight_map = {tensor: name for name, tensors in names.items() for tensor in tensors}
    total = sum(len(t.data) for tensors in names.values() for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    files[INDEX] = (json.dumps(index, indent=2) + "\n").encode()
    files["config.json"] = b'{"dim": 4}\n'
    return files


def profile_for(hub, folder) -> str:
    lines = [
        'name = "table"', 'title = "Table"', "[python]", "required = false",
        "[[endpoints]]", 'name = "hub"', f'url = "{hub.endpoint}"', 'kind = "hub"',
        "[[models]]", 'name = "model"', 'folders = ["model"]', 'layout = "native"',
        'ignored = [".cache/*", ".gitattributes"]',
        "[[models.sources]]", 'kind = "hub"', f'repo = "{REPO}"', 'revision = "main"',
        'endpoint = "hub"',
    ]  # fmt: skip
    for path, file in hub.repo(REPO).revisions["main"].files.items():
        known = f'sha256 = "{file.sha256}"' if file.is_lfs else f'git_blob = "{file.git_oid}"'
        lines += ["[[models.files]]", f'path = "{path}"', f"size_bytes = {file.size_bytes}", known]
    target = folder / "table.toml"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(target)


@pytest.fixture
def world(request, tmp_path):
    row, generation = request.param
    python = PYTHON if generation == "ours" else request.getfixturevalue("old_python")
    (tmp_path / "home").mkdir()
    client = RowClient(python, tmp_path / "home")
    root = tmp_path / "install" if row.local else tmp_path / "home" / "hub"
    (tmp_path / "install").mkdir()
    with LoopbackHub() as hub:
        hub.add_repo(REPO, model_files())
        yield World(hub, client, model_files(), root, row.local)


def cases():
    for row in ROWS:
        for generation in row.only:
            marks = [pytest.mark.network] if generation == "old" else []
            yield pytest.param(
                (row, generation),
                row,
                generation,
                id=f"{row.name.replace(' ', '-')}-{generation}",
                marks=[*marks, pytest.mark.timeout(300)],
            )


@pytest.mark.slow
@pytest.mark.parametrize(("world", "row", "generation"), list(cases()), indirect=["world"])
def test_a_row_of_the_table(world, row, generation, tmp_path):
    row.make(world)
    if generation in row.is_silent:
        told = world.fetch()
        assert "folder" in told, f"the client says {told}"
    desk = Desk(tmp_path / "desk", first=SHORT_WAITS)
    desk.folder.mkdir()
    profile = profile_for(world.hub, tmp_path)
    options = [f"--install-dir={world.root}", "--stage=installed"]
    options += ["--deep"] * row.deep
    desk.env = {"NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "elsewhere")}
    broken = bytes_of(world)
    found = desk.run(*options, profile=profile, timeout=BOUND_SECONDS)
    if row.check:
        bad = {check for check in found.bad() if check.startswith(row.check)}
        assert bad, found.outcomes()
        assert found.code == 1
    world.hub.clear()
    if row.during:
        row.during(world)
    healed = desk.run(*options, "--heal", profile=profile, timeout=BOUND_SECONDS)
    if row.ends == "kept":
        assert healed.code == 1, healed.out
        assert bytes_of(world) == broken
        return
    assert healed.code == 0, healed.out
    if row.check:
        assert bytes_of(world) == world.files
        assert_agreed(world)
    else:
        assert bytes_of(world) == broken


def bytes_of(world):
    """Return the files as the app would open them; None for one it could not open."""
    found = {}
    for path in world.files:
        try:
            found[path] = world.at(path).read_bytes()
        except OSError:
            found[path] = None
    return found


def assert_agreed(world):
    """The format's own reader opens the file, and the newer client finds nothing to complain of."""
    import safetensors

    with safetensors.safe_open(world.at(), framework="numpy") as opened:
        assert len(list(opened.keys())) == 12
    if not world.is_local and world.client.python == PYTHON:
        told = served(PYTHON).verify(REPO, world.hub, world.client.cache)
        if "lacks" not in told:
            assert told == {"checked": len(world.files), "mismatches": [], "missing": []}


def test_the_table_of_the_docs_has_these_rows_and_names_a_test_for_each_other():
    text = (CHECKOUT / "docs" / "weights.md").read_text(encoding="utf-8")
    table = text.partition("| State |")[2].partition("\n\n")[0].splitlines()[2:]
    states = [line.split(" | ")[0].removeprefix("| ") for line in table]
    assert states[: len(ROWS)] == [row.name for row in ROWS]
    others = table[len(ROWS) :]
    assert len(others) == 7
    for line in others:
        [(file, test)] = re.findall(r"`(test_\w+\.py)::(test_\w+)`", line)
        assert f"\ndef {test}(" in (CHECKOUT / "tests" / file).read_text(encoding="utf-8"), line
