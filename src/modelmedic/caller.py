"""PYTHON* variables of whoever started us: kept aside, as ours must not obey what the app would."""

from __future__ import annotations

from collections.abc import Mapping

# They steer the app's Python in the same shell. start.py takes them out of the environment.
_STEERING = ("PYTHONPATH", "PYTHONHOME")
PREFIX = "MODELMEDIC_STARTED_WITH_"


def put_aside(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables under other names, which no Python obeys."""
    return {PREFIX + name: environ[name] for name in _STEERING if environ.get(name)}


def as_started(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment as it was before we were started."""
    kept = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
    aside = {name: environ[PREFIX + name] for name in _STEERING if PREFIX + name in environ}
    return aside | kept
