#!/usr/bin/env python3
"""Make ``.venv`` beside this file, install modelmedic into it, and run pytest there.

    python3 start.py [pytest arguments]     run the checks (Windows: py start.py ...)
    python3 start.py tests/                 install the ``dev`` group as well, test the project

The current folder stays the person's: it is the default install under test, and nothing in it is
run. Exit codes of the start itself: 2 interrupted, 3 our own fault, 4 something is missing or
forbidden; all others are pytest's.

Standard library only. This file keeps to the syntax of Python 3.6, so that an old interpreter
gets as far as saying that it is too old; the work is in ``src/modelmedic/bootstrap``.
"""

import sys
from pathlib import Path

OLDEST_PYTHON = (3, 10)
CANNOT_START = 4


def too_old(version: "tuple[int, ...]") -> str:
    """Return what to tell somebody whose Python is too old; empty when it is not."""
    if tuple(version[:2]) >= OLDEST_PYTHON:
        return ""
    newer = newer_python()
    if newer:
        advice = f"`{newer} {sys.argv[0]}`, with a newer Python of this machine."
    else:
        advice = "install Python 3.10 or newer (python.org has it) and start again with that one."
    found = f"{version[0]}.{version[1]}"
    return f"Python {found} is too old: modelmedic needs 3.10 or newer. Next: {advice}"


def newer_python() -> str:
    """Return the name of a new enough Python that really starts; empty when there is none."""
    import subprocess

    for minor in range(13, OLDEST_PYTHON[1] - 1, -1):
        name = f"python3.{minor}"
        try:
            subprocess.check_output([name, "-I", "-c", ""], stderr=subprocess.STDOUT, timeout=10)
        except (OSError, subprocess.SubprocessError):
            continue
        return name
    return ""


def main() -> int:
    """Refuse an old Python, else hand over to the library beside this file."""
    refusal = too_old(sys.version_info[:2])
    if refusal:
        print("start.py: " + refusal, file=sys.stderr)
        return CANNOT_START
    root = Path(__file__).resolve().parent
    sys.path.insert(0, str(root / "src"))  # it is not installed yet, or not for this Python
    from modelmedic.bootstrap import launch

    return launch.main(sys.argv[1:], root=root)


if __name__ == "__main__":
    sys.exit(main())
