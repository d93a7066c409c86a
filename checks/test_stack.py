"""Whether driver, card, PyTorch and the packages beside it go together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import driver_words, gpu, interpreter, packages
from modelmedic.facts.book import FactBook
from modelmedic.facts.pip_commands import new_environment
from modelmedic.profile.model import Profile
from modelmedic.text import counted, printable

if TYPE_CHECKING:  # loaded by the checks that run, not at collection
    from modelmedic.compat.oracle import ConsistentSet, Contradiction

Degraded = Callable[..., None]
Stated = Callable[[str], None]

# What is judged without a card, and what needs one; the names of modelmedic.compat.oracle.KINDS.
# "requirement", the last kind, is python.package.
_WITHOUT_CARD = ("torch-python", "torch-trio", "flash-attn", "numpy", "pins")
_WITH_CARD = ("torch-driver", "torch-card", "cpu-only-torch")
_PLACE = ".venv"


@pytest.mark.check(
    "python.stack", area="python", needs=["python.target"], severity="blocker", stage="installed"
)
@pytest.mark.recover("dependency_failure")
@pytest.mark.parametrize("kind", _WITHOUT_CARD)
def test_installed_versions_go_together(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded, kind: str
) -> None:
    """PyTorch, what is compiled for it, and the packages beside it are of versions that fit.

    Judged for each kind of contradiction: PyTorch and Python, PyTorch and its siblings,
    flash-attn, numpy, the pins between packages.
    """
    _judge(facts, profile, context, degraded, kind)


@pytest.mark.check(
    "python.gpu-stack",
    area="python",
    needs=["python.target", "hardware.nvml"],
    severity="blocker",
    stage="installed",
)
@pytest.mark.recover("dependency_failure")
@pytest.mark.parametrize("kind", _WITH_CARD)
def test_pytorch_fits_driver_and_card(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded, kind: str
) -> None:
    """The installed PyTorch was built for a CUDA that the driver runs and for this card.

    Judged for each kind of contradiction: its CUDA and the driver, its code and the card, a build
    without CUDA.
    """
    if not profile.hardware.needs_gpu:
        pytest.skip("The profile does not ask for a graphics card.")
    found = _interpreter(facts, profile, context)
    if not facts.get(gpu.read_gpus).usable:
        raise CannotTell("No GPU answers.", "hardware.nvml says why.")
    _build_must_be_told(facts, profile, found)
    _judge(facts, profile, context, degraded, kind)


@pytest.mark.check("python.possible", area="python", needs=["hardware.nvml"], severity="blocker")
@pytest.mark.guidance("docs/checks.md#python-possible")
def test_some_versions_fit_this_machine(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded, stated: Stated
) -> None:
    """Some build of PyTorch fits the driver, the card and a Python that the app supports."""
    if context.is_installed:
        pytest.skip("There is an install; its own versions are judged.")
    if not (profile.python.is_required and profile.hardware.needs_gpu and _asks(profile, "torch")):
        pytest.skip("The profile does not ask for PyTorch on a graphics card.")
    gpus = facts.get(gpu.read_gpus)
    if not gpus.usable:
        raise CannotTell("No GPU answers.", "hardware.nvml says why.")
    found = _best_set(profile, gpus)
    if found is None:
        raise _impossible(facts, profile, gpus)
    python, entry = found
    words, command = _words_of(entry, python), _command(facts, profile, python, entry)
    if entry.doubts:
        degraded(f"{words} fits this machine, with a doubt: {entry.doubts[0]}", "", command)
    else:
        stated(f"{words} fits this machine: {command}")


def _judge(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded, kind: str
) -> None:
    from modelmedic.compat import judging
    from modelmedic.compat.stack import machine_of, stack_of

    found = _interpreter(facts, profile, context)
    _skip_what_is_not_there(profile, found, kind)
    machine, stack = machine_of(found, _gpus(facts, profile)), stack_of(found)
    judged = judging.judge(machine, stack, _requirements(profile))
    wrong = [entry for entry in judged.contradictions if entry.kind == kind]
    if wrong:
        raise _unhealthy(facts, profile, wrong)
    for doubt in judged.doubts:
        if doubt.kind == kind:
            degraded(
                printable(doubt.what),
                doubt.why,
                "`modelmedic profile compat` shows what is known of it, and how sure.",
                doubt.failure_id,
            )


def _interpreter(facts: FactBook, profile: Profile, context: Context) -> interpreter.Interpreter:
    """Return the target's report; skip where there is nothing to ask."""
    if not profile.python.is_required:
        pytest.skip("The profile needs no Python environment.")
    if facts.target_python is None and not context.is_installed:
        pytest.skip("There is no environment yet; the installer makes one.")
    return facts.get(interpreter.read_interpreter)


def _skip_what_is_not_there(profile: Profile, found: interpreter.Interpreter, kind: str) -> None:
    """Skip a kind whose package is neither installed nor asked for: python.package misses it."""
    name = "flash-attn" if kind == "flash-attn" else "torch"
    is_asked = name == "flash-attn" and _asks(profile, name)
    if kind not in {"numpy", "pins"} and name not in found.installed and not is_asked:
        pytest.skip(f"{name} is not installed.")


