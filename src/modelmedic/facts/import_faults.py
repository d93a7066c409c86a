"""Why an import failed, from its errors, what it printed and how its program ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

_WIN_NOT_FOUND, _WIN_NO_PROCEDURE, _WIN_BAD_FORMAT, _WIN_INIT_FAILED = 126, 127, 193, 1114
_DLL_NUMBERS = frozenset({_WIN_NOT_FOUND, _WIN_NO_PROCEDURE, _WIN_BAD_FORMAT, _WIN_INIT_FAILED})
_NTSTATUS_DLL = frozenset({0xC0000135, 0xC0000139, 0xC0000142})


class Reason(Enum):
    """What kept a module from being imported, or spoiled it."""

    NUMPY_TOO_NEW = "built for an older numpy"
    NUMPY_TOO_OLD = "built for a newer numpy"
    UNDEFINED_SYMBOL = "undefined symbol"
    MISSING_LIBRARY = "missing shared library"
    GLIBC = "C library too old"
    DLL = "DLL could not be loaded"
    CUT_FILE = "compiled file cut or foreign"
    OPERATOR = "torch operator missing"
    NO_KERNEL = "no code for this GPU"
    TRITON = "no working triton"
    XFORMERS = "xformers without its extensions"
    MISSING_MODULE = "missing module"
    MISSING_NAME = "missing name"
    REFUSED_VERSION = "version refused"
    ENCODING = "text in another encoding"
    CRASHED = "crashed"
    OTHER = "other"


# Whole phrases of the loaders and libraries, most telling first; the group is what it is about.
# Source: glibc dl-load.c and dl-version.c, dyld, CPython dynload_*.c, numpy's
# core/src/multiarray and numpy/__init__.cython-30.pxd, torch library.h, xformers _cpp_lib.py.
_WORDINGS: tuple[tuple[Reason, str], ...] = (
    (
        Reason.NUMPY_TOO_NEW,
        r"A module that was compiled using NumPy 1\.x cannot be run in\s+NumPy (2\.[\w.]+)",
    ),
    (Reason.NUMPY_TOO_NEW, r"\b(_ARRAY_API) not found\b"),
    (
        Reason.NUMPY_TOO_OLD,
        (
            r"compiled against (?:NumPy C-API|ABI|API) version (\w+(?: \(NumPy [\d.]+\))?) "
            r"but (?:the running|this version of) [Nn]um[Pp]y"
        ),
    ),
    (Reason.GLIBC, r"version [`'\"]((?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)' not found"),
    (
        Reason.UNDEFINED_SYMBOL,
        (
            r"(?:undefined symbol: |symbol not found in flat namespace \(|Symbol not found: )"
            r"'?([\w@.$]+)"
        ),
    ),
    (Reason.MISSING_LIBRARY, r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file"),
    (
        Reason.CUT_FILE,
        (
            r"([^\s:]+): (?:file too short|invalid ELF header|wrong ELF class"
            r"|ELF load command past end of file)"
        ),
    ),
    (Reason.OPERATOR, r"operator (torchvision::\w+) does not exist"),
    (Reason.OPERATOR, r"Couldn't load (custom C\+\+ ops)"),
    (Reason.NO_KERNEL, r"(no kernel image is available) for execution on the device"),
    (Reason.TRITON, r"Cannot find a (working triton) installation"),
    (Reason.XFORMERS, r"(xFormers) (?:can't load C\+\+/CUDA extensions|was built for)"),
    (
        Reason.REFUSED_VERSION,
        (
            r"([\w.-]+[<>=!~][^\s,]*(?:,\s*[<>=!~][^\s,]+)*) "
            r"is required for a normal functioning of this module"
        ),
    ),
    (Reason.DLL, r"DLL load failed while importing ([\w.]+)"),
)
_PHRASES = tuple((reason, re.compile(wording)) for reason, wording in _WORDINGS)
_SIZE_CHANGED = re.compile(
    r"(\w+\.\w+) size changed, may indicate binary incompatibility\. "
    r"Expected (\d+) from C header, got (\d+) from PyObject"
)


@dataclass(frozen=True, slots=True)
class Link:
    """One error of a chain, as the child told it."""

    type: str
    text: str
    winerror: int = 0
    module: str = ""  # ImportError.name
    where: str = ""  # file whose line raised it
    line: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Why it failed; ``detail`` is the symbol, library, module or version it is about."""

    reason: Reason
    detail: str = ""


