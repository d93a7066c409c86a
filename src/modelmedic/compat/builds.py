"""Builds of torch that a machine can use, and the names that they and their siblings have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from modelmedic.compat import rows, versions
from modelmedic.compat.judgement import Case
from modelmedic.compat.rows import cuda_of
from modelmedic.compat.stack import Machine
from modelmedic.compat.table import Table

Available = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """One build of one torch release. ``is_served`` None: whether the cards are is not known."""

    release: rows.Torch
    tag: str
    is_served: bool | None = None


def usable_builds(case: Case) -> Iterator[TorchBuild]:
    """Yield the builds that Python, driver, cards and the app's requirements allow.

    Newest first. Never a build without CUDA in the place of one with it.
    """
    machine, table = case.machine, case.table
    for release in reversed(table.torch):
        if machine.python_minor not in release.python or not _is_wanted(case, release):
            continue
        for tag in _tags(case, release):
            is_served = _serves(table, machine, release, tag)
            if is_served is not False and _runs(table, machine, tag):
                yield TorchBuild(release, tag, is_served)


def versions_of(case: Case, build: TorchBuild) -> dict[str, str]:
    """Return the versions of torch, torchvision and torchaudio that are of one build.

    A sibling that no such build is known of is left out.
    """
    release, tag = build.release, build.tag
    found = {"torch": _named(case, release.version, tag)}
    found["torchvision"] = _named(case, release.torchvision, tag)
    if _has_audio(case.table, release.torchaudio, tag):
        found["torchaudio"] = _named(case, release.torchaudio, tag)
    return found


def _named(case: Case, version: str, tag: str) -> str:
    return version if case.machine.system == "darwin" or not tag else f"{version}+{tag}"


def _is_wanted(case: Case, release: rows.Torch) -> bool:
    siblings = {"torch": release.version, "torchvision": release.torchvision}
    siblings["torchaudio"] = release.torchaudio
    return all(
        versions.is_in(version, case.wanted.get(name, "")) for name, version in siblings.items()
    )


def _tags(case: Case, release: rows.Torch) -> tuple[str, ...]:
    has_cuda = bool(case.machine.cards) or case.build.tag != "cpu"
    return release.tags if has_cuda and case.machine.system != "darwin" else ("cpu",)


def _serves(table: Table, machine: Machine, release: rows.Torch, tag: str) -> bool | None:
    code = table.code(release.version, tag, machine.machine)
    if not machine.cards or cuda_of(tag) is None:
        return True
    if code is None:
        return None
    return any(code.serves(card.compute_capability) for card in machine.cards)


def _runs(table: Table, machine: Machine, tag: str) -> bool:
    cuda = cuda_of(tag)
    family = table.family(cuda[0]) if cuda else None
    if machine.driver is None or cuda is None:
        return True
    if family is None:
        return False
    is_windows = machine.has_windows_driver
    floor = family.min_driver_windows if is_windows else family.min_driver_linux
    return not versions.is_below(machine.driver, floor)


def has_full_driver(case: Case, tag: str) -> bool:
    """Return whether the driver is at least the one that came with a build's CUDA."""
    toolkit = case.table.toolkit(tag)
    if toolkit is None or case.machine.driver is None:
        return True
    is_windows = case.machine.has_windows_driver
    full = toolkit.toolkit_driver_windows if is_windows else toolkit.toolkit_driver_linux
    return not full or not versions.is_below(case.machine.driver, full)


def _has_audio(table: Table, audio: str, tag: str) -> bool:
    """Return whether a torchaudio has that build; it ended at 2.11, torch and CUDA went on."""
    own = table.torch_release(audio)  # torchaudio is numbered like the torch it was made for
    return own is None or cuda_of(tag) is None or tag in own.tags
