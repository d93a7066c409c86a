"""Run as a program: kill an exchange of packages at every change of the disk; look what is left.

Each try is a forked process that kills itself. What pip lays out was laid out once by the real
pip before; each try gets a copy of it, so that hundreds of them take seconds.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import shutil
import sys
from pathlib import Path


class Trial:
    """One install with an environment, and one exchange in it."""

    def __init__(self, root, number):
        from support import make_context

        from modelmedic.healing.engine import Engine, Plan
        from modelmedic.operations import kinds

        self.install = root / f"trial-{number}" / "install"
        shutil.copytree(root / "install", self.install, symlinks=True)
        self.context = dataclasses.replace(make_context(self.install), run_id="run-1")
        told = json.loads((root / "operation.json").read_text())
        self.plan = Plan("r", "c", "n", operations=[kinds.from_json(told)])
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

    def look(self):
        from modelmedic.testing.conformance.snapshot import take

        return take(self.install, without=(".modelmedic",))

    def is_pending(self):
        from modelmedic.healing import journal

        return bool(journal.pending(self.context.state_dir, self.install))

    def remove(self):
        shutil.rmtree(self.install.parent)


def differ(one, other):
    from modelmedic.testing.conformance.snapshot import SAME, differences

    return differences(one, other, SAME)


def mixed(now, old, new):
    """Return the files that are neither the old nor the new one; a missing one is in between."""
    from modelmedic.testing.conformance.snapshot import BYTES, is_like

    return [
        path
        for path, entry in now.items()
        if not is_like(entry, old.get(path), BYTES) and not is_like(entry, new.get(path), BYTES)
    ]


def kill_everywhere(root, new):
    from block_kills import killed_at

    wrong, kills, rng = [], 0, random.Random(5)
    for number in itertools.count(1):
        trial = Trial(root, number)
        old = trial.look()
        was_killed = killed_at(number, trial.apply)
        kills += was_killed
        wrong += [f"kill {number}: {path} is neither" for path in mixed(trial.look(), old, new)]
        while was_killed and killed_at(rng.randrange(1, 40), trial.finish):
            kills += 1
        trial.finish()
        found = trial.look()
        if differ(old, found) and (differ(new, found) or trial.is_pending()):
            wrong.append(f"kill {number}: {differ(old, found)[:3]}")
        if not differ(old, found) and list((trial.install / ".modelmedic").glob("aside/*")):
            wrong.append(f"kill {number}: kept files are left")
        trial.remove()
        if not was_killed:
            return wrong, kills
    raise AssertionError


def kill_the_undo(root):
    from block_kills import killed_at

    wrong, kills = [], 0
    for number in itertools.count(1):
        trial = Trial(root, f"undo-{number}")
        old = trial.look()
        trial.apply()
        was_killed = killed_at(number, trial.undo)
        kills += was_killed
        trial.finish()
        trial.undo()
        if differ(old, trial.look()):
            wrong.append(f"undo, kill {number}: {differ(old, trial.look())[:3]}")
        trial.remove()
        if not was_killed:
            return wrong, kills
    raise AssertionError


def main():
    from modelmedic.operations.set_distributions import SetDistributions

    root = Path(sys.argv[1])

    def laid_out(self, shop, stage):
        shutil.copytree(root / "stage", shop.tree.root / stage, dirs_exist_ok=True)

    SetDistributions._stage = laid_out
    trial = Trial(root, "new")
    trial.apply()
    new = trial.look()
    results = [kill_everywhere(root, new), kill_the_undo(root)]
    kills = sum(kills for _wrong, kills in results)
    print(json.dumps([kills, [w for wrong, _kills in results for w in wrong]]))  # noqa: T201


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
