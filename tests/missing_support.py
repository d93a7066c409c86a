"""Components that lack methods, and the engine with declarations of its own."""

from __future__ import annotations

from modelmedic import AutoRecoveryEngine
from modelmedic.reliability.shims import Cures

ANY_PYTEST = "pytest>=1"


class Loader:
    size = (1, 2)
    names = ["load"]  # noqa: RUF012 - what an earlier system put in a method's place

    def load(self, folder, *, deep=False):
        return ("loaded", folder, deep)

    def with_typo(self):
        return self.lod("x")

    def with_foreign_typo(self):
        return "text".lod()

    @property
    def broken(self):
        raise AttributeError("broken")

    @property
    def leaning(self):
        return self.nowhere


def make_engine():
    made = AutoRecoveryEngine()
    made.cures = Cures()
    return made


def shim_for(engine, target=Loader, method="load_all", function=None, **declared):
    function = function or (lambda self, folder: ("shim", type(self).__name__, folder))
    declared = {"requirement": ANY_PYTEST} | declared
    return engine.cures.register_shim(target, method, function, **declared)


def notes(engine):
    return {attempt.strategy: attempt.note for attempt in engine.attempts}
