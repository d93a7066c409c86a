"""Which variables of the environment an error's context keeps: a list of names, nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from modelmedic.facts import proxy
from modelmedic.reliability.veil import SECRET_NAME, Veil

# Each is documented by who reads it; docs/privacy.md lists them with their sources.
PREFIXES = (
    "CUDA_",
    "DIFFUSERS_",
    "HF_",
    "HIP_",
    "HSA_",
    "MODELMEDIC_",
    "MODELSCOPE_",
    "NCCL_",
    "NVIDIA_",
    "PIP_",
    "PYTORCH_",
    "ROCR_",
    "TORCH_",
    "TRANSFORMERS_",
    "UV_",
)
NAMES = frozenset(
    {
        *("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
        *("CONDA_DEFAULT_ENV", "CONDA_PREFIX", "VIRTUAL_ENV"),
        *("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
        *("DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH"),
        *("LANG", "LC_ALL", "LC_CTYPE", "PYTHONIOENCODING", "PYTHONUTF8"),
        *("MKL_NUM_THREADS", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM"),
        *("PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONSTARTUP"),
        *("TEMP", "TMP", "TMPDIR", "XDG_CACHE_HOME"),
    }
)
_ALWAYS = frozenset({"TOKENIZERS_PARALLELISM"})  # a switch, whatever its name looks like
_MOST_LETTERS = 2_000  # a PATH has a few hundred


def kept(environ: Mapping[str, str], veil: Veil) -> dict[str, str]:
    """Return the variables of the list, their values masked; none that is a secret by name."""
    return {
        name: _value(name, value, veil)
        for name, value in sorted(environ.items())
        if is_listed(name)
    }


def is_listed(name: str) -> bool:
    """Return whether a variable of that name is kept."""
    upper = name.upper()  # proxies go by both spellings, Windows knows but one
    if upper in _ALWAYS:
        return True
    return (upper in NAMES or upper.startswith(PREFIXES)) and not SECRET_NAME.search(name)


def _value(name: str, value: str, veil: Veil) -> str:
    if name.upper().endswith("_PROXY") and name.upper() != "NO_PROXY":
        value = proxy.masked_proxy(value)
    elif "://" in value and len(value.split()) == 1:
        value = proxy.masked(value)  # one address, whose password may hold what ends others
    return veil.cut(value, _MOST_LETTERS)
