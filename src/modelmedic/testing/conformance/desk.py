"""A place to try things: an install with home, state and report folders of its own; its runs."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmedic import commands, rooms
from modelmedic.context import OWN_FOLDER
from modelmedic.testing.conformance.case import DEMO, Case
from modelmedic.testing.conformance.snapshot import Entry, take
from modelmedic.testing.hub import LoopbackHub, demo_hub

_PACKAGE = Path(__file__).resolve().parents[2]
# As in modelmedic.closing: nothing of the current folder is imported in place of ours.
_PATHS = "import sys; sys.path[:] = [{folder!r}] + [p for p in sys.path if p]; "
_RUN = _PATHS + (
    "from modelmedic.testing.conformance import child; sys.exit(child.main(sys.argv[1:]))"
)
_UNDO = _PATHS + "from modelmedic.cli import main; sys.exit(main(sys.argv[1:]))"
_PLUGINS = ("modelmedic.entry", "xdist.plugin", "pytest_html.plugin", "pytest_metadata.plugin",
            "pytest_timeout")  # fmt: skip
_POLL_SECONDS = 0.02
_SAID = 1500  # characters of a run's last words in a message
# What steers pytest, modelmedic, pip, or where they look for a person's own things.
_STEERING = ("PYTEST_", "MODELMEDIC_", "COV_", "HF_", "XDG_", "PIP_", "UV_")


@functools.cache
def hub() -> LoopbackHub:
    """Return this process's Hub of the demo model, to be started where it is needed."""
    return demo_hub()


