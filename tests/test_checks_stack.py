"""The checks of driver, card and versions on real metadata: what they find, say and advise."""

from __future__ import annotations

import shlex

import pytest
from hardware_support import RTX_4090, Given, Losses
from interpreter_support import ask
from python_support import add_package, make_venv, site_packages
from support import make_context, make_profile

from modelmedic import rooms
from modelmedic.compat import advice, oracle
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import gpu, interpreter
from modelmedic.facts.gpu import Gpu, Gpus
from modelmedic.profile.model import Endpoint, Hardware, PythonNeeds, Requirement

checks = rooms.load("checks", "test_stack")
HERE = "x86_64"
WAN = tuple(
    Requirement(spec)
    for spec in ("torch>=2.4.0", "torchvision>=0.19.0", "numpy<2", "transformers<=4.51.3")
)
WITH_FLASH = (*WAN, Requirement("flash_attn"))
WHEELS = Endpoint("wheels", "https://mirror.example/torch/cu121", "wheels")
DRIVER_570 = Gpus("nvml", driver_version="570.86.10", gpus=(RTX_4090,))


class Target:
    """A real environment with packages, on a machine whose driver's answer a test gives."""

    def __init__(self, place, gpus=DRIVER_570, requirements=WAN, **needs):
        self.place = place
        self.target = make_venv(place / ".venv")
        self.needs = {"requirements": requirements} | needs
        self.given = {gpu.read_gpus: gpus}
        self.needs_gpu = True
        self.losses = Losses()
        self.said = []
        self.machine = HERE
        self.python = "3.12.4"

    def add(self, name, version, *requires):
        add_package(site_packages(self.target), name, version, *requires)

    def facts(self, **overrides):
        profile = make_profile(
            python=PythonNeeds(**self.needs),
            hardware=Hardware(needs_gpu=self.needs_gpu),
            endpoints=(WHEELS,),
        )
        context = make_context(self.place, profile, **{"target_python": self.target} | overrides)
        return Given(context, dict(self.given))

    def judge(self, name, kind=None, **overrides):
        facts = self.facts(**overrides)
        if facts.context.target_python is not None:
            # Its own answer, but for what depends on the machine the tests run on.
            found = ask(self.target)
            facts.given[interpreter.read_interpreter] = rebuilt(found, self.machine, self.python)
        check = getattr(checks, name)
        given = {
            "facts": facts, "profile": facts.profile, "context": facts.context, "kind": kind,
            "degraded": self.losses, "stated": self.said.append,
        }  # fmt: skip
        names = check.__code__.co_varnames[: check.__code__.co_argcount]
        check(**{each: given[each] for each in names})

    def stack(self, kind):
        self.judge("test_installed_versions_go_together", kind)

    def on_gpu(self, kind):
        self.judge("test_pytorch_fits_driver_and_card", kind)

    def fails(self, judge, kind) -> Unhealthy:
        with pytest.raises(Unhealthy) as caught:
            judge(kind)
        assert str(caught.value).isprintable()
        assert caught.value.next_step
        return caught.value


def rebuilt(found, machine, python):
    """Return a report as it would be on Linux of one processor, whatever runs the tests."""
    from dataclasses import replace

    return replace(found, machine=machine, version=python, platform="linux")


@pytest.fixture
def target(tmp_path):
    return Target(tmp_path / "my app")


def commands(next_step):
    """Return the commands of a next step, each as its words."""
    if "`" not in next_step:
        return [shlex.split(next_step)]
    return [shlex.split(part) for part in next_step.split("`")[1::2]]


@pytest.mark.parametrize("kind", checks._WITHOUT_CARD)
def test_a_stack_that_agrees_passes(target, kind):
    for name, version in (
        ("torch", "2.8.0+cu128"), ("torchvision", "0.23.0+cu128"), ("numpy", "1.26.4"),
        ("transformers", "4.51.3"), ("huggingface-hub", "0.36.2"), ("flash-attn", "2.8.3"),
    ):  # fmt: skip
        target.add(name, version)
    target.stack(kind)
    assert target.losses == []


