"""Everything about one failed call, gathered after it failed: bounded in time, masked, no network.

Nothing here runs while calls succeed, and nothing is imported for it before the first failure.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelmedic.reliability.cpu_use import CpuUse

if TYPE_CHECKING:
    from modelmedic.reliability.error_context import EnhancedErrorContext
    from modelmedic.reliability.error_log import ErrorLog
    from modelmedic.reliability.sources import Sources

LEVELS = ("minimal", "standard", "full")


class ErrorCapture:
    """Makes the context of failed calls; may be used by many threads at once.

    Args:
        install_dir: Whose disk is of interest; None takes the current folder.
        level: "minimal" leaves out packages, variables, disk, arguments and locals; "standard"
            describes the locals of the three innermost frames, "full" of twenty.
        log: Where each context is appended; None keeps none.

    Raises:
        ValueError: There is no such level.
    """

    def __init__(
        self,
        *,
        install_dir: Path | str | None = None,
        level: str = "standard",
        log: ErrorLog | None = None,
    ) -> None:
        if level not in LEVELS:
            raise ValueError(f"unknown level {level!r}; known are {', '.join(LEVELS)}")
        self.level = level
        self.log = log
        self._place = Path() if install_dir is None else Path(install_dir)
        self._cpu = CpuUse()  # its first reading is of now
        self._sources: Sources | None = None

    def capture(
        self,
        error: BaseException,
        *,
        component: str,
        method: str,
        phase: str = "",
        task: str = "",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        retry_count: int = 0,
        previous_errors: Sequence[Any] = (),
        recovery_attempts: Sequence[Any] = (),
        correlation_id: str = "",
    ) -> EnhancedErrorContext:
        """Return the context of a failed call; what cannot be had is "not known", nothing raises.

        Args:
            error: What it raised.
            component: Name of the component.
            method: That was called.
            phase: Of the installation.
            task: Inside the phase.
            args: Positional arguments of the call; they are described, never kept.
            kwargs: Its other arguments, likewise.
            retry_count: How often it had been repeated before.
            previous_errors: What those calls raised, oldest first; errors or their words.
            recovery_attempts: What was tried in between; `StrategyAttempt` or sentences.
            correlation_id: Empty takes the one of the call that runs (`correlation`).
        """
        begun = time.monotonic()
        from modelmedic.reliability.gathering import Call, Gathering

        call = Call(
            component=component,
            method=method,
            phase=phase,
            task=task,
            args=args,
            kwargs=kwargs or {},
            retry_count=retry_count,
            previous_errors=previous_errors,
            recovery_attempts=recovery_attempts,
            correlation_id=correlation_id,
        )
        gathering = Gathering(self._known_sources(), error, call, self.level, begun)
        context = gathering.context()
        if self.log is not None:
            gathering.part("error log", lambda: self._append(context), None)
        return context

    def _append(self, context: EnhancedErrorContext) -> None:
        if self.log is not None:
            self.log.add(context)

    def _known_sources(self) -> Sources:
        if self._sources is None:
            from modelmedic.reliability.sources import Sources

            self._sources = Sources(self._place, self._cpu)  # of two threads' the last stays
        return self._sources
