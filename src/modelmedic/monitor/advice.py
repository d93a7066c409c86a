"""The command that a person can run next, in the form in which they started us."""

from __future__ import annotations

import sys

from modelmedic.text import quoted

# Of each advice: the checks that look closer; what has none is in `Advice.command`.
_CHECKS = {
    "memory": "memory",
    "disk": "disk",
    "system": "system",
    "gpu": "hardware",
    "network": "network",
    "weights": "weights",
    "install": "install",
}
COMMANDS = frozenset({*_CHECKS, "kernel-log", "open-files", "process", ""})


class Advice:
    """Names commands.

    Args:
        invoked_as: What ours begin with.
        install_dir: The install they look at; empty for none.
    """

    def __init__(self, invoked_as: str, install_dir: str = "") -> None:
        self._invoked_as, self._install_dir = invoked_as, install_dir

    def command(self, advice: str, subject: str = "") -> str:
        """Return the command for a key of `COMMANDS`; empty where none helps.

        Args:
            advice: The key.
            subject: A process number, where it is about one.
        """
        if advice in _CHECKS:
            where = f" --install-dir={quoted(self._install_dir)}" if self._install_dir else ""
            return f"{self._invoked_as} check -k {_CHECKS[advice]}{where}"
        if advice == "kernel-log" and sys.platform.startswith("linux"):
            return "journalctl -k -g 'Out of memory' -n 20"
        if advice == "open-files" and subject.isdigit():
            return f"lsof -p {subject}" if sys.platform != "win32" else ""
        if advice == "process" and subject.isdigit():
            return _process(subject)
        return ""


def _process(pid: str) -> str:
    if sys.platform == "win32":
        return f'tasklist /V /FI "PID eq {pid}"'
    return f"ps -o pid,ppid,rss,etime,args -p {pid}"