def _build_must_be_told(facts: FactBook, profile: Profile, found: interpreter.Interpreter) -> None:
    """Stop where an installed PyTorch does not tell what it was built for.

    Raises:
        CannotTell: Neither its version, nor what it requires, nor the table tells.
    """
    from modelmedic.compat import table
    from modelmedic.compat.stack import machine_of, stack_of

    stack = stack_of(found)
    build = stack.build_of_torch(machine_of(found, _gpus(facts, profile)), table.load())
    if stack.version("torch") and not build.tag:
        code = "import torch; print(torch.version.cuda)"
        raise CannotTell(
            f"What torch {printable(stack.version('torch'))} was built for cannot be told.",
            "Neither its version, nor what it requires, nor the table of what goes together says.",
            packages.shell_words([found.target, "-c", code]),
        )


def _unhealthy(facts: FactBook, profile: Profile, wrong: list[Contradiction]) -> Unhealthy:
    """Return the failure of one kind, with the least change that mends the whole stack."""
    from modelmedic.compat import advice, oracle
    from modelmedic.compat.stack import machine_of, stack_of

    found = facts.get(interpreter.read_interpreter)
    machine, stack = machine_of(found, _gpus(facts, profile)), stack_of(found)
    first, more, why = wrong[0], len(wrong) - 1, wrong[0].why
    change = oracle.nearest(machine, stack, _requirements(profile))
    evidence: dict[str, str | int | float | bool | None] = {"rows": ", ".join(first.rows) or None}
    if change is None:
        next_step = _without_a_set(facts, first)
    else:
        next_step = advice.of_change(change, facts, found, profile)
        if change.touches_torch:
            why += f" Only another PyTorch mends it: {change.versions['torch']}."
        evidence |= {
            "pins": ", ".join(change.pins) or None,
            "removed": ", ".join(change.removed) or None,
            "lost": " ".join(change.lost) or None,
            "is_certain": change.is_certain,
        }
    others = f" And {counted(more, 'more contradiction')} of this kind." if more else ""
    return Unhealthy(
        printable(first.what) + others,
        why,
        next_step,
        failure_id=first.failure_id,
        subject=first.packages[0],
        evidence=evidence,
    )


def _without_a_set(facts: FactBook, entry: Contradiction) -> str:
    """Return what a person can do where no other versions mend it."""
    if entry.failure_id == "driver-too-old":
        return f"install a newer NVIDIA driver ({driver_words.GET_DRIVER}) and restart."
    if entry.failure_id == "python-too-new":
        return new_environment(facts)
    if entry.failure_id in {"flash-attn-pre-ampere", "gpu-arch-not-in-torch"}:
        return "use a newer card, or a way to run the model that does without it."
    return "`modelmedic profile compat` lists what goes together; no set of it mends this install."


def _gpus(facts: FactBook, profile: Profile) -> gpu.Gpus:
    """Return the driver's answer; an empty one where it gives none, which is judged elsewhere."""
    if not profile.hardware.needs_gpu:
        return gpu.Gpus()
    try:
        return facts.get(gpu.read_gpus)
    except CannotTell:
        return gpu.Gpus()


def _requirements(profile: Profile) -> list[str]:
    return [each.spec for each in profile.python.requirements if not each.is_optional]


def _asks(profile: Profile, name: str) -> bool:
    return any(each.name == name and not each.is_optional for each in profile.python.requirements)


def _best_set(profile: Profile, gpus: gpu.Gpus) -> tuple[str, ConsistentSet] | None:
    """Return the best set with the Python it is for: a certain one before a doubtful one."""
    from modelmedic.compat import advice, oracle, table
    from modelmedic.compat.stack import machine_here

    best: tuple[str, ConsistentSet] | None = None
    for python in advice.pythons(table.load(), profile.python.requires):
        machine = machine_here(f"{python}.0", gpus)
        sets = oracle.consistent(machine, _requirements(profile))
        if sets and (best is None or len(sets[0].doubts) < len(best[1].doubts)):
            best = python, sets[0]
    return best


def _words_of(entry: ConsistentSet, python: str) -> str:
    flash = f" with flash-attn {entry.flash_attn}" if entry.flash_attn else ""
    return f"PyTorch {entry.torch}{flash} on Python {python}"


def _command(facts: FactBook, profile: Profile, python: str, entry: ConsistentSet) -> str:
    from modelmedic.compat import advice

    return advice.of_set(entry, profile, facts.context.place / _PLACE, f"python{python}")


def _impossible(facts: FactBook, profile: Profile, gpus: gpu.Gpus) -> Unhealthy:
    """Return the failure, with what stands in the way: driver, card, or Python."""
    without_driver = _best_set(profile, replace(gpus, driver_version=None))
    card = gpus.usable[0]
    if without_driver is not None:
        return Unhealthy(
            f"No build of PyTorch that serves {card.label} runs on NVIDIA driver "
            f"{gpus.driver_version}.",
            f"{_words_of(without_driver[1], without_driver[0])} would, with a newer driver.",
            f"install a newer NVIDIA driver ({driver_words.GET_DRIVER}) and restart.",
            failure_id="driver-too-old",
            evidence={"driver_version": gpus.driver_version},
        )
    if _best_set(profile, gpu.Gpus()) is not None:
        capability = ".".join(str(part) for part in card.compute_capability or ())
        return Unhealthy(
            f"No versions that the app accepts have code for {card.label} ({capability}).",
            "Builds of PyTorch and of flash-attn hold code for some generations of cards only.",
            "use another card, or a way to run the model that asks for less.",
            failure_id="flash-attn-pre-ampere"
            if _asks(profile, "flash-attn")
            else "gpu-arch-not-in-torch",
            evidence={"compute_capability": capability},
        )
    return Unhealthy(
        "No release of PyTorch has builds for this system and a Python that the app supports.",
        f"The app needs Python {profile.python.requires or 'of any version'}.",
        new_environment(facts),
        failure_id="python-too-new",
    )
