"""Validation before an installation: the checks of the machine and of what lies there already."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from modelmedic.records import root_causes
from modelmedic.reliability.child_runs import ChildRun, ChildRuns
from modelmedic.reliability.interfaces import IPreInstallationValidator, ValidationResult

# Which areas of checks answer each validation of the design.
AREAS = {
    "system_requirements": ("system", "disk", "hardware", "python"),
    "network_connectivity": ("network",),
    "permissions": ("permissions",),
    "existing_installation": ("install", "weights", "config"),
}
_EXISTING = "existing_installation"
_ORDER = ("failed", "unknown", "degraded", "passed")  # worst first
# A blocked check was not judged; its cause is failed by itself, maybe in another validation.
_MEANS = {"healed": "passed", "blocked": "unknown"}
_RANK = ("failed", "unknown", "blocked", "degraded", "passed", "healed", "skipped")


class PreInstallationValidator(IPreInstallationValidator):
    """Validates in a pytest of its own; one run serves all four where it can.

    The machine is judged as before an installation, whatever lies in the folder; what lies there
    is judged as it is, which takes a second run only when there is a model or an environment.

    Args:
        profile: What a healthy install is: name or path; None for the default one.
        install_dir: Where it will be installed; None: as the checks find it.
        target_python: The Python the app runs in; None: as the checks find it.
        offline: Whether nothing asks a network: then connectivity is "unknown".
        state_dir: modelmedic's state folder; None: as everywhere.
        report_dir: Where the reports go; None: a private temporary folder that goes with this
            object.
        options: Further options of the runs.
    """

    def __init__(
        self,
        *,
        profile: str | os.PathLike[str] | None = None,
        install_dir: str | os.PathLike[str] | None = None,
        target_python: str | os.PathLike[str] | None = None,
        offline: bool = False,
        state_dir: str | os.PathLike[str] | None = None,
        report_dir: str | os.PathLike[str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.runs = ChildRuns(
            profile=profile,
            install_dir=install_dir,
            target_python=target_python,
            offline=offline,
            state_dir=state_dir,
            report_dir=report_dir,
            options=tuple(options),
        )
        self._lock = threading.Lock()
        self._as_it_is: ChildRun | None = None
        self._before: ChildRun | None = None

    def validate_system_requirements(self) -> ValidationResult:
        """Judge disk, memory, processor, hardware and Python."""
        return self._result("system_requirements")

    def validate_network_connectivity(self) -> ValidationResult:
        """Judge the way to every server that the profile names."""
        return self._result("network_connectivity")

    def validate_permissions(self) -> ValidationResult:
        """Judge whether the install folder can be written."""
        return self._result("permissions")

    def validate_existing_installation(self) -> ValidationResult:
        """Judge what lies in the install folder already, and what else is in the way."""
        return self._result(_EXISTING)

    def generate_validation_report(self) -> dict[str, Any]:
        """Return all four results as plain JSON values; validates what was not validated yet.

        Returns:
            ``outcome`` (the worst of the four), ``is_valid``, ``root_causes``, ``reports`` (paths)
            and ``validations``, by their names.
        """
        results = [self._result(name) for name in AREAS]
        findings = [dict(finding) for result in results for finding in result.findings]
        return {
            "outcome": _worst(result.outcome for result in results),
            "is_valid": all(result.is_valid for result in results),
            "root_causes": root_causes(findings),
            "reports": list(dict.fromkeys(each.report for each in results if each.report)),
            "validations": {result.name: _json(result) for result in results},
        }

    def forget(self) -> None:
        """Let the next validation look again."""
        with self._lock:
            self._as_it_is = self._before = None

    def _result(self, name: str) -> ValidationResult:
        return _judged(name, self._run_for(name))

    def _run_for(self, name: str) -> ChildRun:
        with self._lock:
            if self._as_it_is is None:
                self._as_it_is = self.runs.check("--stage=auto")
            stage = (self._as_it_is.record or {}).get("stage")
            if name == _EXISTING or stage != "installed":
                return self._as_it_is
            if self._before is None:
                areas = [area for key in AREAS if key != _EXISTING for area in AREAS[key]]
                self._before = self.runs.check("--stage=preflight", f"--checks={','.join(areas)}")
            return self._before


def _judged(name: str, run: ChildRun) -> ValidationResult:
    found = [finding for finding in run.findings if finding["area"] in AREAS[name]]
    judged = [_MEANS.get(f["outcome"], f["outcome"]) for f in found if f["outcome"] != "skipped"]
    problem = run.problem or ("" if judged else _nothing(found))
    return ValidationResult(
        name=name,
        outcome="unknown" if problem else _worst(judged),
        findings=tuple(sorted(found, key=lambda finding: _RANK.index(finding["outcome"]))),
        exit_code=-1 if run.exit_code is None else run.exit_code,
        report=str(run.report or ""),
        seconds=round(run.seconds, 3),
        problem=problem,
    )


def _nothing(found: Sequence[dict[str, Any]]) -> str:
    if not found:
        return "Nothing was checked: the profile asks nothing of this."
    why = next((finding["what"] for finding in found if finding["what"]), "none applies here")
    return f"Nothing was checked: all {len(found)} checks were skipped. The first: {why}"


def _worst(outcomes: Iterable[str]) -> str:
    return min(outcomes, key=_ORDER.index)


def _json(result: ValidationResult) -> dict[str, Any]:
    return {
        "outcome": result.outcome,
        "is_valid": result.is_valid,
        "findings": [dict(finding) for finding in result.findings],
        "exit_code": result.exit_code,
        "report": result.report,
        "seconds": result.seconds,
        "problem": result.problem,
    }
