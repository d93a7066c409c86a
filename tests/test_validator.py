"""Validation before an installation: what could not be looked at is never valid."""

from __future__ import annotations

import json
import os

import pytest

from modelmedic import PreInstallationValidator
from modelmedic.reliability import child_runs
from modelmedic.reliability.validator import AREAS

pytestmark = pytest.mark.once


@pytest.fixture
def make(tmp_path):
    def make(**values):
        values = {
            "profile": "demo", "install_dir": tmp_path / "install", "state_dir": tmp_path / "state",
        } | values  # fmt: skip
        return PreInstallationValidator(**values)

    return make


def counted(monkeypatch):
    """Count the runs, and let them be real."""
    started = []
    real = child_runs.commands.run

    def run(argv, **values):
        started.append(argv)
        return real(argv, **values)

    monkeypatch.setattr(child_runs.commands, "run", run)
    return started


def test_one_run_serves_all_four_before_an_installation(make, monkeypatch):
    started = counted(monkeypatch)
    validator = make()
    results = [
        validator.validate_system_requirements(),
        validator.validate_network_connectivity(),
        validator.validate_permissions(),
        validator.validate_existing_installation(),
    ]
    assert [result.name for result in results] == list(AREAS)
    assert all(result.is_valid for result in results), results
    assert len(started) == 1
    for result in results:
        assert {finding["area"] for finding in result.findings} == set(AREAS[result.name])
    report = validator.generate_validation_report()
    assert json.loads(json.dumps(report)) == report
    assert len(started) == 1
    assert report["is_valid"]
    assert report["reports"] == [results[0].report]
    assert report["root_causes"] == []


def test_what_lies_there_is_judged_as_it_is_and_the_machine_as_before(make, monkeypatch, tmp_path):
    started = counted(monkeypatch)
    model = tmp_path / "install" / "model"
    model.mkdir(parents=True)
    (model / "diffusion_pytorch_model-00001-of-00003.safetensors").write_bytes(b"cut")
    report = make().generate_validation_report()
    outcomes = {name: each["outcome"] for name, each in report["validations"].items()}
    assert outcomes.pop("existing_installation") == "failed"
    assert set(outcomes.values()) <= {"passed", "degraded"}
    assert (report["outcome"], report["is_valid"]) == ("failed", False)
    assert "weights.intact" in {cause["check"].partition("[")[0] for cause in report["root_causes"]}
    worst = report["validations"]["existing_installation"]["findings"][0]
    assert worst["outcome"] == "failed"
    assert len(started) == 2
    assert len(report["reports"]) == 2


def test_what_was_not_looked_at_is_unknown_and_not_valid(make):
    result = make(offline=True).validate_network_connectivity()
    assert (result.outcome, result.is_valid) == ("unknown", False)
    assert "all" in result.problem
    assert "--offline was given" in result.problem


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"profile": "no-such-profile"}, "no-such-profile"),
        ({"options": ["-k", "no_such_check"]}, "without a verdict"),
        ({"options": ["-p", "no_such_plugin"]}, "no_such_plugin"),
    ],
)
def test_a_run_that_came_to_nothing_is_unknown_with_its_problem(make, values, words):
    report = make(**values).generate_validation_report()
    assert (report["outcome"], report["is_valid"]) == ("unknown", False)
    for each in report["validations"].values():
        assert each["outcome"] == "unknown"
        assert words in each["problem"]


def test_a_killed_run_is_unknown(make, monkeypatch):
    start = "import os, signal; os.kill(os.getpid(), signal.SIGKILL if os.name == 'posix' else 9)"
    monkeypatch.setattr(child_runs, "_START", start)
    result = make().validate_permissions()
    assert (result.outcome, result.findings) == ("unknown", ())
    assert "without a verdict" in result.problem


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_not_valid(make, tmp_path):
    (tmp_path / "install").mkdir(mode=0o555)
    assert make().validate_permissions().outcome == "failed"


def test_it_looks_again_when_it_is_told_to(make, monkeypatch):
    started = counted(monkeypatch)
    validator = make(options=["--checks=permissions"])
    assert validator.validate_permissions().outcome == "passed"
    assert validator.validate_network_connectivity().outcome == "unknown"
    validator.forget()
    validator.validate_permissions()
    assert len(started) == 2
