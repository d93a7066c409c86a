"""Break installs at random, let them be checked and healed, and look that every promise holds.

    python benchmarks/chaos.py [--minutes N] [--seed S] [--cycles N]

Two installs of the demo model, one of them with the environment and the installer of
tests/sample_installer. Each cycle draws damage to files, faults of the Hub, a SIGKILL or SIGSTOP of
the child at a random moment, and little memory, disk or open files; then a child runs
`modelmedic heal`, `check`, `undo` or the installer. After each cycle: a model file by its real name
is as it was planted or right by its SHA-256; nothing is called healed that is not; a person's own
files are untouched. Every eighth cycle the faults stop, and the install has to become healthy again
with nothing left over. This process keeps a `ReliabilityManager` all the while, whose counts must
be exact and whose memory and open files must not grow.

The same seed draws the same cycles; what a kill meets hangs on the machine. Ends with exit code 1
when a promise was broken. It writes into a temporary folder and removes it. POSIX only.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT / "src"), str(CHECKOUT / "tests"), str(Path(__file__).parent)]

import chaos_child as child  # noqa: E402 - found through the line above
import chaos_faults as faults  # noqa: E402
from chaos_place import CANARIES, Place  # noqa: E402
from chaos_resident import Resident  # noqa: E402
from machine_support import tmpfs  # noqa: E402
from sample_support import World, world  # noqa: E402

MINUTES = 30.0
_CALM_EVERY = 8
_CALM_TRIES = 3
_DOWN_SECONDS = 0.7


@dataclass(slots=True)
class Chaos:
    """The whole run."""

    seed: int
    served: World
    places: dict[str, Place]
    limits: tuple[str, ...]
    resident: Resident
    cycles: int = 0
    planted: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    healed: int = 0
    refused: int = 0
    calms: int = 0
    left_by_killed: int = 0
    broken: list[str] = field(default_factory=list)

    def cycle(self) -> None:
        """Draw, plant, run, judge."""
        self.cycles += 1
        drawn, draw = faults.draw_cycle(self.seed, self.cycles, self.limits)
        place = self.places[drawn.place]
        for name in drawn.files:
            faults.FILE_FAULTS[name](place, draw)
        place.note()
        self.planted.update([*drawn.files, *filter(None, (drawn.process, drawn.limit))])
        with self._hub(drawn.server, draw), self._disk(drawn, place, draw):
            counted = self.served.registrar.count
            before = place.listing() if drawn.command == "check" else {}
            ended = child.run(
                place,
                child.command_of(place, drawn.command, drawn.is_deep),
                process=drawn.process,
                moment_seconds=drawn.moment_seconds,
                limit=faults.limiter(drawn.limit, draw),
            )
            if drawn.command == "check" and ended.code >= 0 and place.listing() != before:
                self._break(place, f"cycle {self.cycles}: a check changed the install", ended)
        if ended.code < 0:  # what it had started goes on, and may end in peace
            self.ended["late orphan killed"] += len(child.orphans())
        self._count(drawn.command, ended)
        told = f"{drawn.told()}: exit {ended.code}, {ended.seconds:.1f} s"
        print(told, flush=True)
        self._judge(place, drawn, ended, self.served.registrar.count - counted)
        self.resident.work(draw)

    def calm(self) -> None:
        """Let the faults stop: each install must become healthy, and nothing may be left."""
        self.calms += 1
        self.served.hub.clear()
        for place in self.places.values():
            place.allow()
            for _try in range(_CALM_TRIES):
                ended = child.run(place, child.command_of(place, "heal", True))
                self._count("heal", ended)
                self._require(place.false_claims(), place, f"calm {self.calms}", ended)
                if ended.code == 0:
                    break
            else:
                self._break(place, f"calm {self.calms}: not healthy, exit {ended.code}", ended)
            self._require(place.broken_promises(), place, f"calm {self.calms}", ended)
            self._require((f"{p} is wrong" for p in place.wrong_files()), place, "calm", ended)
            self._require(place.leftovers(), place, f"calm {self.calms}", ended)
            left = [f"temporary {name} is left" for name in place.temporary()]
            self._require(left, place, f"calm {self.calms}", ended)
        self._require(child.orphans(), place, f"calm {self.calms}", ended)
        print(f"calm {self.calms}: {self.resident.told()}", flush=True)

    def _judge(self, place: Place, drawn: faults.Cycle, ended: child.Ended, counted: int) -> None:
        where = f"cycle {drawn.number}"
        self._require(place.broken_promises(), place, where, ended)
        self._require(place.false_claims(), place, where, ended)
        left = place.temporary()
        if ended.code < 0:
            self.left_by_killed += len(left) + len(place.scratch())
        elif not drawn.limit:
            self._require((f"temporary {name} is left" for name in left), place, where, ended)
        if ended.is_late:
            self._break(place, f"{where}: not done after {child.DEADLINE_SECONDS:.0f} s", ended)
        if counted > 1:
            self._break(place, f"{where}: one installation was registered {counted} times", ended)
        said_all = ended.code == 0 and drawn.command == "install"
        if said_all and (wrong := place.wrong_files()):
            self._break(place, f"{where}: complete, and {wrong} wrong", ended)
        if "Traceback (most recent call last)" in ended.out and not drawn.limit:
            self._break(place, f"{where}: a traceback", ended)

    def _count(self, command: str, ended: child.Ended) -> None:
        self.ended[f"{command} {'killed' if ended.code < 0 else f'exit {ended.code}'}"] += 1
        self.healed += ended.out.count("]\n") and _told(ended.out, "healed")
        self.refused += ended.out.count(": refused\n")

    def _require(
        self, wrong: Iterator[str] | list[str], place: Place, where: str, ended: child.Ended
    ) -> None:
        for sentence in wrong:
            self._break(place, f"{where}: {sentence}", ended)

    def _break(self, place: Place, sentence: str, ended: child.Ended) -> None:
        self.broken.append(f"{place.name}, {sentence}")
        print(f"BROKEN: {self.broken[-1]}\n{ended.out[-3_000:]}", flush=True)
        place.note()  # once is enough

    @contextlib.contextmanager
    def _hub(self, name: str, draw: random.Random) -> Iterator[None]:
        hub = self.served.hub
        self.planted.update([f"hub {name}"] if name else [])
        timers = []
        if name in faults.SERVER_FAULTS:
            match, fault, times = faults.SERVER_FAULTS[name]
            hub.fault(match, fault, times=times)
        elif name == "down":
            hub.stop()
        elif name == "restart":
            timers = [threading.Timer(draw.uniform(0.2, 2.5), self._restart)]
            timers[0].start()
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
                timer.join()
            hub.start()
            hub.clear()

    def _restart(self) -> None:
        self.served.hub.stop()
        time.sleep(_DOWN_SECONDS)
        self.served.hub.start()

    @contextlib.contextmanager
    def _disk(self, drawn: faults.Cycle, place: Place, draw: random.Random) -> Iterator[None]:
        if drawn.limit != "disk" or not place.is_small:
            yield
            return
        ballast = faults.fill(place.root, draw)
        try:
            yield
        finally:
            ballast.unlink()


def _told(out: str, word: str) -> int:
    """Return the number before a word in pytest's last line."""
    parts = out.rpartition("=====\n")[0].rpartition("\n")[2].replace(",", "").split()
    return int(parts[parts.index(word) - 1]) if word in parts else 0


