"""The table of what goes together: ``compat.toml``, read once, as typed rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from modelmedic.compat import rows, versions
from modelmedic.compat.rows import Row

FILE = Path(__file__).with_name("compat.toml")
R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Table:
    """All rows, in the order of the file. ``as_of`` is the day most of them were read."""

    as_of: str
    cuda_family: tuple[rows.CudaFamily, ...] = ()
    cuda_toolkit: tuple[rows.CudaToolkit, ...] = ()
    gpu_arch: tuple[rows.GpuArch, ...] = ()
    torch: tuple[rows.Torch, ...] = ()
    torch_arch: tuple[rows.TorchArch, ...] = ()
    pypi_build: tuple[rows.PypiBuild, ...] = ()
    torch_cxx11_abi: tuple[rows.TorchAbi, ...] = ()
    flash_attn: tuple[rows.FlashAttn, ...] = ()
    flash_attn_glibc: tuple[rows.FlashAttnGlibc, ...] = ()
    numpy_lt2: tuple[rows.NumpyBelow2, ...] = ()
    pin: tuple[rows.Pin, ...] = ()
    resolution: tuple[rows.KnownSet, ...] = ()
    known_consistent: tuple[rows.KnownSet, ...] = ()

    def groups(self) -> Iterator[tuple[str, tuple[Row, ...]]]:
        """Yield the name and the rows of every group."""
        for group in _ROWS:
            yield group, getattr(self, group)

    def family(self, major: int) -> rows.CudaFamily | None:
        """Return the row of a CUDA major release."""
        return next((row for row in self.cuda_family if row.major == str(major)), None)

    def toolkit(self, tag: str) -> rows.CudaToolkit | None:
        """Return the row of a wheel tag such as "cu128"."""
        return next((row for row in self.cuda_toolkit if row.wheel_tag == tag), None)

    def card(self, capability: rows.Pair) -> rows.GpuArch | None:
        """Return the row of a compute capability."""
        return next((row for row in self.gpu_arch if row.cc == rows.dotted(capability)), None)

    def torch_release(self, version: str) -> rows.Torch | None:
        """Return the row of a torch version; its local part does not matter."""
        wanted = versions.parsed(versions.public(version))
        return next((r for r in self.torch if versions.parsed(r.version) == wanted), None)

    def code(self, torch: str, tag: str, machine: str) -> rows.TorchArch | None:
        """Return the row that lists the cards a torch build has code for.

        Where two hold, the certain one.
        """
        release = versions.minor(torch)
        found = [
            row
            for row in self.torch_arch
            if row.cuda_tag == tag
            and row.machine == machine
            and row.ends[0] <= release <= row.ends[1]
        ]
        return next((row for row in found if row.is_certain), found[0] if found else None)

    def abi(self, torch: str) -> rows.TorchAbi | None:
        """Return the row of the C++ ABI of a torch version."""
        release = rows.dotted(versions.minor(torch))
        return next((r for r in self.torch_cxx11_abi if versions.is_in(release, r.torch)), None)

    def flash(self, version: str) -> rows.FlashAttn | None:
        """Return the row of a flash-attn version; its local part does not matter."""
        wanted = versions.parsed(versions.public(version))
        return next((r for r in self.flash_attn if versions.parsed(r.version) == wanted), None)

    def pins(self, name: str, version: str) -> tuple[rows.Pin, ...]:
        """Return what is known that a version of a package asks of others."""
        return tuple(row for row in self.pin if row.holds_for(name, version))

    def sets(self) -> tuple[rows.KnownSet, ...]:
        """Return the sets of packages that agree: computed ones, then what pip chose."""
        return (*self.known_consistent, *self.resolution)


_ROWS: Mapping[str, type[Row]] = {
    "cuda_family": rows.CudaFamily,
    "cuda_toolkit": rows.CudaToolkit,
    "gpu_arch": rows.GpuArch,
    "torch": rows.Torch,
    "torch_arch": rows.TorchArch,
    "pypi_build": rows.PypiBuild,
    "torch_cxx11_abi": rows.TorchAbi,
    "flash_attn": rows.FlashAttn,
    "flash_attn_glibc": rows.FlashAttnGlibc,
    "numpy_lt2": rows.NumpyBelow2,
    "pin": rows.Pin,
    "resolution": rows.KnownSet,
    "known_consistent": rows.KnownSet,
}


@cache
def load() -> Table:
    """Return the shipped table; the file is read and parsed once in a process."""
    return read(FILE)


def read(file: Path) -> Table:
    """Return the table of a file.

    Raises:
        TypeError: A row has a key that its kind does not know.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    document = tomllib.loads(file.read_text(encoding="utf-8"))
    groups = {group: _rows(kind, document.get(group, ())) for group, kind in _ROWS.items()}
    return Table(as_of=document["as_of"], **groups)  # type: ignore[arg-type]


def _rows(kind: type[R], found: Sequence[Mapping[str, Any]]) -> tuple[R, ...]:
    lists = {field.name for field in fields(kind) if str(field.type).startswith("tuple")}
    return tuple(_row(kind, values, lists) for values in found)


def _row(kind: type[R], values: Mapping[str, Any], lists: set[str]) -> R:
    return kind(**{name: _value(value, name in lists) for name, value in values.items()})


def _value(value: Any, is_list: bool) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return (value,) if is_list else value