def test_a_kind_of_its_own_stands_for_each_contradiction():
    judged = {*checks._WITHOUT_CARD, *checks._WITH_CARD}
    assert judged == set(oracle.KINDS) - {"requirement"}


def test_a_driver_that_is_too_old_is_told_with_the_build_it_can_run(target):
    target.add("torch", "2.11.0+cu130")
    target.add("torchvision", "0.26.0+cu130")
    error = target.fails(target.on_gpu, "torch-driver")
    assert error.failure_id == "driver-too-old"
    assert "needs NVIDIA driver 580 or newer; here it is 570.86.10" in error.what
    assert error.evidence["rows"] == "cuda_family 13"
    assert "Only another PyTorch mends it: 2.11.0+cu126." in error.why
    (command,) = commands(error.next_step)
    assert command == [
        str(target.target), "-m", "pip", "install",
        "torch==2.11.0+cu126", "torchvision==0.26.0+cu126",
        "--index-url", "https://mirror.example/torch/cu126",
    ]  # fmt: skip
    assert "--trusted-host" not in error.next_step


def test_a_build_without_cuda_is_told(target):
    target.add("torch", "2.8.0+cpu")
    error = target.fails(target.on_gpu, "cpu-only-torch")
    assert error.failure_id == "cpu-only-torch"
    assert error.evidence["pins"] == "torch==2.8.0+cu128"


def test_a_card_that_the_build_has_no_code_for_is_told(target):
    card = Gpu(0, "NVIDIA GeForce RTX 5090", compute_capability=(12, 0))
    target.given[gpu.read_gpus] = Gpus("nvml", driver_version="570.86.10", gpus=(card,))
    target.add("torch", "2.7.1+cu126")
    error = target.fails(target.on_gpu, "torch-card")
    assert error.failure_id == "gpu-arch-not-in-torch"
    assert "GPU 0 (NVIDIA GeForce RTX 5090) (12.0)" in error.what
    assert error.evidence["pins"] == "torch==2.7.1+cu128"


def test_siblings_of_another_release_are_mended_without_touching_torch(target):
    target.add("torch", "2.8.0+cu128")
    target.add("torchvision", "0.22.1+cu128")
    error = target.fails(target.stack, "torch-trio")
    assert error.failure_id == "torchvision-nms"
    assert error.subject == "torchvision"
    assert "another PyTorch" not in error.why
    assert commands(error.next_step)[0][4] == "torchvision==0.23.0+cu128"


def test_a_flash_attn_of_another_torch_is_replaced_by_the_wheel_of_its_project(target):
    target.needs["requirements"] = WITH_FLASH
    target.add("torch", "2.8.0+cu128")
    target.add("flash-attn", "2.7.4.post1+cu12torch2.6cxx11abiTRUE")
    error = target.fails(target.stack, "flash-attn")
    assert error.failure_id == "flash-attn-abi-undefined-symbol"
    (command,) = commands(error.next_step)
    assert command[4] == "--no-deps"
    assert command[5].endswith("cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl")
    assert "flash-attn 2.7.4.post1" in error.evidence["lost"]


def test_a_flash_attn_that_no_wheel_replaces_is_removed(target):
    target.add("torch", "2.9.1+cu128")
    target.add("flash-attn", "2.8.3+cu12torch2.8cxx11abiTRUE")
    error = target.fails(target.stack, "flash-attn")
    assert commands(error.next_step) == [
        [str(target.target), "-m", "pip", "uninstall", "-y", "flash-attn"]
    ]


def test_pins_are_read_from_the_metadata_of_what_is_installed(target):
    target.add("transformers", "4.51.3", "huggingface-hub<1.0,>=0.30.0", "x ; extra == 'dev'")
    target.add("huggingface-hub", "1.2.0")
    error = target.fails(target.stack, "pins")
    assert error.failure_id == "transformers-hub-tokenizers-skew"
    assert commands(error.next_step)[0][4:] == ["huggingface-hub==0.36.2"]


