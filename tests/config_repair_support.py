"""What the tests of config repair share: one install with one settings file, and its repair."""

from __future__ import annotations

from pathlib import Path

import support

from modelmedic import goodcopies
from modelmedic.facts.configs import parse_config, problems_with
from modelmedic.profile.model import ConfigFile, ConfigKey
from modelmedic.strategies.configs import plan_restore

STEPS = ConfigKey("steps", "integer", minimum=1, maximum=100, has_default=True, default=20)
RUN_STEPS = ConfigKey("run.steps", "integer", minimum=1, has_default=True, default=20)


class Bench:
    """A settings file on the bench. ``data`` None: there is no file."""

    def __init__(self, folder: Path, file_format: str, *keys: ConfigKey) -> None:
        self.config = ConfigFile(f"settings.{file_format}", file_format, keys=keys or (STEPS,))
        self.place = folder / "install"
        self.place.mkdir(parents=True)
        profile = support.make_profile(configs=(self.config,))
        self.context = support.make_context(self.place, profile)
        self.path = self.place / self.config.path
        self.reason = ""

    def remember(self, text: str) -> None:
        """Let a check have seen this text as good."""
        self.path.write_bytes(text.encode())
        goodcopies.remember(self.context, self.config.path)
        assert goodcopies.recall(self.context, self.config.path) is not None
        self.path.unlink()

    def plan(self, data: bytes | str | None):
        """Return the operation that the repair plans; None when it plans none."""
        if data is not None:
            self.path.write_bytes(data if isinstance(data, bytes) else data.encode())
        operations = list(plan_restore(self.context, self.config.path))
        assert len(operations) <= 1
        if not operations:
            return None
        self.reason = operations[0].reason
        return operations[0]

    def mend(self, data: bytes | str | None) -> str:
        """Return the text of the file after its repair, which was proven good and settled."""
        operation = self.plan(data)
        if operation is not None:
            self.path.write_bytes(operation.content.encode())
            assert operation.cost().disk_bytes == self.path.stat().st_size
        raw = self.path.read_bytes()
        assert problems_with(self.config, parse_config(raw, self.config.format)) == ()
        assert self.plan(None) is None, "the second repair finds nothing to do"
        return raw.decode("utf-8-sig")

    def values(self) -> dict:
        return parse_config(self.path.read_bytes(), self.config.format)
