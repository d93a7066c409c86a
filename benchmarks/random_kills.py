"""Kill repairs at random moments, put them in order, and look at every byte.

    python benchmarks/random_kills.py [KILLS] [SEED]

Each round makes a small install and lets the real engine, in a process of its own, make three
repairs: folders with a moved file and a rewritten config; a fetch from a server on loopback; a lock
set aside with a new file. SIGKILL ends it at a random moment: of half of the rounds at a random
change of the disk (its number is drawn), of the others after a random time. Then another process
puts things in order as the next run would, and every third one of those is killed as well. After
that each file must be old or new, byte for byte, and each repair whole: all old or all new.

The same seed draws the same rounds; a kill after a time meets another moment on another machine.
Prints kills by what had last been written in the journal, and ends with exit code 1 if a file is
neither old nor new, or a repair is half done. POSIX only.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelmedic.healing.engine import Engine, Plan

KILLS = 1000
SOURCE = Path(__file__).resolve().parents[1] / "src"
FETCHED = random.Random(0).randbytes(600_000)
OLD = {
    "settings.json": b"{broken",
    "misplaced.bin": b"weights " * 2_000,
    "model/a.bin": b"cut short",
    "stale.lock": b"",
}
NEW_SETTINGS = '{"a": 1}\n'
# Which files each repair changes, and what they hold when it was made; None: not there.
REPAIRS: dict[str, dict[str, bytes | None]] = {
    "files": {
        "settings.json": NEW_SETTINGS.encode(),
        "misplaced.bin": None,
        "outputs/films/b.bin": OLD["misplaced.bin"],
    },
    "fetch": {"model/a.bin": FETCHED},
    "lock": {"stale.lock": None, "new.json": b"{}\n"},
}
CHANGES = frozenset({"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod"})
HUB = """
import sys
from modelmedic.testing.hub import LoopbackHub
with LoopbackHub() as hub:
    hub.add_repo("org/model", {"a.bin": sys.stdin.buffer.read(int(sys.argv[1]))})
    print(hub.endpoint, flush=True)
    sys.stdin.buffer.read()
"""


@dataclass(slots=True)
class Tally:
    """What happened: kills by phase, and each fault in words."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    second_kills: int = 0
    kept: int = 0
    undone: int = 0
    mixed_files: list[str] = field(default_factory=list)
    half_repairs: list[str] = field(default_factory=list)


