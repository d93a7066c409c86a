"""Consistent sets: which torch build and which packages go together on a machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelmedic.compat import builds, rules_flash, versions
from modelmedic.compat.builds import TorchBuild
from modelmedic.compat.judgement import Case, wanted_of
from modelmedic.compat.judging import judge_case
from modelmedic.compat.rows import Row, cuda_of
from modelmedic.compat.stack import Machine, Stack
from modelmedic.compat.table import Table, load

_TORCH = ("torch", "torchvision", "torchaudio")


@dataclass(frozen=True, slots=True)
class ConsistentSet:
    """Versions that agree with each other and with a machine; "" where none is known.

    Args:
        flash_attn_wheel: Address of the wheel of flash-attn's project that fits.
        rows: Citations of the rows it rests on.
        doubts: What may be wrong with it, in words.
        is_certain: Whether all of these rows are certain and nothing is doubted.
    """

    torch: str
    cuda_tag: str
    torchvision: str = ""
    torchaudio: str = ""
    flash_attn: str = ""
    numpy: str = ""
    opencv_python: str = ""
    transformers: str = ""
    tokenizers: str = ""
    huggingface_hub: str = ""
    diffusers: str = ""
    peft: str = ""
    flash_attn_wheel: str = ""
    rows: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    is_certain: bool = True

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions by normalised name; what is not known is left out."""
        names = (*_TORCH, "flash_attn", *_PACKAGES)
        found = {name.replace("_", "-"): getattr(self, name) for name in names}
        return {name: version for name, version in found.items() if version}

    @property
    def torch_pins(self) -> tuple[str, ...]:
        """Return what is installed first, from the wheel index of ``cuda_tag``."""
        return tuple(f"{n}=={v}" for n, v in self.versions.items() if n in _TORCH)

    @property
    def other_pins(self) -> tuple[str, ...]:
        """Return what is installed after torch from the ordinary index; flash-attn is not there."""
        left = {*_TORCH, "flash-attn"}
        return tuple(f"{n}=={v}" for n, v in self.versions.items() if n not in left)


_PACKAGES = (
    "numpy", "opencv_python", "transformers", "tokenizers", "huggingface_hub", "diffusers", "peft",
)  # fmt: skip


def consistent(
    machine: Machine, requirements: Sequence[str], table: Table | None = None
) -> tuple[ConsistentSet, ...]:
    """Return the sets that fit a machine and what the app requires, best first; may be empty.

    Best: with a flash-attn wheel where the app needs one; with code for the cards that is known
    of; with the least that is doubtful; the newest torch; the newest CUDA that the driver serves
    in full.
    """
    table = table or load()
    wanted = wanted_of(requirements, machine.markers)
    empty = Case.of(machine, Stack({}), wanted, table)
    packages = _packages(empty)
    found = [_judged(empty, build, packages) for build in builds.usable_builds(empty)]
    ranked = sorted(((rank, n, s) for n, (rank, s) in enumerate(filter(None, found))))
    return tuple(entry for _rank, _n, entry in ranked)


def _judged(
    empty: Case, build: TorchBuild, packages: dict[str, str]
) -> tuple[tuple[object, ...], ConsistentSet] | None:
    """Return one set with its rank, None when something in it contradicts."""
    trio = builds.versions_of(empty, build)
    if any(name in empty.wanted and name not in trio for name in _TORCH):
        return None
    bare = Case.of(empty.machine, Stack(trio), empty.wanted, empty.table)
    wheel = rules_flash.wheel_for(bare) if "flash-attn" in empty.wanted else None
    flash = {"flash-attn": wheel[1].split("-")[1]} if wheel else {}
    case = Case.of(empty.machine, Stack({**trio, **flash, **packages}), empty.wanted, empty.table)
    judged = judge_case(case)
    if judged.contradictions:
        return None
    used = _rows(case, build, has_flash=bool(flash))
    unsure = [row.cite for row in used if not row.is_certain]
    entry = ConsistentSet(
        cuda_tag=build.tag,
        flash_attn_wheel=rules_flash.address_of(*wheel) if wheel else "",
        rows=tuple(row.cite for row in used),
        doubts=tuple(doubt.what for doubt in judged.doubts),
        is_certain=not unsure and not judged.doubts,
        **{name.replace("-", "_"): version for name, version in case.stack.versions.items()},
    )
    # An older driver of the same CUDA family runs a build, with limits: no reason for an old torch.
    doubtful = len(unsure) + sum(doubt.kind != "torch-driver" for doubt in judged.doubts)
    return _rank(case, build, entry, doubtful), entry


def _rank(case: Case, build: TorchBuild, entry: ConsistentSet, doubtful: int) -> tuple[object, ...]:
    cuda = cuda_of(build.tag) or (0, 0)
    is_full = builds.has_full_driver(case, build.tag)
    newest = tuple(-part for part in versions.release(build.release.version))
    return (
        "flash-attn" in case.wanted and not entry.flash_attn,
        build.is_served is None,
        doubtful,
        newest,
        tuple(-part for part in cuda) if is_full else cuda,
    )


def _rows(case: Case, build: TorchBuild, *, has_flash: bool) -> list[Row]:
    table, cuda = case.table, cuda_of(build.tag)
    found: list[Row | None] = [build.release]
    if cuda:
        found += [table.family(cuda[0]), table.code(case.torch, build.tag, case.machine.machine)]
    if has_flash:
        found += [table.flash(case.stack.version("flash-attn")), table.abi(case.torch)]
    return [row for row in found if row is not None]


def _packages(case: Case) -> dict[str, str]:
    """Return the packages of the first known set that the app's requirements allow."""
    for known in case.table.sets():
        allowed = all(
            versions.is_in(version, case.wanted.get(name, ""))
            for name, version in known.packages.items()
        )
        if allowed and case.machine.python_minor in known.python:
            return known.packages
    return {}
