"""Rules of flash-attn: the name of its wheel, and the cards it has code for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelmedic.compat import rows, versions
from modelmedic.compat.judgement import Case, Contradiction
from modelmedic.compat.stack import FlashBuild

NAME = "flash-attn"
_KIND = "flash-attn"
_WRONG_SYMBOL = (
    "Its compiled part fits one torch, CUDA and C++ ABI: the import ends in 'undefined symbol', "
    "and a broken one is worse for the app than none."
)
_ABI_FAILURE = "flash-attn-abi-undefined-symbol"
_CPYTHON = re.compile(r"cp3\d+(\.cp3\d+)*")
_RELEASES = "https://github.com/Dao-AILab/flash-attention/releases/download"


def find(case: Case) -> Iterator[Contradiction]:
    """Yield what is wrong with flash-attn, or with the wish to have it."""
    if case.stack.version(NAME):
        yield from _wheel(case)
        yield from _tags(case)
        yield from _official(case)
        yield from _code(case)
        yield from _glibc(case)
    if case.stack.version(NAME) or NAME in case.wanted:
        old = tuple(_old_cards(case))
        yield from old
        if not old and not case.stack.version(NAME) and case.torch:
            yield from _cannot_have(case)


def wheel_for(case: Case) -> tuple[rows.FlashAttn, str] | None:
    """Return the newest release with an official wheel for this torch, and the wheel's name.

    None when there is none that has code for the cards.
    """
    cuda, abi = case.build.cuda, case.table.abi(case.torch)
    release = rows.dotted(versions.minor(case.torch))
    if cuda is None or abi is None or case.machine.system != "linux":
        return None
    for row in reversed(case.table.flash_attn):
        tag = next((tag for tag in row.cuda if _major(tag) == cuda[0]), None)
        if tag is None or release not in row.torch or not _is_for(case, row):
            continue
        python = f"cp{case.machine.python_minor.replace('.', '')}"
        build = f"{row.version}+{tag}torch{release}cxx11abi{abi.value}"
        return row, f"flash_attn-{build}-{python}-{python}-{row.platform}.whl"
    return None


def address_of(row: rows.FlashAttn, wheel: str) -> str:
    """Return where a wheel of flash-attn's project lies.

    Source: ``get_wheel_url`` of its setup.py.
    """
    return f"{_RELEASES}/v{row.version}/{wheel.replace('+', '%2B')}"


def _is_for(case: Case, row: rows.FlashAttn) -> bool:
    fits = case.machine.python_minor in row.python
    fits = fits and row.platform == f"{case.machine.system}_{case.machine.machine}"
    return fits and all(row.serves(card.compute_capability) for card in case.machine.cards)


def _major(tag: str) -> int:
    """Return the CUDA major of "cu12" and of the older form "cu123"."""
    digits = tag.removeprefix("cu")
    return int(digits[:2])


def _wheel(case: Case) -> Iterator[Contradiction]:
    build = case.stack.build_of_flash()
    if build is None or not case.torch:
        return
    row = case.table.flash(case.stack.version(NAME))
    cited = (row.cite,) if row else ()
    told = f"{NAME} {case.stack.version(NAME)} was built for"
    mine = f"torch here is {case.torch}"
    if build.torch != versions.minor(case.torch):
        what = f"{told} torch {rows.dotted(build.torch)}; {mine}."
        yield Contradiction(_KIND, (NAME, "torch"), what, _WRONG_SYMBOL, _ABI_FAILURE, cited)
    elif case.build.cuda is not None and build.cuda_major != case.build.cuda[0]:
        what = f"{told} CUDA {build.cuda_major}; {mine}, for {case.build.tag}."
        rest = (*cited, *case.build.rows)
        sure = case.build.is_certain
        yield Contradiction(_KIND, (NAME, "torch"), what, _WRONG_SYMBOL, _ABI_FAILURE, rest, sure)
    else:
        yield from _abi(case, build, told, cited)


def _abi(
    case: Case, build: FlashBuild, told: str, cited: tuple[str, ...]
) -> Iterator[Contradiction]:
    abi = case.table.abi(case.torch)
    if abi is None or abi.value == build.abi:
        return
    yield Contradiction(
        _KIND,
        (NAME, "torch"),
        f"{told} the C++ ABI {build.abi}; official wheels of torch {case.torch} have {abi.value}.",
        _WRONG_SYMBOL,
        _ABI_FAILURE,
        (*cited, abi.cite),
        abi.is_certain,
    )


def _tags(case: Case) -> Iterator[Contradiction]:
    """Yield a wheel that was built for another CPython or another system."""
    tags = case.stack.tags.get(NAME, ())
    if not tags or any(_is_tag_of(tag, case) for tag in tags):
        return
    yield Contradiction(
        _KIND,
        (NAME,),
        f"{NAME} {case.stack.version(NAME)} was built for {tags[0]}; here is Python "
        f"{case.machine.python_minor} on {case.machine.system} {case.machine.machine}.",
        "Its compiled part is not even found. Most often Python was exchanged under the packages.",
        _ABI_FAILURE,
    )


def _is_tag_of(tag: str, case: Case) -> bool:
    """Return whether a wheel's tag is of this Python and system; True of what is not understood."""
    python, _, rest = tag.partition("-")
    _abi_tag, _, platform = rest.partition("-")
    own = f"cp{case.machine.python_minor.replace('.', '')}"
    is_python = not _CPYTHON.fullmatch(python) or "abi3" in rest or own in python.split(".")
    begin = {"linux": ("linux", "manylinux", "musllinux"), "win32": ("win",)}
    begins = (*begin.get(case.machine.system, ("macosx",)), "any")
    is_system = any(part.startswith(begins) for part in platform.split("."))
    return is_python and is_system


