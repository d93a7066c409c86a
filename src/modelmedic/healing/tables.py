"""The TOML tables that lie beside these modules, also in a wheel."""

from __future__ import annotations

import sys
from importlib import resources
from typing import Any


def read(name: str) -> dict[str, Any]:
    """Return the content of one table."""
    if sys.version_info >= (3, 11):  # imported here: most runs need no table
        import tomllib
    else:
        import tomli as tomllib
    text = resources.files("modelmedic.healing").joinpath(name).read_text("utf-8")
    table: dict[str, Any] = tomllib.loads(text)
    return table
