"""Change the environment of this run only: its transfers, its probes, the children it starts.

Nothing on disk changes. All that asks a network here goes by the variables of this process, and
hands them on to its children: so the one place to change is this process, and it is put back when
the run ends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from modelmedic.errors import RecoveryRefused
from modelmedic.facts import lasting, setting_source
from modelmedic.operations.base import Cost, Operation, Workshop
from modelmedic.text import printable

# Steering of Python itself or of the linker would let a setting start a program.
_REFUSED = ("PYTHON", "LD_", "DYLD_", "MODELMEDIC_", "PYTEST_")


class RunEnvironment:
    """The variables this process changed for its run, and what they were before.

    The environment belongs to the process, and so does this: what was there before may hold a
    password, and stays in memory.
    """

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}  # of each variable that is changed now
        self._changes: dict[str, dict[str, str | None]] = {}  # the oldest first

    def holds(self, seat: str) -> bool:
        """Return whether the change of this name was made in this process, and still stands."""
        return seat in self._changes

    def names(self) -> list[str]:
        """Return the variables that are changed now."""
        return sorted(self._before)

    def change(self, seat: str, values: Mapping[str, str | None]) -> None:
        """Set variables (None: take away) and remember what was there."""
        for name in values:
            self._before.setdefault(name, os.environ.get(name))
        self._changes[seat] = dict(values)
        for name, value in values.items():
            _set(name, value)

    def put_back(self, seat: str) -> None:
        """Take a change away, in any order of all changes.

        A variable that others set as well keeps the value of the newest of them; the last one puts
        back what was there before all. What somebody else changed since stays as it is.
        """
        for name, value in self._changes.pop(seat, {}).items():
            standing = [change[name] for change in self._changes.values() if name in change]
            is_ours = os.environ.get(name) in {value, *standing}
            if standing:
                if is_ours:
                    _set(name, standing[-1])
                continue
            before = self._before.pop(name)
            if is_ours:
                _set(name, before)

    def put_all_back(self) -> None:
        """Put back everything, the newest change first, and forget what was typed."""
        for seat in reversed(list(self._changes)):
            self.put_back(seat)
        setting_source.forget_typed()


OF_THIS_RUN = RunEnvironment()


@dataclass(frozen=True, slots=True)
class SetRunEnvironment(Operation):
    """Set or take away variables for this run only; see `modelmedic.facts.setting_source`.

    Args:
        settings: Variable, source of its value, and the value as it may be shown, for each.
        reason: Why, as the end of a sentence: "through the proxy of pip's settings".
    """

    kind: ClassVar[str] = "set_run_environment"
    is_lasting: ClassVar[bool] = False
    is_for_this_run: ClassVar[bool] = True
    settings: tuple[tuple[str, ...], ...]
    reason: str = ""

    @classmethod
    def of(cls, values: Mapping[str, str | None], reason: str = "") -> SetRunEnvironment:
        """Return the change to values that hold no secret; None takes a variable away."""
        settings = tuple(
            (name, setting_source.UNSET, "")
            if value is None
            else (name, setting_source.VALUE, value)
            for name, value in values.items()
        )
        return cls(settings, reason)

    def describe(self) -> str:
        """Return what it sets, with secrets masked."""
        parts = [_part(*setting) for setting in self.settings]
        reason = f" ({printable(self.reason)})" if self.reason else ""
        return f"for this run only: {', '.join(parts)}{reason}"

    def lasting(self) -> str:
        """Return the commands by which a person makes it last, as a next step."""
        return lasting.sentence(self.settings)

    def cost(self) -> Cost:
        """Return that it costs nothing worth naming."""
        return Cost()

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse names that steer more than a network, and sources that have no value."""
        for setting in self.settings:
            name, source, shown = _checked(setting)
            if source != setting_source.UNSET and "\0" in (
                setting_source.value_of(source, shown) or ""
            ):
                raise RecoveryRefused(f"The value for {printable(name)} cannot be set.")
        return {"seat": seat}

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Set the variables of this process."""
        values = {
            name: setting_source.value_of(source, shown)
            for name, source, shown in map(_checked, self.settings)
        }
        OF_THIS_RUN.change(note["seat"], values)

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return whether this process has them."""
        return "after" if OF_THIS_RUN.holds(note["seat"]) else "before"

    def undo(self, shop: Workshop, note: dict[str, Any]) -> str | None:
        """Put the variables back in the process that set them; elsewhere nothing is to be put back.

        The run that set them has ended with all its children.
        """
        if OF_THIS_RUN.holds(note["seat"]):
            OF_THIS_RUN.put_back(note["seat"])
            return None
        names = ", ".join(dict.fromkeys(printable(setting[0]) for setting in self.settings))
        return f"There is nothing to put back: {names} held for that run only."


def _checked(setting: tuple[str, ...]) -> tuple[str, str, str]:
    if len(setting) != 3:  # noqa: PLR2004 - name, source, shown
        raise RecoveryRefused("A setting of this run cannot be read; nothing was set.")
    name, source, shown = setting
    if not name or "=" in name or "\0" in name or name.upper().startswith(_REFUSED):
        raise RecoveryRefused(f"{printable(name)} is no variable that a repair sets.")
    return name, source, shown


def _part(name: str, source: str, shown: str) -> str:
    if source == setting_source.UNSET:
        return f"without {printable(name)}"
    origin = setting_source.words(source)
    return f"{printable(name)}={printable(shown)}{f' (from {origin})' if origin else ''}"


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