def classify_import(errors: Iterable[Link], printed: str, returncode: int = 0) -> Fault | None:
    """Return why an import failed; None when nothing says that it did.

    The deepest error is asked first: what stands around it is what others made of it.

    Args:
        errors: The chain, outermost first; empty when the module was imported.
        printed: What the program printed: numpy and xformers tell there, and only there.
        returncode: How its program ended.
    """
    links = list(errors)
    for text in (*(link.text for link in reversed(links)), printed):
        found = of_text(text)
        if found is not None:
            return found
    by_type = next(_by_type(links), None)
    if by_type is not None:
        return by_type
    if returncode:
        return Fault(Reason.DLL if returncode in _NTSTATUS_DLL else Reason.CRASHED)
    return Fault(Reason.OTHER, links[-1].type) if links else None


def of_text(text: str) -> Fault | None:
    """Return what the known phrases in a text say."""
    changed = _SIZE_CHANGED.search(text)
    if changed:
        # The header's size is that of the numpy it was built for, the object's that of the
        # installed one. Structures grow with each numpy, but numpy.dtype had 96 bytes in numpy 1
        # and has 88 in numpy 2. Source: pandas 2.1.4 under numpy 2.0.2, run.
        is_newer = int(changed.group(2)) > int(changed.group(3))
        is_newer = not is_newer if changed.group(1) == "numpy.dtype" else is_newer
        reason = Reason.NUMPY_TOO_OLD if is_newer else Reason.NUMPY_TOO_NEW
        return Fault(reason, changed.group(1))
    for reason, pattern in _PHRASES:
        match = pattern.search(text)
        if match:
            return Fault(reason, match.group(1))
    return None


def _by_type(links: list[Link]) -> Iterator[Fault]:
    for link in reversed(links):
        if link.winerror in _DLL_NUMBERS:
            yield Fault(Reason.DLL, f"WinError {link.winerror}")
        elif link.type == "ModuleNotFoundError":
            yield Fault(Reason.MISSING_MODULE, link.module)
        elif link.type == "ImportError" and link.text.startswith("cannot import name"):
            yield Fault(Reason.MISSING_NAME, link.text.partition("'")[2].partition("'")[0])
        elif link.type == "UnicodeDecodeError":
            yield Fault(Reason.ENCODING, link.where)


# What a reason is known as in docs/failures, whatever the module.
FAILURES: Mapping[Reason, str] = {
    Reason.NUMPY_TOO_NEW: "numpy2-abi",
    Reason.NUMPY_TOO_OLD: "numpy2-abi",
    Reason.OPERATOR: "torchvision-nms",
    Reason.NO_KERNEL: "gpu-arch-not-in-torch",
    Reason.TRITON: "triton-not-working",
    Reason.XFORMERS: "xformers-mismatch",
    Reason.CUT_FILE: "half-installed-package",
    Reason.DLL: "vc-redist-missing",
    Reason.ENCODING: "text-encoding-windows",
    Reason.REFUSED_VERSION: "transformers-hub-tokenizers-skew",
}


_BY_MODULE: Mapping[tuple[str, Reason], str] = {
    ("flash_attn", Reason.UNDEFINED_SYMBOL): "flash-attn-abi-undefined-symbol",
    ("flash_attn", Reason.MISSING_LIBRARY): "flash-attn-abi-undefined-symbol",
    ("flash_attn", Reason.GLIBC): "flash-attn-glibc",
    ("flash_attn", Reason.NO_KERNEL): "attention-kernel-no-image",
    ("cv2", Reason.MISSING_LIBRARY): "opencv-duplicates-or-libgl",
    ("torchvision", Reason.UNDEFINED_SYMBOL): "torchvision-nms",
    ("torchaudio", Reason.UNDEFINED_SYMBOL): "torchvision-nms",
}
_WHOLE_MODULES: Mapping[str, str] = {
    "triton": "triton-not-working",
    "xformers": "xformers-mismatch",
}


def failure_of(module: str, fault: Fault) -> str | None:
    """Return the known failure that a fault of a module is; None when it is none."""
    if fault.reason is Reason.MISSING_MODULE and fault.detail == "transformers.modeling_layers":
        return "peft-needs-newer-transformers"
    own = _BY_MODULE.get((module, fault.reason)) or _WHOLE_MODULES.get(module)
    return own or FAILURES.get(fault.reason)
