"""The recovery room: loads its recoveries and those of distributions, and holds markers to it."""

from __future__ import annotations

import warnings
from types import ModuleType

import pytest

from modelmedic import examination, rooms
from modelmedic.examination import Examination
from modelmedic.healing import extensions
from modelmedic.healing.registry import Recovery


def pytest_configure(config: pytest.Config) -> None:
    """Load the recovery room, in every mode: a check names recoveries of it."""
    found = examination.of(config)
    if found is None:
        return
    try:
        _load_recoveries(config, found)
        found.registry.keep_to(found.using)
    except (extensions.BadExtension, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    # Our filter for a person's checks would drop it; see pytest_warning_recorded below.
    name = f"{extensions.__name__}.{extensions.ExtensionWarning.__name__}"
    config.addinivalue_line("filterwarnings", f"always::{name}")
    config.pluginmanager.register(PassedOver(found), "modelmedic:passed-over")


def _load_recoveries(config: pytest.Config, found: Examination) -> None:
    for module in rooms.load_all("recoveries"):
        for name, value in list(vars(module).items()):
            entry = getattr(value, "recovery", None) if callable(value) else None
            if isinstance(entry, Recovery):
                found.registry.add(entry)
                setattr(module, name, pytest.fixture(value))
        config.pluginmanager.register(module, f"modelmedic:{module.__name__.rpartition('.')[2]}")
    # Of a distribution's module nothing but its recoveries: a fixture could stand before ours.
    brought = ModuleType("modelmedic_installed_recoveries")
    for entry in extensions.recoveries():
        found.registry.add(entry)
        setattr(brought, entry.name, pytest.fixture(entry.function))
    config.pluginmanager.register(brought, "modelmedic:installed-recoveries")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse at collection what could only fail at heal time: unknown families and recoveries."""
    found = examination.of(session.config)
    if found is None:
        return
    manager = session._fixturemanager  # noqa: SLF001 - there is no public way to ask
    for name in found.registry.names() if session.items else ():
        fixtures = manager.getfixturedefs(name, session.items[0]) or ()
        if len(fixtures) > 1:
            raise pytest.UsageError(
                f"The recovery {name} of {found.registry.get(name).distribution} has the name of "
                f"another fixture ({fixtures[0].func.__module__}); names are taken once."
            )
    for item in session.items:
        marker = item.get_closest_marker("recover")
        if marker is None:
            continue
        problem = found.registry.problem_of(marker.args, marker.kwargs)
        if problem:
            raise pytest.UsageError(f"{item.nodeid}: {problem}")


class PassedOver:
    """Tells at the end of the run which plugins were passed over, and why; each once."""

    def __init__(self, found: Examination) -> None:
        self.examination = found

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Keep our own kind of warning for the last lines and the record."""
        told = str(warning_message.message)
        is_ours = isinstance(warning_message.message, extensions.ExtensionWarning)
        if is_ours and told not in self.examination.notes:
            self.examination.notes.append(told)
