"""Make a link inside the install, as the Hub's client makes them in its cache."""

from __future__ import annotations

import posixpath
import stat
from dataclasses import dataclass
from typing import Any, ClassVar

from modelmedic.errors import RecoveryRefused
from modelmedic.operations import aside
from modelmedic.operations.aside import Was
from modelmedic.operations.base import Cost, Operation, Workshop, is_same
from modelmedic.text import printable


@dataclass(frozen=True, slots=True)
class MakeLink(Operation):
    """Create a relative link to a file of the install; a dead link in its place is kept aside.

    Args:
        path: The name of the link, relative to the install.
        text: What the link says, relative to its own folder, in POSIX form.
        was: Size and mtime of the link that lies there now; None when nothing does.
    """

    kind: ClassVar[str] = "make_link"
    path: str
    text: str
    was: Was | None

    def describe(self) -> str:
        """Return what it does."""
        old = "; the dead link is kept aside" if self.was else ""
        return f"link {printable(self.path)} to {printable(self.text)}{old}"

    def cost(self) -> Cost:
        """Return that it costs nothing worth naming."""
        return Cost()

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse when the target is not there or outside, or something but a link is in the way."""
        end = posixpath.normpath(posixpath.join(posixpath.dirname(self.path), self.text))
        if self.text.startswith("/") or end.startswith(".."):
            raise RecoveryRefused(f"{printable(self.text)} does not stay inside the install.")
        if shop.tree.identity(end) is None:
            raise RecoveryRefused(f"{printable(end)} is not there; nothing was linked to it.")
        old = shop.tree.identity(self.path)
        if old is not None and not stat.S_ISLNK(old.mode):
            raise RecoveryRefused(f"{printable(self.path)} is no link; it was not touched.")
        return aside.prepare_swap(shop, self.path, self.was, seat)

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Set the dead link aside, then make the new one.

        Raises:
            RecoveryRefused: The file system or the user's rights allow no links.
        """
        if note["old"] is not None:
            shop.tree.make_own_folder(note["aside"].rpartition("/")[0])
            shop.tree.rename(self.path, note["aside"])
        try:
            shop.tree.make_link(self.path, self.text)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RecoveryRefused(
                f"{printable(self.path)} was not linked: {reason}.",
                "This file system makes no links, or (Windows) this user may not.",
                "On Windows switch Developer Mode on; elsewhere keep the cache on another disk.",
            ) from error

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return how far it got. A link is ours by what it says: there is nothing else in it."""
        now = shop.tree.identity(self.path)
        is_ours = shop.tree.link_text(self.path) == self.text
        is_kept = note["old"] is not None and shop.tree.identity(note["aside"]) is not None
        if note["old"] is not None and not is_kept:
            return "before" if is_same(now, note["old"]) else "drifted"
        if now is None:
            return "between" if is_kept else "before"
        return "after" if is_ours else "drifted"

    def undo(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Take the link away and put the dead one back.

        Raises:
            RecoveryRefused: Something else lies there now.
        """
        state = self.inspect(shop, note)
        if state == "drifted":
            raise RecoveryRefused(
                f"{printable(self.path)} was not put back: it changed after the repair."
            )
        if state == "after":
            shop.tree.remove_link(self.path, self.text)
        if state != "before" and note["old"] is not None:
            shop.tree.rename(note["aside"], self.path)
            aside.tidy(shop, note["aside"])

    def changes(self) -> tuple[str, ...]:
        """Return nothing: nobody can have open what leads nowhere."""
        return ()
