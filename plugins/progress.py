"""Shows a repair at work: what and why before it, how far a long step is, what came of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelmedic import examination, summary
from modelmedic.examination import Examination
from modelmedic.findings import Attempt
from modelmedic.healing.repair import Repair
from modelmedic.text import duration, printable, size

QUIET_SECONDS = 1.0  # a step that ends sooner needs no progress
LINE_SECONDS = 10.0  # between two plain lines: a log of an hour's download has 360


def pytest_configure(config: pytest.Config) -> None:
    """Be there where a person looks on: not in workers, not under -q."""
    found = examination.of(config)
    if found is None or found.is_worker:
        return
    if not config.pluginmanager.hasplugin("terminal") or getattr(config.option, "verbose", 0) < 0:
        return
    steps = Progress(config, found)
    if found.context.deep:
        from modelmedic.facts import hashing_desk

        hashing_desk.desk_of(found.facts).shown = steps.reading
    if found.mode in {"apply", "ask"}:
        config.pluginmanager.register(steps, "modelmedic:steps")


class Progress:
    """Writes to the terminal past pytest's capture."""

    def __init__(self, config: pytest.Config, found: Examination) -> None:
        self.config = config
        self.engine = found.engine
        self.engine.told = self.say  # who holds the lock, while a run waits for it
        self.engine.shop.extras["told"] = self.say  # that a server asks a fetch to wait
        self.checks: set[str] = set()  # whose repairs were shown
        self._shown: Repair | None = None  # the one that was last begun
        self._is_unasked = found.mode != "ask"  # else it was shown with the question

    @contextlib.contextmanager
    def shown(self, repair: Repair) -> Iterator[None]:
        """Show what is done and why, then how far it is, while a repair is applied."""
        self.checks.add(repair.plan.check)
        self._shown = repair
        with self._released(), contextlib.closing(_Meter(sys.stdout)) as meter:
            for line in _opening(repair) if self._is_unasked else ():
                self._reporter.write_line(line)
            self.engine.shop.progress = meter.tell
            yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[Callable[[str, int, int], None]]:
        """Show how far reading every byte is, while a check waits for it."""
        with self._released(), contextlib.closing(_Meter(sys.stdout)) as meter:
            yield meter.tell

    def ended(self, repair: Repair, attempt: Attempt) -> None:
        """Say what came of a repair that was begun."""
        if repair is not self._shown:
            return
        with self._released():
            spent = duration(attempt.seconds)
            words = {
                "healed": f"healed in {spent}: the check holds now",
                "degraded": f"worked around for this run only, in {spent}: the check holds in it",
                "not healed": "did not help: the check still fails; "
                f"{attempt.error or 'it was undone'}",
                "failed": f"did not succeed, after {spent}; the reason stands at the end",
                "interrupted": f"interrupted: {attempt.error}",
            }
            told = summary.printable_lines(words.get(attempt.verdict, attempt.verdict))
            self._reporter.write_line(f"  {told}")

    def say(self, line: str) -> None:
        """Write one line, now."""
        with self._released():
            self._reporter.write_line(line)

    @property
    def _reporter(self) -> Any:
        return self.config.pluginmanager.get_plugin("terminalreporter")

    @contextlib.contextmanager
    def _released(self) -> Iterator[None]:
        capture: Any = self.config.pluginmanager.get_plugin("capturemanager")
        # Between two phases nothing is captured: capturing from here on would swallow the letter.
        disabled = capture.global_and_fixture_disabled if capture else contextlib.nullcontext
        with disabled():
            self._begin_line()
            try:
                yield
            finally:
                self._reporter.flush()  # what is still in the buffer would be captured

    def _begin_line(self) -> None:
        """End the line of letters; after those of workers pytest does not know of one."""
        self._reporter.ensure_newline()
        if self._reporter._tw.width_of_current_line:  # noqa: SLF001 - has no public form
            self._reporter.line("")


def _opening(repair: Repair) -> Iterator[str]:
    """Yield the lines before a repair: the check, what is wrong and why, each change."""
    what = getattr(repair.error, "what", "") or str(repair.error)
    yield f"{printable(repair.plan.check)}: {summary.printable_lines(what)}"
    yield from summary.wrapped(getattr(repair.error, "why", ""), indent="  ", hang="")
    plan = repair.plan.to_json() | {"rate_interval": None}  # the plan and the question name it
    for number, line in enumerate(summary.plan_lines(plan)):
        yield f"  {line.replace(' would (', ' will now (', 1) if not number else line}"


class _Meter:
    """How far the step at hand is: a bar on a terminal, else a line now and then."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._bar: Any = None
        self._task: Any = None
        self._what = ""
        self._began = self._told = 0.0
        self._first = 0

    def tell(self, what: str, done: int, total: int) -> None:
        """Take note of progress: bytes done of bytes in all; 0 in all: unknown."""
        now = time.monotonic()
        if what != self._what:
            self.close()
            self._what, self._began, self._first, self._told = what, now, done, 0.0
        if now - self._began < QUIET_SECONDS:
            return
        if self._stream.isatty():
            self._show(done, total)
        elif now - self._told >= LINE_SECONDS:
            self._told = now
            self._stream.write(f"  {self._line(done, total, now - self._began)}\n")
            self._stream.flush()

    def _line(self, done: int, total: int, seconds: float) -> str:
        rate = max(done - self._first, 0) / seconds
        parts = [f"{size(done)} of {size(total)}" if total else size(done)]
        parts.append(f"{size(rate)}/s")
        if total and rate:
            parts.append(f"about {duration((total - done) / rate)} left")
        return f"{printable(self._what)}: {', '.join(parts)}"

    def _show(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = _bar(self._stream)
            self._bar.start()
            self._task = self._bar.add_task(
                printable(self._what), total=total or None, completed=self._first
            )
        self._bar.update(self._task, completed=done)

    def close(self) -> None:
        """Take the bar from the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bar(stream: Any) -> Any:
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        """Bytes in a second, in the units of everything else we say; rich's own are decimal."""

        def render(self, task: progress.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{size(speed)}/s" if speed else "")

    return progress.Progress(
        progress.TextColumn("  {task.description}", markup=False),
        progress.BarColumn(bar_width=20),
        progress.DownloadColumn(binary_units=True),
        Rate(),
        progress.TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
    )