# What a run without --heal learns, and keeps in the state folder.
_LEARNT = frozenset(
    {"digests", "seals", "unfinished"}
    | {"history.db", "history.db-wal", "history.db-shm", "pseudonyms.key"}
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that ended."""

    code: int
    output: str
    record: dict[str, Any]
    events: tuple[str, ...]

    def finding(self, check: str) -> dict[str, Any]:
        """Return the finding of a check; empty when it was not judged."""
        findings: list[dict[str, Any]] = self.record.get("findings", [])
        return next((each for each in findings if each["check"] == check), {})

    def attempts(self, check: str) -> list[dict[str, Any]]:
        """Return what was tried on a check, in its order."""
        attempts: list[dict[str, Any]] = self.finding(check).get("attempts", [])
        return attempts

    def bad(self) -> set[str]:
        """Return the checks that do not hold."""
        bad = {"failed", "unknown", "blocked"}
        return {each["check"] for each in self.record.get("findings", []) if each["outcome"] in bad}

    def said(self) -> str:
        """Return its last words."""
        return self.output.strip()[-_SAID:]


@dataclass(slots=True)
class Desk:
    """One install of one case.

    Args:
        case: The case.
        folder: Holds the install and everything its runs write.
        file: Has the check of the case; None: all of its files are searched for it.
        runs: How many were begun.
        is_broken: Whether its runs meet the fault that lies outside it.
    """

    case: Case
    folder: Path
    file: Path | None = None
    runs: int = 0
    is_broken: bool = False

    @property
    def install(self) -> Path:
        """Return the install folder."""
        return self.folder / "install"

    @property
    def state(self) -> Path:
        """Return modelmedic's state folder."""
        return self.folder / "state"

    @property
    def outside(self) -> Path:
        """Return a folder that is none of a repair's business."""
        return self.folder / "outside"

    def make(self, healthy: Path | None) -> None:
        """Make the folders, the install as a copy of ``healthy`` if it is given."""
        for name in ("home", "state", "outside", "temporary"):
            (self.folder / name).mkdir(parents=True)
        if healthy is None:
            self.case.prepare(self.install)
        else:
            shutil.copytree(healthy, self.install, symlinks=True)

    def everything(self) -> dict[str, Entry]:
        """Return all that a run without ``--heal`` must leave as it is.

        What a run learns about files, and that there was a run, it keeps in the state folder:
        that is not looked at.
        """
        return {
            f"{name}/{path}" if path != "." else name: entry
            for name in ("install", "home", "state", "outside")
            for path, entry in take(self.folder / name).items()
            if not (name == "state" and path.partition("/")[0] in _LEARNT)
        }

    def files(self) -> dict[str, Entry]:
        """Return what lies in the install, without modelmedic's own folder."""
        return take(self.install, without=(OWN_FOLDER,))

    # -- runs ------------------------------------------------------------------------------------

    def run(self, *options: str, whole: bool = False, **orders: Any) -> Run:
        """Run the check, or with ``whole`` all checks, and return how it ended.

        Raises:
            CannotTell: It did not end within the deadline of the case, and was ended.
        """
        self.runs += 1
        return self._run(self.runs, options, {"only": None if whole else self.case.check, **orders})

    def run_held(
        self,
        count: int,
        act: Callable[[], AbstractContextManager[object] | None],
        *options: str,
    ) -> tuple[list[Run], int]:
        """Start runs that wait once their check has failed; act when all do; let them go on.

        Returns:
            The runs, and how many of them waited. When not all did, nothing was acted.

        Raises:
            CannotTell: One did not end within the deadline of the case, and was ended.
        """
        gate = self.folder / f"gate-{self.runs + 1}"
        gate.mkdir()
        orders = {"only": self.case.check, "gate": str(gate)}
        with ThreadPoolExecutor(count) as pool, contextlib.ExitStack() as held:
            running = []
            for _each in range(count):
                self.runs += 1
                running.append(pool.submit(self._run, self.runs, options, orders))
            waiting = _wait(gate, running)
            try:
                if waiting == count and (acted := act()) is not None:
                    held.enter_context(acted)
            finally:
                (gate / "open").touch()
            return [each.result() for each in running], waiting

    def undo(self) -> commands.Completed:
        """Run ``modelmedic undo``."""
        return commands.run(
            [sys.executable, "-c", _start(_UNDO), "undo", f"--install-dir={self.install}"],
            deadline_seconds=self.case.deadline_seconds,
            env=self._environment(),
            cwd=self.folder,
        )

    def _run(self, number: int, options: tuple[str, ...], orders: dict[str, Any]) -> Run:
        outside = self.case.outside
        around = outside(self.folder, self.is_broken) if outside else contextlib.nullcontext({})
        with around as more:
            return self._run_in(dict(more), number, options, orders)

    def _run_in(
        self, more: dict[str, str], number: int, options: tuple[str, ...], orders: dict[str, Any]
    ) -> Run:
        report, events = self.folder / f"report-{number}", self.folder / f"events-{number}"
        told = {"events": str(events), "install": str(self.install), **orders}
        case = self.case
        done = commands.run(
            [
                sys.executable,
                "-c",
                _start(_RUN),
                json.dumps(told),
                f"--config-file={_PACKAGE / 'pytest.ini'}",
                f"--rootdir={rooms.home()}",
                f"--confcutdir={rooms.room('checks')}",
                *(f"-p{name}" for name in _PLUGINS),
                f"--profile={case.profile}",
                f"--install-dir={self.install}",
                "--stage=installed",
                f"--report-dir={report}",
                *case.options,
                *options,
                *map(str, self._files(orders)),
            ],
            deadline_seconds=case.deadline_seconds,
            env=self._environment() | more,
            cwd=self.folder,
        )
        return Run(done.returncode, done.stdout + done.stderr, _record(report), _lines(events))

    def _files(self, orders: dict[str, Any]) -> tuple[Path, ...]:
        if self.file is not None and orders["only"] is not None:
            return (self.file,)  # to collect the others costs a sixth of a run
        return self.case.checks or (rooms.room("checks"),)

    def _environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(_STEERING)}
        home = str(self.folder / "home")
        own = {
            "HOME": home,
            "USERPROFILE": home,
            "TMPDIR": str(self.folder / "temporary"),
            "MODELMEDIC_STATE_DIR": str(self.state),
            "MODELMEDIC_CACHE_DIR": str(self.folder / "cache"),
            "MODELMEDIC_INVOKED_AS": "modelmedic heal",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        if self.case.profile == DEMO:
            own["MODELMEDIC_DEMO_HUB"] = hub().endpoint
        return env | own | dict(self.case.environ)


def _start(code: str) -> str:
    return code.format(folder=str(_PACKAGE.parent))


def _wait(gate: Path, running: list[Future[Run]]) -> int:
    """Return how many runs wait at the gate: all, unless one ended without coming there."""
    while True:
        is_over = any(each.done() for each in running)
        waiting = len(list(gate.glob("*.waits")))
        if is_over or waiting == len(running):
            return waiting
        time.sleep(_POLL_SECONDS)


def _record(report: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((report / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record


def _lines(events: Path) -> tuple[str, ...]:
    try:
        return tuple(events.read_text(encoding="utf-8").splitlines())
    except OSError:
        return ()
