"""Triples of card, driver and stack with what is wrong with each, written by hand.

They were written before the oracle, from rows of ``compat.toml``, which ``rows`` cites; nothing of
them was computed. ``wrong`` is what must contradict: kind and known failure. ``doubted`` are the
kinds of which something is doubtful only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from modelmedic.compat.stack import Card, Machine, Stack

RTX_2080_TI = Card("RTX 2080 Ti", (7, 5))
RTX_3060 = Card("RTX 3060", (8, 6))
RTX_3090 = Card("RTX 3090", (8, 6))
RTX_4090 = Card("RTX 4090", (8, 9))
RTX_5090 = Card("RTX 5090", (12, 0))
GTX_1080_TI = Card("GTX 1080 Ti", (6, 1))
P100 = Card("Tesla P100", (6, 0))
T4 = Card("Tesla T4", (7, 5))
V100 = Card("Tesla V100", (7, 0))
A100 = Card("A100", (8, 0))
H100 = Card("H100", (9, 0))
B200 = Card("B200", (10, 0))

# What Wan 2.2 asks for (its requirements.txt, and what `import wan` needs).
WAN = (
    "torch>=2.4.0", "torchvision>=0.19.0", "torchaudio", "opencv-python>=4.9.0.80",
    "diffusers>=0.31.0", "transformers>=4.49.0,<=4.51.3", "tokenizers>=0.20.3", "flash_attn",
    "numpy>=1.23.5,<2", "peft<0.18",
)  # fmt: skip
WITHOUT_FLASH = tuple(line for line in WAN if line != "flash_attn")
# The packages of known_consistent wan22-cu128 beside torch.
WAN_PACKAGES = {
    "numpy": "1.26.4", "opencv-python": "4.11.0.86", "transformers": "4.51.3",
    "tokenizers": "0.21.4", "huggingface-hub": "0.36.2", "diffusers": "0.35.2", "peft": "0.17.1",
}  # fmt: skip
FLASH = "2.8.3.post1+cu12torch2.8cxx11abiTRUE"


@dataclass(frozen=True)
class Triple:
    name: str
    machine: Machine
    versions: dict[str, str]
    rows: tuple[str, ...]
    wrong: frozenset[tuple[str, str]] = frozenset()
    doubted: frozenset[str] = frozenset()
    requirements: tuple[str, ...] = ()
    requires: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tags: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def stack(self) -> Stack:
        return Stack(self.versions, self.requires, tags=self.tags)


def linux(card: Card | None, driver: str | None, python: str = "3.12.4", **more) -> Machine:
    return Machine("linux", "x86_64", python, driver, (card,) if card else (), "2.39", **more)


def windows(card: Card, driver: str, python: str = "3.11.9") -> Machine:
    return Machine("win32", "x86_64", python, driver, (card,))


def trio(torch: str, vision: str, audio: str, tag: str = "") -> dict[str, str]:
    end = f"+{tag}" if tag else ""
    return {"torch": torch + end, "torchvision": vision + end, "torchaudio": audio + end}


def wrong(*pairs: tuple[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(pairs)


WAN_STACK = {**trio("2.8.0", "0.23.0", "2.8.0", "cu128"), "flash-attn": FLASH, **WAN_PACKAGES}

RIGHT = (
    Triple(
        "the whole known set on Ada, driver of CUDA 12.8",
        linux(RTX_4090, "570.86.10"), WAN_STACK,
        ("known_consistent wan22-cu128", "cuda_toolkit 12.8", "torch_arch 2.8-2.10 cu128"),
        requirements=WAN,
    ),
    Triple(
        "the same on Hopper with an older driver of the CUDA 12 family",
        linux(H100, "535.154.05"), WAN_STACK,
        ("cuda_family 12", "cuda_toolkit 12.8"),
        doubted=frozenset({"torch-driver"}), requirements=WAN,
        tags={"flash-attn": ("cp312-cp312-linux_x86_64",)},
    ),
    Triple(
        "the same on a Blackwell card: flash-attn 2.8 has code for 12.0",
        linux(RTX_5090, "570.86.10"), WAN_STACK,
        ("torch_arch 2.8-2.10 cu128", "flash_attn 2.8.3.post1", "gpu_arch 12.0"),
        requirements=WAN,
    ),
    Triple(
        "Turing without flash-attn, CUDA 12.6 on the first driver of CUDA 12",
        linux(RTX_2080_TI, "525.60.13"),
        {**trio("2.8.0", "0.23.0", "2.8.0", "cu126"), **WAN_PACKAGES},
        ("known_consistent wan22-old-gpu-none", "torch_arch 2.6-2.14 cu126", "cuda_family 12"),
        doubted=frozenset({"torch-driver"}), requirements=WITHOUT_FLASH,
    ),
    Triple(
        "Windows with a CUDA build of its own index",
        windows(RTX_3090, "572.16"),
        {**trio("2.8.0", "0.23.0", "2.8.0", "cu128"), **WAN_PACKAGES},
        ("cuda_toolkit 12.8", "torch_arch 2.8-2.10 cu128"),
        requirements=WITHOUT_FLASH,
    ),
    Triple(
        "Volta came back in the CUDA 12.8 builds of 2.8 to 2.10",
        linux(V100, "580.65.06"), trio("2.9.0", "0.24.0", "2.9.0", "cu128"),
        ("torch 2.9.0", "torch_arch 2.8-2.10 cu128"),
    ),
    Triple(
        "Pascal on the one line of builds that still serves it",
        linux(GTX_1080_TI, "560.35.03"),
        {"torch": "2.13.0+cu126", "torchvision": "0.28.0+cu126", "torchaudio": "2.11.0+cu126"},
        ("torch 2.13.0", "torch_arch 2.6-2.14 cu126", "cuda_toolkit 12.6"),
    ),
    Triple(
        "no card, a CPU build",
        linux(None, None), trio("2.8.0", "0.23.0", "2.8.0", "cpu"),
        ("torch 2.8.0",),
    ),
    Triple(
        "Turing on CUDA 13",
        linux(T4, "580.82.07"),
        {"torch": "2.14.1+cu130", "torchvision": "0.29.1+cu130", "torchaudio": "2.11.0+cu130"},
        ("torch 2.14.1", "torch_arch 2.9-2.14 cu130", "cuda_family 13"),
    ),
    Triple(
        "data centre Blackwell on Python 3.13 with numpy 2",
        linux(B200, "580.95.05", "3.13.1"),
        {**trio("2.9.1", "0.24.1", "2.9.1", "cu130"), "numpy": "2.2.6", "opencv-python": "4.12.0.88"},
        ("torch 2.9.1", "torch_arch 2.9-2.14 cu130", "pin opencv-python 4.12.*"),
        requirements=("torch", "numpy"),
    ),
    Triple(
        "plain pip on Linux: the runtime beside torch tells CUDA 12.8",
        linux(RTX_3060, "570.124.06"),
        {**trio("2.10.0", "0.25.0", "2.10.0"), "nvidia-cuda-runtime-cu12": "12.8.90"},
        ("torch 2.10.0", "cuda_toolkit 12.8"),
    ),
    Triple(
        "the last builds with CUDA 11 on the first driver of CUDA 11",
        linux(A100, "450.80.02"), trio("2.7.1", "0.22.1", "2.7.1", "cu118"),
        ("torch 2.7.1", "cuda_family 11", "torch_arch 2.7 cu118"),
        doubted=frozenset({"torch-driver"}),
    ),
)  # fmt: skip

CONTRADICTORY = (
    Triple(
        "plain pip took CUDA 13 on a driver of CUDA 12.8",
        linux(RTX_4090, "570.86.10"), trio("2.11.0", "0.26.0", "2.11.0"),
        ("torch 2.11.0", "cuda_family 13"),
        wrong(("torch-driver", "driver-too-old")),
    ),
    Triple(
        "a driver from before CUDA 12 on Linux",
        linux(RTX_3090, "470.256.02"), trio("2.8.0", "0.23.0", "2.8.0", "cu128"),
        ("cuda_family 12",),
        wrong(("torch-driver", "driver-too-old")),
    ),
    Triple(
        "a driver from before CUDA 12 on Windows",
        windows(RTX_3090, "516.94"), trio("2.8.0", "0.23.0", "2.8.0", "cu126"),
        ("cuda_family 12",),
        wrong(("torch-driver", "driver-too-old")),
    ),
    Triple(
        "the driver of Windows inside WSL is measured by Windows' floor",
        linux(RTX_3060, "526.98", is_wsl=True), trio("2.8.0", "0.23.0", "2.8.0", "cu126"),
        ("cuda_family 12",),
        wrong(("torch-driver", "driver-too-old")),
    ),
    Triple(
        "Blackwell on a CUDA 12.6 build",
        linux(RTX_5090, "570.86.10"), trio("2.7.1", "0.22.1", "2.7.1", "cu126"),
        ("torch_arch 2.6-2.14 cu126",),
        wrong(("torch-card", "gpu-arch-not-in-torch")),
    ),
    Triple(
        "Pascal on a CUDA 12.8 build",
        linux(GTX_1080_TI, "575.64.03"), trio("2.8.0", "0.23.0", "2.8.0", "cu128"),
        ("torch_arch 2.8-2.10 cu128",),
        wrong(("torch-card", "gpu-arch-not-in-torch")),
    ),
    Triple(
        "Volta on CUDA 13",
        linux(V100, "580.65.06"), trio("2.9.0", "0.24.0", "2.9.0", "cu130"),
        ("torch_arch 2.9-2.14 cu130",),
        wrong(("torch-card", "gpu-arch-not-in-torch")),
    ),
    Triple(
        "Pascal on CUDA 13.2",
        linux(P100, "595.45.04"),
        {"torch": "2.13.0+cu132", "torchvision": "0.28.0+cu132"},
        ("torch_arch 2.12-2.14 cu132",),
        wrong(("torch-card", "gpu-arch-not-in-torch")),
    ),
    Triple(
        "torchvision of the release before",
        linux(RTX_4090, "570.86.10"), trio("2.8.0", "0.22.1", "2.8.0", "cu128"),
        ("torch 2.8.0",),
        wrong(("torch-trio", "torchvision-nms")),
    ),
    Triple(
        "torchaudio of the release before",
        linux(RTX_4090, "570.86.10"), trio("2.9.1", "0.24.1", "2.8.0", "cu128"),
        ("torch 2.9.1",),
        wrong(("torch-trio", "torchvision-nms")),
    ),
    Triple(
        "a torchaudio without a pin of its own beside an older torch",
        linux(RTX_4090, "580.65.06"), trio("2.8.0", "0.23.0", "2.11.0", "cu128"),
        ("torch 2.8.0",),
        wrong(("torch-trio", "torchvision-nms")),
    ),
    Triple(
        "a CPU torchvision beside a CUDA torch",
        linux(RTX_4090, "570.86.10"),
        {"torch": "2.8.0+cu128", "torchvision": "0.23.0+cpu", "torchaudio": "2.8.0+cu128"},
        ("torch 2.8.0",),
        wrong(("torch-trio", "torchvision-nms")),
    ),
    Triple(
        "a CPU build where there is a card",
        linux(RTX_4090, "570.86.10"), trio("2.8.0", "0.23.0", "2.8.0", "cpu"),
        (),
        wrong(("cpu-only-torch", "cpu-only-torch")),
    ),
    Triple(
        "plain pip on Windows takes a CPU build",
        windows(RTX_3090, "572.16"), trio("2.8.0", "0.23.0", "2.8.0"),
        ("pypi_build win32",),
        wrong(("cpu-only-torch", "cpu-only-torch")),
    ),
    Triple(
        "a flash-attn for another torch",
        linux(RTX_4090, "570.86.10"),
        WAN_STACK | {"flash-attn": "2.7.4.post1+cu12torch2.6cxx11abiTRUE"},
        ("flash_attn 2.7.4.post1",),
        wrong(("flash-attn", "flash-attn-abi-undefined-symbol")),
        requirements=WAN,
    ),
    Triple(
        "a flash-attn for another CUDA",
        linux(RTX_4090, "570.86.10"),
        WAN_STACK | {"flash-attn": "2.8.3.post1+cu13torch2.8cxx11abiTRUE"},
        ("flash_attn 2.8.3.post1",),
        wrong(("flash-attn", "flash-attn-abi-undefined-symbol")),
        requirements=WAN,
    ),
    Triple(
        "a flash-attn for the other C++ ABI",
        linux(RTX_4090, "570.86.10"),
        WAN_STACK | {"flash-attn": "2.8.3.post1+cu12torch2.8cxx11abiFALSE"},
        ("torch_cxx11_abi >=2.7",),
        wrong(("flash-attn", "flash-attn-abi-undefined-symbol")),
        requirements=WAN,
    ),
    Triple(
        "a flash-attn for the Python that was there before",
        linux(RTX_4090, "570.86.10"), WAN_STACK, (),
        wrong(("flash-attn", "flash-attn-abi-undefined-symbol")),
        requirements=WAN, tags={"flash-attn": ("cp311-cp311-linux_x86_64",)},
    ),
    Triple(
        "the app needs flash-attn, the card is older than Ampere",
        linux(T4, "570.86.10"),
        {**trio("2.8.0", "0.23.0", "2.8.0", "cu128"), **WAN_PACKAGES},
        ("flash_attn 2.8.3.post1",),
        wrong(("flash-attn", "flash-attn-pre-ampere")),
        requirements=WAN,
    ),
    Triple(
        "flash-attn from before Blackwell, and a torch from before it too",
        linux(RTX_5090, "570.86.10"),
        {**trio("2.6.0", "0.21.0", "2.6.0", "cu126"),
         "flash-attn": "2.7.4.post1+cu12torch2.6cxx11abiTRUE"},
        ("flash_attn 2.7.4.post1", "torch_arch 2.6-2.14 cu126"),
        wrong(("flash-attn", "attention-kernel-no-image"), ("torch-card", "gpu-arch-not-in-torch")),
        doubted=frozenset({"flash-attn"}),  # the ABI of torch 2.6 is from memory
    ),
    Triple(
        "numpy below 2 on Python 3.13",
        linux(RTX_4090, "570.86.10", "3.13.1"), trio("2.8.0", "0.23.0", "2.8.0", "cu128"),
        ("numpy_lt2 3.13",),
        wrong(("numpy", "python-too-new")),
        requirements=WITHOUT_FLASH,
    ),
    Triple(
        "an opencv that asks for numpy 2 beside numpy 1.26",
        linux(RTX_4090, "570.86.10"),
        WAN_STACK | {"opencv-python": "4.12.0.88"},
        ("pin opencv-python >=4.12.0.88",),
        wrong(("numpy", "opencv-vs-numpy-pin")),
        requirements=WAN,
    ),
    Triple(
        "transformers 4.51 beside the hub client 1.x",
        linux(RTX_4090, "570.86.10"),
        {**trio("2.8.0", "0.23.0", "2.8.0", "cu128"), "transformers": "4.51.3",
         "huggingface-hub": "1.2.0"},
        ("pin transformers 4.51.0 - 4.51.3",),
        wrong(("pins", "transformers-hub-tokenizers-skew")),
    ),
    Triple(
        "transformers 4.51 beside tokenizers 0.22",
        linux(RTX_4090, "570.86.10"), WAN_STACK | {"tokenizers": "0.22.1"},
        ("pin transformers 4.51.0 - 4.51.3",),
        wrong(("pins", "transformers-hub-tokenizers-skew")),
        requirements=WAN,
    ),
    Triple(
        "diffusers 0.42 asks for the hub client that transformers refuses",
        linux(RTX_4090, "570.86.10"), WAN_STACK | {"diffusers": "0.42.1"},
        ("pin diffusers 0.42.1",),
        wrong(("pins", "transformers-hub-tokenizers-skew")),
        requirements=WAN,
    ),
    Triple(
        "peft 0.18 imports a module that transformers 4.51 has not",
        linux(RTX_4090, "570.86.10"),
        {"transformers": "4.51.3", "peft": "0.18.0", "huggingface-hub": "0.36.2"},
        ("pin peft >=0.18.0",),
        wrong(("pins", "peft-needs-newer-transformers")),
    ),
    Triple(
        "xformers for another torch",
        linux(RTX_4090, "580.65.06"),
        {**trio("2.9.1", "0.24.1", "2.9.1", "cu128"), "xformers": "0.0.32.post2"},
        ("pin xformers 0.0.32.post2",),
        wrong(("pins", "xformers-mismatch")),
    ),
    Triple(
        "a Python that the release has no wheel for",
        linux(RTX_4090, "570.86.10", "3.14.0"), trio("2.8.0", "0.23.0", "2.8.0", "cu128"),
        ("torch 2.8.0",),
        wrong(("torch-python", "python-too-new")),
    ),
)  # fmt: skip

# Only uncertain rows speak against these: a doubt each, never a contradiction.
DOUBTFUL = (
    Triple(
        "Blackwell on CUDA 12.4: the list of its code is from memory",
        linux(RTX_5090, "570.86.10"), trio("2.6.0", "0.21.0", "2.6.0", "cu124"),
        ("torch_arch 2.4-2.6 cu124",),
        doubted=frozenset({"torch-card"}),
    ),
    Triple(
        "the C++ ABI of torch 2.5 is from memory",
        linux(A100, "550.54.14"),
        {**trio("2.5.1", "0.20.1", "2.5.1", "cu124"),
         "flash-attn": "2.7.3+cu12torch2.5cxx11abiTRUE"},
        ("torch_cxx11_abi <=2.6",),
        doubted=frozenset({"flash-attn"}),
    ),
    Triple(
        "Blackwell with a driver branch that memory says is too old",
        linux(RTX_5090, "560.35.03"), trio("2.8.0", "0.23.0", "2.8.0", "cu128"),
        ("gpu_arch 12.0",),
        doubted=frozenset({"torch-driver"}),
    ),
    Triple(
        "an old C library under a new flash-attn",
        Machine("linux", "x86_64", "3.10.14", "570.86.10", (RTX_4090,), "2.31"), WAN_STACK,
        ("flash_attn_glibc >=2.7.4",),
        doubted=frozenset({"flash-attn"}), requirements=WAN,
    ),
    Triple(
        "torchaudio ended before this torch: which of its CUDA builds pair is not known",
        linux(RTX_4090, "580.65.06"), {"torch": "2.13.0+cu126", "torchaudio": "2.11.0+cu130"},
        ("torch 2.13.0",),
        doubted=frozenset({"torch-trio"}),
    ),
    Triple(
        "a torch that is newer than the table",
        linux(RTX_4090, "595.45.04"), {"torch": "2.16.0+cu132"},
        (),
        doubted=frozenset({"torch-card"}),
    ),
)  # fmt: skip
