"""Judged repairs as the log of effectiveness holds them."""

from __future__ import annotations

import platform

from modelmedic.healing.evidence_log import Entry

NOW = 1_790_000_000.0
HERE = (platform.system(), platform.machine())


def entry(number=0, **overrides):
    values = {
        "repair": f"r{number}", "at": NOW, "recovery": "mend", "family": "system",
        "category": "system", "system": HERE[0], "machine": HERE[1], "check": "try.it",
        "verdict": "healed", "seconds": 1.0, "fetched_bytes": 0, "state": "s", "is_lasting": False,
    }  # fmt: skip
    return Entry(**values | overrides)
