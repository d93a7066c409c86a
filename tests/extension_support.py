"""Checks and distributions of our own, run by a pytest of its own.

Each distribution is a real one: modules and a dist-info folder on the path of a child process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from support import CHECKOUT, child_env

HEAD = """
import pytest
from modelmedic.errors import CannotTell, Unhealthy
"""
FOLDER_CHECK = """
@pytest.mark.check("try.folder", area="install")
@pytest.mark.recover({marker})
def test_folder(context):
    '''The folder is there.'''
    if not (context.place / "extra").is_dir():
        raise Unhealthy("extra is missing.", "Because.", "Make it.", subject="extra")
"""


@dataclass(slots=True)
class Site:
    """A folder on the path in which distributions lie as pip installs them."""

    folder: Path

    def install(self, name, version, groups, **modules):
        """Put a distribution there; ``groups`` are its entry points: {group: [lines]}."""
        info = self.folder / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
        )
        lines = [f"[{group}]\n" + "\n".join(entries) for group, entries in groups.items()]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for module, text in modules.items():
            (self.folder / "site" / f"{module}.py").write_text(
                textwrap.dedent(text), encoding="utf-8"
            )

    def run(self, checks, *options):
        """Run checks of our own in a child that has the folder on its path."""
        (self.folder / "install").mkdir(exist_ok=True)
        file = self.folder / "test_own.py"
        file.write_text(HEAD + checks, encoding="utf-8")
        start = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
        done = subprocess.run(
            [
                sys.executable, "-c", start, f"--config-file={CHECKOUT / 'pyproject.toml'}",
                f"--rootdir={self.folder}", "-pmodelmedic.entry", str(file), "--profile=demo",
                f"--install-dir={self.folder / 'install'}", "--stage=installed", "--offline",
                f"--report-dir={self.folder / 'report'}", *options,
            ],
            cwd=self.folder, capture_output=True, text=True, timeout=100, check=False,
            env=child_env(
                MODELMEDIC_STATE_DIR=str(self.folder / "state"),
                MODELMEDIC_CACHE_DIR=str(self.folder / "cache"),
                PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
                PYTHONPATH=os.pathsep.join([str(CHECKOUT / "src"), str(self.folder / "site")]),
            ),
        )  # fmt: skip
        return Done(done.returncode, done.stdout + done.stderr, self.folder / "report")


@dataclass(slots=True)
class Done:
    code: int
    out: str
    report: Path

    @property
    def record(self):
        return json.loads((self.report / "report.json").read_text(encoding="utf-8"))

    @property
    def notes(self):
        return self.record["environment"]["notes"]

    def finding(self, check):
        return next(f for f in self.record["findings"] if f["check"] == check)


def folder_check(marker):
    return FOLDER_CHECK.format(marker=marker)
