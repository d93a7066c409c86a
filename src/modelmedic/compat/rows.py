"""The rows of the table as frozen values: each says where it comes from and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from modelmedic.compat import versions

# Read in the index's metadata, in upstream's repository, or in an official document. The others
# (a third party's copy, computed, from memory) may degrade a finding and never fail one.
CERTAIN = frozenset({"metadata", "git", "doc"})
Pair = tuple[int, int]


@lru_cache(maxsize=1024)
def pair(text: str) -> Pair:
    """Return "8.6" as (8, 6)."""
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def dotted(numbers: Pair) -> str:
    """Return (8, 6) as "8.6"."""
    return f"{numbers[0]}.{numbers[1]}"


def cuda_of(tag: str) -> Pair | None:
    """Return the CUDA release of a wheel tag: (12, 8) of "cu128"; None of "cpu" and the like."""
    digits = tag.removeprefix("cu")
    is_cuda = tag.startswith("cu") and digits.isdecimal() and len(digits) > 1
    return (int(digits[:-1]), int(digits[-1])) if is_cuda else None


@dataclass(frozen=True, slots=True)
class Row:
    """What all rows have.

    ``how``: "metadata", "git", "doc", "third-party", "computed" or "memory".
    """

    source: str
    how: str
    note: str = ""

    @property
    def is_certain(self) -> bool:
        """Return whether the row may fail a check."""
        return self.how in CERTAIN

    @property
    def cite(self) -> str:
        """Return the name that findings cite the row by: "torch 2.8.0"."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class CudaFamily(Row):
    """The oldest driver that runs any build of one CUDA major release."""

    major: str = ""
    min_driver_linux: str = ""
    min_driver_windows: str = ""

    @property
    def cite(self) -> str:
        """Return "cuda_family 12"."""
        return f"cuda_family {self.major}"


@dataclass(frozen=True, slots=True)
class CudaToolkit(Row):
    """The driver that came with a CUDA release: from it on everything of the release works."""

    cuda: str = ""
    wheel_tag: str = ""
    toolkit_driver_linux: str = ""
    toolkit_driver_windows: str = ""
    driver_api: int = 0

    @property
    def cite(self) -> str:
        """Return "cuda_toolkit 12.8"."""
        return f"cuda_toolkit {self.cuda}"


@dataclass(frozen=True, slots=True)
class GpuArch(Row):
    """One generation of cards: the CUDA and the driver branch that know it first."""

    cc: str = ""
    name: str = ""
    min_cuda: str = ""
    min_driver_branch: str = ""

    @property
    def cite(self) -> str:
        """Return "gpu_arch 12.0"."""
        return f"gpu_arch {self.cc}"


@dataclass(frozen=True, slots=True)
class Torch(Row):
    """One release of torch: its CUDA builds, the Pythons it has wheels for, what goes with it."""

    version: str = ""
    torchvision: str = ""
    torchaudio: str = ""
    cuda_tags: tuple[str, ...] = ()
    pypi_cuda: str = ""  # what the index's own file for Linux x86_64 was built with
    python: tuple[str, ...] = ()
    requires_python: str = ""

    @property
    def cite(self) -> str:
        """Return "torch 2.8.0"."""
        return f"torch {self.version}"

    @property
    def tags(self) -> tuple[str, ...]:
        """Return every CUDA build that is known, newest first."""
        known = dict.fromkeys((*self.cuda_tags, self.pypi_cuda))
        return tuple(sorted(filter(cuda_of, known), key=lambda tag: cuda_of(tag) or (0, 0)))[::-1]


@dataclass(frozen=True, slots=True)
class TorchArch(Row):
    """The cards that one CUDA build of a range of torch releases has code for."""

    torch: str = ""
    cuda_tag: str = ""
    arches: tuple[str, ...] = ()
    machine: str = "x86_64"

    @property
    def cite(self) -> str:
        """Return "torch_arch 2.8-2.10 cu128"."""
        other = "" if self.machine == "x86_64" else f" {self.machine}"
        return f"torch_arch {self.torch} {self.cuda_tag}{other}"

    @property
    def ends(self) -> tuple[Pair, Pair]:
        """Return the first and the last torch release (major, minor) it holds for."""
        first, _, last = self.torch.partition("-")
        return pair(first), pair(last or first)

    def serves(self, capability: Pair) -> bool:
        """Return whether the build has code that a card can run.

        Code of X.y runs on M.m if X is M and y at most m; PTX of X.y is translated for anything
        newer. Source: CUDA C++ Programming Guide, binary and PTX compatibility.
        """
        return any(_runs(text, capability) for text in self.arches)


