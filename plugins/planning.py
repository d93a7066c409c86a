"""Writes plan.json: what --heal would do; and says what of a plan file was not needed."""

from __future__ import annotations

import pytest

from modelmedic import examination
from modelmedic.examination import Examination
from modelmedic.healing import planfile
from modelmedic.records import write_json
from modelmedic.text import counted, printable


def pytest_configure(config: pytest.Config) -> None:
    """Collect plans, or compare with them, on the process that reports."""
    found = examination.of(config)
    if found is None or found.is_worker:
        return
    if found.mode == "plan":
        config.pluginmanager.register(Planning(found), "modelmedic:plan-file")
    elif found.accepted is not None:
        config.pluginmanager.register(Accepted(found, found.accepted), "modelmedic:plan-file")


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
            url = found.hub.endpoint if found.hub is not None else None
            write_json(path, planfile.document(found.plans, found.context, url))
        except OSError as error:
            found.notes.append(f"The plan could not be written to {path}: {error}.")
            return
        if found.plans:
            found.notes.append(f"Plan:    {path}")


class Accepted:
    """Compares a plan file with what was needed of it."""

    def __init__(self, found: Examination, accepted: planfile.PlanFile) -> None:
        self.examination = found
        self.accepted = accepted

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Name the planned repairs whose check holds by now."""
        tried = {f.check for f in self.examination.findings if f.attempts}
        rest = [plan for plan in self.accepted.plans if plan["check"] not in tried]
        if rest:
            named = ", ".join(sorted({printable(plan["check"]) for plan in rest}))
            self.examination.notes.append(
                f"Of the plan, {counted(len(rest), 'repair')} was not needed: {named}."
            )
