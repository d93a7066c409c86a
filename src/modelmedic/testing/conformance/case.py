"""What the kit has to know about one recovery: how an install gets the fault it repairs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from modelmedic.findings import EnhancedErrorCategory

DEMO = "demo"


def prepare_demo(install: Path) -> None:
    """Make a healthy install of the demo profile in ``install``, which is made."""
    from modelmedic.testing.specimens import make_demo_model

    make_demo_model(install / "model")
    (install / "outputs").mkdir()
    settings = {"steps": 20, "size": "64*64", "seed": 0, "output_folder": "outputs"}
    (install / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def leave_as_it_is(install: Path) -> None:
    """Make no fault in an install: it lies outside."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recovery and the fault it repairs. Every function is given the install's folder.

    Args:
        recovery: Its name.
        check: Id of the check that sees the fault, with its parameter: ``install.folders[a]``.
        category: The category the finding must have: "corruption".
        break_install: Makes the fault in a healthy install.
        outside: For a fault that lies in what an install meets: a server, a proxy, a variable. It
            is given the folder the install lies in and whether the fault is there, is entered round
            every run, and yields more variables for it. Nothing such a repair does may outlast
            its run: the files are as they were, there is nothing to undo, and a later run without
            ``--heal`` fails again.
        spoil: Lets the recovery's precondition fail. It is called while a run is at work, after
            the check failed and before the recovery plans. It may return a context manager, which
            is left when that run has ended.
        spoil_options: More options of that run: ``("--offline",)``. One of the two is needed: a
            recovery that never refuses cannot be trusted.
        options: More options of every run: ``("--deep", "--allow=costly")``.
        profile: Name or path.
        prepare: Makes the healthy install; the folder does not exist yet.
        checks: Files with the checks; empty: those of modelmedic.
        leaves: What the check is after the repair: "healed", or "degraded" where a loss stays.
        also_changes: What the repair may change, make or take away besides what ``break_install``
            touches: paths relative to the install.
        agrees: Looks at the healed install with other people's readers, and raises AssertionError
            where one of them does not agree that it is whole.
        replaces: Folders and files that the repair makes anew as a whole, and whose bytes may
            differ from one install to another: programs of an environment name its path. Right
            after a kill they may be missing or half made; after the next run or undo they are not.
        environ: More variables for every run.
        deadline_seconds: A run that takes longer is ended, and counts as hanging.

    Raises:
        ValueError: The category is unknown, or there is no way to make the recovery refuse.
    """

    recovery: str
    check: str
    category: str
    break_install: Callable[[Path], object] = leave_as_it_is
    outside: Callable[[Path, bool], AbstractContextManager[Mapping[str, str]]] | None = None
    spoil: Callable[[Path], AbstractContextManager[object] | None] | None = None
    spoil_options: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    profile: str = DEMO
    prepare: Callable[[Path], object] = prepare_demo
    checks: tuple[Path, ...] = ()
    leaves: str = "healed"
    also_changes: tuple[str, ...] = ()
    agrees: Callable[[Path], object] | None = None
    replaces: tuple[str, ...] = ()
    environ: tuple[tuple[str, str], ...] = ()
    deadline_seconds: float = 120.0

    def __post_init__(self) -> None:
        known = sorted(category.value for category in EnhancedErrorCategory)
        if self.category not in known:
            raise ValueError(
                f"Case {self.recovery}: the category {self.category!r} is unknown; known are "
                f"{', '.join(known)}."
            )
        if self.outside is None and self.break_install is leave_as_it_is:
            raise ValueError(
                f"Case {self.recovery}: give break_install or outside, a way to make the fault."
            )
        if self.spoil is None and not self.spoil_options:
            raise ValueError(
                f"Case {self.recovery}: give spoil or spoil_options, a way to make it refuse."
            )
