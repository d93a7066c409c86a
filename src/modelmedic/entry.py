"""What ``pytest -p modelmedic.entry`` loads: the plugin room, wherever it lies."""

from __future__ import annotations

from modelmedic import rooms

rooms.prepare_environment()


def pytest_addoption(pluginmanager: rooms.PluginManager) -> None:
    """Register the plugin room: its modules bring options, facts, healing and recording."""
    rooms.register_plugins(pluginmanager)
