"""Real environments and the packages, programs and faults that tests put into them."""

from __future__ import annotations

import base64
import hashlib
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


def install(
    folder: Path,
    name: str,
    version: str = "1.0",
    *requires: str,
    files: dict[str, bytes | str] | None = None,
    tag: str = "py3-none-any",
    record: str = "",
    **more: str,
) -> Path:
    """Put a whole distribution into a package folder, as an installer leaves it.

    Args:
        folder: The package folder.
        name: Of the distribution.
        version: Of the distribution.
        requires: Its Requires-Dist lines.
        files: Paths in the folder with their contents; all of them are in its RECORD.
        tag: Of its WHEEL.
        record: More lines of its RECORD.
        more: Files of its metadata folder, by name without a suffix: ``entry_points``.
    """
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    contents: dict[str, bytes | str] = dict(files or {})
    contents[f"{info}/METADATA"] = "\n".join(lines) + "\n\nA description.\n"
    contents[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
    contents[f"{info}/INSTALLER"] = "pip\n"
    for key, text in more.items():
        suffix = "json" if key == "direct_url" else "txt"
        contents[f"{info}/{key}.{suffix}"] = text
    written = [f"{info}/RECORD,,\n", record]
    for path, content in contents.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        shown = f'"{path}"' if "," in path else path
        written.append(f"{shown},sha256={digest},{len(data)}\n")
    (folder / info / "RECORD").write_text("".join(written), encoding="utf-8")
    return folder / info
