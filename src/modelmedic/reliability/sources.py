"""What stays from one error to the next: readings with their age, and what never changes."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from modelmedic.healing import classify
from modelmedic.masking.machine import secrets_in
from modelmedic.reliability import machine, veil
from modelmedic.reliability.cpu_use import CpuUse
from modelmedic.reliability.installed import InstalledPackages
from modelmedic.reliability.readings import Reading

_PACKAGES_FRESH_SECONDS = 1.0  # a storm of errors looks at the folders once a second
_LOST_SECONDS = 60.0  # for how long no code is read after the reading of some hung


class Sources:
    """The sources of the contexts of one `ErrorCapture`.

    Args:
        place: Whose disk is of interest.
        cpu: With its first reading.
    """

    def __init__(self, place: Path, cpu: CpuUse) -> None:
        self.cpu = cpu
        self.disk: Reading[machine.Space] = Reading("disk", lambda: machine.space_of(place))
        self.packages: Reading[dict[str, str]] = Reading(
            "installed packages", InstalledPackages().read, fresh_seconds=_PACKAGES_FRESH_SECONDS
        )
        # Which distributions bring classifiers is read from all their metadata, once.
        self.classifiers: Reading[None] = Reading(
            "category", _load_classifiers, fresh_seconds=math.inf
        )
        self._machine: machine.Unchanging | None = None
        self._veil: tuple[frozenset[str], veil.Veil] | None = None
        self._no_code_before = -math.inf

    @property
    def may_read_code(self) -> bool:
        """Return whether the lines of code of a traceback may be read."""
        return time.monotonic() >= self._no_code_before

    def note_code_hangs(self) -> None:
        """Read no code for a while: it lies on a dead mount, and each try would lose a thread."""
        self._no_code_before = time.monotonic() + _LOST_SECONDS

    def machine(self) -> machine.Unchanging:
        """Return what does not change while the process runs."""
        if self._machine is None:
            self._machine = machine.unchanging()
        return self._machine

    def veil(self) -> veil.Veil:
        """Return the veil for the secrets of now: a token may have come since the last error."""
        secrets = frozenset(secrets_in(os.environ))
        if self._veil is None or self._veil[0] != secrets:
            self._veil = (secrets, veil.Veil.of_this_process())
        return self._veil[1]


def _load_classifiers() -> None:
    classify.classify(Exception())  # nothing but the plugins and the words can say what it is
