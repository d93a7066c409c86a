"""Stores each run in the history when its record is written; see docs/stored."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from modelmedic import examination
from modelmedic.examination import Examination


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Store the run after the record was written and before the last lines are.

    The recording, which is registered later, is nearer to the end; the terminal is further out.
    """
    yield
    found = examination.of(session.config)
    if found is None or not _is_stored(found) or found.record is None:
        return
    from modelmedic.history import keeping  # what is not recorded need not wait for it

    if trouble := keeping.keep(found.context.state_dir, found.record):
        found.notes.append(trouble)


def _is_stored(found: Examination) -> bool:
    """Return whether this process tells of a whole run: no worker, no closing pass, no listing."""
    is_part = found.is_worker or found.is_closing or found.is_listing
    return bool(found.findings) and not is_part and not found.has_no_history
