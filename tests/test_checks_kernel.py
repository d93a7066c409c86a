"""What torch computes on the cards: a torch of ours in a real environment, and recorded answers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import hardware_support
import patient_support
import pytest
from python_support import distribution, install, site_packages
from support import make_facts, make_profile

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import gpu, interpreter, kernel_probe
from modelmedic.facts.gpu import Gpus
from modelmedic.facts.kernel_probe import CardWork, Kernels
from modelmedic.facts.packages import effective
from modelmedic.profile.model import Hardware

patient = patient_support.patient
GPUS = Gpus("nvml", "570.86", "12.570", "12.8", (hardware_support.RTX_4090,))
# As much of torch as the report asks: numbers in place of tensors, one card.
TORCH = """
__version__ = "2.8.0+cu128"
bfloat16 = "bf16"
class version: cuda = "12.8"
class Tensor:
    def __init__(self, value): self.value = value
    def __add__(self, other): return Tensor(self.value + other)
    def __mul__(self, other): return Tensor(self.value * other)
    def item(self): return self.value
    def float(self): return self
    def min(self): return self
    def max(self): return self
def ones(*shape, device, dtype=None):
    {ones}
    return Tensor(1.0)
def matmul(a, b): return Tensor(a.value * b.value * 64)
class cuda:
    is_available = staticmethod(lambda: {is_available})
    device_count = staticmethod(lambda: 1)
    get_arch_list = staticmethod(lambda: ["sm_80", "sm_90", "compute_90"])
    get_device_name = staticmethod(lambda index: "NVIDIA GeForce RTX 4090")
    get_device_capability = staticmethod(lambda index: (8, 9))
