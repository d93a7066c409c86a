"""The words of errors: each rule has a text that it must match and one that it must not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import CHECKOUT, child_env

from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing import tables, wordings

# Rule: what it must decide on, and what looks like it and is something else or nothing.
RULES = {
    "shared-memory": (
        "Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
        "loading 20 shards into shared memory",
    ),
    "certificate": (
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:1006)",
        "certainly the certificate of authenticity was verified",
    ),
    "name-lookup": (
        "Failed to resolve 'hub.example' ([Errno -2] Name or service not known)",
        "the name of the service is not shown",
    ),
    "windows-error": (
        "OSError: [WinError 1455] Die Auslagerungsdatei ist zu klein",
        "winerrors 1455",
    ),
    "errno": ("[Errno 28] Kein Speicherplatz mehr", "errno 28 is ENOSPC"),
    "os-error": ("Error: paging file (os error 1455)", "os errors 1455"),
    "status": (
        "HTTPError: 403 Client Error: for url: https://hub.example",
        "403 clients connected",
    ),
    "exit-code": ("the build ended with exit code 137", "exit codes 137 to 139 are signals"),
    "signal": ("Signal 9 (SIGKILL) received by PID 42", "signals 9 and 15 were sent"),
    "memory": (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "runs within 24 GB of memory; out of curiosity, memory was measured",
    ),
    "disk-space": ("write failed: No space left on device", "space left on device: 20 GB"),
    "handles-and-threads": (
        "OSError: Too many open files: 'x'",
        "how many open files are too many?",
    ),
    "killed": (
        "run.sh: line 3:  4711 Killed                  python generate.py",
        "the killed process",
    ),
    "timed-out": ("The read operation timed out", "timed out of 20 runs: 3; timeout=30"),
    "credentials": (
        "Invalid credentials in Authorization header",
        "credentials are saved in a file",
    ),
    "gated": ("Cannot access gated repo for url https://hub.example", "the gate of the repository"),
    "permission": ("cp: cannot create 'x': Permission denied", "permission to speak was granted"),
    "container": (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
        "connect the docker container to the network",
    ),
    "connection": ("Connection reset by peer", "/mnt/network/connection/reset.txt was read"),
    "server": (
        "error: RPC failed; curl 92 stream 5 was not closed cleanly",
        "a rate limit of 300 tokens applies",
    ),
    "proxy": ("Tunnel connection failed: bad answer", "the tunnel of the proxy works"),
    "weights-header": (
        "Error while deserializing header: MetadataIncompleteBuffer",
        "the header is not too large to be read",
    ),
    "archive": (
        "PytorchStreamReader failed reading zip archive",
        "reading the zip archive took 3 s",
    ),
    "digest": ("sha256 mismatch for model.safetensors", "the sha256 of both is the same"),
    "damaged-file": (
        "the checkpoint model.pt may be corrupted",
        "The following part of your input was truncated because CLIP can only handle 77 tokens",
    ),
    "hidden-package": (
        "cannot import name 'X' from 'diffusers' (D:\\app\\diffusers\\__init__.py)",
        "cannot import name 'X' from 'diffusers' (/venv/lib/python3.11/site-packages/diffusers/__init__.py)",
    ),
    "missing-name": (
        "ImportError: cannot import name 'AutoencoderKLWan' from 'diffusers'",
        "the imported name has no attributes",
    ),
    "requirement": (
        "opencv-python 4.12 requires numpy<2.3,>=2; but you have numpy 1.26.0 which is incompatible.",
        "torch 2.5.0.3 requires 403 MB; Python 3.11 is used",
    ),
    "binary": (
        "ImportError: x.so: undefined symbol: _ZN3c10",
        "the symbol is undefined in this chapter of the binary",
    ),
    "cuda-version": (
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "the kernel image is vmlinuz-6.1; version 12.8 matches",
    ),
    "removed": ("the argument resume_download has been removed in 1.0", "old files were removed"),
    "missing-module": (
        "ModuleNotFoundError: No module named 'librosa'",
        "the module is named librosa",
    ),
    "missing-program": (
        "/bin/sh: 1: nvcc: not found\nnvcc was not found",
        "nvcc found at /usr/local/cuda",
    ),
    "missing-library": (
        "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
        "the shared object file is open",
    ),
    "build-of-torch": (
        "AssertionError: Torch not compiled with CUDA enabled",
        "torch compiled with CUDA",
    ),
    "pip": ("ERROR: No matching distribution found for decord", "the distribution matches"),
    "assert-available": ("AssertionError: assert FLASH_ATTN_2_AVAILABLE", "24 GB are available"),
    "missing-method": (
        "AttributeError: 'Loader' object has no attribute 'get_required_models'",
        "AttributeError: 'NoneType' object has no attribute 'shape'",
    ),
    "no-answer": (
        "'NoneType' object has no attribute 'status_code'",
        "'NoneType' object has no attribute 'code'",
    ),
    "state-dict": (
        "size mismatch for patch_embedding.weight: copying a param",
        "the sizes of both tensors match",
    ),
    "missing-model-file": (
        "FileNotFoundError: [Errno 2] No such file or directory: './Wan2.2/Wan2.1_VAE.pth'",
        "[Errno 2] No such file or directory: '/home/me/notes.txt'",
    ),
    "wrong-model": (
        "Pipeline expected {'vae', 'unet'}, but only {'vae'} were passed",
        "expected {1} and got it",
    ),
    "no-numbers": (
        "RuntimeWarning: invalid value encountered in cast",
        "an encountered value is inverted by Nancy",
    ),
    "settings-file": (
        "Expecting value: line 1 column 1 (char 0)",
        "expecting 20 values in 3 lines",
    ),
    "option": ("generate.py: error: unrecognized arguments: --foo", "the arguments are recognized"),
    "port": ("OSError: Port 7860 is in use.", "port 7860 is used by nobody; ports in use: none"),
    "file-name": (
        "Error opening output file a*b.mp4: Invalid argument",
        "the output file was opened with an argument",
    ),
    "gpu": ("Failed to initialize NVML: Unknown Error", "NVML initialized; 1 GPU found"),
    "crash": ("Segmentation fault (core dumped)", "the memory segment has no fault"),
    "file-system": (
        "OSError: mount does not appear to support flock",
        "input and output of the file system without error",
    ),
}


def test_every_rule_has_its_two_texts():
    assert set(RULES) == set(wordings.rule_names())


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_decides_on_its_text(rule):
    found = wordings.match(RULES[rule][0])
    assert found is not None
    assert found.rule == rule


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_leaves_what_only_looks_like_it(rule):
    found = wordings.match(RULES[rule][1])
    assert found is None or found.rule != rule


@pytest.mark.parametrize(
    "text",
    [
        "read 15009 of 20000 bytes",
        "read 500 bytes", "HTTP 500 of 1200 files done", "wrote 403 bytes, 404 ms",
        "certainly 500 tokens", "permission to speak", "user permission table loaded",
        "/mnt/network/timeout/corrupt/cuda/memory.txt", "C:\\Users\\Network Service\\certs",
        "diffusers 5.0.3", "version 403.401.500", "step 401/500", "epoch 137: loss 0.139",
        "GPU 0: 24576 MiB, driver 504.12", "exit 0", "exit code 0", "exit code 1",
        "error 32 of 401 rows", "timeout=30", "max timeout is 120 seconds", "port 8080 is free",
        "model has 500 layers with 403 heads", "the killed and the wounded", "authors: Truncated Ltd",
        "size 1280*720", "torch.cuda.memory summary", "no errors found", "system ready",
        "KeyError: 'x'", "TypeError: f() missing 1 required positional argument: 'x'", "",
        "a module that was not found guilty", "hash of the file", "not a directory",
        "NameError: name 'result' is not defined", "the connection pool has 10 connections",
        "\x00\x01\udcff", "\n" * 50,
    ],
)  # fmt: skip
def test_words_and_numbers_by_themselves_say_nothing(text):
    assert wordings.match(text) is None


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("HTTP/1.1 503 Service Unavailable", Category.NETWORK),
        ("<Response [403]>", Category.AUTHENTICATION),
        ("status code: 429", Category.NETWORK),
        ("The requested URL returned error: 401", Category.AUTHENTICATION),
        ("Process finished with exit code -1073741819 (0xC0000005)", Category.SYSTEM),
        ("exitcode  : -9 (pid: 12)", None),
        ("exitcode: -9 (pid: 12)", Category.RESOURCE_EXHAUSTION),
        ("returned non-zero exit status 139.", Category.SYSTEM),
        ("exited with code 3221225781", Category.DEPENDENCY),
        ("exit code 3221225781", Category.DEPENDENCY),
        ("Faulting status 0xC0000135", Category.DEPENDENCY),
        ("requests.exceptions.ReadTimeout: x", Category.TIMEOUT),
        ("E   requests.exceptions.ReadTimeout: x", Category.TIMEOUT),
        ("json.decoder.JSONDecodeError: x", Category.CONFIGURATION),
        ("requests.exceptions.JSONDecodeError: x", Category.NETWORK),
        ("other.package.GatedRepoError: x", None),
        ("MemoryError", Category.RESOURCE_EXHAUSTION),
    ],
)
def test_numbers_and_types_in_a_text(text, category):
    assert wordings.of_text(text) is category


def test_of_a_long_text_both_ends_are_read():
    long = "x" * 500_000
    assert wordings.of_text(f"Connection refused {long}") is Category.NETWORK
    assert wordings.of_text(f"{long} CUDA out of memory") is Category.RESOURCE_EXHAUSTION
    assert wordings.of_text(f"{long} CUDA out of memory {long}") is None


# What makes a backtracking matcher slow: long runs of what a rule begins with.
HOSTILE = [
    "a", " ", "\n", "(", "'", "0", "a.", "a b ", "http ", "status ", "cannot import name a ",
    "no such file or directory ", "size mismatch ", "killed ", "[errno ", "exit code ", "a: line 1: ",
    "the checkpoint a ", "expected {", "model in folder '", "lib", "sha256 a b ", "token ", "É", "İ",
]  # fmt: skip


def test_hostile_texts_of_a_megabyte_are_read_within_a_deadline():
    """Seconds here; with one unbounded gap in a phrase it is hours."""
    script = (
        "import sys; from modelmedic.healing import wordings\n"
        f"for part in {HOSTILE!r}:\n"
        "    wordings.match((part * 1_000_000)[:1_000_000])\n"
    )
    subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=100,
        env=child_env(PYTHONPATH=str(CHECKOUT / "src"), PYTHONUTF8="1"),
    )  # fmt: skip


def test_every_gap_in_a_phrase_is_bounded():
    for group in tables.read("phrases.toml").values():
        for rule in group:
            for phrase in rule["any"]:
                plain = (
                    phrase.replace("\\*", "").replace("\\+", "").replace(" *", "").replace(" +", "")
                )
                assert "*" not in plain, (rule["name"], phrase)
                assert "+" not in plain.replace("c++", ""), (rule["name"], phrase)
                assert phrase == phrase.lower() or "\\S" in phrase, (rule["name"], phrase)
