"""Let pytest load modelmedic's plugins from a bare checkout (pythonpath = src)."""

from modelmedic import rooms

rooms.prepare_environment()


def pytest_addoption(pluginmanager):  # noqa: ANN001, ANN201 - the library never imports pytest's types
    """Register the plugin room: its modules bring options, facts, healing and recording."""
    rooms.keep_foreign_conftests_out(pluginmanager)
    rooms.register_plugins(pluginmanager)
