"""The engine claims only what a run of the checks saw, and does only what a person allowed."""

from __future__ import annotations

import shutil
import threading

import package_cases
import pytest
from demo_support import snapshot
from support import CHECKOUT

from modelmedic import AutoRecoveryEngine, TimeoutManager
from modelmedic.healing.slots import RecoveryStrategyRegistry
from modelmedic.reliability import child_runs, recovery_engine
from modelmedic.reliability.child_runs import ChildRun, ChildRuns

pytestmark = pytest.mark.once

SHARD = "diffusion_pytorch_model-00002-of-00003.safetensors"
OPTIONAL = CHECKOUT / "tests/conformance_profiles/optional-model.toml"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("healthy")
    runs = ChildRuns(profile="demo", install_dir=folder / "install", state_dir=folder / "state")
    assert runs.heal("--stage=installed", limit_seconds=60).exit_code == 0
    return folder / "install"


@pytest.fixture
def install(healthy, tmp_path):
    return shutil.copytree(
        healthy, tmp_path / "install", ignore=shutil.ignore_patterns(".modelmedic")
    )


def engine_on(install, **values):
    values = {
        "profile": "demo",
        "install_dir": install,
        "state_dir": install.parent / "state",
    } | values
    return AutoRecoveryEngine(**values)


def damage(install):
    path = install / "model" / SHARD
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    return path


def verdicts(engine):
    return {attempt.strategy: attempt.verdict for attempt in engine.attempts}


def test_a_damaged_weight_is_healed_and_nothing_else_changes(install):
    before = snapshot(install)
    path = damage(install)
    engine = engine_on(install)
    assert engine.recover_model_validation_failures([f"weights.sha256: {SHARD} is not the file"])
    assert snapshot(install) == before
    (attempt,) = engine.attempts
    assert (attempt.strategy, attempt.verdict) == ("ModelRedownloadStrategy", "healed")
    assert attempt.recoveries == ("refetch_model_file",)
    assert path.name in attempt.note


def test_nothing_is_claimed_where_nothing_helps(install):
    damage(install)
    before = snapshot(install)
    engine = engine_on(install, offline=True)
    assert not engine.recover_model_validation_failures([SHARD])
    assert snapshot(install) == before
    assert verdicts(engine) == {
        strategy.name: "refused"
        for strategy in RecoveryStrategyRegistry.strategies["model_validation"]
    }
    assert "--offline was given" in engine.attempts[0].note


def test_other_damage_does_not_count_and_is_not_touched(install):
    """A file that was not named is neither repaired nor held against the one that was."""
    damage(install)
    missing = install / "model" / "README.md"
    missing.unlink()
    engine = engine_on(install)
    assert engine.recover_model_validation_failures([SHARD])
    assert not missing.exists()


def test_a_healthy_install_is_left_alone_and_called_so(install):
    before = snapshot(install)
    engine = engine_on(install, offline=True)
    assert engine.recover_model_validation_failures(["checksum mismatch"])
    assert engine.attempts[0].note == "Nothing was repaired: its checks hold."
    assert snapshot(install) == before


def test_what_needs_consent_is_refused_without_it_and_degraded_with_it(install, monkeypatch):
    skip = RecoveryStrategyRegistry.strategies["model_validation"][-1]
    monkeypatch.setattr(recovery_engine, "_STRATEGIES", {"model_validation": (skip,)})
    (install / "model" / SHARD).unlink()
    refused = engine_on(install, profile=OPTIONAL, offline=True)
    assert not refused.recover_model_validation_failures([SHARD])
    assert "--allow=destructive" in refused.attempts[-1].note
    assert not (install / "modelmedic-left-out.json").exists()
    allowed = engine_on(install, profile=OPTIONAL, offline=True, allow=["destructive"])
    assert allowed.recover_model_validation_failures([SHARD])
    assert allowed.attempts[-1].strategy == "SkipModelStrategy"
    assert allowed.attempts[-1].verdict == "degraded"


def test_a_safe_repair_of_a_later_strategy_comes_before_one_that_needs_consent(install):
    """A whole environment or model is not given up where fetching one file will do."""
    (install / "model" / SHARD).unlink()
    engine = engine_on(install, profile=OPTIONAL, allow=["destructive"])
    assert engine.recover_model_validation_failures([SHARD])
    assert not (install / "modelmedic-left-out.json").exists()
    assert verdicts(engine) == {"ModelRedownloadStrategy": "healed"}


def test_threads_with_one_failure_repair_it_once(install):
    damage(install)
    engine = engine_on(install)
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(engine.recover_model_validation_failures([SHARD]))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True, True]
    assert sorted(attempt.note[:22] for attempt in engine.attempts) == [
        "Nothing was repaired: ", "refetch_model_file: fe",
    ]  # fmt: skip


# --- runs that come to nothing


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"profile": "no-such-profile"}, "no-such-profile"),
        ({"options": ["--no-such-option"]}, "unrecognized arguments: --no-such-option"),
    ],
)
def test_a_run_that_cannot_be_made_is_no_recovery_and_says_why(install, values, words):
    engine = engine_on(install, **values)
    assert not engine.recover_model_validation_failures([SHARD])
    assert {attempt.verdict for attempt in engine.attempts} == {"failed"}
    assert words in engine.attempts[0].note


