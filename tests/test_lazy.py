"""Packages whose submodules are read when they are first used."""

from __future__ import annotations

import importlib
import pickle
import sys
import threading
from types import ModuleType

import pytest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that makes a package of the given modules and imports it."""
    name = f"lazy_{tmp_path.name}".replace("-", "_")
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(**modules):
        folder = tmp_path / name
        folder.mkdir()
        face = "from modelmedic import lazy\n__getattr__ = lazy.submodules(__name__, __path__)\n"
        (folder / "__init__.py").write_text(face)
        for stem, text in modules.items():
            (folder / f"{stem}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield make
    for loaded in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[loaded]


def is_read(module):
    return module.__name__ in sys.modules


def taken(package, name):
    """Return what ``from package import name`` gives."""
    space = {}
    exec(f"from {package.__name__} import {name} as found", space)
    return space["found"]


def test_a_submodule_is_read_when_a_name_of_it_is_asked_for(package):
    module = taken(package(water="DEPTH = 3\n"), "water")
    assert isinstance(module, ModuleType)
    assert not is_read(module)
    assert module.DEPTH == 3
    assert is_read(module)
    assert "DEPTH" in dir(module)
    assert module.__file__.endswith("water.py")


def test_a_name_taken_out_of_it_is_there_at_once(package):
    made = package(water="DEPTH = 3\n")
    assert importlib.import_module(f"{made.__name__}.water").DEPTH == 3
    assert type(taken(made, "water")) is ModuleType  # from now on it is the module itself


def test_what_collectors_ask_every_object_reads_nothing(package):
    """pytest asks these of everything a file of checks names."""
    module = taken(package(water="raise RuntimeError\n"), "water")
    for name in ("__test__", "__wrapped__", "_pytestfixturefunction", "_mock_name"):
        assert not hasattr(module, name)
    assert not is_read(module)


def test_a_name_that_is_none_is_told_as_always(package):
    made = package(water="DEPTH = 3\n")
    with pytest.raises(ImportError, match="cannot import name 'fire'"):
        taken(made, "fire")
    with pytest.raises(AttributeError, match="has no attribute 'fire'"):
        _ = made.fire
    with pytest.raises(AttributeError, match="has no attribute 'WIDTH'"):
        _ = taken(made, "water").WIDTH


def test_a_name_is_patched_in_the_module_and_put_back(package):
    module = taken(package(water="DEPTH = 3\ndef depth():\n    return DEPTH\n"), "water")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DEPTH", 4)
        assert module.depth() == 4
    assert module.depth() == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(module, "DEPTH")
        assert not hasattr(module, "DEPTH")
    assert module.depth() == 3


def test_no_thread_sees_it_half_read(package):
    """One thread is inside the module when the other asks: it waits for the whole."""
    made = package(
        pond="import threading\nINSIDE, GO_ON = threading.Event(), threading.Event()\n",
        water="from .pond import GO_ON, INSIDE\nINSIDE.set()\nGO_ON.wait(20)\nDEPTH = 3\n",
    )
    pond, water, told = taken(made, "pond"), taken(made, "water"), []
    threads = [threading.Thread(target=lambda: told.append(water.DEPTH)) for _ in range(2)]
    threads[0].start()
    assert pond.INSIDE.wait(20)
    threads[1].start()
    pond.GO_ON.set()
    for thread in threads:
        thread.join(20)
    assert told == [3, 3]


def test_what_it_holds_is_pickled_by_its_own_name(package):
    made = package(water="class Wave:\n    pass\n\ndef depth():\n    return 3\n")
    module = taken(made, "water")
    for thing in (module.Wave, module.depth):
        assert pickle.loads(pickle.dumps(thing)) is thing
    assert isinstance(pickle.loads(pickle.dumps(module.Wave())), module.Wave)
