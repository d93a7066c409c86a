"""The engine that recovers: strategy by strategy, each tried one a line of its journal.

True is returned only for what was seen to work: of an install the same checks, judged in a run of
their own after its closing pass; of a component the method itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modelmedic.errors import ModelmedicError
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing.slots import (
    Failure,
    IRecoveryStrategy,
    ProxyConfigurationStrategy,
    RecoveryStrategyRegistry,
    RetryWithBackoffStrategy,
)
from modelmedic.limits import TimeoutManager
from modelmedic.reliability.child_runs import ChildRuns
from modelmedic.reliability.declarations import Declaration
from modelmedic.reliability.injections import Injections, is_absent, is_cured
from modelmedic.reliability.install_failure import InstallFailure
from modelmedic.reliability.interfaces import IAutoRecoveryEngine, StrategyAttempt
from modelmedic.reliability.missing_methods import MissingMethod
from modelmedic.reliability.shims import CURES
from modelmedic.reliability.signatures import Call

if TYPE_CHECKING:
    from modelmedic.profile.model import Profile
    from modelmedic.reliability.subjects import Subject

Skipped = Mapping[type[IRecoveryStrategy], str]
_STRATEGIES = RecoveryStrategyRegistry.strategies
# A proxy that works is seen to work by what comes through it.
_MAKES_WAY: Mapping[type[IRecoveryStrategy], tuple[str, ...]] = MappingProxyType(
    {ProxyConfigurationStrategy: ("refetch_model_file",)}
)
# No package that is installed again cures these.
_NO_MATTER_OF_PACKAGES = frozenset({Category.PERMISSION, Category.RESOURCE_EXHAUSTION})


class AutoRecoveryEngine(IAutoRecoveryEngine):
    """Recovers an installer's components and what they installed.

    Args:
        profile: What a healthy install is: name or path; None for the default one.
        install_dir: The install; None: as the checks find it from the current folder.
        target_python: The Python the app runs in; None: as the checks find it.
        allow: Risk classes that repairs may have besides safe: "costly", "destructive". It is the
            consent of the person; without it what would need it is refused.
        offline: Whether nothing asks a network.
        state_dir: Where repairs are journaled; None: as everywhere.
        options: Further options of the runs.

    Attributes:
        attempts: Every strategy that was tried, in order.
        declared_for: Asked for the `Declaration` of a component's method; the manager's, if there
            is one. Its alternatives may stand in for the method when it is missing.
        environment: Variables that the installer should give its own children: what a network
            recovery worked around holds in its run only.
    """

    def __init__(
        self,
        *,
        profile: str | os.PathLike[str] | None = None,
        install_dir: str | os.PathLike[str] | None = None,
        target_python: str | os.PathLike[str] | None = None,
        allow: Sequence[str] = (),
        offline: bool = False,
        state_dir: str | os.PathLike[str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.attempts: list[StrategyAttempt] = []
        self._heard = threading.local()  # what a thread tried
        self.environment: dict[str, str] = {}
        self.cures = CURES
        self.declared_for: Callable[[Any, str], Declaration | None] = lambda _component, _name: None
        self.allow = tuple(allow)
        self.runs = ChildRuns(
            profile=profile,
            install_dir=install_dir,
            target_python=target_python,
            allow=self.allow,
            offline=offline,
            state_dir=state_dir,
            options=tuple(options),
        )
        self._injections = Injections()
        self._one_run = threading.Lock()  # a second thread finds what the first one repaired

    def has_cure(self, component: Any, method_name: str) -> bool:
        """Return whether a cure was declared for a method that a component lacks.

        Imports nothing and runs no code of the component: it may be asked at every look-up.
        """
        return is_absent(component, method_name) and (
            self.cures.has(component, method_name)
            or bool(self._alternatives(component, method_name))
        )

    def recover_missing_methods(
        self, component: Any, method_name: str, *, call: Call | None = None
    ) -> bool:
        """Give a component a declared cure for a method it lacks; it is "degraded" then.

        The next call of the method works; an object gets it, its class only where declared so.

        Args:
            component: The object itself, no stand-in for it.
            method_name: Of the method.
            call: Arguments of the call that failed: a cure that does not take them is refused.
                Without them each later call is compared before it runs.
        """
        if not is_absent(component, method_name) or _answers(component, method_name):
            return is_cured(component, method_name)
        failure = MissingMethod(
            component,
            method_name,
            self.cures,
            self._injections,
            self._alternatives(component, method_name),
            call,
        )
        return any(self._try(strategy, failure) for strategy in _STRATEGIES["missing_method"])

    recover_missing_method = recover_missing_methods  # the design's own code calls it so

    def undo_injections(self) -> int:
        """Take all methods out again that this engine put in; return how many there were."""
        return self._injections.undo()

    def _alternatives(self, component: Any, method_name: str) -> tuple[str, ...]:
        declared = self.declared_for(component, method_name)
        return declared.alternatives if declared is not None else ()

    def recover_model_validation_failures(self, model_issues: list[str]) -> bool:
        """Repair model files, and return whether their checks hold then.

        Args:
            model_issues: Each names a file, a check ("weights.sha256") or a model of the profile;
                one that names nothing of it means all model files. Their bytes are read whole.
        """
        with self._one_run:
            profile = self._profile()
            if profile is None:
                return False
            from modelmedic.reliability import subjects

            meant = subjects.of_models(model_issues, profile)
            limits = [
                _limit("model_download", gb) + _limit("file_hash", gb) for gb in meant.sizes_gb
            ]
            limit = sum(limits) or _limit("model_download")
            return self._repair("model_validation", self._failure(meant, limit, "--deep"))

    def recover_dependency_failures(self, dependency: str, error: Exception) -> bool:
        """Repair a package, named as in an import or a requirement; return whether it works then.

        Args:
            dependency: "cv2", "opencv-python>=4", ...
            error: What its use raised; one that no package can cure is refused.
        """
        from modelmedic.healing.classify import classify

        category = classify(error, "python")
        if category in _NO_MATTER_OF_PACKAGES:
            told = (
                f"The error is one of {category.value}: installing {dependency} again cures it not."
            )
            return self._refuse("dependency_failure", told)
        with self._one_run:
            profile = self._profile()
            if profile is None:
                return False
            from modelmedic.reliability import subjects

            meant = subjects.of_dependency(dependency, profile)
            failure = self._failure(meant, _limit("dependency_install"), "--deep")
            return self._repair("dependency_failure", failure)

    def recover_network_failures(self, operation: str, context: dict[str, Any]) -> bool:
        """Find another way to a server, and return whether it was seen to work.

        What was worked around for a run only is "degraded" in `attempts`, with the command that
        makes it last; its variables are in `environment`.

        Args:
            operation: What failed; for the words of the attempts.
            context: ``url`` or ``endpoint`` (a name of the profile): to which server; ``files``:
                the model files that were to be fetched; ``retry_count``: how often the caller had
                tried again: then nothing is merely tried once more here.
        """
        with self._one_run:
            profile = self._profile()
            if profile is None:
                return False
            from modelmedic.reliability import subjects

            meant = subjects.of_network(context, profile)
            limits = [_limit("model_download", gb) for gb in meant.sizes_gb]
            limit = sum(limits) or _limit("network_test")
            failure = self._failure(meant, limit)
            skipped: Skipped = {RetryWithBackoffStrategy: _why_no_retry(operation, context)}
            is_recovered = self._repair("network_failure", failure, skipped)
            if is_recovered and self._heard.last.verdict == "degraded":
                self._take_over(failure)
            return is_recovered

    # -- trying -----------------------------------------------------------------------------------

    def _profile(self) -> Profile | None:
        from modelmedic.profile.loader import DEFAULT, load_profile

        name = os.fspath(self.runs.profile or DEFAULT)
        try:
            return load_profile(name, cwd=Path.cwd())
        except ModelmedicError as error:
            self._note(StrategyAttempt("", "failed", str(error)))
            return None

    def _failure(self, meant: Subject, limit: int, *options: str) -> InstallFailure:
        return InstallFailure(
            runs=self.runs,
            checks=meant.checks,
            limit_seconds=limit,
            judged_by=meant.judged_by,
            also_using=_MAKES_WAY if meant.judged_by else {},
            names=meant.names,
            must_repair=not meant.is_judged,
            options=("--stage=installed", *options),
            environment=self.environment,
        )

    def _repair(
        self,
        family: str,
        failure: InstallFailure,
        skipped: Skipped = MappingProxyType({}),
    ) -> bool:
        """Try the strategies in their order: the safe repairs of all, then what was allowed.

        A repair that needs consent is never made while a safe one of a later strategy may do.
        """
        waiting = []
        for strategy in _STRATEGIES[family]:
            if why := skipped.get(type(strategy)):
                self._note(StrategyAttempt(strategy.name, "refused", why))
                continue
            if self._try(strategy, failure):
                return True
            if failure.waits_for_consent:
                waiting.append(strategy)
        failure.allow = self.allow
        return bool(self.allow) and any(self._try(strategy, failure) for strategy in waiting)

    def _try(self, strategy: IRecoveryStrategy, failure: Failure) -> bool:
        attempt = strategy.apply(failure)
        self._note(attempt)
        return attempt.is_recovered

    def _take_over(self, failure: InstallFailure) -> None:
        """Remember what the run set for itself; later runs of this engine are given it, too."""
        record = failure.last.record if failure.last is not None else None
        if record is not None:
            from modelmedic.reliability import run_variables

            self.environment |= run_variables.of_run(record["run_id"], self.runs.state_path)

    def _refuse(self, family: str, why: str) -> bool:
        for strategy in _STRATEGIES[family]:
            self._note(StrategyAttempt(strategy.name, "refused", why))
        return False

    @contextlib.contextmanager
    def listening(self) -> Iterator[list[StrategyAttempt]]:
        """Give the list of what is tried in this thread meanwhile; others try at the same time."""
        heard: list[StrategyAttempt] = []
        self._heard.all = heard
        try:
            yield heard
        finally:
            self._heard.all = None

    def _note(self, attempt: StrategyAttempt) -> None:
        self.attempts.append(attempt)
        self._heard.last = attempt
        if (heard := getattr(self._heard, "all", None)) is not None:
            heard.append(attempt)


def _answers(component: object, name: str) -> bool:
    """Return whether a component's own ``__getattr__`` makes the attribute after all."""
    try:
        return hasattr(component, name)
    except Exception:  # noqa: BLE001 - foreign code; what it raises is not an attribute
        return False


def _limit(operation: str, size_gb: float = 0.0) -> int:
    return TimeoutManager().get_timeout(operation, {"file_size_gb": size_gb})


def _why_no_retry(operation: str, context: Mapping[str, Any]) -> str:
    """Return why nothing is merely tried again here; empty where nobody has done so yet."""
    retried = context.get("retry_count", 0)
    return (
        f"{operation} was tried {retried + 1} times already, with pauses between."
        if retried
        else ""
    )
