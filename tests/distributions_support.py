"""Environments in an install and operations that exchange packages in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from python_support import site_packages
from wheel_support import sha256_of

from modelmedic.installer.report import Pinned
from modelmedic.operations import environment_folder
from modelmedic.operations.set_distributions import SetDistributions, row
from modelmedic.operations.tree import Tree

ENV = ".venv"


def site_of(install: Path) -> str:
    target = install / ENV / "bin/python"
    return site_packages(target).relative_to(install / ENV).as_posix()


def pinned(wheel: Path) -> Pinned:
    name, version = wheel.name.split("-")[:2]
    return Pinned(
        name, version, wheel.name, wheel.as_uri(), sha256_of(wheel), size_bytes=wheel.stat().st_size
    )


def removal(install: Path, *entries: str) -> tuple[tuple[str, str], ...]:
    found = [
        environment_folder.owned(Tree(install), ENV, site_of(install), entry) for entry in entries
    ]
    return tuple((each.entry.rpartition("/")[2], each.record_sha256) for each in found)


def exchange(install: Path, *wheels: Path, remove: tuple[str, ...] = ()) -> SetDistributions:
    return SetDistributions(
        path=ENV,
        site=site_of(install),
        install=tuple(row(pinned(wheel)) for wheel in wheels),
        remove=removal(install, *remove),
        is_offline=True,
    )


def says(target: Path, code: str) -> str:
    done = subprocess.run(
        [str(target), "-I", "-B", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (done.stdout + done.stderr).strip()