def main() -> int:
    """Print the figures; return 1 when anything was left neither old nor new."""
    if sys.platform == "win32":
        raise SystemExit("These kills need fork and SIGKILL, which Windows has not.")
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**6)
    sys.path.insert(0, str(SOURCE))
    print(f"seed {seed}: python benchmarks/random_kills.py {kills} {seed}", flush=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, _served() as url:
        tally = _rounds(Path(folder), url, kills, random.Random(seed))
    for phase, count in sorted(tally.kills.items()):
        print(f"  {count:5} killed {phase}")
    print(
        f"{sum(tally.kills.values())} repairs killed in {tally.rounds} rounds, and "
        f"{tally.second_kills} more while they were put in order; "
        f"{tally.kept} repairs stayed, {tally.undone} were not made or undone; "
        f"{time.perf_counter() - began:.0f} s"
    )
    for fault in (tally.mixed_files + tally.half_repairs)[:20]:
        print(f"FAULT: {fault}")
    print(f"{len(tally.mixed_files)} files neither old nor new")
    print(f"{len(tally.half_repairs)} repairs half done")
    return 1 if tally.mixed_files or tally.half_repairs else 0


class _served:  # noqa: N801 - reads as the context manager it is
    """Serve the file to fetch from a process of its own: ours must fork, so it has no threads."""

    def __enter__(self) -> str:
        self.child = subprocess.Popen(
            [sys.executable, "-c", HUB, str(len(FETCHED))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(FETCHED)
        self.child.stdin.flush()
        return f"{self.child.stdout.readline().decode().strip()}/org/model/resolve/main/a.bin"

    def __exit__(self, *_error: object) -> None:
        self.child.communicate()


def _rounds(folder: Path, url: str, kills: int, draw: random.Random) -> Tally:
    _import_all()
    tally = Tally()
    changes, times = _measure(folder / "measure", url)
    while sum(tally.kills.values()) < kills:
        tally.rounds += 1
        if tally.rounds > 20 * kills + 100:
            raise SystemExit("Most rounds end before they are killed; this machine is too busy.")
        root = _make(folder / f"round-{tally.rounds}")
        by_step = draw.randrange(2) == 0
        step, share, again = draw.randint(1, changes), draw.random(), draw.randrange(3) == 0
        heal = _child(partial(_heal, root, url, step if by_step else 0))
        was_killed = _end(heal, None if by_step else share * statistics.median(times))
        if was_killed:
            tally.kills[_phase(root)] += 1
        _put_in_order(root, draw, tally, again=again)
        _judge(root, tally)
        shutil.rmtree(root.parent)
    return tally


def _import_all() -> None:
    """Load what a repair needs once, so that each forked child begins at once."""
    import filelock  # noqa: F401
    import psutil  # noqa: F401
    import requests  # noqa: F401

    from modelmedic import transfer  # noqa: F401
    from modelmedic.healing import engine  # noqa: F401


def _make(folder: Path) -> Path:
    root = folder / "install"
    for name, data in OLD.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def _measure(folder: Path, url: str) -> tuple[int, list[float]]:
    """Return how many changes of the disk a whole heal makes, and how long three of them took."""
    times, changes = [], 0
    for number in range(3):
        root = _make(folder / str(number))
        began = time.perf_counter()
        if _end(_child(partial(_heal, root, url, 0)), None):
            raise SystemExit("The repairs fail even when nobody kills them.")
        times.append(time.perf_counter() - began)
        changes = int((root.parent / "changes").read_text())
        tally = Tally()
        _judge(root, tally)
        if tally.kept != len(REPAIRS):
            raise SystemExit("The repairs do not repair even when nobody kills them.")
    shutil.rmtree(folder)
    return changes, times


# -- the killed --------------------------------------------------------------------------------


def _engine(root: Path) -> Engine:
    from modelmedic.context import Context
    from modelmedic.healing.engine import Engine
    from modelmedic.profile.model import Profile

    profile = Profile(name="kills", title="Kills", file=root / "kills.toml")
    return Engine(
        Context(
            profile=profile,
            place=root,
            install_dir=root,
            install_reason="given",
            target_python=None,
            target_reason="none",
            stage="installed",
            stage_reason="given",
            deep=False,
            offline=False,
            run_id=f"run-{os.getpid():08}",
            state_dir=root.parent / "state",
            command="python benchmarks/random_kills.py",
        )
    )


def _heal(root: Path, url: str, kill_at: int) -> None:
    """Make the three repairs; kill ourselves at the given change of the disk (0: never)."""
    engine = _engine(root)
    seen = 0

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event in CHANGES or (event == "open" and _writes(args)):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    for plan in _plans(root, url):
        with engine.locked():
            engine.keep(engine.apply(plan))
    (root.parent / "changes").write_text(str(seen))


def _writes(args: tuple[object, ...]) -> bool:
    return isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR))


def _plans(root: Path, url: str) -> Iterator[Plan]:
    from modelmedic.healing.engine import Plan
    from modelmedic.operations.aside import Was, seen
    from modelmedic.operations.fetch_file import FetchFile
    from modelmedic.operations.kinds import MakeDir, Rename, ReplaceFile, SetAside
    from modelmedic.operations.tree import Tree

    def was(path: str) -> Was | None:
        return seen(Tree(root).identity(path))

    digest = hashlib.sha256(FETCHED).hexdigest()
    operations = {
        "files": [
            MakeDir("outputs"),
            MakeDir("outputs/films"),
            Rename("misplaced.bin", "outputs/films/b.bin", was("misplaced.bin")),
            ReplaceFile("settings.json", NEW_SETTINGS, was("settings.json")),
        ],
        "fetch": [FetchFile("model/a.bin", len(FETCHED), digest, "", (url,), was("model/a.bin"))],
        "lock": [
            SetAside("stale.lock", was("stale.lock")),
            ReplaceFile("new.json", "{}\n", None),
        ],
    }
    for name in REPAIRS:
        yield Plan(name, f"check.{name}", name, operations=operations[name])


def _child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process and return its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        os._exit(code)


def _end(pid: int, after_seconds: float | None) -> bool:
    """Wait for a child, or kill it after a time; return whether it was killed.

    Raises:
        SystemExit: It failed by itself.
    """
    if after_seconds is not None:
        time.sleep(after_seconds)
        os.kill(pid, signal.SIGKILL)  # ours until we wait for it, even when it has ended
    _pid, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("A process failed by itself; see above.")
    return os.WIFSIGNALED(status)


# -- after the kill ----------------------------------------------------------------------------


def _put_in_order(root: Path, draw: random.Random, tally: Tally, *, again: bool) -> None:
    if again and _end(_child(partial(_finish, root)), draw.random() * 0.05):
        tally.second_kills += 1
    if _end(_child(partial(_finish, root)), None):
        raise SystemExit("Nobody killed it, and it was killed.")


def _finish(root: Path) -> None:
    from modelmedic.healing import journal

    engine = _engine(root)
    with engine.locked():
        engine.finish_interrupted()
    assert journal.pending(engine.context.state_dir, root) == []


def _phase(root: Path) -> str:
    """Return where a repair was killed, by the last whole line of its journal."""
    last, kinds = {}, {}
    for path in (root.parent / "state").rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            try:
                last = json.loads(line)
            except ValueError:
                continue
            if last["event"] == "before":
                kinds[last["seq"]] = last["operation"]["kind"]
    event = last.get("event", "")
    kind = kinds.get(last.get("seq"), "")
    return {
        "": "before the journal was opened",
        "open": "at the start of the first repair",
        "repair": "before the first step of a repair",
        "before": f"in {kind}",
        "noted": f"inside the swap of {kind}",
        "after": f"after {kind}",
        "verdict": "after a repair was kept",
    }.get(event, event)


def _judge(root: Path, tally: Tally) -> None:
    for name, files in REPAIRS.items():
        states = set()
        for path, new in files.items():
            now = (root / path).read_bytes() if (root / path).is_file() else None
            is_old, is_new = now == OLD.get(path), now == new
            if not (is_old or is_new):
                tally.mixed_files.append(f"round {tally.rounds}: {path} holds {now!r:.80}")
            states.add("new" if is_new else "old")
        if len(states) > 1:
            tally.half_repairs.append(f"round {tally.rounds}: {name}")
        tally.kept += states == {"new"}
        tally.undone += states == {"old"}
    known = {*OLD, *(path for files in REPAIRS.values() for path in files)}
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    for path in sorted(there - known):
        if not path.startswith(".modelmedic/"):
            tally.mixed_files.append(f"round {tally.rounds}: {path} came from nowhere")


if __name__ == "__main__":
    raise SystemExit(main())
