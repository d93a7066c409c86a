"""What pip says, told apart: recorded words of pip 23 and 26, and a few real answers."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import pytest
from python_support import POSIX, make_venv
from wheel_support import sha256_of

from modelmedic.errors import CannotTell
from modelmedic.facts import packages
from modelmedic.installer import pip, report, words
from modelmedic.installer.pip import Installer
from modelmedic.installer.words import InstallerRefused
from modelmedic.profile.loader import load_profile

TOOLS_REQUIRED = bool(os.environ.get("MODELMEDIC_TOOLS_REQUIRED"))
SHA = "ab" * 32
CONFLICT = """\
Collecting numpy<2
INFO: pip is looking at multiple versions of opencv-python to determine which version is compatible
The conflict is caused by:
    The user requested numpy<2
    opencv-python 4.12.0.88 depends on numpy<2.3.0 and >=2; python_version >= "3.9"

To fix this you could try to:
1. loosen the range of package versions you've specified
ERROR: Cannot install numpy<2 and opencv-python==4.12.0.88 because these package versions have conflicting dependencies.
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/topics/dependency-resolution/
"""
NO_VERSION = """\
ERROR: Ignored the following versions that require a different python version: 1.21.2 Requires-Python >=3.7,<3.11
ERROR: Could not find a version that satisfies the requirement numpy<1.20 (from versions: 1.23.2, 1.26.4)
ERROR: No matching distribution found for numpy<1.20
"""
UNREACHABLE = """\
WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError('<x>: Failed to establish a new connection: [Errno 111] Connection refused')': /simple/six/
ERROR: Could not find a version that satisfies the requirement six (from versions: none)
ERROR: No matching distribution found for six
"""
MISMATCH = """\
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package versions, please update the hashes. Otherwise, examine the package contents carefully; someone may have tampered with them.
    torch==2.8.0 from https://someone:secret@index.example/torch-2.8.0-cp311-cp311-manylinux_2_28_x86_64.whl#sha256=00:
        Expected sha256 00
             Got        11
