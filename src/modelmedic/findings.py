"""Outcomes, findings and attempts: the recorded result of checks and repairs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

_ATOMS = frozenset({str, int, float, bool, type(None)})  # what a copy need not copy


class Outcome(str, Enum):
    """The seven outcomes of a check (docs/outcomes)."""

    PASSED = "passed"
    HEALED = "healed"
    DEGRADED = "degraded"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"
    FAILED = "failed"

    @property
    def is_cause_of_exit_1(self) -> bool:
        """Return whether this outcome alone makes a run end with exit code 1."""
        return self in {Outcome.FAILED, Outcome.UNKNOWN}


class EnhancedErrorCategory(Enum):
    """The twelve error categories of the user's design."""

    SYSTEM = "system"
    NETWORK = "network"
    PERMISSION = "permission"
    CONFIGURATION = "configuration"
    DEPENDENCY = "dependency"
    VALIDATION = "validation"
    MISSING_METHOD = "missing_method"
    VERSION_MISMATCH = "version_mismatch"
    RESOURCE_EXHAUSTION = "resource_exhaustion"
    TIMEOUT = "timeout"
    AUTHENTICATION = "authentication"
    CORRUPTION = "corruption"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One recovery tried on one failing check.

    ``verdict`` is "healed", "degraded" (worked around for this run only), "not healed" (undone),
    "planned", "refused", "failed" (its own error; undone), "interrupted" (by a signal; undone),
    "not allowed" (a risk class the person did not allow) or "rechecked" (another check's repair had
    already changed the state).

    ``recheck`` is what the same check said before (``before``) and after the repair (``outcome``,
    ``what``, ``why``); None when it did not come to that. ``history`` is how often the recovery
    had worked here until then, in words.
    """

    recovery: str
    verdict: str
    operations: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0
    bytes_fetched: int = 0
    error: str = ""
    history: str = ""
    recheck: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The recorded result of one check. Keys are frozen by the run record's schema.

    ``started`` is in seconds after the run began, ``seconds`` how long the check took with all that
    was tried on it; None when it was not judged.
    """

    check: str
    nodeid: str
    title: str
    area: str
    severity: str
    outcome: str
    category: str | None = None
    failure_id: str | None = None
    what: str = ""
    why: str = ""
    next: str = ""
    blocked_by: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    started: float | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values, in the order of its fields."""
        # Made twice for every check: the general way copies every value deeply, ten times slower.
        if self.attempts or any(type(value) not in _ATOMS for value in self.facts.values()):
            return asdict(self)
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "facts": dict(self.facts)}
