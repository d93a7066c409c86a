"""``modelmedic undo``: put back what a run repaired."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelmedic import rooms
from modelmedic.cli.parsing import EXIT_OK, Commands


def add(commands: Commands) -> None:
    """Add the command and its options."""
    undo = commands.add_parser("undo", help="put back what a run repaired")
    undo.add_argument("run_id", nargs="?", help="the run (default: the newest that repaired)")
    undo.add_argument("--install-dir", type=Path, help="default: the current folder")
    undo.add_argument("--profile", help="a profile whose own install folder is meant")
    undo.set_defaults(call=_undo)


def _undo(options: argparse.Namespace) -> int:
    from modelmedic.healing import engine
    from modelmedic.profile.loader import load_profile

    install = options.install_dir
    if install is None and options.profile:
        profile = load_profile(options.profile, cwd=Path.cwd())
        install = Path(profile.install_dir) if profile.install_dir else None
    # A report says ~ for the home folder, which no shell expands after a "=".
    install = (install or Path.cwd()).expanduser().absolute()
    told = engine.undo_run(
        rooms.state_dir(), install, options.run_id, told=lambda line: print(line, file=sys.stderr)
    )
    nothing = (
        f"Nothing to undo: no repair of {install} is on record. "
        "Another folder is named by --install-dir, or by the --profile that was healed."
    )
    print("\n".join(told) or nothing)
    return EXIT_OK
