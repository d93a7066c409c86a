"""The runs of one case that several promises need, each made once."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelmedic import rooms
from modelmedic.errors import CannotTell
from modelmedic.testing.conformance.case import Case
from modelmedic.testing.conformance.desk import Desk, Run
from modelmedic.testing.conformance.snapshot import UNTOUCHED, Entry, differences, listed


class Broken(AssertionError):  # noqa: N818 - a promise is broken
    """A promise was broken: what was expected, what was seen, where, and the run's last words."""

    def __init__(self, expected: str, seen: str, run: Run | None = None) -> None:
        self.expected = expected
        self.seen = seen
        said = f"\nThe run ended with exit code {run.code} and said:\n{run.said()}" if run else ""
        super().__init__(f"Expected: {expected}\nSeen:     {seen}{said}")


@dataclass(frozen=True, slots=True)
class Healthy:
    """A prepared install, and a run with ``--heal`` of all checks on it."""

    install: Path
    run: Run
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Detected:
    """An install that was broken and looked at once: the run, and what it changed."""

    desk: Desk
    run: Run
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Healed:
    """An install that was broken and healed once: the files before and after, and the run."""

    desk: Desk
    broken: dict[str, Entry]
    files: dict[str, Entry]
    run: Run


class Bench:
    """What the cases of one test session share: healthy installs, made once for those alike.

    Args:
        root: A folder for them and for all desks.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[object, Healthy] = {}
        self._numbers = itertools.count(1)

    def new_folder(self, name: str) -> Path:
        """Return a folder that nobody has yet; it is not made."""
        return self.root / f"{name}-{next(self._numbers)}"

    def healthy(self, case: Case) -> Healthy:
        """Return the prepared install of a case, with a run on it.

        Raises:
            CannotTell: The run did not end.
        """
        alike = (
            case.profile, case.prepare, case.checks, case.options, case.environ, case.outside
        )  # fmt: skip
        if alike not in self._known:
            desk = Desk(case, self.root / f"healthy-{len(self._known) + 1}")
            desk.make(None)
            before = desk.files()
            run = desk.run("--heal", whole=True)
            changes = tuple(differences(before, desk.files(), UNTOUCHED))
            self._known[alike] = Healthy(desk.install, run, changes)
        return self._known[alike]


class Story:
    """One case and what is known of it so far.

    Args:
        case: The case.
        bench: Of its test session.
    """

    def __init__(self, case: Case, bench: Bench) -> None:
        self.case = case
        self.bench = bench
        self._detected: Detected | None = None
        self._healed: Healed | None = None
        self._again: Run | None = None
        self._is_undone = False
        self._hung = ""

    @property
    def healthy(self) -> Healthy:
        """Return the prepared install, with a run on it.

        Raises:
            Broken: The run hung.
        """
        with self.ending():
            return self.bench.healthy(self.case)

    @property
    def detected(self) -> Detected:
        """Return the install that was broken and looked at once; a plan may be made on it.

        Raises:
            Broken: The run hung.
        """
        if self._detected is None:
            desk = self._new_desk()
            self.break_on(desk)
            before = desk.everything()
            with self.ending():
                run = desk.run()
            changes = tuple(differences(before, desk.everything(), UNTOUCHED))
            self._detected = Detected(desk, run, changes)
        return self._detected

    @property
    def healed(self) -> Healed:
        """Return what is known of an install that was broken and healed once.

        It may be undone by now: see `standing`. Nobody else changes it.

        Raises:
            Broken: It was not healed, or the run hung.
        """
        if self._healed is None:
            desk = self._new_desk()
            broken = self.break_on(desk)
            with self.ending():
                run = desk.run("--heal")
            self._expect_healed(run)
            self._healed = Healed(desk, broken, desk.files(), run)
        return self._healed

    @property
    def again(self) -> Run:
        """Return a second run with ``--heal``, of all checks, on what was healed.

        Raises:
            Broken: It was not healed, or a run hung.
        """
        desk = self.standing().desk
        if self._again is None:
            with self.ending():
                self._again = desk.run("--heal", whole=True)
        return self._again

    def standing(self) -> Healed:
        """Return an install that was healed and not undone since.

        Raises:
            Broken: It was not healed, or the run hung.
        """
        if self._is_undone:
            self._healed = self._again = None
            self._is_undone = False
        return self.healed

    @property
    def later(self) -> Run:
        """Return a run without ``--heal`` on what was healed.

        Raises:
            Broken: It was not healed, or a run hung.
        """
        with self.ending():
            return self.standing().desk.run()

    def undone(self) -> Healed:
        """Return what was healed, to be undone; who needs it later gets another one.

        Raises:
            Broken: It was not healed, or the run hung.
        """
        healed = self.standing()
        self._is_undone = True
        return healed

    @contextlib.contextmanager
    def desk(self) -> Iterator[Desk]:
        """Give a copy of the healthy install; it is kept when a promise was broken on it.

        Raises:
            Broken: A run hung, here or earlier.
        """
        desk = self._new_desk()
        with self.ending():
            yield desk
        shutil.rmtree(desk.folder, ignore_errors=True)

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Turn a run that was ended by the kit into a broken promise."""
        try:
            yield
        except CannotTell as error:
            limit = f"{self.case.deadline_seconds:g} s"
            self._hung = f"A run did not end within {limit} and was ended."
            raise Broken(f"Every run ends within {limit}.", f"It hangs: {error.what}") from error

    def break_on(self, desk: Desk) -> dict[str, Entry]:
        """Break the install of a desk and return its files as they are then.

        Raises:
            Broken: Nothing changed.
        """
        before = desk.files()
        self.case.break_install(desk.install)
        broken = desk.files()
        desk.is_broken = True
        if self.case.outside is None and not differences(
            before, broken, ("kind", "content", "mode", "mtime_ns")
        ):
            raise Broken("break_install changes the install.", "It is as it was.")
        return broken

    def _new_desk(self) -> Desk:
        if self._hung:
            raise Broken("Every run ends.", f"{self._hung} Nothing more was tried.")
        healthy = self.healthy
        folder = self.bench.new_folder(self.case.recovery)
        desk = Desk(self.case, folder, _file_of(healthy, self.case))
        desk.make(healthy.install)
        return desk

    def _expect_healed(self, run: Run) -> None:
        finding, attempts = run.finding(self.case.check), run.attempts(self.case.check)
        tried = [f"{each['recovery']}: {each['verdict']} {each['error']}" for each in attempts]
        expected = f"{self.case.check} is {self.case.leaves} by {self.case.recovery}, exit code 0."
        if finding.get("outcome") != self.case.leaves or run.code != 0:
            outcome = finding.get("outcome", "was not judged")
            seen = f"{self.case.check}: {outcome}. {finding.get('what', '')} Tried: {listed(tried)}"
            raise Broken(expected, seen, run)
        if attempts[-1]["recovery"] != self.case.recovery:
            raise Broken(expected, f"It was healed by {attempts[-1]['recovery']}.", run)


def _file_of(healthy: Healthy, case: Case) -> Path | None:
    """Return the file that has the check of a case; None when nothing is known of it."""
    nodeid: str = healthy.run.finding(case.check).get("nodeid", "")
    file = rooms.home() / nodeid.partition("::")[0]
    return file if nodeid and file.is_file() else None
