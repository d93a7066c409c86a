"""A virtual environment as it lies on disk: readable also when its Python no longer starts."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook, probe

MAX_SCRIPTS = 500  # a bin folder with more is not an environment's
_HEAD_BYTES = 1024
_MAX_SETTINGS_BYTES = 1 << 16  # a pyvenv.cfg has about 200 bytes
_MAX_LAUNCHER_BYTES = 1 << 20  # pip's .exe launchers have about 100 kB
_MAX_LINKS = 40  # the kernel's own limit on a chain of links
_PYTHON_NAME = re.compile(r"(python|pypy)[\d.]*w?(\.exe)?", re.IGNORECASE)
# A .exe launcher of pip: "#!" and the interpreter, then a zip archive. Source: distlib, scripts.py.
_LAUNCHER = re.compile(rb"#!([^\r\n\0]{1,1024})\r?\nPK\x03\x04")
# What pip writes when the path has blanks or is too long for "#!". Source: distlib, scripts.py.
_TRAMPOLINE = re.compile(r"#!/bin/sh\n'''exec' (?:\"([^\"\n]+)\"|(\S+)) ")


@dataclass(frozen=True, slots=True)
class Script:
    """A program of the environment and the interpreter that its first line names."""

    name: str
    interpreter: str
    is_own: bool  # the interpreter lies in the environment's own folder of programs
    has_interpreter: bool  # it exists


@dataclass(frozen=True, slots=True)
class Environment:
    """What a pyvenv.cfg says and whether it still holds. Paths are absolute.

    ``folder`` is None when the target is in no virtual environment; the rest is then empty.
    """

    folder: Path | None = None
    home: str = ""  # folder of the Python it was made from
    has_home: bool = False  # that folder exists and holds a Python
    version: str = ""  # of the Python it was made with, "3.10.12"; "" when not stated
    maker: str = ""  # "uv", "virtualenv" or "venv"
    lets_outside_in: bool = False  # include-system-site-packages
    scripts: tuple[Script, ...] = ()


@probe("local_read")
def read_environment(facts: FactBook) -> Environment:
    """Return the virtual environment of the target interpreter.

    Raises:
        CannotTell: There is no target, or its pyvenv.cfg cannot be read.
    """
    target = facts.target_python
    if target is None:
        raise CannotTell("There is no target Python to look at.", facts.context.target_reason)
    return look_at_environment(target)


def look_at_environment(target: Path) -> Environment:
    """Return the environment around an interpreter's path, links not followed.

    Raises:
        CannotTell: Its pyvenv.cfg cannot be read.
    """
    folder = environment_folder(target)
    if folder is None:
        return Environment()
    settings = parse_settings(_read_settings(folder / "pyvenv.cfg"))
    home = settings.get("home", "")
    return Environment(
        folder=folder,
        home=home,
        has_home=_has_python(Path(home), target.name) if home else False,
        version=settings.get("version", settings.get("version_info", "")),
        maker=_maker(settings),
        lets_outside_in=settings.get("include-system-site-packages", "").lower() == "true",
        scripts=read_scripts(target.parent),
    )


def environment_folder(target: Path) -> Path | None:
    """Return the folder that holds the pyvenv.cfg of an interpreter, None when there is none.

    Source: Python's site module: beside the executable, or one folder up.
    """
    places = (target.parent, target.parent.parent)
    return next((place for place in places if (place / "pyvenv.cfg").is_file()), None)


def parse_settings(text: str) -> dict[str, str]:
    """Return the keys of a pyvenv.cfg, lower case; lines that are none are left out."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def parse_interpreter(head: bytes) -> str:
    """Return the Python that a script's first bytes start, "" when they start none."""
    launcher = _LAUNCHER.search(head)
    if launcher:
        return _unquoted(launcher.group(1).decode("utf-8", "replace"))
    text = head.decode("utf-8", "surrogateescape")
    trampoline = _TRAMPOLINE.match(text)
    if trampoline:
        return trampoline.group(1) or trampoline.group(2)
    line = text.partition("\n")[0].rstrip("\r")
    return _unquoted(line[2:].strip()) if line.startswith("#!") else ""


def read_scripts(folder: Path) -> tuple[Script, ...]:
    """Return the Python programs of a folder, by name; empty when it cannot be listed."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return ()
    found = (_script(folder, name) for name in names[:MAX_SCRIPTS])
    return tuple(script for script in found if script is not None)


def last_link(path: Path) -> Path:
    """Return where a chain of links ends, whether or not anything is there."""
    for _ in range(_MAX_LINKS):
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return path


def _read_settings(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_SETTINGS_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise CannotTell(f"{path} cannot be read: {error.strerror or error}.") from error


def _maker(settings: dict[str, str]) -> str:
    return next((name for name in ("uv", "virtualenv") if name in settings), "venv")


def _has_python(home: Path, name: str) -> bool:
    names = {name, "python.exe"} if sys.platform == "win32" else {name, "python3", "python"}
    return any((home / each).exists() for each in names)


def _script(folder: Path, name: str) -> Script | None:
    if _PYTHON_NAME.fullmatch(name):
        return None
    interpreter = parse_interpreter(_head(folder / name))
    path = Path(interpreter)
    if not path.is_absolute() or not _PYTHON_NAME.fullmatch(path.name):
        return None
    is_own = _same_folder(path.parent, folder)
    return Script(name, interpreter, is_own, is_own or path.exists())


def _head(path: Path) -> bytes:
    limit = _MAX_LAUNCHER_BYTES if path.suffix.lower() == ".exe" else _HEAD_BYTES
    try:
        with path.open("rb") as stream:
            return stream.read(limit)
    except OSError:
        return b""


def _same_folder(one: Path, other: Path) -> bool:
    """Return whether two paths are one folder, also through links and letter case."""
    return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))


def _unquoted(text: str) -> str:
    if text.startswith('"'):
        return text[1:].partition('"')[0]
    return text.partition(" ")[0]
