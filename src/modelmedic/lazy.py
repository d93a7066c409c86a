"""Submodules that are read when they are first used: listing the checks needs none of them.

A package says ``__getattr__ = lazy.submodules(__name__, __path__)``. Then ``from package import
module`` gives a stand-in, which imports the module when one of its names is asked for, and
``from package.module import name`` imports it at once, as everywhere.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

# What pytest asks every object that a file of checks names: no module of ours has such a name.
_COLLECTORS_ASK = ("__", "_pytest", "_mock_name")


def submodules(package: str, path: Iterable[str]) -> Callable[[str], ModuleType]:
    """Return the module-level ``__getattr__`` (PEP 562) of ``package``, which lies in ``path``.

    The folder is listed once, now: to look for each module would cost more than what is saved.
    """
    stems = [file.stem for folder in path for file in Path(folder).glob("*.py")]
    modules = {stem: LazyModule(f"{package}.{stem}") for stem in stems if stem != "__init__"}

    def __getattr__(name: str) -> ModuleType:  # noqa: N807 - the name the language asks for
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return modules[name]

    return __getattr__


class LazyModule(ModuleType):
    """Stands in for a module and does everything on the real one.

    Not importlib's own LazyLoader: before Python 3.12.2 a second thread could see its module half
    read, and facts are read in threads. Here the import system's locks guard the import.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith(_COLLECTORS_ASK) and name != "__file__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self._read(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._read(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._read(), name)

    def __dir__(self) -> Iterable[str]:
        return dir(self._read())

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # who patches a name looks here
        return vars(self._read())

    def _read(self) -> ModuleType:
        return importlib.import_module(self.__name__)
