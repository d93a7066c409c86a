"""What keeping replaced files and half-fetched ones may cost, and how the oldest are let go."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from modelmedic.errors import RecoveryRefused
from modelmedic.operations import aside
from modelmedic.operations.base import Workshop
from modelmedic.text import printable, size

# What undo may cost: a damaged shard of 10 GB is not kept beside its good copy for ever; settings
# and locks are kept long enough to notice that something is missing. Half-fetched files, each
# useful to the next try only, may take as much again.
KEEP_BYTES = 2_000_000_000
KEEP_SECONDS = 14 * 86_400.0
_GONE = "gone-"  # a folder that is being deleted: no undo may take the rest of it for the whole


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept or let go as one: a file, or a folder with all in it."""

    path: str
    cost_bytes: int
    at_seconds: float  # since the epoch
    is_folder: bool


def expire(
    shop: Workshop,
    *,
    now_seconds: float,
    is_needed: Callable[[str], bool],
    is_on_record: Callable[[str], bool],
    told: Callable[[str], None],
) -> int:
    """Delete kept and half-fetched files that are too old or too many, the oldest first.

    After that the undo of their repairs is refused: "undo expired".

    Args:
        shop: The workshop.
        now_seconds: Since the epoch.
        is_needed: Whether a file (its path relative to the install) must stay: the newest run's,
            and those of a repair without a verdict.
        is_on_record: Whether a kept file is of a run that is known here. One that is not may be
            all that another state folder has to put back, so it goes by its age only.
        told: Hears a sentence when the needed files alone are more than the cap, and about each
            file that could not be deleted.

    Returns:
        The freed bytes; a file that still has another name frees none.

    Raises:
        OSError: The folders cannot be listed.
        RecoveryRefused: They lie behind a link.
    """
    return sum(
        _expire_in(shop, folder, now_seconds, is_needed, may_go, told)
        for folder, may_go in ((aside.ASIDE, is_on_record), (aside.PARTS, lambda _path: True))
    )


def _expire_in(
    shop: Workshop,
    folder: str,
    now_seconds: float,
    is_needed: Callable[[str], bool],
    may_go: Callable[[str], bool],
    told: Callable[[str], None],
) -> int:
    units = _units(shop, folder)
    total = sum(unit.cost_bytes for unit in units)
    needed = sum(unit.cost_bytes for unit in units if is_needed(unit.path))
    freed = 0
    for unit in sorted(units, key=lambda each: each.at_seconds):
        is_old = now_seconds - unit.at_seconds > KEEP_SECONDS or _is_gone(unit)
        is_too_much = total - freed > KEEP_BYTES and unit.cost_bytes > 0 and may_go(unit.path)
        if is_needed(unit.path) or not (is_old or is_too_much):
            continue
        try:
            _delete(shop, unit)
        except (OSError, RecoveryRefused) as error:
            told(
                f"{printable(unit.path)} could not be deleted, though it is no longer kept: {error}"
            )
            continue
        aside.tidy(shop, unit.path)
        freed += unit.cost_bytes
    if needed > KEEP_BYTES:
        told(_too_many(shop, folder, needed))
    return freed


def _units(shop: Workshop, folder: str) -> list[_Kept]:
    """Return what lies in a folder of ours; what was replaced lies in one more, that of a run."""
    found = _below(shop, folder)
    if folder == aside.ASIDE:
        runs = [path for path, state in found if _is_dir(state)]
        found = [each for each in found if each[0] not in runs]
        found += [each for run in runs for each in _below(shop, run)]
    return [
        _Kept(path, _all_bytes(shop, path, state), _kept_at(shop, path, state), _is_dir(state))
        for path, state in found
    ]


def _below(shop: Workshop, folder: str) -> list[tuple[str, os.stat_result]]:
    return [(f"{folder}/{name}", state) for name, state in shop.tree.entries(folder)]


def _is_dir(state: os.stat_result) -> bool:
    return stat.S_ISDIR(state.st_mode)


def _is_gone(unit: _Kept) -> bool:
    return unit.path.startswith(f"{aside.PARTS}/{_GONE}")


def _all_bytes(shop: Workshop, path: str, state: os.stat_result) -> int:
    if not _is_dir(state):
        return _cost_bytes(state)
    return sum(_cost_bytes(each) for _path, each in shop.tree.own_files(path))


def _delete(shop: Workshop, unit: _Kept) -> None:
    if not unit.is_folder:
        shop.tree.remove_own_file(unit.path)
        return
    path = unit.path
    if not _is_gone(unit):
        path = f"{aside.PARTS}/{_GONE}{unit.path.rpartition('/')[2]}"
        shop.tree.make_own_folder(aside.PARTS)
        shop.tree.rename(unit.path, path)
    shop.tree.remove_own_tree(path)


def _too_many(shop: Workshop, folder: str, needed: int) -> str:
    what = "Replaced files" if folder == aside.ASIDE else "Unfinished downloads"
    loss = "be undone" if folder == aside.ASIDE else "go on where its downloads ended"
    return (
        f"{what} of the newest repairs take {size(needed)}, more than the {size(KEEP_BYTES)} that "
        f"are kept of older ones. The next repair after this one lets them go. To free the space "
        f"now, delete {printable(shop.tree.root / folder)}; this run can then no longer {loss}."
    )


def _cost_bytes(state: os.stat_result) -> int:
    is_ours_alone = stat.S_ISREG(state.st_mode) and state.st_nlink <= 1
    return state.st_size if is_ours_alone else 0


def _kept_at(shop: Workshop, path: str, state: os.stat_result) -> float:
    """Return when a file came here, in seconds since the epoch; its mtime is its own past."""
    if os.name != "nt":
        return state.st_ctime  # a rename sets it
    folder = shop.tree.identity(path.rpartition("/")[0])  # there ctime is the file's birth
    return folder.mtime_ns / 1e9 if folder else state.st_mtime