def _official(case: Case) -> Iterator[Contradiction]:
    """Doubt what the project has no wheel for: somebody else built it, or pip compiled it."""
    row = case.table.flash(case.stack.version(NAME))
    if row is None or not row.torch:
        return
    lacks = []
    if case.torch and rows.dotted(versions.minor(case.torch)) not in row.torch:
        lacks.append(f"torch {case.torch}")
    if case.machine.python_minor not in row.python:
        lacks.append(f"Python {case.machine.python_minor}")
    if row.platform != f"{case.machine.system}_{case.machine.machine}":
        lacks.append(f"{case.machine.system} {case.machine.machine}")
    if lacks and not _is_named_wrong(case):
        yield Contradiction(
            _KIND,
            (NAME,),
            f"{NAME} {case.stack.version(NAME)} has no wheel of its project for "
            f"{' and '.join(lacks)}.",
            "It was compiled here or built by somebody else: whether it fits cannot be told.",
            rows=(row.cite,),
            is_certain=False,
        )


def _is_named_wrong(case: Case) -> bool:
    build = case.stack.build_of_flash()
    return build is not None and build.torch != versions.minor(case.torch)


def _code(case: Case) -> Iterator[Contradiction]:
    row = case.table.flash(case.stack.version(NAME))
    if row is None or not row.built_arches:
        return
    newer = [c for c in case.machine.cards if c.compute_capability >= rows.pair(row.min_cc)]
    unserved = [card for card in newer if not row.serves(card.compute_capability)]
    if unserved:
        is_whole = len(unserved) == len(case.machine.cards)
        yield Contradiction(
            _KIND,
            (NAME,),
            f"{NAME} {case.stack.version(NAME)} has no code for {unserved[0].name} "
            f"({rows.dotted(unserved[0].compute_capability)}); its wheels have code for "
            f"{', '.join(row.built_arches)}.",
            "It is imported without an error, and its first call ends in 'no kernel image is "
            "available for execution on the device'.",
            "attention-kernel-no-image",
            (row.cite,),
            is_whole and row.is_certain and case.stack.build_of_flash() is not None,
        )


def _glibc(case: Case) -> Iterator[Contradiction]:
    glibc, version = case.machine.glibc, versions.public(case.stack.version(NAME))
    for row in case.table.flash_attn_glibc:
        is_old = glibc is not None and versions.is_below(glibc, row.min_glibc)
        if is_old and versions.is_in(version, row.versions):
            yield Contradiction(
                _KIND,
                (NAME,),
                f"Wheels of {NAME} {version} need glibc {row.min_glibc}; this system has {glibc}.",
                "If it is such a wheel, the import ends in \"version 'GLIBC_2.32' not found\".",
                "flash-attn-glibc",
                (row.cite,),
                row.is_certain,
            )


def _old_cards(case: Case) -> Iterator[Contradiction]:
    row = case.table.flash(case.stack.version(NAME)) or _newest(case)
    old = [c for c in case.machine.cards if c.compute_capability < rows.pair(row.min_cc)]
    if not old:
        return
    is_whole = len(old) == len(case.machine.cards)
    who = f"{NAME} {case.stack.version(NAME)}".strip()
    yield Contradiction(
        _KIND,
        (NAME,),
        f"{who} needs compute capability {row.min_cc} or newer; {old[0].name} has "
        f"{rows.dotted(old[0].compute_capability)}.",
        "It ends in 'FlashAttention only supports Ampere GPUs or newer'"
        + ("." if is_whole else ", unless the app keeps to the other card."),
        "flash-attn-pre-ampere",
        (row.cite,),
        is_whole and row.is_certain,
    )


def _newest(case: Case) -> rows.FlashAttn:
    return next(row for row in reversed(case.table.flash_attn) if row.torch)


def _cannot_have(case: Case) -> Iterator[Contradiction]:
    """Doubt a wish for flash-attn where its project has no wheel: pip would compile it."""
    if case.build.cuda is None or wheel_for(case) is not None:
        return
    yield Contradiction(
        _KIND,
        (NAME,),
        f"The app needs {NAME}, whose project has no wheel for torch {case.torch} on Python "
        f"{case.machine.python_minor}, {case.machine.system} {case.machine.machine}.",
        "pip would compile it, which needs a CUDA toolkit, much memory and hours, or fails.",
        "flash-attn-isolated-build-no-torch",
        (_newest(case).cite,),
        is_certain=False,
    )