"""
FLASH = "def flash_attn_func(q, k, v):\n    {}\n"


def torch(patient, ones: str = "pass", is_available: bool = True, flash: str = "") -> Kernels:
    files = {"torch.py": TORCH.format(ones=ones, is_available=is_available)}
    if flash:
        files["flash_attn.py"] = FLASH.format(flash)
    install(site_packages(patient.target), "torch", files=files)
    return kernel_probe.kernels_in(patient.target, 30)


def test_a_card_that_computes_is_told_with_what_it_is(patient):
    found = torch(patient, flash="return q")
    assert found == Kernels(
        torch="2.8.0+cu128",
        cuda="12.8",
        is_available=True,
        architectures=("sm_80", "sm_90", "compute_90"),
        cards=(
            CardWork(
                0,
                "NVIDIA GeForce RTX 4090",
                (8, 9),
                (("element", ""), ("matmul", ""), ("flash_attn", "")),
            ),
        ),
    )


def test_after_the_first_failed_kernel_nothing_more_is_tried(patient):
    error = "CUDA error: no kernel image is available for execution on the device"
    [card] = torch(patient, ones=f"raise RuntimeError({error!r})").cards
    assert card.failed == (("element", f"RuntimeError: {error}"),)


def test_only_flash_attn_may_fail(patient):
    [card] = torch(patient, flash="raise RuntimeError('no kernel image')").cards
    assert card.failed == (("flash_attn", "RuntimeError: no kernel image"),)
    assert dict(card.steps)["matmul"] == ""


def test_a_wrong_result_is_no_result(patient):
    [card] = torch(patient, ones="return Tensor(3.0)").cards
    assert card.failed[0] == ("element", "1 + 1 is 4.0")


def test_a_torch_that_dies_leaves_its_signal(patient):
    found = torch(patient, ones="import os, signal; os.kill(os.getpid(), signal.SIGABRT)")
    assert found.ended.startswith("was ended by SIGABRT")


def test_a_torch_that_is_not_there_is_an_error(patient):
    assert "No module named 'torch'" in kernel_probe.kernels_in(patient.target, 30).error


@pytest.mark.parametrize(
    "document", ["{", "7", "{}", '{"errors": [7]}', '{"torch": 1, "cards": 2}']
)
def test_an_answer_of_another_shape_is_unknown(document):
    with pytest.raises(CannotTell, match="cannot be read"):
        kernel_probe.parse_kernels(document, "", 0)


@pytest.mark.parametrize(
    ("built_for", "capability", "has_code"),
    [
        (("sm_80", "sm_86"), (8, 9), True),
        (("sm_80", "sm_90"), (12, 0), False),
        (("sm_80", "compute_90"), (12, 0), True),
        (("sm_90",), (8, 9), False),
        (("sm_89",), (8, 6), False),
        (("sm_100", "sm_120"), (12, 0), True),
        (("sm_90a",), (9, 0), True),
        (("gfx942",), (9, 4), False),
    ],
)
def test_the_rule_of_code_and_cards(built_for, capability, has_code):
    assert kernel_probe.has_code_for(built_for, capability) == has_code


# --- hardware.kernel, on answers as a machine with a card would give them

FOUND = SimpleNamespace(installed=effective([distribution("torch", "2.8.0")]), target="/x/python")


class Judge:
    """The check with given facts."""

    def __init__(self, place, work, found=FOUND):
        profile = make_profile(hardware=Hardware(needs_gpu=True))
        context = make_facts(place, profile, target_python=place / "python").context
        given = {
            gpu.read_gpus: GPUS, interpreter.read_interpreter: found,
            kernel_probe.read_kernels: work,
        }  # fmt: skip
        self.facts = hardware_support.Given(context, given)
        self.losses = hardware_support.Losses()

    def check(self):
        context = self.facts.context
        room = rooms.load("checks", "test_imports")
        room.test_torch_computes_on_every_card(self.facts, context.profile, context, self.losses)

    def fails(self) -> Unhealthy:
        with pytest.raises(Unhealthy) as caught:
            self.check()
        assert caught.value.next_step
        return caught.value


def work(*steps, capability=(8, 9), architectures=("sm_80", "sm_90"), **more) -> Kernels:
    card = CardWork(0, "NVIDIA GeForce RTX 5090", capability, steps)
    values = {"torch": "2.6.0+cu126", "cuda": "12.6", "is_available": True}
    return Kernels(architectures=architectures, cards=(card,), **values | more)


NO_IMAGE = "RuntimeError: CUDA error: no kernel image is available for execution on the device"


def test_a_card_that_computes_passes(tmp_path):
    judge = Judge(tmp_path, work(("element", ""), ("matmul", ""), ("flash_attn", "")))
    judge.check()
    assert judge.losses == []


def test_a_card_that_torch_has_no_code_for_names_both(tmp_path):
    error = Judge(tmp_path, work(("element", NO_IMAGE), capability=(12, 0))).fails()
    assert error.failure_id == "gpu-arch-not-in-torch"
    assert "It was built for sm_80, sm_90; the card is sm_120." in error.why
    assert error.subject == "torch"


def test_flash_attn_without_code_for_the_card_is_its_own_fault(tmp_path):
    error = Judge(tmp_path, work(("element", ""), ("flash_attn", NO_IMAGE))).fails()
    assert error.failure_id == "attention-kernel-no-image"
    assert error.subject == "flash-attn"


def test_flash_attn_on_a_card_that_is_too_old_is_told(tmp_path):
    said = "RuntimeError: FlashAttention only supports Ampere GPUs or newer."
    error = Judge(tmp_path, work(("element", ""), ("flash_attn", said), capability=(7, 5))).fails()
    assert error.failure_id == "flash-attn-pre-ampere"


def test_no_bf16_is_a_stated_loss_of_an_old_card_and_a_fault_of_a_newer_one(tmp_path):
    failed = ("matmul", "RuntimeError: CUBLAS_STATUS_NOT_SUPPORTED")
    old = Judge(tmp_path, work(failed, capability=(7, 5), architectures=("sm_75",)))
    old.check()
    assert "does not multiply in bf16" in old.losses[0][0]
    error = Judge(tmp_path, work(failed)).fails()
    assert error.failure_id is None
    assert "most often the driver" in error.why


def test_a_torch_without_cuda_sees_no_card(tmp_path):
    error = Judge(tmp_path, Kernels(torch="2.8.0+cpu", is_available=False)).fails()
    assert error.failure_id == "cpu-only-torch"
    assert Judge(tmp_path, Kernels(torch="2.11.0", cuda="13.0")).fails().failure_id is None


def test_a_torch_that_died_fails_and_one_that_cannot_be_imported_is_unknown(tmp_path):
    assert "SIGSEGV" in Judge(tmp_path, Kernels(ended="was ended by SIGSEGV")).fails().what
    with pytest.raises(CannotTell, match="could not be asked"):
        Judge(tmp_path, Kernels(error="ImportError: x")).check()


def test_without_torch_or_a_need_for_a_card_it_is_skipped(tmp_path):
    bare = SimpleNamespace(installed={}, target="/x/python")
    with pytest.raises(pytest.skip.Exception, match="torch is not installed"):
        Judge(tmp_path, work(), bare).check()


def test_a_recorded_answer_is_read(tmp_path):
    answer = {
        "torch": "2.8.0", "cuda": "12.8", "is_available": True, "architectures": ["sm_120"],
        "cards": [{"index": 0, "name": "B\x1b[2J", "capability": [12, 0],
                   "steps": {"element": "", "flash_attn": None}}],
    }  # fmt: skip
    [card] = kernel_probe.parse_kernels(json.dumps(answer), "", 0).cards
    assert card.name.isprintable()
    assert card.steps == (("element", ""),)
