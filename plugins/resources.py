"""Records what the machine did during a run of checks, for the charts of its report."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from modelmedic import examination
from modelmedic.examination import Examination
from modelmedic.resource_log import ResourceLog


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Read the machine while checks are judged; not for tests that are none of ours."""
    found = examination.of(session.config)
    if found is None or found.is_worker or found.is_listing or not _has_checks(session):
        return (yield)
    log = ResourceLog(found.started_at, _existing(found))
    log.start()
    try:
        return (yield)
    finally:
        series = log.stop()
        if found.findings:  # workers may have had nothing but tests of others
            found.resources.update(series)


def _has_checks(session: pytest.Session) -> bool:
    """Return whether a check may be among what runs; workers of xdist collect for themselves."""
    is_spread = getattr(session.config.option, "dist", "no") != "no"
    return is_spread or any(item.get_closest_marker("check") for item in session.items)


def _existing(found: Examination) -> Path | None:
    """Return the install folder, or the nearest one above it that is there already."""
    place = found.context.install_dir
    return (
        next((path for path in (place, *place.parents) if path.is_dir()), None) if place else None
    )
