"""Make a bundle: gather, mask, look a second time, and only then write it, whole or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelmedic import records, runs
from modelmedic.bundle import cleaning, collecting, packing, scanning
from modelmedic.bundle.members import MANIFEST, RECORD, LeftOut, Member, capped
from modelmedic.errors import CannotTell, ModelmedicError
from modelmedic.text import printable

if TYPE_CHECKING:
    from modelmedic.masking import Masker

_LOOKS = 3  # the first finds, the second sees that it is gone; masking may bring one thing more


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle that may leave: its bytes, and what is told of it before it is written."""

    run_id: str
    data: bytes
    members: tuple[Member, ...]  # the manifest first
    left_out: tuple[LeftOut, ...]
    found: int = 0  # what masking had missed and the second look masked


def make(run: str, state_dir: Path, *, dropped: Collection[str] = ()) -> Made:
    """Return the bundle of a run; nothing is written.

    Args:
        run: Report folder, report.json or id of a kept run; "" is the newest kept run.
        state_dir: The state folder.
        dropped: Names of members that stay out.

    Raises:
        CannotTell: There is no such run.
        ModelmedicError: A name in ``dropped`` is none; or something would leak, or could not be
            looked at.
    """
    mask = masker(state_dir)
    found = collecting.collect(_path(run, state_dir), state_dir, cleaning.ByRules(mask))
    keep_map(mask, state_dir)
    look = scanning.SecondLook(state_dir)
    hits = 0
    for _ in range(_LOOKS):
        made = _assembled(found, dropped, look)
        leaks = look.archive(made.data)  # of these very bytes
        if not leaks:
            _read_back(made)
            return replace(made, found=hits)
        hits = hits or len(leaks)
        found.record = cleaning.clean(found.record, look, cleaning.of_records())
        found.extras = [look.member(member) for member in found.extras]
    raise scanning.leaking(leaks)


def masked_record(run: str, state_dir: Path) -> dict[str, Any]:
    """Return the record of a run as a bundle would hold it: masked, and looked at again.

    Args:
        run: As for `make`; a bundle, too.
        state_dir: The state folder.

    Raises:
        CannotTell: There is no such run.
        ModelmedicError: Something in it would leak, or it could not be looked at.
    """
    mask = masker(state_dir)
    shape = cleaning.of_records()
    record = cleaning.clean(record_of(run, state_dir), cleaning.ByRules(mask), shape)
    keep_map(mask, state_dir)
    look = scanning.SecondLook(state_dir)
    record = cleaning.clean(record, look, shape)
    if leaks := look.leaks(cleaning.dumped(record).decode()):
        raise scanning.leaking(leaks)
    return dict(record)


def record_of(run: str, state_dir: Path) -> dict[str, Any]:
    """Return the record of a run as it lies there, of a bundle the one it is about.

    Raises:
        CannotTell: There is none.
    """
    from modelmedic.bundle import reading

    path = _path(run, state_dir)
    return reading.read(path).record() if reading.is_bundle(path) else runs.read(path)


def _path(run: str, state_dir: Path) -> Path:
    return runs.find(run, state_dir) if run else collecting.newest(state_dir)


def masker(state_dir: Path) -> Masker:
    """Return the masker of what leaves the machine: stand-ins for names, the map stays here."""
    from modelmedic.masking import Masker

    return Masker.for_support(state_dir)


def keep_map(mask: Masker, state_dir: Path) -> None:
    """Write down which word stands for which name: for who is asked, and for the second look.

    Raises:
        ModelmedicError: It cannot be written.
    """
    try:
        mask.keep_map()
    except OSError as error:
        raise ModelmedicError(
            f"No bundle was written: which stand-in is which name could not be written down in "
            f"{printable(state_dir)}: {error.strerror or error}.",
            "Without that nobody could answer what a word of the bundle stands for.",
        ) from error


def write(made: Made, path: Path) -> None:
    """Write a bundle under its name, whole or not at all, readable by this user only.

    Raises:
        ModelmedicError: It cannot be written, or ``path`` is something else than a bundle.
    """
    from modelmedic.bundle import reading

    is_free = not path.exists() and not path.is_symlink()
    if not is_free and not reading.is_bundle(path):
        raise ModelmedicError(
            f"{printable(path)} is there already and is no bundle; it was left as it is.",
            next_step="Name another file with --output.",
        )
    try:
        records.write_parts(path, (made.data,))
    except OSError as error:
        raise ModelmedicError(
            f"{printable(path)} cannot be written: {error.strerror or error}.",
            next_step="Name a file elsewhere with --output, or make room.",
        ) from error


def _assembled(
    found: collecting.Collection, dropped: Collection[str], look: scanning.SecondLook
) -> Made:
    """Return a bundle of what was found; whether it may leave is not said yet."""
    pieces = [*collecting.of_the_record(found.record), *found.extras]
    names = [piece.name for piece in pieces]
    if unknown := sorted(set(dropped) - set(names)):
        raise ModelmedicError(
            f"--drop {printable(unknown[0])} names nothing in this bundle.",
            next_step=f"It holds: {', '.join(names)}.",
        )
    wanted = [piece for piece in pieces if piece.name not in dropped]
    kept, over = capped(piece for piece in wanted if isinstance(piece, Member))
    refused = [piece for piece in wanted if isinstance(piece, LeftOut)]
    by_hand = [LeftOut(name, "dropped by who made the bundle") for name in sorted(dropped)]
    left = tuple(
        LeftOut(look.text(entry.name), look.text(entry.why))
        for entry in (*found.left_out, *refused, *over, *by_hand)
    )
    has_record = any(member.name == RECORD for member in kept)
    members = (packing.manifest(found.record if has_record else None, kept, left), *kept)
    return Made(found.record["run_id"], packing.packed(members), members, left)


def _read_back(made: Made) -> None:
    """See that whoever gets the bundle can read it: masking may have hit what its form needs.

    Raises:
        ModelmedicError: It cannot be read.
    """
    from modelmedic.bundle import reading
    from modelmedic.bundle.archive import Archive

    try:
        bundle = reading.of_archive(Archive(made.data, "it"), Path("the bundle"))
        if RECORD in bundle.data:
            bundle.record()
    except CannotTell as error:
        raise ModelmedicError(
            "No bundle was written: it could not be read back.", error.what
        ) from error


def listing(made: Made) -> Iterable[str]:
    """Yield lines that say what is in a bundle: name, size, what it is, what was cut."""
    from modelmedic.text import size

    for member in made.members:
        about = "this list, with a SHA-256 of each" if member.name == MANIFEST else member.about
        cut = f" (without {member.cut})" if member.cut else ""
        yield f"  {printable(member.name):<44} {size(len(member.data)):>10}  {about}{cut}"
    for entry in made.left_out:
        yield f"  not in it: {printable(entry.name)}: {printable(entry.why)}"
