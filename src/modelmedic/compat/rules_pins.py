"""Rules of the other packages: what they ask of each other, and what the app asks of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from modelmedic.compat import failures, rows, rules_torch, versions
from modelmedic.compat.judgement import Case, Contradiction
from modelmedic.facts.packages import SAME_MODULE, normalised

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OPENCV = tuple(sorted(SAME_MODULE["cv2"]))
# Whose mutual pins are judged here; everything else is left to the general check of conflicts.
PINNED = (
    "numpy", *OPENCV, "transformers", "tokenizers", "huggingface-hub", "diffusers", "peft",
    "accelerate", "onnxruntime", "xformers",
)  # fmt: skip
_ASKED = frozenset({*PINNED, "torch"})
_NAME = re.compile(r"[\w.-]+", re.ASCII)
_JUDGED_ELSEWHERE = {(name, "torch") for name in rules_torch.SIBLINGS}  # rules_torch
_NUMPY_2 = ("2.0.0", "2.1.0", "2.2.0", "2.3.0", "2.4.0", "2.99")


def find(case: Case) -> Iterator[Contradiction]:
    """Yield what the packages ask of each other in vain, and what the app asks of numpy."""
    yield from _old_numpy(case)
    yield from faults(case)


def faults(case: Case) -> Iterator[Contradiction]:
    """Yield what a change of versions among `PINNED` can mend."""
    for name in PINNED:
        if case.stack.version(name):
            yield from _unmet(case, name)
    yield from unfit(case)


def unfit(case: Case) -> Iterator[Contradiction]:
    """Yield installed versions that the app's own requirements exclude."""
    for name, specifiers in case.wanted.items():
        installed = case.stack.version(name)
        if installed and versions.is_in(installed, specifiers) is False:
            yield Contradiction(
                "requirement",
                (name,),
                f"{name} {installed} is installed; the app needs {name}{specifiers}.",
                "The app states this version range itself.",
                failures.of_package(name, is_missing=False),
            )


def needs_of(case: Case, name: str) -> Iterator[tuple[str, str, tuple[str, ...], bool]]:
    """Yield what an installed package asks: of whom, which range, which rows say so, how sure.

    Its own metadata speaks first; the table adds what metadata does not say.
    """
    for asked in _asked(case.stack.requires.get(name, ())):
        if versions.applies(asked, case.machine.markers):
            yield normalised(asked.name), str(asked.specifier), (), True
    alias = "opencv-python" if name in OPENCV else name
    for row in case.table.pins(alias, versions.public(case.stack.version(name))):
        for asked in _asked(row.needs):
            yield normalised(asked.name), str(asked.specifier), (row.cite,), row.is_certain


@lru_cache(maxsize=256)
def _asked(lines: tuple[str, ...]) -> tuple[Requirement, ...]:
    """Return what a package asks of the packages that are judged here."""
    # A large package has hundreds of lines, nearly all about others and for extras.
    begins = ((line, _NAME.match(line)) for line in lines)
    ours = [line for line, begin in begins if begin and normalised(begin[0]) in _ASKED]
    parsed = (versions.requirement(line) for line in ours)
    return tuple(asked for asked in parsed if asked is not None and asked.specifier)


def _unmet(case: Case, name: str) -> Iterator[Contradiction]:
    told: set[str] = set()
    for other, specifiers, cited, is_certain in needs_of(case, name):
        installed = case.stack.version(other)
        if (
            not installed
            or other not in _ASKED
            or other in told
            or (name, other) in _JUDGED_ELSEWHERE
        ):
            continue
        if versions.is_in(installed, specifiers) is False:
            told.add(other)
            yield _pin(case, (name, other), specifiers, cited, is_certain=is_certain)


def _pin(
    case: Case,
    names: tuple[str, str],
    specifiers: str,
    cited: tuple[str, ...],
    *,
    is_certain: bool,
) -> Contradiction:
    name, other = names
    who = f"{name} {case.stack.version(name)}"
    return Contradiction(
        "numpy" if other == "numpy" else "pins",
        names,
        f"{who} needs {other}{specifiers}; {other} {case.stack.version(other)} is installed.",
        f"A later install changed {other}, or {name}, without the other."
        if name != "xformers"
        else "Its compiled part fits one torch only, and cannot be loaded beside another.",
        failures.of_pair(name, other),
        cited,
        is_certain,
    )


def _old_numpy(case: Case) -> Iterator[Contradiction]:
    """Yield a wish for numpy below 2 on a Python that has no wheel of it."""
    specifiers = case.wanted.get("numpy", "")
    here = case.machine.python_minor
    # The 1.x line ended with 1.26: a Python newer than the last row has no wheel of it either.
    known = [row for row in case.table.numpy_lt2 if rows.pair(row.python) <= rows.pair(here)]
    row = known[-1] if known else None
    if not specifiers or row is None or row.newest_wheel or not _is_below_2(specifiers):
        return
    installed = case.stack.version("numpy")
    if installed and versions.is_in(installed, specifiers):
        return
    yield Contradiction(
        "numpy",
        ("numpy",),
        f"The app needs numpy{specifiers}, which has no wheel for Python {here}.",
        "pip compiles it, which takes long and needs a compiler, or fails.",
        "python-too-new",
        (row.cite,),
        row.is_certain,
    )


def _is_below_2(specifiers: str) -> bool:
    return not any(versions.is_in(version, specifiers) for version in _NUMPY_2)
