"""What the monitor's process is told when it starts: plain values, as one line of JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

LEAST_INTERVAL_SECONDS = 0.1  # a sample costs a third of a millisecond
MOST_INTERVAL_SECONDS = 30 * 86400.0  # waits have an end: some systems take no more than 49 days


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the monitor looks, and where it writes.

    Args:
        state_dir: Where alerts and the history are kept.
        parent: The process that it ends with.
        interval_seconds: From one sample to the next.
        disks: Paths whose file systems are watched.
        trees: Numbers of processes watched with all they start.
        logs: Files whose new lines are read.
        install_dir: For the commands that are named; empty for none.
        invoked_as: What a command to run begins with: "modelmedic".
        memory_limit: Folder of the control group that limits memory, its limit in bytes and its
            version; None: only the machine limits it.
        gpu: Command of the helper that asks NVML; empty where there is nothing to ask.
        is_patient: False: what is beyond a limit counts at once, for one look.
        blind: What cannot be looked at from the beginning, as sentences.
    """

    state_dir: str
    parent: int
    interval_seconds: float = 1.0
    disks: tuple[str, ...] = ()
    trees: tuple[int, ...] = ()
    logs: tuple[str, ...] = ()
    install_dir: str = ""
    invoked_as: str = "modelmedic"
    memory_limit: tuple[str, int, int] | None = None
    gpu: tuple[str, ...] = ()
    is_patient: bool = True
    blind: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Settings:
        """Return the settings of one line."""
        limit = told.pop("memory_limit")
        lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        return cls(
            **{**told, **lists},
            memory_limit=None if limit is None else (limit[0], limit[1], limit[2]),
        )
