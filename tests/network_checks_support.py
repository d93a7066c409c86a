"""One run of the network checks, and what it said."""

from __future__ import annotations

import pytest
from network_support import calm
from support import make_facts, make_profile

from modelmedic import rooms
from modelmedic.errors import Unhealthy
from modelmedic.profile.model import ModelFile, ModelRepo, ModelSource, PythonNeeds
from modelmedic.testing.hub import LoopbackHub

checks = rooms.load("checks", "test_network")
SOURCE = ModelSource("hub", "acme/model", "main", "hub")
MODEL = ModelRepo("model", (".",), "native", (ModelFile("a.safetensors", 5000),), (SOURCE,))


@pytest.fixture(autouse=True)
def calm_network(monkeypatch, tmp_path):
    calm(monkeypatch)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture
def hub():
    with LoopbackHub() as server:
        server.add_repo("acme/model", {"a.safetensors": b"w" * 5000})
        yield server


class Run:
    """One run of the checks over a profile; ``losses`` is what was said to be degraded."""

    def __init__(self, place, *endpoints, models=(MODEL,), **overrides):
        values = {"python": PythonNeeds(is_required=True)} | {
            key: overrides.pop(key) for key in ("ports", "python") if key in overrides
        }
        self.profile = make_profile(endpoints=endpoints, models=models, **values)
        self.facts = make_facts(place, self.profile, **overrides)
        self.losses = []

    def degraded(self, what, why="", next_step="", failure_id=None):
        self.losses.append((what, why, next_step, failure_id))

    def check(self, name, place=None):
        function = getattr(checks, name)
        known = {
            "facts": self.facts,
            "context": self.facts.context,
            "profile": self.profile,
            "endpoint": place or (self.profile.endpoints or (None,))[0],
            "degraded": self.degraded,
        }
        wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
        function(**{key: known[key] for key in wanted})


ALL = [name for name in vars(checks) if name.startswith("test_")]
STAGES = [
    "test_name_of_the_server_is_found",
    "test_server_takes_connections",
    "test_server_proves_who_it_is",
    "test_server_answers_as_itself",
    "test_server_is_near_enough",
]


def verdict(run, name, place=None):
    with pytest.raises(Unhealthy) as caught:
        run.check(name, place)
    return caught.value


def skipped(run, name):
    with pytest.raises(pytest.skip.Exception) as caught:
        run.check(name)
    return str(caught.value)
