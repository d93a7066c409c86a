"""Where the rooms are (checks, recoveries, plugins, reports, profiles) and how to load them.

In a checkout the rooms lie beside ``src``; in a wheel they lie inside the package. Their files
are loaded by path under a private name, so nothing called ``plugins`` or ``checks`` in the
current folder can ever take their place.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol

ROOMS = ("checks", "recoveries", "plugins", "reports", "profiles")


class PluginManager(Protocol):
    """The part of pluggy's manager that we use."""

    def register(self, plugin: object, name: str | None = None) -> object:
        """Register a plugin object under a name."""

    def has_plugin(self, name: str) -> bool:
        """Return whether a plugin of that name is there."""


@cache
def home() -> Path:
    """Return the folder that holds the rooms: the package in a wheel, else the checkout."""
    package = Path(__file__).resolve().parent
    return package if (package / "checks").is_dir() else package.parents[1]


def is_checkout() -> bool:
    """Return whether we run from a checkout (bare or editable) and not from a wheel."""
    return home() != Path(__file__).resolve().parent


def room(name: str) -> Path:
    """Return the folder of one room."""
    return home() / name


def load(room_name: str, stem: str) -> ModuleType:
    """Load one file of a room by path, once, and return its module.

    Raises:
        FileNotFoundError: There is no such file.
    """
    name = f"modelmedic._rooms.{room_name}.{stem}"
    if name in sys.modules:
        return sys.modules[name]
    path = room(room_name) / f"{stem}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_all(room_name: str) -> list[ModuleType]:
    """Load every Python file of a room, in the order of their names."""
    stems = sorted(path.stem for path in room(room_name).glob("*.py"))
    return [load(room_name, stem) for stem in stems if not stem.startswith("_")]


def register_plugins(pluginmanager: PluginManager) -> None:
    """Register every module of the plugin room with pytest, once."""
    # pytest asks the newest first: the options, which decide what is examined, before the others.
    for module in sorted(
        load_all("plugins"), key=lambda entry: entry.__name__.endswith(".options")
    ):
        name = f"modelmedic:{module.__name__.rpartition('.')[2]}"
        if not pluginmanager.has_plugin(name):
            pluginmanager.register(module, name)


def keep_foreign_conftests_out(pluginmanager: object) -> None:
    """Let pytest import only this checkout's own conftest files.

    pytest takes the value of ``--install-dir DIR`` (with a space) for a path of tests before it
    knows our options, and would run ``DIR/conftest.py``: code of the install under test.
    """
    original = getattr(pluginmanager, "_importconftest", None)
    if original is None:  # a future pytest that imports them in another way
        return
    own = {home(), home() / "tests", home() / "checks"}

    def guarded(path: Path, *args: object, **kwargs: object) -> object:
        if Path(path).resolve().parent in own:
            return original(path, *args, **kwargs)
        return ModuleType("modelmedic_refused_conftest")

    setattr(pluginmanager, "_importconftest", guarded)  # noqa: B010 - not ours to declare


def state_dir() -> Path:
    """Return the state folder (not created): ``MODELMEDIC_STATE_DIR`` or the platform's own."""
    if given := os.environ.get("MODELMEDIC_STATE_DIR"):
        return Path(given).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_state_dir("modelmedic", appauthor=False))


def prepare_environment() -> None:
    """Point pytest's cache into the state folder; the ini file reads this variable."""
    os.environ.setdefault("MODELMEDIC_CACHE_DIR", str(state_dir() / "pytest_cache"))
