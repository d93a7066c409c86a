"""Writes plan.json: what --heal would do, operation by operation, with cost and risk."""

from __future__ import annotations

from typing import Any

import pytest

from modelmedic import __version__, examination
from modelmedic.examination import Examination
from modelmedic.records import write_json


def pytest_configure(config: pytest.Config) -> None:
    """Collect plans on the process that reports."""
    found = examination.of(config)
    if found is not None and found.mode == "plan" and not found.is_worker:
        config.pluginmanager.register(Planning(found), "modelmedic:plan-file")


class Planning:
    """Hears the plans that reports carry."""

    def __init__(self, found: Examination) -> None:
        self.examination = found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take over the plans of one check."""
        self.examination.plans += getattr(report, "modelmedic_plans", [])

    def pytest_sessionfinish(self) -> None:
        """Write all plans; real paths stay in it, so only the user may read it."""
        found = self.examination
        path = found.plan_file or found.report_dir / "plan.json"
        try:
            write_json(path, plan_document(found))
        except OSError as error:
            found.notes.append(f"The plan could not be written to {path}: {error}.")
            return
        if found.plans:
            found.notes.append(f"Plan:    {path}")


def plan_document(found: Examination) -> dict[str, Any]:
    """Return the document: what it was made for, then the plans in the order of the checks."""
    return {
        "schema": 1,
        "modelmedic": __version__,
        "run_id": found.context.run_id,
        "profile": found.context.profile.name,
        "install_dir": str(found.context.place),
        "plans": found.plans,
    }