def test_a_run_that_hangs_is_ended_and_is_no_recovery(install, monkeypatch):
    limits = {
        **TimeoutManager.DEFAULT_TIMEOUTS,
        "validation": 0,
        "model_download": 0,
        "file_hash": 0,
    }
    monkeypatch.setattr(TimeoutManager, "DEFAULT_TIMEOUTS", limits)
    monkeypatch.setattr(child_runs, "_START", "import time; time.sleep(600)")
    engine = engine_on(install)
    assert not engine.recover_model_validation_failures([SHARD])
    assert "did not answer within" in engine.attempts[0].note


def test_a_run_without_a_record_is_no_recovery(install, monkeypatch):
    monkeypatch.setattr(child_runs, "_START", "print('all is well')")
    engine = engine_on(install)
    assert not engine.recover_model_validation_failures([SHARD])
    assert "exit code 0, without a verdict" in engine.attempts[0].note


def test_a_child_is_asked_nothing_and_obeys_no_steering_of_ours(install, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("MODELMEDIC_OFFLINE", "1")
    monkeypatch.setenv("MODELMEDIC_HEAL", "ask")
    damage(install)
    assert engine_on(install).recover_model_validation_failures([SHARD])


def test_a_frozen_program_says_where_the_checks_can_run(install, monkeypatch):
    monkeypatch.setattr("sys.frozen", True, raising=False)
    run = ChildRuns(profile="demo", install_dir=install).check()
    assert run.findings == ()
    assert run.exit_code is None
    assert "There is no Python to start" in run.problem


def test_the_private_report_folder_goes_and_a_given_one_stays(install, tmp_path):
    runs = ChildRuns(profile="demo", install_dir=install, state_dir=tmp_path / "state")
    run = runs.check("--checks=install.folder")
    assert isinstance(run, ChildRun)
    folder = run.report.parent.parent
    assert run.report.is_file()
    assert folder.stat().st_mode & 0o077 == 0
    del runs
    assert not folder.exists()
    kept = ChildRuns(profile="demo", install_dir=install, report_dir=tmp_path / "reports")
    first, second = (kept.check("--checks=install.folder").report for _ in range(2))
    assert first != second
    assert {first.parent.parent, second.parent.parent} == {tmp_path / "reports"}


# --- packages


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages") / "install"
    package_cases.prepare(folder)
    return folder


@pytest.fixture
def packages(environment, tmp_path):
    return shutil.copytree(environment, tmp_path / "install", symlinks=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dependency", "break_it", "recovery"),
    [
        ("moon", package_cases.lose_the_metadata, "reinstall_broken_distribution"),
        ("sun>=1", package_cases.lose_the_sun, "install_missing_package"),
    ],
)
def test_a_broken_distribution_is_healed_in_the_apps_environment(
    packages, dependency, break_it, recovery
):
    break_it(packages)
    engine = engine_on(packages, profile=package_cases.PROFILE)
    assert engine.recover_dependency_failures(dependency, ImportError("it is broken"))
    attempt = engine.attempts[-1]
    assert (attempt.strategy, attempt.verdict) == ("VersionFallbackStrategy", "healed")
    assert recovery in attempt.note
    assert engine.attempts[0].verdict == "refused"


@pytest.mark.slow
def test_a_package_that_no_index_has_is_not_claimed(packages):
    package_cases.lose_the_sun(packages)
    engine = engine_on(packages, profile=package_cases.PROFILE, offline=True)
    before = snapshot(packages)
    assert not engine.recover_dependency_failures(
        "sun", ModuleNotFoundError("No module", name="sun")
    )
    assert snapshot(packages) == before
    assert {attempt.verdict for attempt in engine.attempts} <= {"refused", "failed", "not healed"}


@pytest.mark.slow
def test_a_package_that_no_check_judges_is_not_claimed(packages):
    engine = engine_on(packages, profile=package_cases.PROFILE)
    assert not engine.recover_dependency_failures("comet", ImportError("it is broken"))
    assert "No check of the profile judges comet" in engine.attempts[0].note


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(28, "no space left")])
def test_what_no_package_can_cure_starts_no_run(tmp_path, error, monkeypatch):
    monkeypatch.setattr(ChildRuns, "heal", lambda *_args, **_kwargs: pytest.fail("a run"))
    engine = engine_on(tmp_path)
    assert not engine.recover_dependency_failures("cv2", error)
    assert {attempt.verdict for attempt in engine.attempts} == {"refused"}


# --- networks


def test_a_call_that_was_tried_again_is_not_merely_tried_once_more(install):
    engine = engine_on(install)
    assert engine.recover_network_failures("fetch the weights", {"retry_count": 2})
    assert verdicts(engine) == {
        "RetryWithBackoffStrategy": "refused", "AlternativeSourceStrategy": "healed",
    }  # fmt: skip
    assert "was tried 3 times already" in engine.attempts[0].note
    assert engine.environment == {}
