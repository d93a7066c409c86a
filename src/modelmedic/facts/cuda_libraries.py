"""CUDA's libraries in the folders of LD_LIBRARY_PATH, which the loader searches before all others.

PyTorch's wheels bring their own CUDA and find it through RUNPATH, which LD_LIBRARY_PATH comes
before. Source: ld.so(8), the order of the search.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelmedic.facts.book import FactBook, probe

VARIABLE = "LD_LIBRARY_PATH"
MAX_NAMES = 20_000  # /usr/lib has some thousands
_DRIVER = re.compile(r"libcuda\.so(?:\.1)?")
# What torch's wheels bring themselves (nvidia-*-cu12 and -cu13 on the package index).
_RUNTIME = re.compile(r"lib(?:cudart|cublas|cublasLt|cudnn|cufft|cusparse|cusolver|nccl)\.so\.\d+")


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of the variable and which libraries of CUDA lie in it, sorted."""

    path: Path
    driver: str = ""  # "libcuda.so.1", "" when it has none
    is_stub: bool = False  # its libcuda is for linking only
    is_compat: bool = False  # its libcuda is of the package cuda-compat
    runtime: tuple[str, ...] = ()


@probe("local_read")
def read_library_path(facts: FactBook) -> tuple[Folder, ...]:  # noqa: ARG001 - a probe's signature
    """Return the folders of LD_LIBRARY_PATH that hold libraries of CUDA, in its order."""
    return folders_of(os.environ) if sys.platform.startswith("linux") else ()


def folders_of(env: Mapping[str, str]) -> tuple[Folder, ...]:
    """Return the folders of the variable that hold libraries of CUDA, in its order."""
    paths = dict.fromkeys(filter(None, env.get(VARIABLE, "").split(":")))
    return tuple(folder for path in paths if (folder := _folder(Path(path))))


def _folder(path: Path) -> Folder | None:
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry, _ in zip(entries, range(MAX_NAMES), strict=False))
    except OSError:
        return None  # the loader passes over it too
    driver = next((name for name in reversed(names) if _DRIVER.fullmatch(name)), "")
    runtime = tuple(name for name in names if _RUNTIME.fullmatch(name))
    if not driver and not runtime:
        return None
    parts = set(Path(os.path.realpath(path / driver)).parts) if driver else set()
    # Source: the CUDA toolkit puts its linking stubs into .../stubs, the package cuda-compat its
    # newer driver library into .../compat.
    is_stub = "stubs" in parts | set(path.parts)
    return Folder(path, driver, bool(driver) and is_stub, "compat" in parts, runtime)
