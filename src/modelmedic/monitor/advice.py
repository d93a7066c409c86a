"""The command that a person can run next, in the form in which they started us."""

from __future__ import annotations

import sys
from dataclasses import replace

from modelmedic.monitor.interfaces import PotentialIssue
from modelmedic.text import quoted

# Of each advice: the checks that look closer; what has none is in `Advice.command`.
_CHECKS = {
    "memory": "system.memory",
    "disk": "disk.space",
    "inodes": "disk.inodes",
    "gpu": "hardware.gpu",
}
COMMANDS = frozenset({*_CHECKS, "kernel-log", "open-files", "process", ""})
_OURS = "modelmedic "


class Advice:
    """Names commands.

    Args:
        invoked_as: What ours begin with.
        install_dir: The install they look at; empty for none.
    """

    def __init__(self, invoked_as: str, install_dir: str = "") -> None:
        self._invoked_as = invoked_as
        self._where = f" --install-dir={quoted(install_dir)}" if install_dir else ""

    def command(self, advice: str, subject: str = "") -> str:
        """Return the command for a key of `COMMANDS`; empty where none helps.

        Args:
            advice: The key.
            subject: A process number, where it is about one.
        """
        if advice in _CHECKS:
            return self._ours(f"check --checks={_CHECKS[advice]}")
        if advice == "kernel-log" and sys.platform.startswith("linux"):
            return "journalctl -k -g 'Out of memory' -n 20"
        if advice == "open-files":
            return _open_files(subject)
        if advice == "process" and subject.isdigit():
            return _process(subject)
        return ""

    def in_form(self, issue: PotentialIssue) -> PotentialIssue:
        """Return an issue whose command, if it is one of ours, is as the person types it."""
        if not issue.command.startswith(_OURS):
            return issue
        return replace(issue, command=self._ours(issue.command.removeprefix(_OURS)))

    def _ours(self, arguments: str) -> str:
        return f"{self._invoked_as} {arguments}{self._where}"


def _open_files(pid: str) -> str:
    if sys.platform == "win32":
        return ""
    if not pid.isdigit():
        return "cat /proc/sys/fs/file-nr"
    return f"ls -l /proc/{pid}/fd" if sys.platform.startswith("linux") else f"lsof -p {pid}"


def _process(pid: str) -> str:
    if sys.platform == "win32":
        return f'tasklist /V /FI "PID eq {pid}"'
    return f"ps -o pid,ppid,rss,etime,args -p {pid}"
