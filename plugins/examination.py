"""What a check is given: its subjects from the profile, the facts, a way to state a loss."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from modelmedic import examination
from modelmedic.context import Context
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Profile

# What each parameter name runs over: readable id and value.
_SUBJECTS: dict[str, Callable[[Context], list[tuple[str, object]]]] = {
    "model_file": lambda context: [(each.subject, each) for each in context.expected_files()],
    "model": lambda context: [(each.name, each) for each in context.profile.models],
    "endpoint": lambda context: [(each.name, each) for each in context.profile.endpoints],
    "config_file": lambda context: [(each.path, each) for each in context.profile.configs],
    "port": lambda context: [(str(each.number), each) for each in context.profile.ports],
    "requirement": lambda context: [
        (each.name, each) for each in context.profile.python.requirements
    ],
    "program": lambda context: [(each.name, each) for each in context.profile.programs],
    "folder": lambda context: [(each, each) for each in context.profile.folders],
}


def _context(config: pytest.Config) -> Context:
    found = examination.of(config)
    if found is None:
        raise pytest.UsageError("This fixture needs a run of modelmedic's checks.")
    return found.context


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize checks over what the profile lists."""
    found = examination.of(metafunc.config)
    names = [name for name in _SUBJECTS if name in metafunc.fixturenames]
    if found is None or not names or metafunc.definition.get_closest_marker("check") is None:
        return
    for name in names:
        entries = _SUBJECTS[name](found.context)
        metafunc.parametrize(
            name, [value for _id, value in entries], ids=[text for text, _value in entries]
        )


@pytest.fixture(scope="session")
def context(pytestconfig: pytest.Config) -> Context:
    """What is examined: profile, install folder, target interpreter, stage."""
    return _context(pytestconfig)


@pytest.fixture(scope="session")
def profile(context: Context) -> Profile:
    """What a healthy install is."""
    return context.profile


@pytest.fixture(scope="session")
def facts(pytestconfig: pytest.Config) -> FactBook:
    """The fact book: `facts.get(probe, *args)` reads each fact once, with a deadline."""
    found = examination.of(pytestconfig)
    if found is None:
        raise pytest.UsageError("This fixture needs a run of modelmedic's checks.")
    return found.facts


@pytest.fixture
def degraded(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record a stated loss: ``degraded(what, why="", next_step="", failure_id=None)``."""

    def record(
        what: str, why: str = "", next_step: str = "", failure_id: str | None = None
    ) -> None:
        request.node.user_properties.append(
            (
                "modelmedic.degraded",
                {"what": what, "why": why, "next": next_step, "failure_id": failure_id},
            )
        )

    return record


@pytest.fixture
def stated(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Record what a check that passes rests on: ``stated("Sealed on 2026-11-25.")``."""

    def record(what: str) -> None:
        request.node.user_properties.append(("modelmedic.stated", what))

    return record


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Start slow facts before the first check, so that waiting overlaps; then run as usual."""
    found = examination.of(session.config)
    if found is None or session.config.option.collectonly:
        return
    modules = {item.module for item in session.items if isinstance(item, pytest.Function)}
    for module in sorted(modules, key=lambda entry: str(entry.__name__)):
        warm = getattr(module, "warm", None)
        if warm is not None:
            warm(found.facts)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Take what start-up made out of the garbage collector's hands: it lives until the end.

    pytest collects garbage twice when it ends; without this it walks every module we loaded.
    """
    if examination.of(session.config) is not None:
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what belongs to a finished install while only the machine is judged."""
    found = examination.of(item.config)
    if found is None or found.context.is_installed:
        return
    marker = item.get_closest_marker("check")
    if marker is not None and marker.kwargs.get("stage") == "installed":
        pytest.skip("There is no install yet; this is judged once there is one.")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker what the controller chose, so that all speak of one run."""
    found = examination.of(node.config)
    if found is not None:
        node.workerinput["modelmedic"] = {
            "run_id": found.context.run_id,
            "report_dir": str(found.report_dir),
            "hub": found.hub.endpoint if found.hub else None,
        }
