"""The strategies of the user's design, by family and in its order, and what carries each out.

A strategy is a name for what a recovery does: it names the recoveries that are its substance, and
the registry has each of those once. A strategy without one refuses, with the reason: nothing here
pretends. A failing check is offered those recoveries as fixtures; the reliability library applies
the same strategy to a failure of an installer, which has the means to carry it out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from modelmedic.errors import RecoveryRefused

if TYPE_CHECKING:
    from modelmedic.reliability.interfaces import StrategyAttempt


class Failure(Protocol):
    """What failed, with the means to carry a strategy out on it.

    An install has runs of the checks that heal; a component without a method has declared cures.
    """

    def carry_out(self, strategy: IRecoveryStrategy) -> StrategyAttempt:
        """Carry a strategy out, or refuse; return what became of it, judged by what failed."""


class IRecoveryStrategy(ABC):
    """One way to repair a family of failures.

    Args:
        family: The family it stands in; `AlternativeSourceStrategy` stands in three.
    """

    def __init__(self, family: str) -> None:
        self.family = family

    @property
    def name(self) -> str:
        """Return its name in the user's design."""
        return type(self).__name__

    @abstractmethod
    def recoveries(self) -> tuple[str, ...]:
        """Return the ids of the recoveries that carry it out, in the order of trial.

        Raises:
            RecoveryRefused: None does; says why, and what a person can do instead.
        """

    def apply(self, failure: Failure) -> StrategyAttempt:
        """Carry it out on a failure and return what became of it.

        Nothing but its recoveries, or a declared cure of a method, changes anything.
        """
        return failure.carry_out(self)

    def refused(self, what: str, why: str, next_step: str) -> RecoveryRefused:
        """Return the refusal of this strategy."""
        return RecoveryRefused(f"{self.name} was not tried: {what}.", why, next_step)


_IN_PROCESS = (
    "A missing method is cured in the process of the component, by what was declared for it."
)
_ONE_VERSION = "Update all parts of the app together, so that they are of one version."


class DynamicMethodInjectionStrategy(IRecoveryStrategy):
    """Give a running component a declared shim for a method that it does not have.

    As the next two, it is applied by the reliability library, in the process of the component.
    """

    def recoveries(self) -> tuple[str, ...]:
        """Refuse: for a check there is no running component to inject a shim into."""
        raise self.refused(
            "a check sees no running component to inject a shim into",
            _IN_PROCESS,
            _ONE_VERSION,
        )


class FallbackImplementationStrategy(IRecoveryStrategy):
    """Let another implementation of a common operation stand in."""

    def recoveries(self) -> tuple[str, ...]:
        """Refuse: for a check there is no call that another implementation could answer."""
        raise self.refused(
            "a check sees no call that another implementation could answer",
            _IN_PROCESS,
            _ONE_VERSION,
        )


class AlternativeClassStrategy(IRecoveryStrategy):
    """Load another class that has the method."""

    def recoveries(self) -> tuple[str, ...]:
        """Refuse: for a check there is no running component that another class could serve."""
        raise self.refused(
            "a check sees no running component that another class could serve",
            _IN_PROCESS,
            _ONE_VERSION,
        )


class ManualInterventionStrategy(IRecoveryStrategy):
    """Say what only a person can do: the last of its family."""

    def recoveries(self) -> tuple[str, ...]:
        """Refuse: a person is asked, nothing is changed."""
        raise self.refused(
            "what is left needs a person",
            "No repair that modelmedic could prove is left.",
            "Do what the finding says, or send report.html to support.",
        )


class ModelRedownloadStrategy(IRecoveryStrategy):
    """Fetch model files again and prove them by their hashes."""

    def recoveries(self) -> tuple[str, ...]:
        """Return what fetches one file, or all that are missing; old ones stay until then."""
        return ("refetch_model_file", "bring_up_model", "replace_pointer_or_page")


class ModelRepairStrategy(IRecoveryStrategy):
    """Repair the damaged parts of a model file in place of the whole."""

    def recoveries(self) -> tuple[str, ...]:
        """Return what writes only the damaged parts of a file, an index, or a record of a cache."""
        return (
            "repair_damaged_blocks",
            "fetch_missing_tail",
            "rewrite_differing_blocks",
            "rebuild_weight_index",
            "relink_hub_snapshot",
            "restore_hub_ref",
            "set_aside_hub_listing",
        )