def _runs(arch: str, capability: Pair) -> bool:
    code = pair(arch.removesuffix("+PTX"))
    is_same_major = code[0] == capability[0] and code[1] <= capability[1]
    return is_same_major or (arch.endswith("+PTX") and code <= capability)


@dataclass(frozen=True, slots=True)
class PypiBuild(Row):
    """What the index's own torch file is on a system where it has no CUDA."""

    system: str = ""
    build: str = ""

    @property
    def cite(self) -> str:
        """Return "pypi_build win32"."""
        return f"pypi_build {self.system}"


@dataclass(frozen=True, slots=True)
class TorchAbi(Row):
    """The C++ ABI of official torch wheels, TRUE or FALSE as flash-attn's wheels name it."""

    torch: str = ""
    value: str = ""

    @property
    def cite(self) -> str:
        """Return "torch_cxx11_abi >=2.7"."""
        return f"torch_cxx11_abi {self.torch}"


@dataclass(frozen=True, slots=True)
class FlashAttn(Row):
    """One release of flash-attn and the wheels its project built. Empty: not known."""

    version: str = ""
    released: str = ""
    torch: tuple[str, ...] = ()
    cuda: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    platform: str = ""
    built_arches: tuple[str, ...] = ()
    min_cc: str = ""

    @property
    def cite(self) -> str:
        """Return "flash_attn 2.8.3"."""
        return f"flash_attn {self.version}"

    def serves(self, capability: Pair) -> bool:
        """Return whether its wheels have code that a card can run."""
        return any(_runs(text, capability) for text in self.built_arches)


@dataclass(frozen=True, slots=True)
class FlashAttnGlibc(Row):
    """The C library that official flash-attn wheels need."""

    versions: str = ""
    min_glibc: str = ""

    @property
    def cite(self) -> str:
        """Return "flash_attn_glibc >=2.7.4"."""
        return f"flash_attn_glibc {self.versions}"


@dataclass(frozen=True, slots=True)
class NumpyBelow2(Row):
    """The newest numpy below 2 that has a wheel for a Python; empty when none has."""

    python: str = ""
    newest_wheel: str = ""

    @property
    def cite(self) -> str:
        """Return "numpy_lt2 3.13"."""
        return f"numpy_lt2 {self.python}"


@dataclass(frozen=True, slots=True)
class Pin(Row):
    """What a range of releases of one package asks of others. ``is_exact``: torch of its row."""

    package: str = ""
    requires: str = ""
    name: str = ""
    versions: str = ""
    needs: tuple[str, ...] = ()
    requires_python: str = ""
    is_exact: bool = False

    @property
    def cite(self) -> str:
        """Return "pin diffusers 0.42.1"."""
        return f"pin {self.package}"

    def holds_for(self, name: str, version: str) -> bool:
        """Return whether this is about a version of a package (normalised name)."""
        return name == self.name and versions.is_in(version, self.versions) is True


@dataclass(frozen=True, slots=True)
class KnownSet(Row):
    """Packages that agree: what pip chose one day, or computed from the other rows."""

    name: str = ""
    python: tuple[str, ...] = ()
    torch: str = ""
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
    accelerate: str = ""
    cc: tuple[str, ...] = ()
    min_driver_linux: str = ""
    min_driver_windows: str = ""
    verdict: str = ""

    @property
    def cite(self) -> str:
        """Return "known_consistent wan22-cu128" or "resolution 3.12"."""
        return f"known_consistent {self.name}" if self.name else f"resolution {self.python[0]}"

    @property
    def packages(self) -> dict[str, str]:
        """Return the packages beside torch and what is built on it, by normalised name."""
        named = {
            "numpy": self.numpy,
            "opencv-python": self.opencv_python,
            "transformers": self.transformers,
            "tokenizers": self.tokenizers,
            "huggingface-hub": self.huggingface_hub,
            "diffusers": self.diffusers,
            "peft": self.peft,
        }
        return {name: version for name, version in named.items() if version}