def test_an_opencv_that_wants_another_numpy_is_told_and_the_last_one_that_fits_named(target):
    target.add("opencv-python", "4.12.0.88", 'numpy<2.3.0,>=2; python_version >= "3.9"')
    target.add("numpy", "1.26.4")
    error = target.fails(target.stack, "numpy")
    assert error.failure_id == "opencv-vs-numpy-pin"
    assert commands(error.next_step)[0][4:] == ["opencv-python==4.11.0.86"]


def test_a_python_without_a_numpy_below_2_needs_another_environment(target):
    target.python = "3.13.1"
    error = target.fails(target.stack, "numpy")
    assert error.failure_id == "python-too-new"
    assert "-m venv" in error.next_step


def test_an_old_card_under_an_app_that_needs_flash_attn_is_told(target):
    card = Gpu(0, "Tesla T4", compute_capability=(7, 5))
    target.given[gpu.read_gpus] = Gpus("nvml", driver_version="570.86.10", gpus=(card,))
    target.needs["requirements"] = WITH_FLASH
    target.add("torch", "2.8.0+cu128")
    error = target.fails(target.stack, "flash-attn")
    assert error.failure_id == "flash-attn-pre-ampere"
    assert "newer card" in error.next_step


def test_what_only_uncertain_rows_say_is_a_stated_loss(target):
    card = Gpu(0, "NVIDIA GeForce RTX 5090", compute_capability=(12, 0))
    target.given[gpu.read_gpus] = Gpus("nvml", driver_version="570.86.10", gpus=(card,))
    target.add("torch", "2.6.0+cu124")
    target.on_gpu("torch-card")
    assert target.losses[0][3] == "gpu-arch-not-in-torch"
    assert "modelmedic profile compat" in target.losses[0][2]


def test_without_an_answer_of_the_driver_the_rest_is_judged(target):
    target.given[gpu.read_gpus] = CannotTell("The driver does not answer.")
    target.add("torch", "2.8.0")
    target.add("torchvision", "0.22.1")
    assert target.fails(target.stack, "torch-trio").failure_id == "torchvision-nms"


def test_without_a_card_that_answers_nothing_is_said_of_what_needs_one(target):
    target.add("torch", "2.8.0+cu128")
    target.given[gpu.read_gpus] = Gpus(problem=gpu.Problem("not-asked", None, "no card"))
    with pytest.raises(CannotTell, match="No GPU answers"):
        target.on_gpu("torch-driver")


def test_a_torch_that_does_not_tell_its_build_is_unknown_and_the_question_to_it_printed(target):
    target.add("torch", "2.8.0a0+34c6371d24.nv25.08")
    with pytest.raises(CannotTell, match="cannot be told") as caught:
        target.on_gpu("torch-card")
    assert shlex.split(caught.value.next_step)[1] == "-c"


def test_what_is_not_installed_is_not_judged(target):
    for kind in ("torch-python", "torch-trio", "flash-attn"):
        with pytest.raises(pytest.skip.Exception, match="is not installed"):
            target.stack(kind)
    with pytest.raises(pytest.skip.Exception, match="torch is not installed"):
        target.on_gpu("torch-driver")
    target.stack("pins")


def test_a_build_for_cards_of_another_maker_is_told(target):
    target.add("torch", "2.8.0+rocm6.4")
    error = target.fails(target.on_gpu, "cpu-only-torch")
    assert "built without CUDA (rocm6.4)" in error.what
    assert error.evidence["pins"] == "torch==2.8.0+cu128"


def test_a_profile_without_python_or_card_asks_nothing(target):
    target.needs_gpu = False
    with pytest.raises(pytest.skip.Exception, match="graphics card"):
        target.on_gpu("torch-driver")
    target.needs["is_required"] = False
    with pytest.raises(pytest.skip.Exception, match="no Python"):
        target.stack("pins")


