"""What several tests build: contexts, profiles, child environments."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from modelmedic.context import Context
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Profile

CHECKOUT = Path(__file__).resolve().parents[1]


def make_profile(**overrides) -> Profile:
    return Profile(
        **{"name": "test", "title": "A test profile", "file": Path("/profiles/test.toml")}
        | overrides
    )


def make_context(place: Path, profile: Profile | None = None, **overrides) -> Context:
    profile = profile or make_profile()
    values = {
        "profile": profile,
        "place": place,
        "install_dir": place,
        "install_reason": "given by the test",
        "target_python": None,
        "target_reason": "none",
        "stage": "installed",
        "stage_reason": "given by the test",
        "deep": False,
        "offline": False,
        "run_id": "20260101-000000-test",
        "state_dir": place.parent / "state",
        "command": "pytest checks/",
        "model_folders": tuple(model.folders[0] for model in profile.models),
    }
    return Context(**values | overrides)


def make_facts(place: Path, profile: Profile | None = None, **overrides) -> FactBook:
    return FactBook(make_context(place, profile, **overrides))


def child_env(**extra: str) -> dict[str, str]:
    """Return our environment for a child without anything that steers pytest or modelmedic.

    Where its pytest has its temporary folders stays said (see conftest.py). One thing is added:
    leave Hypothesis out. It is ours, no person's environment has it, and its plugin imports all of
    it at the end of a run: a sixth of what a short one takes.
    """
    env = {
        key: value
        for key, value in os.environ.items()
        if (
            not key.startswith(("PYTEST_", "MODELMEDIC_", "COV_"))
            and key not in {"PYTHONPATH", "VIRTUAL_ENV"}
        )
        or key == "PYTEST_DEBUG_TEMPROOT"
    }
    return env | {"PYTEST_ADDOPTS": "-p no:hypothesispytest"} | extra


PYTHON = sys.executable
# For a child with -I, which does not see PYTHONPATH: our sources may not be installed.
FIND_US = f"import sys; sys.path.insert(0, {str(CHECKOUT / 'src')!r})\n"
