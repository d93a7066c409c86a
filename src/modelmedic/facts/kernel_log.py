"""What NVIDIA's driver wrote into the kernel's log since the computer started: Xid errors."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from modelmedic.commands import run
from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook, probe

FELL_OFF, MAX_LINES = 79, 200
_SECONDS = 5.0
# As in: NVRM: Xid (PCI:0000:01:00): 79, pid=1234, GPU has fallen off the bus.
# And without a number: NVRM: GPU 0000:01:00.0: GPU has fallen off the bus.
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+)(.*)")
_FELL = re.compile(r"NVRM: .*?([0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}).*fallen off the bus")

# Faults of the card, its power or its bus. Those an app can cause (13, 31, 43 and others) are not
# among them. Source: the list of Azure's node health checks; NVIDIA's Xid catalogue for the words.
MEANINGS: Mapping[int, str] = MappingProxyType(
    {
        48: "an uncorrectable memory error",
        56: "a fault of the display engine",
        57: "a fault of the video memory interface",
        58: "a fault of the video memory interface",
        62: "the card's own controller halted",
        63: "a memory page or row was retired",
        64: "a memory page or row could not be retired",
        65: "a fault of the video processor",
        68: "a fault of the video processor",
        69: "a fault of the graphics engine",
        73: "a fault of the video encoder",
        74: "a fault of the NVLink",
        79: "the card has fallen off the bus",
        80: "corrupted data came over the bus",
        81: "a fault of the VGA part",
        92: "a high rate of correctable memory errors",
        94: "a contained memory error",
        95: "an uncontained memory error",
        119: "the card's system processor did not answer",
        120: "the card's system processor failed",
    }
)
MEMORY = frozenset({48, 63, 64, 92, 94, 95})


@dataclass(frozen=True, slots=True)
class Xid:
    """One kind of error of one card in the log, and how often it is there."""

    address: str  # PCI, without the function: "0000:01:00"
    code: int
    count: int
    line: str  # the last one

    @property
    def meaning(self) -> str:
        """Return what it means; "" for a code that is no fault of the card."""
        return MEANINGS.get(self.code, "")


@probe("local_read", spawns=("journalctl", "dmesg"))
def read_xids(facts: FactBook) -> tuple[Xid, ...]:  # noqa: ARG001 - a probe's signature
    """Return the Xid errors since the computer started, in the order of card and code.

    Raises:
        CannotTell: This user may not read the kernel's log, or the platform has none.
    """
    if not sys.platform.startswith("linux"):
        raise CannotTell("Only Linux keeps these errors in a kernel log.")
    return parse_log(_log())


def _log() -> str:
    for words in (
        ["journalctl", "-k", "-b", "--no-pager", "-q", "-o", "cat", "-g", "NVRM", "-n", "5000"],
        ["dmesg"],
    ):
        if (program := shutil.which(words[0])) is None:
            continue
        done = run([program, *words[1:]], deadline_seconds=_SECONDS / 2)
        # journalctl ends with 1 and no word when nothing matches, and says so when it may not look.
        is_silent = words[0] == "journalctl" and not done.stdout and not done.stderr.strip()
        if done.stdout or (done.returncode == 0 and words[0] == "dmesg"):
            return done.stdout
        if is_silent and _sees_kernel(program):
            return ""
    raise CannotTell(
        "The kernel's log cannot be read by this user.",
        "Most systems show it to members of the groups adm or systemd-journal, and to root.",
        "An administrator looks with: `sudo journalctl -k -b -g NVRM`.",
    )


def _sees_kernel(journalctl: str) -> bool:
    """Return whether the journal shows this user any line of the kernel."""
    argv = [journalctl, "-k", "-b", "--no-pager", "-q", "-o", "cat", "-n", "1"]
    return bool(run(argv, deadline_seconds=_SECONDS / 2).stdout.strip())


def parse_log(text: str) -> tuple[Xid, ...]:
    """Return the Xid errors of a kernel log's text; "fallen off the bus" counts as 79."""
    found: dict[tuple[str, int], Xid] = {}
    for line in text.splitlines():
        if match := _XID.search(line):
            address, code = match[1], int(match[2])
        elif match := _FELL.search(line):
            address, code = match[1], FELL_OFF
        else:
            continue
        key = (address.lower(), code)
        count = found[key].count + 1 if key in found else 1
        found[key] = Xid(key[0], code, count, line.strip())
    return tuple(sorted(found.values(), key=lambda xid: (xid.address, xid.code)))
