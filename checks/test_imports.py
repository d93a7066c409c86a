"""What the app imports and computes with: each module in a child of the target's Python."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import (
    gpu,
    import_faults,
    import_probe,
    import_words,
    interpreter,
    kernel_probe,
)
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Profile, Requirement
from modelmedic.text import printable

Degraded = Callable[..., None]
# Packages whose import fails in known ways, and the module that each brings. The rest is imported
# with --deep: torch alone takes seconds, and most others load it again.
KEY_MODULES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "numpy": "numpy",
    "opencv-python": "cv2",
    "opencv-python-headless": "cv2",
    "opencv-contrib-python": "cv2",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "diffusers": "diffusers",
    "flash-attn": "flash_attn",
    "decord": "decord",
    "peft": "peft",
    "imageio": "imageio",
    "librosa": "librosa",
    "onnxruntime": "onnxruntime",
    "onnxruntime-gpu": "onnxruntime",
    "pandas": "pandas",
    "scipy": "scipy",
}
_AMPERE = (8, 0)  # the first cards with bf16
_TOO_OLD = "only supports Ampere GPUs or newer"  # flash-attn 2, csrc/flash_attn/flash_api.cpp
# Packages that no profile asks for and that others load when they are there.
ADDONS = {
    "triton": "triton",
    "triton-windows": "triton",
    "xformers": "xformers",
    "sageattention": "sageattention",
    "flash-attn-3": "flash_attn_interface",
    "onnxruntime": "onnxruntime",
    "pandas": "pandas",
    "scipy": "scipy",
    "insightface": "insightface",
}


@pytest.mark.check(
    "python.imports",
    area="python",
    needs=["python.package", "python.binaries"],
    severity="blocker",
    stage="installed",
)
@pytest.mark.recover("dependency_failure")
def test_package_can_be_imported(
    facts: FactBook,
    profile: Profile,
    context: Context,
    degraded: Degraded,
    requirement: Requirement,
) -> None:
    """A package that the app needs can be imported.

    Each in a program of its own, started as the app would be. The key packages always, the others
    with `--deep`.
    """
    found = _interpreter(facts, profile, context)
    item = found.installed.get(requirement.name)
    if item is None:
        pytest.skip(f"{requirement.name} is not installed.")
    module = KEY_MODULES.get(requirement.name, "")
    if not module and context.deep:
        public = [name for name in item.modules if not name.startswith("_")]
        module = next(iter(public), "")
    if not module:
        pytest.skip("It is imported with --deep only.")
    _judge(facts, found, requirement.name, module, degraded)


@pytest.mark.check(
    "python.addons", area="python", needs=["python.target"], severity="minor", stage="installed"
)
@pytest.mark.recover("dependency_failure")
def test_addons_can_be_imported(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """What others load when it is there (triton, xformers, SageAttention) can be imported."""
    found = _interpreter(facts, profile, context)
    asked = {each.name for each in profile.python.requirements}
    there = {name: ADDONS[name] for name in ADDONS if name in found.installed and name not in asked}
    if not there:
        pytest.skip("None of them is installed.")
    for name, module in there.items():
        _judge(facts, found, name, module, degraded)


@pytest.mark.check(
    "hardware.kernel",
    area="hardware",
    needs=["hardware.nvml", "python.target"],
    severity="blocker",
    stage="installed",
)
@pytest.mark.recover("dependency_failure")
def test_torch_computes_on_every_card(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """The app's torch computes on every graphics card, also in bf16 and with flash_attn."""
    if not profile.hardware.needs_gpu:
        pytest.skip("The profile does not ask for a graphics card.")
    found = _interpreter(facts, profile, context)
    if "torch" not in found.installed:
        pytest.skip("torch is not installed; python.package says so.")
    if not facts.get(gpu.read_gpus).usable:
        raise CannotTell("No GPU answers.", "hardware.nvml says why.")
    work = facts.get(kernel_probe.read_kernels)
    _judge_torch(found, work)
    for card in work.cards:
        _judge_card(work, card, degraded)


def _interpreter(facts: FactBook, profile: Profile, context: Context) -> interpreter.Interpreter:
    """Return the target's report; skip where there is nothing to ask."""
    if not profile.python.is_required:
        pytest.skip("The profile needs no Python environment.")
    if facts.target_python is None and not context.is_installed:
        pytest.skip("There is no environment yet; the installer makes one.")
    return facts.get(interpreter.read_interpreter)


