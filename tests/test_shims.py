"""Shims of installed packages: found by their entry points, imported only when they are needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from extension_support import Site
from support import CHECKOUT, FIND_US, child_env

APP = """
class Loader:
    def load(self, folder):
        return f"loaded {folder}"
"""
PAGE = (CHECKOUT / "docs" / "writing-recoveries.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"^```python title=acme_shims.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[
    1
]
MORE = """

@shim("acme-video<2")
def load_old(self):
    return "old"

def load_plain(self):
    return "no shim"
"""
ASK = """
import json
from acme_video import Loader
from modelmedic import AutoRecoveryEngine
engine, loader, name = AutoRecoveryEngine(), Loader(), sys.argv[1]
told = {"has": engine.has_cure(loader, name), "early": "acme_shims" in sys.modules}
told["cured"] = engine.recover_missing_methods(loader, name)
told["notes"] = [attempt.note for attempt in engine.attempts]
told["result"] = loader.load_all("a") if told["cured"] else None
print(json.dumps(told))
"""


@pytest.fixture
def ask(tmp_path):
    site = Site(tmp_path)
    entries = [f"acme_video:Loader.{name} = acme_shims:{name}" for name in
               ("load_all", "load_old", "load_plain", "load_nothing")]  # fmt: skip
    entries.append("acme_video:Loader.load_broken = acme_gone:load")
    site.install("acme-video", "2.1", {}, acme_video=APP)
    site.install("acme-shims", "1.0", {"modelmedic.shims": entries}, acme_shims=EXAMPLE + MORE)

    def run(name):
        code = f"{FIND_US}sys.path.insert(0, {str(tmp_path / 'site')!r})\n{ASK}"
        done = subprocess.run(
            [sys.executable, "-I", "-c", code, name],
            capture_output=True, text=True, env=child_env(), timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_shim_of_an_installed_package_heals_in_the_versions_it_is_for(ask):
    told = ask("load_all")
    assert (told["has"], told["early"], told["cured"]) == (True, False, True)
    assert told["result"] == ["loaded a"]
    assert "acme-shims 1.0" in told["notes"][0]
    assert "acme-video>=2,<3" in told["notes"][0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("load_old", "acme-video is 2.1"),
        ("load_plain", "names no shim"),
        ("load_nothing", "cannot be loaded"),
        ("load_broken", "cannot be loaded"),
    ],
)
def test_a_shim_that_cannot_be_used_refuses_and_names_its_package(ask, name, words):
    told = ask(name)
    assert (told["has"], told["cured"]) == (True, False)
    assert words in told["notes"][0]
    assert "acme-shims 1.0" in told["notes"][0]


def test_a_method_that_no_package_declares_has_no_cure(ask):
    told = ask("load_some")
    assert (told["has"], told["cured"], told["early"]) == (False, False, False)
