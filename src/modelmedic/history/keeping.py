"""The end of a run: its record goes into the history, and nothing that fails there stops it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelmedic.errors import ModelmedicError
from modelmedic.history import database
from modelmedic.history.store import History
from modelmedic.text import printable


def keep(
    state_dir: Path, record: Mapping[str, Any], *, clock: Callable[[], float] = time.time
) -> str:
    """Store a run of this machine and its repairs; return what went wrong, "" when nothing did.

    A file that shows its damage only now is set aside, and the run goes into a new one.
    """
    try:
        with History.open(state_dir, clock=clock) as history:
            try:
                _store(history, record)
            except sqlite3.DatabaseError as error:
                if not database.is_damage(error):
                    raise
                history.begin_anew(str(error))
                _store(history, record)
            return history.trouble
    except (sqlite3.Error, OSError, ModelmedicError) as error:
        return _not_stored(getattr(error, "what", "") or printable(error))
    except Exception as error:  # noqa: BLE001 - a value that no record should hold: still no run's end
        return _not_stored(f"{type(error).__name__}: {printable(error)}")


def _not_stored(reason: str) -> str:
    return f"This run is not in the history: {reason}"


def _store(history: History, record: Mapping[str, Any]) -> None:
    if not history.is_kept:
        return
    history.store(record, is_own=True)
    history.take_in_repairs()
    history.keep_house()
