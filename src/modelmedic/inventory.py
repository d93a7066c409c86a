"""What a run was made on, small and cheap: packages, driver, GPUs, memory, sizes of the files.

Two of them answer "what changed between green and red". Nothing is started and nothing hashed: what
the run has read already is used, the rest are names of folders and sizes of files.
"""

from __future__ import annotations

import _thread
import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from modelmedic import pseudonyms
from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook
from modelmedic.machine_id import machine_id

# A dead network drive answers never; a run that has come to its end does not wait for it.
DEADLINE_SECONDS = 2.0
MOST_PACKAGES = 5000  # a large environment has 500
MOST_FILES = 2000  # a profile of one model has 60
FIELDS = ("system", "python", "driver", "gpus", "memory_bytes")  # besides packages and files
_PROC_GPUS = Path("/proc/driver/nvidia/gpus")
_PYTHON_KEYS = ("version", "version_info")  # of venv, and of virtualenv and uv


def machine_name(state_dir: Path) -> str:
    """Return the stand-in for this machine; "" where no key for it can be had."""
    try:
        key = pseudonyms.local_key(state_dir)
    except CannotTell:
        return ""
    return pseudonyms.token(key, "machine", machine_id() or platform.node())


def read(facts: FactBook, *, deadline_seconds: float = DEADLINE_SECONDS) -> dict[str, Any] | None:
    """Return the inventory, without its hash; None when it cannot be had in time.

    Returns:
        system, python ("" without a target), driver ("" without), gpus (names), memory_bytes (None:
        not told), packages ({name: version}), files ({path in the install: bytes}).
    """
    answer: Future[dict[str, Any]] = Future()
    try:
        # Not a pool, and not `threading`: either would be joined when Python ends.
        _thread.start_new_thread(_answer, (facts, answer))
        return answer.result(timeout=deadline_seconds)
    except Exception:  # noqa: BLE001 - whatever cannot be read: a run does not fail by it
        return None


def unequal(
    before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str] = ()
) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between two inventories, or two of their tables: name, before, after.

    Args:
        before: None stands for what it does not have.
        after: Likewise.
        names: What is compared, in this order; all by name when empty.
    """
    for name in names or sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was != now:
            yield name, was, now


def hashed(inventory: dict[str, Any]) -> dict[str, Any]:
    """Return a masked inventory with its hash before it: equal machines, equal hashes."""
    text = json.dumps(inventory, ensure_ascii=True, sort_keys=True)
    return {"hash": hashlib.sha256(text.encode()).hexdigest()[:32], **inventory}


def _answer(facts: FactBook, answer: Future[dict[str, Any]]) -> None:
    try:
        answer.set_result(_look(facts))
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        answer.set_exception(error)


def _look(facts: FactBook) -> dict[str, Any]:
    target = facts.target_python
    driver, gpus = _gpus(facts)
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": _python(facts, target),
        "driver": driver,
        "gpus": gpus,
        "memory_bytes": _memory_bytes(),
        "packages": _packages(target),
        "files": _files(facts),
    }


def _python(facts: FactBook, target: Path | None) -> str:
    """Return the target's version: its own word, else what made its environment wrote down."""
    from modelmedic.facts import environment, interpreter

    if target is None:
        return ""
    if known := facts.known(interpreter.read_interpreter):
        return known.version
    folder = environment.environment_folder(target)
    if folder is None:
        return ""
    text = (folder / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    settings = environment.parse_settings(text)
    return next((settings[key] for key in _PYTHON_KEYS if settings.get(key)), "")


def _gpus(facts: FactBook) -> tuple[str, list[str]]:
    """Return the version of NVIDIA's driver and the names of the cards.

    Source of the fallback: the driver's README, "The /proc interface".
    """
    from modelmedic.facts import driver, gpu
    from modelmedic.facts.pci import text_of

    known = facts.known(gpu.read_gpus)
    if known is not None and known.source:
        return known.driver_version or "", [card.name or "" for card in known.gpus]
    version = driver.parse_module_version(text_of(driver.PROC_VERSION)) or ""
    cards = sorted(_PROC_GPUS.glob("*/information"))
    lines = [line for card in cards for line in text_of(card).splitlines()]
    return version, [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]


def _memory_bytes() -> int | None:
    from modelmedic.facts import memory

    try:
        return memory.own_memory().ram_bytes
    except CannotTell:
        return None


def _packages(target: Path | None) -> dict[str, str]:
    """Return what is installed by the names of its metadata folders, which hold both words."""
    from modelmedic.facts import environment, installed_on_disk
    from modelmedic.facts.packages import name_from_entry, normalised

    folder = environment.environment_folder(target) if target else None
    if folder is None and target is not None:  # a portable Windows build has no pyvenv.cfg
        folder = target.parent
    found: dict[str, str] = {}
    for site in installed_on_disk.package_folders(folder) if folder else ():
        for entry in sorted(path.name for path in site.iterdir()):
            if entry.lower().endswith((".dist-info", ".egg-info")) and entry[0] not in "~-":
                name, version = name_from_entry(entry)
                found.setdefault(normalised(name), version)
    return dict(sorted(found.items())[:MOST_PACKAGES])


def _files(facts: FactBook) -> dict[str, int]:
    """Return the sizes of those of the profile's files that are there, by their path."""
    sizes = {}
    for expected in facts.context.expected_files()[:MOST_FILES]:
        try:
            sizes[expected.subject] = expected.path.stat().st_size
        except OSError:
            continue  # not there, which the checks of the weights tell
    return sizes
