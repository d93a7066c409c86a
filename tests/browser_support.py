"""Debian's Chromium, headless and without a network of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support import child_env

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip


def find() -> str:
    """Return the browser; without one the test is skipped, or fails where it must be there."""
    found = shutil.which("chromium")
    if found is None and os.environ.get("MODELMEDIC_TOOLS_REQUIRED") == "1":
        pytest.fail("chromium is not installed, and .ci/apt.txt lists it")
    if found is None:
        pytest.skip("chromium is not installed")
    return found


def run(page: Path, folder: Path, *flags: str) -> str:
    """Open a page in a fresh profile below ``folder`` and return what Chromium prints."""
    folder.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(
        [find(), *_FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()],
        env=child_env(HOME=str(folder)),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        start_new_session=True,
    )  # fmt: skip
    try:
        return child.communicate(timeout=100)[0]
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()


def dom(page: Path, folder: Path, *flags: str) -> str:
    """Return the document as it stands after its scripts ran."""
    return run(page, folder, "--dump-dom", *flags)