def _judge(
    facts: FactBook,
    found: interpreter.Interpreter,
    name: str,
    module: str,
    degraded: Degraded,
) -> None:
    """Import one module; fail when it cannot be, state when it goes on without a part."""
    result = facts.get(import_probe.read_import, module)
    if result.fault is None:
        return
    case = import_words.Case(facts, found, name, result)
    what, why, next_step = import_words.explain(case)
    failure = import_faults.failure_of(module, case.fault)
    if result.is_imported:
        degraded(what, why, next_step, failure)
        return
    raise Unhealthy(
        what,
        why,
        next_step,
        failure_id=failure,
        subject=name,
        evidence={
            "module": module,
            "reason": case.fault.reason.value,
            "detail": case.fault.detail,
            "exit_code": result.returncode,
            "seconds": round(result.seconds, 1),
        },
    )


def _judge_torch(found: interpreter.Interpreter, work: kernel_probe.Kernels) -> None:
    """Fail a torch that sees no card or dies; leave one that cannot be imported to its check."""
    if work.ended:
        raise Unhealthy(
            f"torch {work.ended} when it computed on the graphics card.",
            f"Most often a driver and a CUDA that do not fit. It said: {work.error or 'nothing'}.",
            "Run `nvidia-smi`; restart the computer if it does not answer.",
            subject="torch",
        )
    if work.error:
        raise CannotTell(
            f"torch could not be asked: {work.error}.", "python.imports[torch] says why."
        )
    if not work.is_available:
        build = f"CUDA {work.cuda}" if work.cuda else "no CUDA"
        raise Unhealthy(
            f"torch {work.torch} in {printable(found.target)} sees no graphics card, though the "
            "driver lists one.",
            f"This build has {build}. Without CUDA it is the wrong build; with it the driver is "
            "too old for it, or CUDA_VISIBLE_DEVICES hides the card.",
            "python.stack tells which build fits the driver.",
            failure_id=None if work.cuda else "cpu-only-torch",
            subject="torch",
            evidence={"torch": work.torch, "cuda": work.cuda},
        )


def _judge_card(
    work: kernel_probe.Kernels, card: kernel_probe.CardWork, degraded: Degraded
) -> None:
    """Fail a card that does not compute; state what only an old card cannot."""
    failed = dict(card.failed)
    is_old = card.capability is not None and card.capability < _AMPERE
    if is_old and "matmul" in failed:
        said = failed.pop("matmul")
        degraded(
            f"{_name(card)} does not multiply in bf16: {said}.",
            "Cards before Ampere have no bf16; the model is slow or wrong there.",
        )
    if "flash_attn" in failed and len(failed) == 1:
        raise _no_flash(card, failed["flash_attn"])
    if failed:
        raise _no_work(work, card, *next(iter(failed.items())))


def _no_flash(card: kernel_probe.CardWork, said: str) -> Unhealthy:
    fault = import_faults.of_text(said)
    if fault is not None and fault.reason is import_faults.Reason.NO_KERNEL:
        why = "It has no code for this card, though torch has."
        failure = "attention-kernel-no-image"
    elif _TOO_OLD in said:
        why, failure = "It has no code for cards before Ampere.", "flash-attn-pre-ampere"
    else:
        why, failure = "Most often it was built for another torch or CUDA.", ""
    return Unhealthy(
        f"flash_attn does not run on {_name(card)}: {said}.",
        why,
        "Remove flash_attn, or install a build that has code for this card.",
        failure_id=failure or None,
        subject="flash-attn",
        evidence={"said": said},
    )


def _no_work(
    work: kernel_probe.Kernels, card: kernel_probe.CardWork, step: str, said: str
) -> Unhealthy:
    shown = ", ".join(work.architectures) or "nothing"
    known = card.capability is None or kernel_probe.has_code_for(
        work.architectures, card.capability
    )
    return Unhealthy(
        f"torch {work.torch} does not compute on {_name(card)}: {said}.",
        "It has code for this card; most often the driver does not fit, or the card is at fault."
        if known
        else f"It was built for {shown}; the card is {_capability(card)}.",
        "Restart the computer, then run `nvidia-smi`; python.stack judges the driver."
        if known
        else "Install a build of torch for this card: python.stack names one.",
        failure_id=None if known else "gpu-arch-not-in-torch",
        subject="torch",
        evidence={"step": step, "architectures": shown, "capability": _capability(card)},
    )


def _name(card: kernel_probe.CardWork) -> str:
    return f"card {card.index} ({card.name})"


def _capability(card: kernel_probe.CardWork) -> str:
    return f"sm_{card.capability[0]}{card.capability[1]}" if card.capability else "unknown"