class AlternativeSourceStrategy(IRecoveryStrategy):
    """Take the same bytes from another place."""

    _BY_FAMILY: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {
            # The right bytes elsewhere on this machine; then the profile's other sources.
            "model_validation": (
                "copy_identical_file",
                "move_misplaced_model_file",
                "fetch_from_alternative_source",
            ),
            # The same, and for all that asks a Hub: another one, by a store that trusts it.
            "network_failure": (
                "copy_identical_file",
                "fetch_from_alternative_source",
                "use_alternative_endpoint",
                "trust_by_system_store",
            ),
            # The other package indexes of the profile.
            "dependency_failure": ("install_from_alternative_index",),
        }
    )

    def recoveries(self) -> tuple[str, ...]:
        """Return what takes a model file, or a package, from elsewhere."""
        return self._BY_FAMILY[self.family]


class SkipModelStrategy(IRecoveryStrategy):
    """Leave a model out."""

    def recoveries(self) -> tuple[str, ...]:
        """Return what leaves a model out that the profile calls optional, if a person allows it."""
        return ("skip_optional_model",)


class RetryWithBackoffStrategy(IRecoveryStrategy):
    """Ask again with growing pauses; a transfer goes on from where it ended."""

    def recoveries(self) -> tuple[str, ...]:
        """Return what asks a server again, and what fetches by `modelmedic.transfer`."""
        return ("wait_and_ask_again", "refetch_model_file")


class ProxyConfigurationStrategy(IRecoveryStrategy):
    """Go through the right proxy, or past a dead one."""

    def recoveries(self) -> tuple[str, ...]:
        """Return what leads this run through the proxy that works; it prints what makes it last."""
        return ("configure_proxy",)


class OfflineModeStrategy(IRecoveryStrategy):
    """Let the app work without the network, from what is there."""

    def recoveries(self) -> tuple[str, ...]:
        """Return what keeps this run offline where all is proven here; it prints what lasts."""
        return ("work_offline",)


class VersionFallbackStrategy(IRecoveryStrategy):
    """Install the version of a package that fits: another one only where the versions disagree."""

    def recoveries(self) -> tuple[str, ...]:
        """Return what installs a version again, a missing one, or the fewest so that all agree."""
        return (
            "reinstall_broken_distribution",
            "settle_duplicates",
            "install_missing_package",
            "fall_back_to_consistent_set",
        )


class OfflineInstallStrategy(IRecoveryStrategy):
    """Install a package from files that are there."""

    def recoveries(self) -> tuple[str, ...]:
        """Return what installs from wheels of this machine: a folder of them, Python's own pip."""
        return ("install_from_wheelhouse", "restore_pip")


class VenvRecreationStrategy(IRecoveryStrategy):
    """Make the app's environment anew; it is rehearsed, and the old one is kept aside whole."""

    def recoveries(self) -> tuple[str, ...]:
        """Return what makes the first environment, and what replaces a broken one."""
        return ("create_environment", "recreate_environment")


def _family(name: str, *kinds: type[IRecoveryStrategy]) -> tuple[IRecoveryStrategy, ...]:
    return tuple(kind(name) for kind in kinds)


class RecoveryStrategyRegistry:
    """Registry of recovery strategies for different error types: sixteen slots, fourteen names."""

    strategies: Mapping[str, tuple[IRecoveryStrategy, ...]] = MappingProxyType(
        {
            "missing_method": _family(
                "missing_method",
                DynamicMethodInjectionStrategy,
                FallbackImplementationStrategy,
                AlternativeClassStrategy,
                ManualInterventionStrategy,
            ),
            "model_validation": _family(
                "model_validation",
                ModelRedownloadStrategy,
                ModelRepairStrategy,
                AlternativeSourceStrategy,
                SkipModelStrategy,
            ),
            "network_failure": _family(
                "network_failure",
                RetryWithBackoffStrategy,
                AlternativeSourceStrategy,
                ProxyConfigurationStrategy,
                OfflineModeStrategy,
            ),
            "dependency_failure": _family(
                "dependency_failure",
                AlternativeSourceStrategy,
                VersionFallbackStrategy,
                OfflineInstallStrategy,
                VenvRecreationStrategy,
            ),
        }
    )
