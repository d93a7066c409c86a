"""A room whose checks change what they should not, and how that is told."""

from __future__ import annotations

import pytest
from room_support import Room

OWN_FAULT = 3
HEAD = """
import contextlib, pty, shutil, sqlite3, subprocess, sys, tempfile, threading, urllib.request
from modelmedic import commands
from modelmedic.facts.book import probe
"""


@pytest.fixture
def room(tmp_path):
    install = tmp_path / "install"
    (install / "full").mkdir(parents=True)
    (install / "empty").mkdir()
    for name in ("file", "full/inner"):
        (install / name).write_text("content")
    return Room(tmp_path)


def by_check(run):
    return {finding["check"]: finding for finding in run.record["findings"]}


def assert_named(run, words):
    """The run ends with our own fault and names the offender, on the screen and in the record."""
    assert run.code == OWN_FAULT, run.out
    assert run.record["exit_code"] == OWN_FAULT
    findings = [f for f in run.record["findings"] if words in f["what"]]
    assert findings, [f["what"] for f in run.record["findings"]]
    assert {f["outcome"] for f in findings} == {"unknown"}
    assert words in " ".join(run.out.split())
    assert "Traceback" not in run.out
    return findings
