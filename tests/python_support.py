"""Real environments and the packages, programs and faults that tests put into them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelmedic.facts.packages import Distribution

POSIX = pytest.mark.skipif(os.name != "posix", reason="Writes POSIX programs and links.")


def make_venv(folder: Path, *options: str, python: str = sys.executable) -> Path:
    """Make a real environment without pip and return its interpreter."""
    subprocess.run(
        [python, "-I", "-m", "venv", "--without-pip", *options, str(folder)], check=True, timeout=60
    )
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(target: Path) -> Path:
    """Return the package folder of an environment made by `make_venv`."""
    folder = target.parent.parent
    if os.name == "nt":
        return folder / "Lib" / "site-packages"
    return next((folder / "lib").glob("python*/site-packages"))


def add_package(
    folder: Path,
    name: str,
    version: str = "1.0",
    *requires: str,
    installer: str = "pip",
    record: bool = True,
    metadata: str | None = None,
) -> Path:
    """Write the metadata of one installed package, as pip leaves it."""
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    text = "\n".join(lines) + "\n\nRequires-Dist: not-a-header\n" if metadata is None else metadata
    if text:
        (place / "METADATA").write_text(text, encoding="utf-8")
    if installer:
        (place / "INSTALLER").write_text(installer + "\n", encoding="utf-8")
    if record:
        (place / "RECORD").write_text("", encoding="utf-8")
    return place


def program(path: Path, text: str) -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def distribution(name: str, version: str = "1.0", *requires: str, **more) -> Distribution:
    """Return a distribution as the report would bring it."""
    values = {"folder": "/site", "entry": f"{name}-{version}.dist-info", "installer": "pip"}
    return Distribution(name=name, version=version, requires=requires, **values | more)
