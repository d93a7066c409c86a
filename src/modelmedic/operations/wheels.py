"""Wheels of a repair: fetched beside the parts of other fetches, each proven by its SHA-256."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from modelmedic.errors import RecoveryFailed
from modelmedic.installer.pip import Installer
from modelmedic.installer.report import Pinned
from modelmedic.installer.words import InstallerRefused
from modelmedic.operations.aside import PARTS
from modelmedic.operations.base import Workshop
from modelmedic.operations.copying import copy_all
from modelmedic.text import printable

if TYPE_CHECKING:
    from modelmedic.transfer import Wanted

_MOST_BYTES = 8 << 30  # the largest wheel seen has 2.5 GiB (torch for CUDA, 2024)


def place_of(item: Pinned) -> str:
    """Return where a wheel is kept, the same in every run: a folder of its own by its hash."""
    return f"{PARTS}/{item.sha256}"


def is_there(shop: Workshop, item: Pinned) -> bool:
    """Return whether the proven wheel lies in its place; reads all of it."""
    path = f"{place_of(item)}/{item.filename}"
    found = shop.tree.identity(path)
    if found is None or not found.is_file:
        return False
    with shop.tree.open_read(path) as handle:
        return _proof(item).is_met_by(handle)


def bring(shop: Workshop, installer: Installer, items: tuple[Pinned, ...]) -> list[Path]:
    """Fetch what is not there yet and return the folder of each wheel.

    Our own transfer goes on where a killed one ended; what it cannot reach (an index that asks for
    a password, an authority only pip knows) pip fetches itself.

    Raises:
        RecoveryFailed: A wheel could not be had.
    """
    for item in items:
        if not is_there(shop, item):
            shop.tree.make_own_folder(place_of(item))
            try:
                _bring_one(shop, installer, item)
            except InstallerRefused as error:
                raise RecoveryFailed(
                    f"{printable(item.filename)} could not be fetched; nothing was changed.",
                    f"{error.what} {error.why}".strip(),
                    error.next_step,
                ) from error
    return [shop.tree.root / place_of(item) for item in items]


def _bring_one(shop: Workshop, installer: Installer, item: Pinned) -> None:
    if urlsplit(item.url).scheme == "file":
        _copy(shop, item)
    elif installer.is_offline or not _fetched(shop, item):
        shop.tree.remove_own_file(f"{place_of(item)}/{item.filename}")
        installer.download([item], shop.tree.root / place_of(item))
        shop.fetched_bytes += (shop.tree.root / place_of(item) / item.filename).stat().st_size
    if not is_there(shop, item):
        shop.tree.remove_own_file(f"{place_of(item)}/{item.filename}")
        raise RecoveryFailed(
            f"{printable(item.filename)} has other bytes than its SHA-256 says; nothing was "
            "changed.",
            "It was cut short or exchanged since the plan was made.",
        )


def _copy(shop: Workshop, item: Pinned) -> None:
    """Copy a wheel from a folder of this machine.

    Raises:
        RecoveryFailed: It cannot be read or written.
    """
    source = Path(url2pathname(urlsplit(item.url).path))
    try:
        with source.open("rb") as stream, shop.tree.open_own(_private(item)) as target:
            os.ftruncate(target, 0)
            copy_all(stream.fileno(), target, lambda done: _tell(shop, item, done))
            os.fsync(target)
    except OSError as error:
        raise RecoveryFailed(
            f"{printable(source)} could not be copied: {error.strerror or error}; nothing was "
            "changed."
        ) from error
    _settle(shop, item)


def _fetched(shop: Workshop, item: Pinned) -> bool:
    """Fetch a wheel with our own transfer; return whether that worked.

    Raises:
        RecoveryFailed: It could not be written down.
    """
    from modelmedic import transfer

    if "****" in item.url or not item.url.startswith(("http://", "https://")):
        return False
    budget = shop.budget_bytes
    try:
        with shop.tree.open_own(_private(item)) as handle:
            shop.fetched_bytes += transfer.fetch(
                item.url,
                handle,
                _proof(item),
                progress=lambda done: _tell(shop, item, done),
                # No token: those of the Hub are nobody's business here.
                extras={**shop.extras, "tokens": {}},
                budget_bytes=None if budget is None else max(0, budget - shop.fetched_bytes),
            )
    except transfer.TransferFailed as error:
        shop.fetched_bytes += error.fetched_bytes
        return False
    except OSError as error:
        raise RecoveryFailed(
            f"{printable(item.filename)} could not be written: {error.strerror or error}; "
            "nothing was changed."
        ) from error
    _settle(shop, item)
    return True


def _private(item: Pinned) -> str:
    return f"{place_of(item)}/{item.filename}.part"


def _settle(shop: Workshop, item: Pinned) -> None:
    shop.tree.remove_own_file(f"{place_of(item)}/{item.filename}")
    shop.tree.rename(_private(item), f"{place_of(item)}/{item.filename}")


def _tell(shop: Workshop, item: Pinned, done: int) -> None:
    shop.fetching(item.filename, done, item.size_bytes)


def _proof(item: Pinned) -> Wanted:
    from modelmedic.transfer import Wanted

    return Wanted(item.size_bytes or None, item.sha256, most_bytes=_MOST_BYTES)
