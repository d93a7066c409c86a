"""The Health Reporter of the user's design, over the history of a state folder."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from modelmedic.errors import CannotTell
from modelmedic.reporter import changed, effects, patterns, reading, suggestions, trends
from modelmedic.reporter.interfaces import (
    FORMATS,
    ErrorPattern,
    IHealthReporter,
    InstallationReport,
    Trend,
    TrendAnalysis,
)
from modelmedic.reporter.masked import masked
from modelmedic.reporter.reading import ALL, Install, Machine, Run, Scope
from modelmedic.reporter.tracked import TrackedErrors
from modelmedic.reporter.verdicts import no_run, verdict
from modelmedic.text import printable

if TYPE_CHECKING:
    from modelmedic.history.store import History
    from modelmedic.reliability.error_context import EnhancedErrorContext
    from modelmedic.reliability.manager import ReliabilityManager
    from modelmedic.reporter.figures import Figures

T = TypeVar("T")
DAYS = 30.0  # that a trend analysis looks back on
PATTERN_DAYS = 90.0  # that patterns of an install are looked for in


class HealthReporter(IHealthReporter):
    """Reports on the installations that the history of a state folder knows.

    Nothing is measured and nothing is changed: all comes from what runs, repairs, the monitor and
    an installer's calls left. Use it as a context manager, or `close` it, in one thread.

    Args:
        state_dir: The state folder; None takes modelmedic's own.
        install_dir: The install that `generate_installation_report` is about; None takes the one
            with the newest run.
        profile: Likewise, its profile; empty takes any.
        history: An open history to read, which stays open; None opens the state folder's.
        manager: Whose counts of calls are exported too.
        machine: Stand-in or label of another machine whose runs were imported; empty takes this.
        clock: Seconds since the epoch.

    Attributes:
        trouble: What is wrong with the history, as a sentence; empty when nothing is.
    """

    def __init__(
        self,
        *,
        state_dir: Path | None = None,
        install_dir: Path | str | None = None,
        profile: str = "",
        history: History | None = None,
        manager: ReliabilityManager | None = None,
        machine: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        from modelmedic import rooms
        from modelmedic.history.store import History
        from modelmedic.masking import Masker

        self.state_dir = state_dir or rooms.state_dir()
        self.manager = manager
        self._history = history or History.open(self.state_dir, is_read_only=True, clock=clock)
        self._is_ours = history is None
        self._mask = Masker.of_this_machine().mask
        self._folder = None if install_dir is None else self._mask(_absolute(install_dir))
        self._profile = profile
        self._machine = machine
        self._clock = clock
        self._tracked = TrackedErrors()

    @property
    def trouble(self) -> str:
        """Return what is wrong with the history; empty when nothing is."""
        return self._history.trouble

    def __enter__(self) -> HealthReporter:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the history, if this opened it."""
        if self._is_ours:
            self._history.close()

    def generate_installation_report(self) -> InstallationReport:
        """Return how the installation does that the reporter was made for."""
        machines = self.machines()
        installs = self.installs(machines)
        with _told():
            run = reading.newest_run(self.connection, installs[0].id) if installs else None
            if run is None:
                return self._masked(self._nothing_known(machines))
            return self._masked(self._report(installs[0], run, machines))

    def track_error_patterns(self, errors: list[EnhancedErrorContext]) -> None:
        """Count the errors of an installer's calls beside those of the history.

        Those in the state folder's own log of errors are counted anyway, and none twice.
        """
        self._tracked.add(errors)

    def generate_trend_analysis(self, *, days: float = DAYS) -> TrendAnalysis:
        """Return how all installations known here have done.

        Those of one machine, where the reporter was made for one.

        Args:
            days: How far to look back.
        """
        now = self._clock()
        since = now - days * trends.DAY
        machines = self.machines()
        scope = self._scope(machines) if self._machine else ALL
        monitored = machines[0].id if machines else None
        with _told():
            found = trends.trends(self.connection, since, now, scope=scope, monitored=monitored)
            analysis = self._analysis(since, now, scope, found)
        return self._masked(analysis)

    def export_metrics(self, format: str) -> str:  # noqa: A002 - the design names it
        """Return the newest figures of the reporter's machine, or of its install if it has one.

        Args:
            format: "json" (reports/metrics.schema.json), "csv", "prometheus" (its text format, for
                node_exporter's textfile collector) or "junit".

        Raises:
            ValueError: The format is another one.
        """
        if format not in FORMATS:
            raise ValueError(f"format is one of {', '.join(FORMATS)}, not {format!r}")
        from modelmedic.reporter import exporting

        return exporting.exported(self.figures(), format)

    def figures(self) -> Figures:
        """Return what is exported, masked, before it has a form."""
        from modelmedic.reporter import figures

        machines = self.machines()
        with _told():
            found = figures.figures(
                self.connection,
                self.state_dir,
                self._clock(),
                installs=self.installs(machines),
                scope=self._scope(machines),
                manager=self.manager,
            )
        return self._masked(found)

    @property
    def connection(self) -> sqlite3.Connection:
        """Return the connection to the history."""
        return self._history.connection

    def machines(self) -> list[Machine]:
        """Return the machine that is reported on; of one whose stand-in changed, all its names."""
        with _told():
            return reading.machines(self.connection, self._machine)

    def labels(self) -> dict[str, str]:
        """Return what the administrator calls machines, by stand-in; it is in no report."""
        with _told():
            return dict(
                self.connection.execute("SELECT name, label FROM machine WHERE label <> ''")
            )

    def installs(self, machines: list[Machine]) -> list[Install]:
        """Return the installs that are reported on, the one with the newest run first."""
        with _told():
            return [
                install
                for machine in machines
                for install in reading.installs(
                    self.connection, machine, self._folder, self._profile
                )
            ]

    def _report(self, install: Install, run: Run, machines: list[Machine]) -> InstallationReport:
        now = self._clock()
        causes = reading.causes(self.connection, install.id, run)
        good, bad = reading.last_good_and_first_bad(self.connection, install.id)
        is_told = bool(causes and good and bad)
        differences = changed.between(self.connection, good, bad) if good and bad else ()
        scope = Scope((install.machine.id,), install.id)
        since = now - PATTERN_DAYS * trends.DAY
        seen = suggestions.Evidence(
            self.connection,
            now,
            scope,
            folder=install.folder,
            causes=causes,
            changed=differences if is_told else (),
            good=good,
            bad=bad,
            effects=effects.effects(self.connection, scope=self._scope(machines)),
            patterns=self._patterns(since, scope, is_own=install.machine.is_own),
            trends=trends.trends(
                self.connection, now - DAYS * trends.DAY, now, scope=scope,
                monitored=install.machine.id,
            ),
        )  # fmt: skip
        (runs,) = self.connection.execute(
            "SELECT count(*) FROM run WHERE install_id = ?", [install.id]
        ).fetchone()
        return InstallationReport(
            machine=install.machine.name,
            folder=install.folder,
            profile=install.profile,
            run_id=run.run_id,
            at=run.started_at,
            verdict=verdict(run, causes),
            counts=run.counts,
            causes=tuple(causes),
            runs=runs,
            changed=tuple(seen.changed),
            effects=tuple(seen.effects),
            patterns=tuple(seen.patterns),
            suggestions=suggestions.suggestions(seen),
        )

    def _nothing_known(self, machines: list[Machine]) -> InstallationReport:
        name = machines[0].name if machines else self._machine
        text = no_run(self._machine if not machines else "", self._folder)
        return InstallationReport(
            name, self._folder or "", self._profile, "", 0.0, text, {}, (), 0, (), (), (), ()
        )

    def _analysis(
        self, since: float, now: float, scope: Scope, found: list[Trend]
    ) -> TrendAnalysis:
        known = effects.effects(self.connection, scope=scope, since=since)
        by_category = effects.effects(
            self.connection, scope=scope, since=since, is_by_category=True
        )
        several = Counter(each.recovery for each in by_category)
        seen = suggestions.Evidence(
            self.connection,
            now,
            scope,
            effects=known,
            patterns=self._patterns(since, scope, is_own=True),
            trends=found,
        )
        where, values = scope.of_runs()
        (runs,) = self.connection.execute(
            f"SELECT count(*) FROM run WHERE started_at BETWEEN ? AND ? {where}",  # noqa: S608 - no value is in it
            [since, now, *values],
        ).fetchone()
        return TrendAnalysis(
            since=since,
            until=now,
            runs=runs,
            trends=tuple(found),
            patterns=tuple(seen.patterns),
            effects=(*known, *(each for each in by_category if several[each.recovery] > 1)),
            suggestions=suggestions.suggestions(seen),
        )

    def _patterns(self, since: float, scope: Scope, *, is_own: bool) -> list[ErrorPattern]:
        found = patterns.patterns(self.connection, since, scope)
        if not is_own or self._machine:
            return found
        self._tracked.add_log(self.state_dir)
        return [*found, *self._tracked.patterns(since)[: patterns.MOST_OF_A_KIND]]

    @staticmethod
    def _scope(machines: list[Machine]) -> Scope:
        return Scope(tuple(each.id for each in machines))

    def _masked(self, value: T) -> T:
        """Return a value of ours with every text in it masked once more.

        Records of other machines were masked there, by another version and for other names.
        """
        return masked(value, self._mask)


def _absolute(given: Path | str) -> str:
    """Return a folder as runs write it down before they mask it: absolute, links as they are."""
    path = Path(given)
    with contextlib.suppress(RuntimeError):  # the home of a user that is not there
        path = path.expanduser()
    return str(path.absolute())


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say in words what SQLite found wrong with the file while it was read."""
    try:
        yield
    except sqlite3.Error as error:
        raise CannotTell(
            f"The history cannot be read: {printable(error)}.",
            next_step="See what it holds: modelmedic history",
        ) from error
