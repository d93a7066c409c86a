"""A check room of our own, run as the real one is: a pytest of its own, a real report folder."""

from __future__ import annotations

import html
import json
import os
import platform
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from support import CHECKOUT, child_env

USER, HOST = "janedoe99", "dragonfly77"  # names that occur nowhere else in a report
CI_JOB = "job-4711-of-the-secret-product"  # a variable that pytest-metadata writes down
TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrSt"
BAD = '</td><script>document.title="OWNED"</script>"><img src=x onerror="document.title=1">'

# The names of this machine may be words ("root", "vm"): the child gets telling ones.
_START = """
import os, platform, socket, sys
sys.path[:] = [{src!r}] + [p for p in sys.path if p]
socket.gethostname = lambda: {host!r}
platform.node = lambda: {host!r}
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""

HEAD = f"""
import logging, os, pytest, signal, socket, time
from modelmedic.errors import CannotTell, Unhealthy
HOME, USER, HOST, TOKEN = os.path.expanduser("~"), {USER!r}, {HOST!r}, {TOKEN!r}
BAD = {BAD!r} + "\\n\\x1b[31mred\\x00\\u202e end"
UNDECODABLE = os.fsdecode(b"bad\\xff\\xfename")
LEAKS = f"{{HOME}}/models of {{USER}} on {{HOST}} with {{TOKEN}}"
"""

SEVEN = '''
@pytest.mark.check("room.passed", area="system")
def test_passed():
    """It holds."""

@pytest.mark.check("room.healed", area="install")
@pytest.mark.recover("system", using=["create_missing_folder"])
def test_healed(context):
    """The folder is there."""
    if not (context.place / "extra").is_dir():
        raise Unhealthy("The folder extra is missing.", "Most often removed.", "Make it.",
                        subject="extra")

@pytest.mark.check("room.degraded", area="system")
def test_degraded(degraded):
    """It is quick."""
    degraded("It runs at half speed.", "The card is old.", "Take another one.")

@pytest.mark.check("room.skipped", area="system")
def test_skipped():
    """It is a Mac."""
    pytest.skip("This is no Mac.")

@pytest.mark.check("room.failed", area="hardware")
def test_failed():
    """A card is there."""
    raise Unhealthy("There is no card.", "Most often not plugged in.", "Plug one in.",
                    failure_id="no-card", evidence={"cards": 0, "driver": None})

@pytest.mark.check("room.blocked", area="hardware", needs=["room.failed"])
def test_blocked():
    """The card is cool."""

@pytest.mark.check("room.unknown", area="network")
def test_unknown():
    """The hub answers."""
    raise CannotTell("The hub could not be asked.", "There is no route.", "Plug the cable in.")
'''
OUTCOMES = ("failed", "unknown", "blocked", "degraded", "healed", "passed", "skipped")


@dataclass(slots=True)
class Run:
    """A finished run: exit code, screen, folder of its report."""

    code: int
    out: str
    folder: Path

    @property
    def record(self) -> dict:
        return json.loads((self.folder / "report.json").read_text(encoding="utf-8"))

    @property
    def page(self) -> str:
        return (self.folder / "report.html").read_text(encoding="utf-8")

    @property
    def rows(self) -> list[dict]:
        """Return the rows of pytest-html's table, from the data its script reads."""
        blob = re.search(r'data-jsonblob="([^"]*)"', self.page).group(1)
        tests = json.loads(html.unescape(blob))["tests"]
        return [row for rows in tests.values() for row in rows]

    @property
    def cases(self) -> dict[str, ET.Element]:
        root = ET.parse(self.folder / "junit.xml").getroot()
        return {case.get("name"): case for case in root.iter("testcase")}

    def outcomes(self) -> dict[str, str]:
        return {f["check"]: f["outcome"] for f in self.record["findings"]}

    def written(self) -> dict[str, str]:
        return {
            path.name: path.read_text(encoding="utf-8")
            for path in self.folder.iterdir()
            if path.is_file()
        }


@dataclass(slots=True)
class Room:
    """A folder with a check file, an install, a home and a report folder."""

    folder: Path
    host: str | None = HOST  # None: this machine's own, as its workers and `modelmedic undo` see it

    def start(self, checks: str, *options: str, report_dir: Path | None = None, **kwargs):
        for name in ("install", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        file = self.folder / "test_room.py"
        file.write_text(HEAD + checks, encoding="utf-8")
        start = _START.format(src=str(CHECKOUT / "src"), host=self.host or platform.node())
        return subprocess.Popen(
            [
                sys.executable, "-c", start, f"--config-file={CHECKOUT / 'pyproject.toml'}",
                f"--rootdir={self.folder}", "-pmodelmedic.entry", str(file), "--profile=demo",
                f"--install-dir={self.folder / 'install'}", "--stage=preflight", "--offline",
                f"--report-dir={report_dir or self.folder / 'report'}", *options,
            ],
            cwd=self.folder, env=self.env(), text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, **({"stdin": subprocess.DEVNULL} | kwargs),
        )  # fmt: skip

    def run(self, checks: str, *options: str, report_dir: Path | None = None) -> Run:
        process = self.start(checks, *options, report_dir=report_dir)
        try:
            out, _err = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return Run(process.returncode, out, report_dir or self.folder / "report")

    def env(self) -> dict[str, str]:
        return child_env(
            HOME=str(self.folder / "home"),
            USER=USER,
            LOGNAME=USER,
            MODELMEDIC_STATE_DIR=str(self.folder / "state"),
            MODELMEDIC_CACHE_DIR=str(self.folder / "cache"),
            COLUMNS="200",
            BUILD_TAG=CI_JOB,
            LC_ALL=os.environ.get("LC_ALL", "C.UTF-8"),
        )
