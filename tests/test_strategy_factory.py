"""The one factory: from a failure to the strategy that is tried next."""

from __future__ import annotations

import datetime as dt
import errno

import pytest

from modelmedic import strategy_for
from modelmedic.healing.slots import RecoveryStrategyRegistry
from modelmedic.reliability.error_context import (
    EnhancedErrorContext,
    HardwareProfile,
    NetworkStatus,
    ResourceSnapshot,
    SystemInfo,
)

STRATEGIES = RecoveryStrategyRegistry.strategies


def context(category, *attempts):
    return EnhancedErrorContext(
        timestamp=dt.datetime.now(dt.timezone.utc), phase="", task="", component="C",
        method="m", hardware_profile=HardwareProfile("", 1, 1.0, "x86_64"),
        system_info=SystemInfo("", "", 1.0, 1.0, 0.0, None, {}), environment_vars={},
        stack_trace="", retry_count=0, previous_errors=[], recovery_attempts=list(attempts),
        system_resources=ResourceSnapshot(1, 1.0, 0.0, -1, 0.0, 1),
        network_status=NetworkStatus(True, 1.0, 1.0, False, True), category=category,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "name", "family"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), "RetryWithBackoffStrategy", "network_failure"),
        (ModuleNotFoundError("No module named 'cv2'"), "AlternativeSourceStrategy", "dependency_failure"),
        (PermissionError(errno.EACCES, "denied"), "ManualInterventionStrategy", "permission"),
        (OSError(errno.ENOSPC, "full"), "ManualInterventionStrategy", "resource"),
        (ValueError("what is this"), "ManualInterventionStrategy", "missing_method"),
    ],
)  # fmt: skip
def test_an_error_leads_to_the_first_strategy_of_its_family(error, name, family):
    strategy = strategy_for(error)
    assert (strategy.name, strategy.family) == (name, family)


@pytest.mark.parametrize("category", ["network", "dependency", "corruption", "missing_method"])
def test_what_was_tried_is_not_tried_again_and_at_last_a_person_is_asked(category):
    tried, names = [], []
    for _ in range(5):
        strategy = strategy_for(context(category, *tried))
        names.append(strategy.name)
        tried.append(f"{strategy.name}: refused. It did not fit.")
    family = STRATEGIES[strategy_for(context(category)).family]
    assert names[:4] == [strategy.name for strategy in family]
    assert names[4] == "ManualInterventionStrategy"


def test_a_strategy_of_the_factory_is_the_one_of_the_registry():
    assert strategy_for(context("network")) is STRATEGIES["network_failure"][0]
    assert strategy_for(context(None)).name == "ManualInterventionStrategy"
