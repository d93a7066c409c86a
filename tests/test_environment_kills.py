"""A kill at any point of an exchange of packages leaves, after the next heal, the old or the new."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from distributions_support import ENV, exchange, pinned
from python_support import POSIX, make_venv, site_packages
from support import CHECKOUT, child_env
from wheel_support import make_wheel, pip_venv

from modelmedic.installer.pip import Installer

pytestmark = POSIX


@pytest.mark.slow
def test_a_kill_anywhere_leaves_the_old_or_the_new_environment(tmp_path):
    old = make_wheel(
        tmp_path / "w", "moon", "1.0", scripts={"moon": "moon:V"},
        files={"moon/__init__.py": "V = 1\n", "moon/a.py": "", "moonlight.py": "L = 1\n"},
    )  # fmt: skip
    new = make_wheel(
        tmp_path / "w", "moon", "2.0", scripts={"moon": "moon:V"},
        files={"moon/__init__.py": "V = 2\n", "moon/b.py": "", "moonlight.py": "L = 2\n"},
    )  # fmt: skip
    with_pip = pip_venv(tmp_path / "with-pip", old)
    Installer.of(with_pip).stage([pinned(new)], [new.parent], tmp_path / "stage")
    install = tmp_path / "install"
    install.mkdir()
    site = site_packages(make_venv(install / ENV))
    for path in site_packages(with_pip).glob("moon*"):
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, site / path.name)
    (install / ENV / "bin/moon").write_text("#!/old\n")
    (site / "moon/notes.txt").write_text("mine: so the folder cannot move whole")
    operation = exchange(install, new, remove=("moon-1.0.dist-info",))
    (tmp_path / "operation.json").write_text(json.dumps(operation.to_json()))
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("environment_kills.py")), str(tmp_path)],
        capture_output=True, text=True, timeout=280, check=False,
        env=child_env(PYTHONPATH=str(CHECKOUT / "src")),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kills, wrong = json.loads(done.stdout)
    assert wrong == []
    assert kills > 60
