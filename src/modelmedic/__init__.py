"""modelmedic: find out why the installation of a large local AI model fails, and repair it.

The names below are the reliability library, for installers that import us; each is read from its
module when it is first used, because an installer should not wait for what it does not use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelmedic.errors import DiskFilling, OperationTimedOut
    from modelmedic.findings import EnhancedErrorCategory
    from modelmedic.healing.slots import IRecoveryStrategy, RecoveryStrategyRegistry
    from modelmedic.history.store import History
    from modelmedic.limits import TimeoutManager
    from modelmedic.monitor.interfaces import (
        HealthReport,
        HealthStatus,
        IDiagnosticMonitor,
        PotentialIssue,
    )
    from modelmedic.monitor.monitor import DiagnosticMonitor
    from modelmedic.reliability.breaker import BreakerSettings
    from modelmedic.reliability.capture import ErrorCapture
    from modelmedic.reliability.choice import Choice, TerminalChooser
    from modelmedic.reliability.correlation import carried, correlated
    from modelmedic.reliability.declarations import Declaration, declare, idempotent, optional
    from modelmedic.reliability.disk_watch import DiskWatch
    from modelmedic.reliability.error_context import (
        EnhancedErrorContext,
        GPUInfo,
        HardwareProfile,
        NetworkStatus,
        ResourceSnapshot,
        SystemInfo,
    )
    from modelmedic.reliability.error_log import ErrorLog
    from modelmedic.reliability.events import CallEvent
    from modelmedic.reliability.factory import strategy_for
    from modelmedic.reliability.gpu_notes import note_gpu
    from modelmedic.reliability.health import ComponentHealth
    from modelmedic.reliability.interfaces import (
        IAutoRecoveryEngine,
        IPreInstallationValidator,
        IReliabilityManager,
        RecoveryAction,
        StrategyAttempt,
        ValidationResult,
    )
    from modelmedic.reliability.manager import ReliabilityManager
    from modelmedic.reliability.metrics import Metrics, OperationMetrics
    from modelmedic.reliability.observations import note_connection, note_transfer
    from modelmedic.reliability.recovery_engine import AutoRecoveryEngine
    from modelmedic.reliability.refusals import CallRejected, CannotWrap, UnknownErrorType
    from modelmedic.reliability.retry import OperationSkipped, RetryPolicy, retry
    from modelmedic.reliability.shims import OtherClass, register_shim, shim
    from modelmedic.reliability.temporary import TemporaryFiles
    from modelmedic.reliability.validator import PreInstallationValidator
    from modelmedic.reliability.wrapper import ReliabilityWrapper, instrument
    from modelmedic.reporter.health_reporter import HealthReporter
    from modelmedic.reporter.interfaces import (
        Effect,
        ErrorPattern,
        IHealthReporter,
        InstallationReport,
        Trend,
        TrendAnalysis,
    )
    from modelmedic.scan.finding import ScanFinding

__all__ = [
    "AutoRecoveryEngine",
    "BreakerSettings",
    "CallEvent",
    "CallRejected",
    "CannotWrap",
    "Choice",
    "ComponentHealth",
    "Declaration",
    "DiagnosticMonitor",
    "DiskFilling",
    "DiskWatch",
    "Effect",
    "EnhancedErrorCategory",
    "EnhancedErrorContext",
    "ErrorCapture",
    "ErrorLog",
    "ErrorPattern",
    "GPUInfo",
    "HardwareProfile",
    "HealthReport",
    "HealthReporter",
    "HealthStatus",
    "History",
    "IAutoRecoveryEngine",
    "IDiagnosticMonitor",
    "IHealthReporter",
    "IPreInstallationValidator",
    "IRecoveryStrategy",
    "IReliabilityManager",
    "InstallationReport",
    "Metrics",
    "NetworkStatus",
    "OperationMetrics",
    "OperationSkipped",
    "OperationTimedOut",
    "OtherClass",
    "PotentialIssue",
    "PreInstallationValidator",
    "RecoveryAction",
    "RecoveryStrategyRegistry",
    "ReliabilityManager",
    "ReliabilityWrapper",
    "ResourceSnapshot",
    "RetryPolicy",
    "ScanFinding",
    "StrategyAttempt",
    "SystemInfo",
    "TemporaryFiles",
    "TerminalChooser",
    "TimeoutManager",
    "Trend",
    "TrendAnalysis",
    "UnknownErrorType",
    "ValidationResult",
    "__version__",
    "carried",
    "correlated",
    "declare",
    "idempotent",
    "instrument",
    "note_connection",
    "note_gpu",
    "note_transfer",
    "optional",
    "register_shim",
    "retry",
    "shim",
    "strategy_for",
]

__version__ = "0.1.0"

_HOMES = {
    "errors": (
        "DiskFilling",
        "OperationTimedOut",
    ),
    "findings": ("EnhancedErrorCategory",),
    "healing.slots": (
        "IRecoveryStrategy",
        "RecoveryStrategyRegistry",
    ),
    "history.store": ("History",),
    "limits": ("TimeoutManager",),
    "monitor.interfaces": (
        "HealthReport",
        "HealthStatus",
        "IDiagnosticMonitor",
        "PotentialIssue",
    ),
    "monitor.monitor": ("DiagnosticMonitor",),
    "reliability.breaker": ("BreakerSettings",),
    "reliability.capture": ("ErrorCapture",),
    "reliability.choice": (
        "Choice",
        "TerminalChooser",
    ),
    "reliability.correlation": (
        "carried",
        "correlated",
    ),
    "reliability.declarations": (
        "Declaration",
        "declare",
        "idempotent",
        "optional",
    ),
    "reliability.disk_watch": ("DiskWatch",),
    "reliability.error_context": (
        "EnhancedErrorContext",
        "GPUInfo",
        "HardwareProfile",
        "NetworkStatus",
        "ResourceSnapshot",
        "SystemInfo",
    ),
    "reliability.error_log": ("ErrorLog",),
    "reliability.events": ("CallEvent",),
    "reliability.factory": ("strategy_for",),
    "reliability.gpu_notes": ("note_gpu",),
    "reliability.health": ("ComponentHealth",),
    "reliability.interfaces": (
        "IAutoRecoveryEngine",
        "IPreInstallationValidator",
        "IReliabilityManager",
        "RecoveryAction",
        "StrategyAttempt",
        "ValidationResult",
    ),
    "reliability.manager": ("ReliabilityManager",),
    "reliability.metrics": (
        "Metrics",
        "OperationMetrics",
    ),
    "reliability.observations": (
        "note_connection",
        "note_transfer",
    ),
    "reliability.recovery_engine": ("AutoRecoveryEngine",),
    "reliability.refusals": (
        "CallRejected",
        "CannotWrap",
        "UnknownErrorType",
    ),
    "reliability.retry": (
        "OperationSkipped",
        "RetryPolicy",
        "retry",
    ),
    "reliability.shims": (
        "OtherClass",
        "register_shim",
        "shim",
    ),
    "reliability.temporary": ("TemporaryFiles",),
    "reliability.validator": ("PreInstallationValidator",),
    "reliability.wrapper": (
        "ReliabilityWrapper",
        "instrument",
    ),
    "reporter.health_reporter": ("HealthReporter",),
    "reporter.interfaces": (
        "Effect",
        "ErrorPattern",
        "IHealthReporter",
        "InstallationReport",
        "Trend",
        "TrendAnalysis",
    ),
    "scan.finding": ("ScanFinding",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
