"""Run as a child: repair and undo with few descriptors left, or with files kept small."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path


def main(install: Path, limit: str, room: int) -> None:
    from engine_support import plan_of, was
    from support import make_context

    from modelmedic.errors import ModelmedicError
    from modelmedic.healing.engine import Engine
    from modelmedic.operations.kinds import MakeDir, ReplaceFile, SetAside

    engine = Engine(make_context(install))
    plan = plan_of(
        MakeDir("outputs"),
        SetAside("stale.lock", was(install, "stale.lock")),
        ReplaceFile("settings.json", "x" * 30_000, was(install, "settings.json")),
    )
    with engine.locked():  # loads every module that a repair needs
        engine.undo(engine.apply(plan))
        told = {"outcome": "stopped", "error": "", "words": ""}
        with_limit(limit, room, engine.journal.path)
        try:
            engine.undo(engine.apply(plan))
            told["outcome"] = "done"
        except ModelmedicError as error:
            told |= {"error": type(error).__name__, "words": str(error)}
        resource.setrlimit(
            resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)[1:] * 2
        )
    print(json.dumps(told))  # noqa: T201 - the parent reads it


def with_limit(limit: str, room: int, journal: Path) -> None:
    if limit == "files":
        lowest = os.dup(0)  # the lowest free number: all below are taken
        os.close(lowest)
        now, limited = lowest + room, resource.RLIMIT_NOFILE
    else:
        now, limited = journal.stat().st_size + room, resource.RLIMIT_FSIZE
    resource.setrlimit(limited, (now, resource.getrlimit(limited)[1]))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
