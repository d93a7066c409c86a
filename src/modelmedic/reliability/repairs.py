"""Asking the engine for a repair of what made a call fail."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.reliability.failed_call import FailedCall, said
from modelmedic.reliability.interfaces import IAutoRecoveryEngine, StrategyAttempt
from modelmedic.reliability.journal import masker


class Repairs:
    """Asks one engine; each family at most once for a call.

    Args:
        engine: What may repair; None: nothing is repaired.
        told: Hears of each strategy that was tried.
    """

    def __init__(
        self,
        engine: IAutoRecoveryEngine | None,
        told: Callable[[FailedCall, StrategyAttempt], None],
    ) -> None:
        self.engine = engine
        self._told = told

    def recovered(self, call: FailedCall, error: Exception, category: Category | None) -> bool:
        """Return whether what failed was seen to work after a repair."""
        from modelmedic.healing.registry import family_of

        if self.engine is None:
            return False
        is_missing = is_about(error, call)
        if category is None and not is_missing:
            return False
        family = "missing_method" if is_missing or category is None else family_of(category)
        ask = self._question(call, error, family)
        if ask is None or family in call.asked:
            return False
        call.asked.add(family)
        return self._asked(call, ask)

    def _question(  # noqa: PLR0911 - one for each family, and none
        self, call: FailedCall, error: Exception, family: str
    ) -> Callable[[], bool] | None:
        """Return what the engine is asked; None when there is nothing to ask it."""
        engine = self.engine
        if engine is None:
            return None
        if family == "missing_method":
            if not is_about(error, call):
                return None
            return lambda: _cured(engine, call)
        if family == "network_failure":
            known = {"retry_count": call.tries - 1, **_named(call, ("url", "endpoint", "files"))}
            return lambda: engine.recover_network_failures(call.method, known)
        subject = _subject_of(error)
        if family == "dependency_failure" and subject:
            return lambda: engine.recover_dependency_failures(subject, error)
        if family == "model_validation":
            return lambda: engine.recover_model_validation_failures([subject or str(error)])
        return None

    def _asked(self, call: FailedCall, ask: Callable[[], bool]) -> bool:
        """Ask the engine; what it tried goes into the call and the journal."""
        with self._listening() as tried:
            try:
                return bool(ask())
            except Exception as own:  # noqa: BLE001 - a repair's own error is not the call's verdict
                call.recovery_attempts.append(f"The engine itself failed: {said(own)}.")
                return False
            finally:
                for attempt in tried():
                    call.recovery_attempts.append(sentence(attempt))
                    self._told(call, attempt)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[Callable[[], list[StrategyAttempt]]]:
        """Give what returns the attempts since; of an engine that is not ours, those of all."""
        listening = getattr(self.engine, "listening", None)
        if callable(listening):
            with listening() as heard:
                yield lambda: heard
            return
        attempts: Sequence[StrategyAttempt] = getattr(self.engine, "attempts", ())
        before = len(attempts)
        yield lambda: list(attempts)[before:]

    def cured(self, call: FailedCall) -> bool:
        """Return whether a method that the component lacks is there now."""
        engine = self.engine
        return engine is not None and self._asked(call, lambda: _cured(engine, call))


def is_about(error: BaseException, call: FailedCall) -> bool:
    """Return whether an AttributeError says that this component has no such method.

    Its object and its name decide: an AttributeError about anything else is a fault of some code.
    """
    return (
        isinstance(error, AttributeError)
        and call.target is not None
        and (error.obj is call.target or error.obj is type(call.target))
        and error.name == call.method
    )


def _cured(engine: IAutoRecoveryEngine, call: FailedCall) -> bool:
    """Ask for a method; an engine that wants to compare the arguments gets them."""
    recover = engine.recover_missing_methods
    given = {"call": (call.args, call.kwargs)} if "call" in signature(recover).parameters else {}
    return recover(call.target, call.method, **given)


def sentence(attempt: StrategyAttempt) -> str:
    """Return an attempt as a sentence."""
    told = f"{attempt.strategy or 'The engine'}: {attempt.verdict}. {attempt.note}".strip()
    return str(masker().mask(told))


def _named(call: FailedCall, names: Sequence[str]) -> dict[str, Any]:
    given = dict(call.kwargs)
    with contextlib.suppress(Exception):  # foreign code; a builtin tells no signature
        bound = signature(getattr(call.target, call.method)).bind_partial(*call.args, **call.kwargs)
        given = {**bound.arguments, **given}
    return {name: given[name] for name in names if given.get(name)}


def _subject_of(error: BaseException) -> str:
    """Return what an error is about, as itself says: a package, a file."""
    for name in ("subject", "name", "filename"):
        found = getattr(error, name, None)
        if isinstance(found, str | Path) and str(found):
            return str(found)
    return ""
