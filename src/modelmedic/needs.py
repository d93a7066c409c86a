"""Which check waits for which: order, root causes, and groups that belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelmedic.findings import Outcome

# Where a worker of xdist writes which checks belong together, for the controller's scheduler:
# the controller collects nothing itself.
GROUPS_NAME = "groups.json"


@dataclass(frozen=True, slots=True)
class Need:
    """One selected check: where it is, its id and parameter, the ids it needs, its area."""

    nodeid: str
    check: str
    parameter: str | None
    needs: tuple[str, ...]
    area: str = ""


class Needs:
    """The graph of the selected checks. An unselected need is not waited for.

    A need of a parametrized check on another parametrized one waits for the same parameter, if
    there is one, else for all of them.
    """

    def __init__(self, checks: Iterable[Need]) -> None:
        self._checks = {entry.nodeid: entry for entry in checks}
        by_id: dict[str, list[Need]] = {}
        for entry in self._checks.values():
            by_id.setdefault(entry.check, []).append(entry)
        self._siblings = {
            entry.nodeid: [each.nodeid for each in entries]
            for entries in by_id.values()
            for entry in entries
        }
        self._groups = {
            entry.nodeid: tuple(
                tuple(cause.nodeid for cause in _matching(by_id, need, entry))
                for need in entry.needs
            )
            for entry in self._checks.values()
        }

    def causes(self, nodeid: str) -> tuple[str, ...]:
        """Return the selected checks that ``nodeid`` waits for; empty when there are none."""
        return tuple(cause for group in self._groups.get(nodeid, ()) for cause in group)

    def order(self) -> list[str]:
        """Return all checks, causes first, otherwise in the order they came.

        The parameters of one check stay together, as long as the needs allow it.

        Raises:
            ValueError: The needs go in a circle; names one check of it.
        """
        done: dict[str, bool] = {}
        order: list[str] = []
        for nodeid in self._checks:
            self._visit(nodeid, done, order)
        return order

    def component(self, nodeid: str) -> str:
        """Return a name that all checks connected by needs share."""
        if not hasattr(self, "_components"):
            self._components = self._join()
        return self._components[nodeid]

    def blocking(
        self, nodeid: str, outcomes: Mapping[str, Outcome], roots: Mapping[str, str]
    ) -> tuple[Outcome, str] | None:
        """Return why a check cannot be judged now, or None.

        Args:
            nodeid: The check about to run.
            outcomes: What is known of the checks that ran.
            roots: For each blocked check the root cause that was found for it.

        Returns:
            ``BLOCKED`` and the node id of the root cause, or ``SKIPPED`` and the skipped cause.
        """
        for cause in self.causes(nodeid):
            if outcomes.get(cause) in {Outcome.FAILED, Outcome.UNKNOWN, Outcome.BLOCKED}:
                return Outcome.BLOCKED, roots.get(cause, cause)
        for group in self._groups.get(nodeid, ()):
            if group and all(outcomes.get(cause) is Outcome.SKIPPED for cause in group):
                return Outcome.SKIPPED, roots.get(group[0], group[0])
        return None

    def _visit(self, nodeid: str, done: dict[str, bool], order: list[str]) -> None:
        if done.get(nodeid):
            return
        if nodeid in done:
            raise ValueError(f"the needs of {nodeid} go in a circle")
        done[nodeid] = False
        for cause in self.causes(nodeid):
            for sibling in self._siblings[cause]:
                if sibling == cause or sibling not in done:
                    self._visit(sibling, done, order)
        done[nodeid] = True
        order.append(nodeid)

    def _join(self) -> dict[str, str]:
        parent = {nodeid: nodeid for nodeid in self._checks}

        def top(nodeid: str) -> str:
            while parent[nodeid] != nodeid:
                parent[nodeid] = parent[parent[nodeid]]
                nodeid = parent[nodeid]
            return nodeid

        for nodeid in self._checks:
            for cause in self.causes(nodeid):
                parent[top(cause)] = top(nodeid)
        return {nodeid: self._checks[top(nodeid)].check for nodeid in self._checks}


def _matching(by_id: dict[str, list[Need]], need: str, entry: Need) -> list[Need]:
    found = by_id.get(need, [])
    same = [cause for cause in found if cause.parameter == entry.parameter]
    return same if entry.parameter is not None and same else found
