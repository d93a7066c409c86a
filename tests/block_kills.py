"""Run as a program: kill repairs inside a file at every change of the disk, and look what is left.

Each try is a forked process that kills itself: before the N-th change, or in the middle of it when
that is a write. Prints one JSON line: how many kills there were, and what was found wrong.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

CHANGES = {
    "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod", "os.utime",
}  # fmt: skip
ENDED = 77


def killed_at(number, work):
    """Do ``work`` in a process that dies at its ``number``-th change; return whether it did."""
    pid = os.fork()
    if pid == 0:
        try:
            _die_at(number)
            work()
        finally:
            os._exit(ENDED)
    _pid, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def _die_at(number):
    seen = itertools.count(1)
    write, fsync = os.write, os.fsync

    def change(half=lambda: None):
        if next(seen) == number:
            half()
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event, args):
        flags = args[2] if event == "open" else 0
        if event in CHANGES or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
            change()

    def torn(handle, data):
        change(lambda: write(handle, bytes(data)[: len(data) // 2]))
        return write(handle, data)

    def flushed(handle):
        change()
        fsync(handle)

    os.write, os.fsync = torn, flushed
    sys.addaudithook(heard)


class Trial:
    """One install of one kind of damage, and what is done to it."""

    def __init__(self, root, kind, url, number):
        from blocks_support import DAMAGED, GOOD, make_install, operation
        from support import make_context

        from modelmedic.healing.engine import Engine, Plan

        self.old, self.new = DAMAGED[kind], GOOD
        self.install = make_install(root / f"{kind}-{number}" / "install", kind)
        self.context = dataclasses.replace(make_context(self.install), run_id="run-1")
        self.plan = Plan("r", "c", "n", operations=[operation(self.install, kind, url)])
        self.engine = Engine(self.context)

    def apply(self):
        with self.engine.locked():
            self.engine.keep(self.engine.apply(self.plan))

    def undo(self):
        from modelmedic.healing.engine import undo_run

        undo_run(self.context.state_dir, self.install)

    def finish(self):
        from modelmedic.healing.engine import Engine

        engine = Engine(dataclasses.replace(self.context, run_id="run-2"))
        with engine.locked():
            engine.finish_interrupted()

    def is_never_half(self):
        from blocks_support import PATH

        path = self.install / PATH
        return not path.exists() or path.read_bytes() in (self.old, self.new)

    def remove(self):
        shutil.rmtree(self.install.parent)


def kill_everywhere(root, kind, url):
    from blocks_support import kept_files, look

    wrong, kills = [], 0
    rng = random.Random(3)
    for number in itertools.count(1):
        trial = Trial(root, kind, url, number)
        before = look(trial.install)
        was_killed = killed_at(number, trial.apply)
        kills += was_killed
        if not trial.is_never_half():
            wrong.append(f"{kind}: half a file under its name after kill {number}")
        # The undo itself is killed a few times, too.
        while was_killed and killed_at(rng.randrange(1, 40), trial.finish):
            kills += 1
            if not trial.is_never_half():
                wrong.append(f"{kind}: half a file after a kill in the undo of kill {number}")
        trial.finish()
        found = look(trial.install)
        if found != before and not (found[_path()][0] == trial.new and not _is_pending(trial)):
            wrong.append(f"{kind}: not as it was after kill {number}")
        if found == before and [p for p in kept_files(trial.install) if p.startswith("aside/")]:
            wrong.append(f"{kind}: kept files are left after kill {number}")
        trial.remove()
        if not was_killed:
            return wrong, kills
    raise AssertionError


def kill_the_undo(root, kind, url):
    from blocks_support import look

    wrong, kills = [], 0
    for number in itertools.count(1):
        trial = Trial(root, kind, url, number)
        before = look(trial.install)
        trial.apply()
        was_killed = killed_at(number, trial.undo)
        kills += was_killed
        if not trial.is_never_half():
            wrong.append(f"{kind}: half a file under its name after kill {number} of the undo")
        trial.finish()
        trial.undo()
        if look(trial.install) != before:
            wrong.append(f"{kind}: not as it was after kill {number} of the undo")
        trial.remove()
        if not was_killed:
            return wrong, kills
    raise AssertionError


def _path():
    from blocks_support import PATH

    return PATH


def _is_pending(trial):
    from modelmedic.healing import journal

    return bool(journal.pending(trial.context.state_dir, trial.install))


def main():
    kind, url, root = sys.argv[1:]
    found = [work(Path(root), kind, url) for work in (kill_everywhere, kill_the_undo)]
    print(  # noqa: T201
        json.dumps(
            [sum(kills for _wrong, kills in found), [w for wrong, _ in found for w in wrong]]
        )
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
