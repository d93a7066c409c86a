"""Run as a child: apply an operation, or undo it, in forks that die at their N-th change of the disk.

Reads one order a line (JSON), and answers each with the exit code of its fork, minus the signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod"}


def main() -> None:
    load_all()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            told, code = json.loads(line), 1
            try:
                work(told)
                code = 0
            except Exception:  # noqa: BLE001 - the parent shows it
                Path(told["log"]).write_text(traceback.format_exc(), encoding="utf-8")
            os._exit(code)
        _pid, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the parent reads it


def load_all() -> None:
    """Make a folder: what that loads, no fork has to load again."""
    from modelmedic import transfer

    assert transfer.fetch
    with tempfile.TemporaryDirectory() as folder:
        install = Path(folder, "install")
        install.mkdir()
        change = {"kind": "make_dir", "path": "outputs"}
        work(
            {
                "install": str(install),
                "operations": [change],
                "kill_at": 0,
                "keep": True,
                "undo": False,
            }
        )


def work(told) -> None:
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

    if told["undo"]:
        sys.addaudithook(count)
        undo_run(engine.context.state_dir, engine.context.place)
        return
    with engine.locked():
        sys.addaudithook(count)
        applied = engine.apply(plan)
        if told["keep"]:
            engine.keep(applied)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
