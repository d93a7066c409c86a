"""The second look at a finished bundle, by an engine that knows nothing of the masking rules.

What it finds is masked and looked at again; what it still finds then keeps the bundle from being
written. So does a scan that cannot run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from modelmedic.bundle import cleaning
from modelmedic.bundle.members import MANIFEST, Member
from modelmedic.errors import ModelmedicError
from modelmedic.text import counted, printable

if TYPE_CHECKING:
    from modelmedic.leaks import Leak

_TOLD = 5  # leaks in a message

T = TypeVar("T")


class Leaking(ModelmedicError):  # noqa: N818 - named for what it means
    """Something is in the bundle that must not leave, and cannot be masked; nothing was written."""


class CannotScan(ModelmedicError):  # noqa: N818
    """The second look could not be had, so nothing may leave; nothing was written."""


class SecondLook:
    """The known secrets and names of this machine, and the look for them.

    Args:
        state_dir: The state folder, whose map of stand-ins says what was replaced.

    Raises:
        CannotScan: What is known cannot be read.
    """

    def __init__(self, state_dir: Path) -> None:
        self._known = _or_refuse(lambda: _engine().Known.of_this_machine(state_dir))

    def archive(self, data: bytes) -> list[Leak]:
        """Return what leaks in a ZIP archive, its names and texts.

        Raises:
            CannotScan: It cannot be looked at.
        """
        return list(_or_refuse(lambda: _engine().in_archive(data, self._known)))

    def leaks(self, text: str) -> list[Leak]:
        """Return what leaks in a text.

        Raises:
            CannotScan: It cannot be looked at.
        """
        return list(_or_refuse(lambda: _engine().in_text(text, self._known)))

    def text(self, text: str) -> str:
        """Return a text with what leaks in it masked.

        Raises:
            CannotScan: It cannot be looked at.
        """
        return str(_or_refuse(lambda: _engine().without(text, self._known)))

    def by_key(self, key: str, part: Any) -> str | None:
        """Return a value that is a secret because of what it is called, masked; else None.

        Raises:
            CannotScan: It cannot be looked at.
        """
        if not isinstance(part, str):
            return None
        pair = self.text(f"{key}={part}")
        return pair.removeprefix(f"{key}=") if pair.startswith(f"{key}=") else None

    def member(self, member: Member) -> Member:
        """Return a member with what leaks in it masked, as far as its form allows."""
        data = cleaning.in_its_form(member.name, member.data, self)
        return member if data is None else replace(member, data=data)


def leaking(leaks: Sequence[Leak]) -> Leaking:
    """Return the error for what was still found; the lines are shown masked."""
    told = [_told(leak) for leak in leaks[:_TOLD]]
    if more := len(leaks) - len(told):
        told.append(f"And {more} more.")
    names = sorted({leak.member for leak in leaks} - {"", MANIFEST})
    return Leaking(
        f"No bundle was written: {counted(len(leaks), 'thing')} in it would give away a secret or "
        "a name, and could not be masked.",
        " ".join(told),
        f"Leave it out: {' '.join(f'--drop {printable(name)}' for name in names)}" * bool(names),
    )


def _told(leak: Leak) -> str:
    where = f"line {leak.line}" if leak.line else "its name"
    member = printable(leak.member) or "the text"
    return f"{member}, {where}: {leak.kind}: {printable(leak.masked_line)}."


def _engine() -> Any:
    from modelmedic import leaks

    return leaks


def _or_refuse(call: Callable[[], T]) -> T:
    try:
        return call()
    except Exception as error:
        raise CannotScan(
            "No bundle was written: the second look for secrets could not be had.",
            f"{type(error).__name__}: {printable(error)}.",
        ) from error