@contextlib.contextmanager
def _small_disk() -> Iterator[Path | None]:
    """Mount a small disk for the demo install where we may; None where not."""
    try:
        with tmpfs("size=512m") as folder:
            yield folder
    except BaseException as error:
        if type(error).__name__ != "Skipped":
            raise
        yield None


def main() -> int:
    """Run until the time is over; print figures, and return 1 when a promise was broken."""
    if sys.platform == "win32":
        raise SystemExit("This run needs SIGKILL, SIGSTOP and limits, which Windows has not.")
    parser = argparse.ArgumentParser(description="Break installs at random and heal them.")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--cycles", type=int, default=10**9, help="at most so many")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell lets us ignore them
        signal.signal(number, _stop)
    print(f"seed {options.seed}: python benchmarks/chaos.py --seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, contextlib.ExitStack() as stack:
        chaos = _begin(Path(name), options.seed, stack)
        ends_at = time.monotonic() + options.minutes * 60
        while time.monotonic() < ends_at and chaos.cycles < options.cycles:
            chaos.cycle()
            if chaos.cycles % _CALM_EVERY == 0:
                chaos.calm()
        chaos.calm()
        return _figures(chaos)


def _stop(number: int, _frame: object) -> None:
    """End as after an error: the small disk is given back, the folder goes."""
    raise SystemExit(128 + number)


def _begin(folder: Path, seed: int, stack: contextlib.ExitStack) -> Chaos:
    disk = stack.enter_context(_small_disk())
    served = stack.enter_context(world(folder / "sample"))
    demo = Place(
        "demo", folder / "demo", (disk or folder / "demo") / "app", is_small=disk is not None
    )
    demo.folder.mkdir()
    served.write_order()
    served.with_environment("moon-2.0", "sun-1.0")
    served.with_integration()
    text = (served.folder / "sample.toml").read_text()
    lines = text.split("[python]")[0] + "[[endpoints]]" + text.split("[[endpoints]]", 1)[1]
    demo.profile.write_text(lines)  # the demo model alone, without an environment
    places = {"demo": demo, "sample": Place("sample", served.folder, served.app)}
    for place in places.values():
        place.fill()
    limits = ("files", "memory", "disk") if disk else ("files", "memory")
    resident = stack.enter_context(Resident.at(folder / "resident"))
    return Chaos(seed, served, places, limits, resident)


def _figures(chaos: Chaos) -> int:
    chaos.broken += chaos.resident.broken()
    for title, counter in (("faults", chaos.planted), ("ends", chaos.ended)):
        print(f"{title}: {', '.join(f'{n} {what}' for what, n in sorted(counter.items()))}")
    print(
        f"{chaos.cycles} cycles, {chaos.calms} times calm; {chaos.healed} findings healed, "
        f"{chaos.refused} recoveries refused; {chaos.left_by_killed} temporary and scratch names "
        f"that killed programs left; {len(CANARIES)} files of a person in each install"
    )
    print(chaos.resident.told())
    for sentence in chaos.broken[:20]:
        print(f"BROKEN: {sentence}")
    print(f"{len(chaos.broken)} promises broken")
    return 1 if chaos.broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
