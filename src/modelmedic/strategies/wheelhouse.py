"""A folder of wheels for an install without network: made from what resolves, proven when used."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modelmedic.context import Context
from modelmedic.errors import ModelmedicError, RecoveryRefused
from modelmedic.facts import interpreter, packages
from modelmedic.facts.interpreter import Interpreter
from modelmedic.installer import words
from modelmedic.installer.pip import Installer
from modelmedic.installer.report import Pinned, Resolution
from modelmedic.profile.model import Profile
from modelmedic.strategies.environment import Target
from modelmedic.text import printable

LIST = "wheelhouse.json"
_SCHEMA = 1
_MAX_BYTES = 8 << 20
_ASK_SECONDS = 20.0


def make(
    profile: Profile, python: Path, folder: Path, tell: Callable[[str], None]
) -> tuple[Resolution, tuple[str, ...]]:
    """Fetch the wheels of everything that a profile requires into a folder, with a list of them.

    Args:
        profile: What is required.
        python: An interpreter of the version and platform that the wheels are for, with pip.
        folder: Created if it is missing.
        tell: Hears a sentence for each wheel.

    Returns:
        What was fetched, and the requirements that were left out: the index has no wheel of them.

    Raises:
        InstallerRefused: No set of wheels meets the rest, or one could not be fetched.
        CannotTell: The interpreter or pip does not answer.
        ModelmedicError: The folder cannot be written.
    """
    found = interpreter.ask(python, deadline_seconds=_ASK_SECONDS)
    installer = Installer.of(python, has_pip="pip" in found.installed)
    wanted, left_out = _wanted(profile, found)
    resolution = installer.resolve(wanted, fresh=True)
    _refuse_unproven(resolution.items)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for item in resolution.items:
            if not (folder / item.filename).exists():
                tell(f"{item.name} {item.version}")
                installer.download([item], folder)
        _write(folder, found, resolution.items)
    except OSError as error:
        raise ModelmedicError(
            f"{printable(folder)} cannot be written: {error.strerror or error}."
        ) from error
    return resolution, left_out


def folder(context: Context, target: Target) -> str:
    """Return the wheelhouse of a run, if it is one for this Python and platform.

    Raises:
        RecoveryRefused: It is not there, or was made for another.
    """
    place = Path(context.wheelhouse)
    if not place.is_dir():
        raise RecoveryRefused(f"There is no wheelhouse at {printable(place)}.")
    listed = _read(place)
    mine = _tags(target.found)
    other = [
        f"{name} {listed[name]!r} and not {value!r}"
        for name, value in mine.items()
        if listed and listed.get(name) != value
    ]
    if other:
        raise RecoveryRefused(
            f"The wheelhouse {printable(place)} was made for {printable('; '.join(other))}.",
            "Wheels fit one version of Python and one platform.",
            "Make one with a Python of the app's version: `modelmedic profile wheelhouse`.",
        )
    return str(place)


def refuse_strangers(place: str, items: Sequence[Pinned]) -> None:
    """Refuse wheels that have other bytes than the list of the wheelhouse says.

    A folder without a list is taken as it is: who gave it answers for it.

    Raises:
        RecoveryRefused: Names the wheel.
    """
    listed = {
        row.get("filename"): row.get("sha256") for row in _read(Path(place)).get("wheels", ())
    }
    for item in items:
        if listed and listed.get(item.filename) != item.sha256:
            raise RecoveryRefused(
                f"{printable(item.filename)} in {printable(place)} has other bytes than its list "
                f"{LIST} says, or is not in it.",
                "It was damaged on the way, or somebody exchanged it.",
                "Copy the wheelhouse again.",
            )


def _wanted(profile: Profile, found: Interpreter) -> tuple[list[str], tuple[str, ...]]:
    wanted: list[str] = []
    left_out: list[str] = []
    for need in profile.python.requirements:
        parsed = packages.parsed(need.spec)
        if parsed is None or not packages.applies(parsed, found.marker_environment):
            continue
        (left_out if need.name in words.SOURCE_ONLY else wanted).append(need.spec)
    if not wanted:
        raise RecoveryRefused(f"The profile {printable(profile.name)} requires no packages.")
    return wanted, tuple(left_out)


def _refuse_unproven(items: Sequence[Pinned]) -> None:
    bare = [item for item in items if not item.sha256]
    if bare:
        raise RecoveryRefused(
            f"No wheelhouse was made: the package index states no SHA-256 of {bare[0].filename}."
        )


def _tags(found: Interpreter) -> dict[str, str]:
    minor = ".".join(found.version.split(".")[:2])
    return {
        "implementation": found.implementation,
        "python": minor,
        "platform": found.platform,
        "machine": found.machine.lower(),
    }


def _write(folder: Path, found: Interpreter, items: Sequence[Pinned]) -> None:
    wheels = [
        {
            "name": item.key,
            "version": item.version,
            "filename": item.filename,
            "sha256": item.sha256,
            "size_bytes": (folder / item.filename).stat().st_size,
        }
        for item in items
    ]
    document = {"schema": _SCHEMA, **_tags(found), "made_on": platform.system(), "wheels": wheels}
    text = json.dumps(document, indent=2) + "\n"
    (folder / LIST).write_text(text, encoding="utf-8")


def _read(place: Path) -> dict[str, Any]:
    """Return the list of a wheelhouse; empty when there is none.

    Raises:
        RecoveryRefused: It cannot be read.
    """
    path = place / LIST
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(_MAX_BYTES))
        if document["schema"] != _SCHEMA or not isinstance(document["wheels"], list):
            raise ValueError(f"schema {document['schema']!r}")  # noqa: TRY301
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecoveryRefused(
            f"{printable(path)} cannot be read: {printable(error)}.",
            "It was made by another version of modelmedic, or damaged.",
        ) from error
    found: dict[str, Any] = document
    return found