# --- before there is an environment


def possible(target):
    preflight = {"stage": "preflight", "target_python": None}
    target.judge("test_some_versions_fit_this_machine", **preflight)


@pytest.fixture
def on_linux(monkeypatch):
    """Judge for Linux on x86_64, whatever runs the tests."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


@pytest.fixture
def bare(tmp_path):
    """A machine without an environment; making one is not needed."""
    made = Target.__new__(Target)
    made.place, made.target = tmp_path / "app", None
    made.place.mkdir()
    made.needs = {"requires": ">=3.10,<3.13", "requirements": WITH_FLASH}
    made.given, made.needs_gpu = {gpu.read_gpus: DRIVER_570}, True
    made.losses, made.said = Losses(), []
    return made


def test_before_an_install_the_commands_of_the_best_set_are_told(bare, on_linux):
    possible(bare)
    (said,) = bare.said
    assert said.startswith("PyTorch 2.8.0+cu128 with flash-attn 2.8.3.post1+cu12torch2.8")
    venv, torch, flash, rest = commands(said)
    assert venv == ["python3.12", "-m", "venv", str(bare.place / ".venv")]
    assert torch[4:] == [
        "torch==2.8.0+cu128", "torchvision==0.23.0+cu128", "torchaudio==2.8.0+cu128",
        "--index-url", "https://mirror.example/torch/cu128",
    ]  # fmt: skip
    assert flash[4] == "--no-deps"
    assert rest[4:6] == ["numpy==1.26.4", "opencv-python==4.11.0.86"]


def test_a_driver_that_no_build_runs_on_is_told_before_an_install(bare, on_linux):
    bare.given[gpu.read_gpus] = Gpus("nvml", driver_version="440.33.01", gpus=(RTX_4090,))
    error = bare.fails(lambda _kind: possible(bare), None)
    assert error.failure_id == "driver-too-old"
    assert "nvidia.com/drivers" in error.next_step


def test_a_card_that_no_set_serves_is_told_before_an_install(bare, on_linux):
    card = Gpu(0, "Tesla T4", compute_capability=(7, 5))
    bare.given[gpu.read_gpus] = Gpus("nvml", driver_version="570.86.10", gpus=(card,))
    error = bare.fails(lambda _kind: possible(bare), None)
    assert error.failure_id == "flash-attn-pre-ampere"
    assert "GPU 0 (Tesla T4) (7.5)" in error.what


def test_a_python_that_no_release_supports_is_told_before_an_install(bare, on_linux):
    bare.needs["requires"] = ">=3.13"
    error = bare.fails(lambda _kind: possible(bare), None)
    assert error.failure_id == "python-too-new"


def test_an_older_driver_of_the_family_is_a_stated_loss_before_an_install(bare, on_linux):
    bare.given[gpu.read_gpus] = Gpus("nvml", driver_version="535.154.05", gpus=(RTX_4090,))
    possible(bare)
    assert "PyTorch 2.8.0+cu126" in bare.losses[0][0]
    assert "-m venv" in bare.losses[0][2]


def test_an_install_is_not_asked_whether_it_could_be(target):
    with pytest.raises(pytest.skip.Exception, match="own versions"):
        target.judge("test_some_versions_fit_this_machine")


@pytest.mark.parametrize(
    ("url", "index"),
    [
        ("https://download.pytorch.org/whl/cu128", "https://download.pytorch.org/whl/cu126"),
        ("https://download.pytorch.org/whl/cpu/", "https://download.pytorch.org/whl/cu126"),
        ("https://mirror.example/torch", "https://mirror.example/torch/cu126"),
    ],
)
def test_the_wheel_index_of_a_tag_is_the_profile_s_own(url, index):
    profile = make_profile(endpoints=(Endpoint("wheels", url, "wheels"),))
    assert advice.wheel_index(profile, "cu126") == index
    assert advice.wheel_index(make_profile(), "cu126") == "https://download.pytorch.org/whl/cu126"
