"""Does a recovery keep its promises? A test kit: one way to break an install, a dozen real runs.

from modelmedic.testing.conformance import Case, conformance

test_my_recovery = conformance(Case("my_recovery", ...))
"""

from __future__ import annotations

from modelmedic.testing.conformance.case import Case, prepare_demo
from modelmedic.testing.conformance.promises import PROMISES, Broken
from modelmedic.testing.conformance.suite import conformance, missing, print_seconds

__all__ = ["PROMISES", "Broken", "Case", "conformance", "missing", "prepare_demo", "print_seconds"]
