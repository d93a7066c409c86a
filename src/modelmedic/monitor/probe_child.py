"""Look at what may never answer: a helper that the monitor asks in lines and gives up when it must.

``python -I -S -B probe_child.py disk``: each line on standard input is a JSON list of paths, each
path gets a line of JSON. ``... gpu READER BINDING`` asks NVML as `facts.nvml_reader` does. Standard
library only; it ends with its standard input, when whoever asks is gone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

_LOOK_AGAIN = 60  # answers after which links and mounts are followed anew

Answerer = Callable[[str], dict[str, Any]]


class Disks:
    """The file systems of paths; a path that is not there yet stands for its nearest folder."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str, int]] = {}

    def answer(self, path: str) -> dict[str, Any]:
        """Return mount point and room of a path's file system, or ``{"error"}``."""
        try:
            real, point, left = self._known.get(path) or self._looked(path)
            self._known[path] = (real, point, left - 1)
            if left <= 1:
                del self._known[path]
            return {"point": point, **_room(real)}
        except OSError as error:
            self._known.pop(path, None)
            return {"error": error.strerror or type(error).__name__}

    def _looked(self, path: str) -> tuple[str, str, int]:
        real = os.path.realpath(path)
        while not os.path.exists(real) and os.path.dirname(real) != real:  # noqa: PTH110, PTH120 - no pathlib: it would double the memory
            real = os.path.dirname(real)  # noqa: PTH120
        point = real
        while not os.path.ismount(point):
            point = os.path.dirname(point)  # noqa: PTH120
        return real, point, _LOOK_AGAIN


def _room(path: str) -> dict[str, Any]:
    if sys.platform == "win32":
        import shutil

        usage = shutil.disk_usage(path)
        return {"total": usage.total, "free": usage.free, "inodes": 0, "inodes_free": 0}
    found = os.statvfs(path)
    return {
        "total": found.f_blocks * found.f_frsize,
        "free": found.f_bavail * found.f_frsize,
        "inodes": found.f_files,
        "inodes_free": found.f_favail,
    }


def _gpus(reader_path: str, binding_path: str) -> Answerer:
    """Return who asks NVML; its binding is loaded once, because it has 8,000 lines."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("nvml_reader", reader_path)
    if spec is None or spec.loader is None:
        raise ImportError(reader_path)
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    binding = reader.load_binding(binding_path)
    return lambda _subject: dict(reader.read_all(binding))


def main(kind: str, *details: str) -> int:
    """Answer until standard input ends; return the exit code, always 0."""
    answer = Disks().answer if kind == "disk" else _gpus(*details)
    # A chatty driver library prints where it likes; the answers go to a handle it does not know.
    with os.fdopen(os.dup(1), "w", encoding="ascii") as out:
        os.dup2(2, 1)
        for line in sys.stdin.buffer:
            for subject in json.loads(line):
                out.write(json.dumps({"subject": subject, **answer(subject)}) + "\n")
                out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
