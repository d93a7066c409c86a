"""Run as a child: apply one operation, or undo it, and die at the N-th change of the disk."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod"}


def main() -> None:
    told = json.loads(sys.argv[1])
    from support import make_context

    from modelmedic.healing.engine import Engine, Plan, undo_run
    from modelmedic.operations import kinds

    engine = Engine(make_context(Path(told["install"])))
    plan = Plan("r", "c", "n", operations=[kinds.from_json(o) for o in told["operations"]])
    seen = named = 0
    # Or at the n-th change of one kind whose arguments have a text in them.
    when, name, nth = told.get("kill_when", ("", "", 0))

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen, named
        writes = (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if event in CHANGES or writes:
            seen += 1
            named += event == when and name in str(args)
            if seen == told["kill_at"] or (when and named == nth):
                os.kill(os.getpid(), signal.SIGKILL)

    if told.get("undo"):
        sys.addaudithook(count)
        undo_run(engine.context.state_dir, engine.context.place)
        return
    with engine.locked():
        sys.addaudithook(count)
        applied = engine.apply(plan)
        if told["keep"]:
            engine.keep(applied)
    print(seen)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
