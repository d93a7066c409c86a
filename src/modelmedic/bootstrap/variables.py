"""The environment variables that a child of ours gets."""

from __future__ import annotations

from collections.abc import Mapping

# Each of these would let the person's other work steer ours.
FOREIGN_VARIABLES = frozenset(
    {
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PYTHONWARNINGS",
        "PYTHONPLATLIBDIR",
        "__PYVENV_LAUNCHER__",
        "PYTEST_ADDOPTS",
        "PYTEST_PLUGINS",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD",
    }
)


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return a copy without the variables that steer other people's Python or pytest into ours."""
    return {name: value for name, value in environ.items() if name not in FOREIGN_VARIABLES}
