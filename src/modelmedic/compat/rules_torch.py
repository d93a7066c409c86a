"""Rules of torch: its CUDA and the driver, its code and the cards, its siblings, its Python."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.compat import failures, rows, versions
from modelmedic.compat.judgement import Case, Contradiction
from modelmedic.compat.stack import Card

SIBLINGS = ("torchvision", "torchaudio")
# From here on torchaudio 2.11.0 serves every torch: which CUDA builds pair is not known.
_LAST_PAIRED_AUDIO = (2, 11)


def find(case: Case) -> Iterator[Contradiction]:
    """Yield what is wrong with torch on this machine; nothing when it is not installed."""
    if not case.torch:
        return
    yield from _driver(case)
    yield from _cards(case)
    yield from _only_cpu(case)
    yield from _python(case)
    for name in SIBLINGS:
        if case.stack.version(name):
            yield from _sibling(case, name)


def _driver(case: Case) -> Iterator[Contradiction]:
    cuda, driver = case.build.cuda, case.machine.driver
    family = case.table.family(cuda[0]) if cuda else None
    if cuda is None or driver is None or family is None:
        return
    is_windows = case.machine.has_windows_driver
    floor = family.min_driver_windows if is_windows else family.min_driver_linux
    built = f"torch {case.torch} was built for CUDA {rows.dotted(cuda)}"
    if versions.is_below(driver, floor):
        yield Contradiction(
            "torch-driver",
            ("torch",),
            f"{built}, which needs NVIDIA driver {floor} or newer; here it is {driver}.",
            "The CUDA inside torch refuses an older driver: torch.cuda.is_available() is False.",
            "driver-too-old",
            (*case.build.rows, family.cite),
            case.build.is_certain and family.is_certain,
        )
        return
    yield from _full_driver(case, built)
    for card in case.machine.cards:
        yield from _driver_of_card(case, card, driver)


def _full_driver(case: Case, built: str) -> Iterator[Contradiction]:
    """Doubt a driver that is older than the one of the toolkit: it runs, with limits."""
    toolkit = case.table.toolkit(case.build.tag)
    driver = case.machine.driver or ""
    if toolkit is None:
        return
    is_windows = case.machine.has_windows_driver
    full = toolkit.toolkit_driver_windows if is_windows else toolkit.toolkit_driver_linux
    if full and versions.is_below(driver, full):
        yield Contradiction(
            "torch-driver",
            ("torch",),
            f"{built}, whose own NVIDIA driver is {full}; here it is {driver}.",
            "It runs (CUDA minor version compatibility), but nothing that is compiled at run time "
            "as PTX of the newer CUDA does.",
            "driver-too-old",
            (*case.build.rows, toolkit.cite),
            is_certain=False,
        )


def _driver_of_card(case: Case, card: Card, driver: str) -> Iterator[Contradiction]:
    row = case.table.card(card.compute_capability)
    if row and row.min_driver_branch and versions.is_below(driver, row.min_driver_branch):
        yield Contradiction(
            "torch-driver",
            ("torch",),
            f"{card.name} needs NVIDIA driver {row.min_driver_branch} or newer; here it is "
            f"{driver}.",
            f"Older drivers do not know the generation {row.name}.",
            "driver-too-old",
            (row.cite,),
            row.is_certain,
        )


def _cards(case: Case) -> Iterator[Contradiction]:
    if case.build.cuda is None or not case.machine.cards:
        return
    code = case.table.code(case.torch, case.build.tag, case.machine.machine)
    build = f"torch {versions.public(case.torch)} for {case.build.tag}"
    if code is None:
        yield Contradiction(
            "torch-card",
            ("torch",),
            f"Which cards {build} has code for is not known.",
            f"The table, as of {case.table.as_of}, does not list this build.",
            is_certain=False,
        )
        return
    unserved = [c for c in case.machine.cards if not code.serves(c.compute_capability)]
    if unserved:
        is_whole = len(unserved) == len(case.machine.cards)
        names = ", ".join(f"{c.name} ({rows.dotted(c.compute_capability)})" for c in unserved)
        yield Contradiction(
            "torch-card",
            ("torch",),
            f"{build} has no code for {names}; it has code for {', '.join(code.arches)}.",
            "The first kernel ends in 'no kernel image is available for execution on the device'"
            + ("." if is_whole else ", unless the app keeps to the other card."),
            "gpu-arch-not-in-torch",
            (*case.build.rows, code.cite),
            is_whole and code.is_certain and case.build.is_certain,
        )


def _only_cpu(case: Case) -> Iterator[Contradiction]:
    if not case.build.tag or case.build.cuda or not case.machine.cards:
        return
    yield Contradiction(
        "cpu-only-torch",
        ("torch",),
        f"torch {case.torch} was built without CUDA ({case.build.tag}); "
        f"{case.machine.cards[0].name} is there.",
        "It ends in 'Torch not compiled with CUDA enabled'. On Windows plain pip installs this "
        "build; an update may have replaced the right one.",
        "cpu-only-torch",
        case.build.rows,
        case.build.is_certain,
    )


def _python(case: Case) -> Iterator[Contradiction]:
    release = case.table.torch_release(case.torch)
    here = case.machine.python_minor
    if release is None or "torch" in case.stack.foreign or here in release.python:
        return
    yield Contradiction(
        "torch-python",
        ("torch",),
        f"torch {release.version} has no wheel for Python {here}; it has wheels for "
        f"{release.python[0]} to {release.python[-1]}.",
        "An install with this Python takes another release or fails.",
        "python-too-new" if rows.pair(here) > rows.pair(release.python[-1]) else None,
        (release.cite,),
        release.is_certain,
    )


def _sibling(case: Case, name: str) -> Iterator[Contradiction]:
    release = case.table.torch_release(case.torch)
    installed = case.stack.version(name)
    if release is None:
        return
    expected = release.torchvision if name == "torchvision" else release.torchaudio
    if not _is_paired(case, name, installed, expected):
        yield Contradiction(
            "torch-trio",
            (name, "torch"),
            f"{name} {installed} is not the one of torch {case.torch}: that is {expected}.",
            "Its compiled part fits one release of torch only: 'operator torchvision::nms does "
            "not exist', or an undefined symbol.",
            failures.of_pair(name, "torch"),
            (release.cite,),
            release.is_certain,
        )
        return
    yield from _same_build(case, name, installed, release)


def _is_paired(case: Case, name: str, installed: str, expected: str) -> bool:
    """Return whether a sibling is the one of the torch, or asks for no exact one and fits."""
    if versions.parsed(versions.public(installed)) == versions.parsed(expected):
        return True
    rows_of = case.table.pins(name, versions.public(installed))
    loose = [need for row in rows_of if not row.is_exact for need in row.needs]
    return bool(loose) and all(_fits(case.torch, need) for need in loose)


def _fits(torch: str, need: str) -> bool:
    asked = versions.requirement(need)
    return asked is not None and versions.is_in(torch, str(asked.specifier)) is not False


def _same_build(
    case: Case, name: str, installed: str, release: rows.Torch
) -> Iterator[Contradiction]:
    told = versions.local(installed) or _default_build(case, release)
    mine, other = case.build.tag, told
    if not mine or not other or mine == other:
        return
    first, second = rows.cuda_of(mine), rows.cuda_of(other)
    is_other_family = (first or (0,))[0] != (second or (0,))[0]
    is_known_pair = name != "torchaudio" or versions.minor(case.torch) <= _LAST_PAIRED_AUDIO
    yield Contradiction(
        "torch-trio",
        (name, "torch"),
        f"{name} {installed} was built for {other}, torch {case.torch} for {mine}.",
        "Both must be of one build: torchvision refuses another CUDA when it is imported."
        if is_other_family
        else "Builds of one CUDA family mostly work together, but nobody tests them.",
        failures.of_pair(name, "torch"),
        (release.cite, *case.build.rows),
        is_other_family and is_known_pair and release.is_certain and case.build.is_certain,
    )


def _default_build(case: Case, release: rows.Torch) -> str:
    """Return what a sibling without a local version was built for; "" when that is not known."""
    default = next((r for r in case.table.pypi_build if r.system == case.machine.system), None)
    if default is not None:
        return default.build
    is_listed = case.machine.machine == "x86_64" and case.machine.system == "linux"
    return release.pypi_cuda if is_listed else ""