"""


@pytest.mark.parametrize(
    ("said", "kind", "subject", "word"),
    [
        (CONFLICT, "conflict", "numpy", "opencv-python 4.12.0.88 depends on numpy"),
        (NO_VERSION, "no-match", "numpy", "1.26.4"),
        (UNREACHABLE, "network", "", "Connection refused"),
        (MISMATCH, "hash", "torch", "cut short"),
        ("/x/bin/python: No module named pip\n", "no-pip", "", "-m ensurepip"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
         "no-space", "", "Free space"),
        ("ERROR: No matching distribution found for flash_attn>=2", "source-only", "flash-attn",
         "flash-attention/releases"),
        ("ERROR: something new\n", "other", "", "something new"),
        ("", "other", "", "printed nothing"),
        ("ERROR: HTTP error 503 while getting https://i.example/a.whl", "network", "", "503"),
    ],
)  # fmt: skip
def test_each_refusal_of_pip_has_a_kind_and_names_what_it_is_about(said, kind, subject, word):
    told = words.refusal(said, "/x/bin/python")
    assert (told.kind, told.subject) == (kind, subject)
    assert word in str(told)
    assert "secret" not in str(told)
    assert str(told).isprintable()
    copied = pickle.loads(pickle.dumps(told))
    assert (copied.kind, str(copied)) == (told.kind, str(told))


def _report(**change):
    entry = {
        "metadata": {"name": "six", "version": "1.17.0", "requires_dist": ["a>1"]},
        "download_info": {
            "url": "https://files.example/six-1.17.0-py2.py3-none-any.whl",
            "archive_info": {"hashes": {"sha256": SHA}},
        },
    }
    for path, value in change.items():
        *way, last = path.split("__")
        place = entry
        for part in way:
            place = place[part]
        place[last] = value
    return json.dumps({"version": "1", "pip_version": "26.3", "install": [entry]}, indent=2)


def test_a_report_is_found_among_other_lines():
    text = f"Collecting six {{odd}}\n{_report()}\nWould install six-1.17.0\n"
    (item,) = report.parse(text).items
    assert (item.pin, item.sha256, item.requires) == ("six==1.17.0", SHA, ("a>1",))
    assert item.filename == "six-1.17.0-py2.py3-none-any.whl"


@pytest.mark.parametrize(
    "text",
    [
        "", "no json", "{\n", '{\n"version": "1"}',
        _report(metadata__name="../evil"),
        _report(metadata__version="1; rm"),
        _report(download_info__url="https://files.example/six-1.17.0.tar.gz"),
        _report(download_info__url="https://files.example/..%2F..%2Fetc-1-2-3-4.whl%2F.."),
        _report(download_info__archive_info={"hashes": {"sha256": "no"}}),
    ],
)  # fmt: skip
def test_a_report_that_names_no_wheel_is_not_believed(text):
    with pytest.raises(CannotTell):
        report.parse(text)


def test_a_wheel_of_this_machine_has_a_hash_also_where_pip_tells_none(tmp_path):
    """pip before 23.1, which comes with Python 3.10, reports files without their hashes."""
    wheel = tmp_path / "moon-1.0-py3-none-any.whl"
    wheel.write_bytes(b"x" * 3_000_000)
    item = report.Pinned("moon", "1.0", wheel.name, wheel.as_uri(), "")
    assert pip._with_hash(item).sha256 == sha256_of(wheel)
    told = report.Pinned("moon", "1.0", wheel.name, wheel.as_uri(), "ab" * 32)
    assert pip._with_hash(told) == told
    wheel.unlink()
    assert pip._with_hash(item) == item


def test_settings_that_would_send_an_install_elsewhere_do_not_reach_pip(monkeypatch):
    for name in ("PIP_TARGET", "PIP_USER", "PIP_BREAK_SYSTEM_PACKAGES", "PIP_NO_BINARY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PIP_INDEX_URL", "https://own.example/simple")
    monkeypatch.setenv("PYTHONPATH", "/odd")
    env = pip.environment()
    assert env["PIP_INDEX_URL"] == "https://own.example/simple"
    assert not {"PIP_TARGET", "PIP_USER", "PIP_NO_BINARY", "PYTHONPATH"} & env.keys()
    assert "PIP_BREAK_SYSTEM_PACKAGES" not in env
    assert "PIP_INDEX_URL" not in pip.environment(is_alone=True)


# -- the configured index --------------------------------------------------------------------------


def _resolved(python: Path, specs: list[str]):
    """Return what the configured index gives; skip where it cannot be reached."""
    try:
        return Installer.of(python, has_pip=False).resolve(specs)
    except InstallerRefused as refused:
        if refused.kind == "network" and not TOOLS_REQUIRED:
            pytest.skip(f"The package index is not reachable: {refused.why}")
        raise


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    return make_venv(tmp_path_factory.mktemp("bare") / "env")


def _wan() -> list[str]:
    profile = load_profile("wan2.2-ti2v-5b", cwd=Path.cwd())
    return [need.spec for need in profile.python.requirements]


@POSIX
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="numpy below 2 has no wheel there")
def test_what_wan_requires_resolves_to_wheels_without_flash_attn(bare):
    specs = [spec for spec in _wan() if not spec.startswith("flash")]
    found = _resolved(bare, specs)
    assert {"torch", "transformers", "diffusers", "numpy"} <= {item.key for item in found.items}
    assert found.item("transformers").version == "4.51.3"
    assert found.item("huggingface-hub").version.startswith("0.")
    assert all(item.sha256 for item in found.items)
    for item in found.items:
        for line in item.requires:
            need = packages.parsed(line)
            other = found.item(need.name) if need and not need.marker else None
            assert other is None or packages.fits(need, other.version)


@POSIX
@pytest.mark.network
def test_with_flash_attn_the_refusal_names_it_and_its_cure(bare):
    with pytest.raises(InstallerRefused) as caught:
        _resolved(bare, ["flash_attn", "easydict"])
    assert (caught.value.kind, caught.value.subject) == ("source-only", "flash-attn")
    assert "releases" in caught.value.next_step


@POSIX
@pytest.mark.network
def test_a_wheel_from_the_configured_index_is_fetched_and_proven(bare, tmp_path):
    found = _resolved(bare, ["six"])
    Installer.of(bare, has_pip=False).download(found.items, tmp_path)
    (item,) = found.items
    assert sha256_of(tmp_path / item.filename) == item.sha256
