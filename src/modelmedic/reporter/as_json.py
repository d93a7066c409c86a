"""The figures as JSON by reports/metrics.schema.json: the form that says most."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from modelmedic import __version__
from modelmedic.reporter.clipping import MOST_LETTERS, clipped
from modelmedic.reporter.figures import Figures

SCHEMA = 1


def text(found: Figures) -> str:
    """Return the figures as one JSON object, with a line break at its end."""
    value = {
        "schema": SCHEMA,
        "modelmedic": __version__,
        **{name: plain(part) for name, part in dataclasses.asdict(found).items()},
    }
    # ASCII: no reader stumbles over halves of characters, or over separators that end a line.
    return json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Return values of JSON as every reader takes them: texts clipped, no NaN, no infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clipped(value, MOST_LETTERS)
    if isinstance(value, dict):
        return {clipped(str(key), MOST_LETTERS): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value
