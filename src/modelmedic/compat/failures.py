"""Which known failure a wrong package or a wrong pair of packages is."""

from __future__ import annotations

from collections.abc import Mapping

from modelmedic.facts.packages import SAME_MODULE

# (normalised name, is it missing): the failure of docs/failures.
_OF_PACKAGE: Mapping[tuple[str, bool], str] = {
    ("ftfy", True): "ftfy-missing",
    ("librosa", True): "undeclared-imports-at-top-level",
    ("decord", True): "undeclared-imports-at-top-level",
    ("peft", True): "undeclared-imports-at-top-level",
    ("peft", False): "peft-needs-newer-transformers",
    ("flash-attn", True): "flash-attn-missing-assert",
    ("diffusers", False): "diffusers-too-old",
    ("numpy", False): "numpy2-abi",
    ("opencv-python", False): "opencv-vs-numpy-pin",
    ("huggingface-hub", False): "transformers-hub-tokenizers-skew",
    ("tokenizers", False): "transformers-hub-tokenizers-skew",
    ("transformers", False): "transformers-hub-tokenizers-skew",
}
# (who asks, of whom)
_OF_PAIR: Mapping[tuple[str, str], str] = {
    **{(name, "numpy"): "opencv-vs-numpy-pin" for name in SAME_MODULE["cv2"]},
    ("transformers", "huggingface-hub"): "transformers-hub-tokenizers-skew",
    ("transformers", "tokenizers"): "transformers-hub-tokenizers-skew",
    ("tokenizers", "huggingface-hub"): "transformers-hub-tokenizers-skew",
    ("diffusers", "huggingface-hub"): "transformers-hub-tokenizers-skew",
    ("peft", "transformers"): "peft-needs-newer-transformers",
    ("torchvision", "torch"): "torchvision-nms",
    ("torchaudio", "torch"): "torchvision-nms",
    ("xformers", "torch"): "xformers-mismatch",
}


def of_package(name: str, *, is_missing: bool) -> str | None:
    """Return the failure that a missing or unfitting package is; None when it has no name."""
    return _OF_PACKAGE.get((name, is_missing))


def of_pair(asking: str, asked: str) -> str | None:
    """Return the failure it is when one package is not as another requires; None: no name."""
    return _OF_PAIR.get((asking, asked))
