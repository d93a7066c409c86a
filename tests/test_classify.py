"""Each kind of fact puts an error into a category; words come last, and what is no fact never."""

from __future__ import annotations

import concurrent.futures
import configparser
import errno
import json
import pickle
import socket
import ssl
import subprocess
import sys
import tarfile
import urllib.error
import zipfile
import zlib

import pytest

from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing import error_types, numbers
from modelmedic.healing.classify import classify, known_failures
from modelmedic.transfer import TransferFailed
from modelmedic.verdicts import Judged, of_degraded, of_error


def with_(error, **fields):
    for name, value in fields.items():
        setattr(error, name, value)
    return error


def caused(outer, inner):
    outer.__cause__ = inner
    return outer


def arisen_in(outer, inner):
    outer.__context__ = inner
    return outer


def foreign(module, name, *bases):
    """Return an error of a class that looks as if it came from another package."""
    return type(name, bases or (Exception,), {"__module__": module})("words of theirs")


# --- numbers


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("ENOSPC", Category.RESOURCE_EXHAUSTION),
        ("EDQUOT", Category.RESOURCE_EXHAUSTION),
        ("EMFILE", Category.RESOURCE_EXHAUSTION),
        ("EACCES", Category.PERMISSION),
        ("EROFS", Category.PERMISSION),
        ("ETIMEDOUT", Category.TIMEOUT),
        ("ECONNRESET", Category.NETWORK),
        ("EADDRINUSE", Category.CONFIGURATION),
        ("EIO", Category.SYSTEM),
        ("ENODEV", Category.SYSTEM),
        ("ENOENT", None),  # which file is missing, and whose, says nothing yet
        ("EINVAL", None),
    ],
)
def test_errno(name, category):
    assert classify(OSError(getattr(errno, name), "words")) is category


@pytest.mark.parametrize(
    ("number", "category"),
    [
        (5, Category.PERMISSION),
        (32, Category.SYSTEM),  # in use: Python calls it PermissionError
        (112, Category.RESOURCE_EXHAUSTION),
        (126, Category.DEPENDENCY),
        (206, Category.SYSTEM),
        (1114, Category.DEPENDENCY),
        (1314, Category.PERMISSION),
        (1392, Category.CORRUPTION),
        (1455, Category.RESOURCE_EXHAUSTION),
        (10048, Category.CONFIGURATION),
        (10060, Category.TIMEOUT),
        (10061, Category.NETWORK),
        (11001, Category.NETWORK),
    ],
)
def test_a_windows_error_comes_before_the_errno_python_made_of_it(number, category):
    error = with_(PermissionError(errno.EACCES, "translated words"), winerror=number)
    assert classify(error) is category


def test_a_windows_error_in_its_hresult_form():
    assert numbers.of_windows_error(0x80070005) is Category.PERMISSION
    assert numbers.of_windows_error(0x80070005 - (1 << 32)) is Category.PERMISSION
    assert numbers.of_windows_error(2) is None


def test_what_has_an_errno_of_its_own_is_not_read_as_one_of_the_system():
    assert classify(ssl.SSLError(1, "[SSL] words")) is Category.NETWORK  # 1 is EPERM
    assert classify(socket.gaierror(11, "words")) is Category.NETWORK  # 11 is EAGAIN


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (401, Category.AUTHENTICATION),
        (403, Category.AUTHENTICATION),
        (404, Category.CONFIGURATION),
        (407, Category.AUTHENTICATION),
        (408, Category.TIMEOUT),
        (416, Category.NETWORK),
        (429, Category.NETWORK),
        (500, Category.NETWORK),
        (503, Category.NETWORK),
        (504, Category.TIMEOUT),
        (599, Category.NETWORK),
        (600, None),
        (200, None),
        (True, None),
    ],
)
def test_http_status_wherever_a_client_keeps_it(status, category):
    response = with_(Exception(), status_code=status)
    assert classify(TransferFailed("x", status=status)) is category
    assert classify(with_(RuntimeError("x"), response=response)) is category
    assert classify(with_(RuntimeError("x"), status_code=status)) is category


def test_the_status_of_urllib():
    error = urllib.error.HTTPError("https://hub.example", 401, "words", None, None)
    assert classify(error) is Category.AUTHENTICATION
    error.close()


@pytest.mark.parametrize(
    ("code", "category"),
    [
        (-9, Category.RESOURCE_EXHAUSTION),
        (137, Category.RESOURCE_EXHAUSTION),
        (-7, Category.SYSTEM),
        (135, Category.SYSTEM),  # bus error
        (139, Category.SYSTEM),  # segmentation fault
        (-11, Category.SYSTEM),
        (134, Category.SYSTEM),  # abort
        (132, Category.SYSTEM),  # illegal instruction
        (124, Category.TIMEOUT),
        (126, Category.PERMISSION),
        (127, Category.DEPENDENCY),
        (3221225477, Category.SYSTEM),
        (-1073741819, Category.SYSTEM),
        (0xC000001D, Category.SYSTEM),
        (0xC0000135, Category.DEPENDENCY),
        (-1073741515, Category.DEPENDENCY),
        (0xC0000142, Category.DEPENDENCY),
        (0xC000012D, Category.RESOURCE_EXHAUSTION),
        (0xC000007B, Category.VERSION_MISMATCH),
        (0, None),
        (1, None),
        (2, None),
        (-2, None),  # Ctrl-C
        (143, None),  # somebody ended it
        (0xC000013A, None),  # Ctrl-C on Windows
        (255, None),
    ],
)
def test_exit_code(code, category):
    assert numbers.of_exit_code(code) is category
    assert classify(subprocess.CalledProcessError(code, ["python"])) is category


@pytest.mark.skipif(sys.platform == "win32", reason="signals end programs on POSIX only")
def test_the_exit_code_of_a_program_that_was_really_killed():
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", script], check=False)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        done.check_returncode()
    assert classify(caught.value) is Category.RESOURCE_EXHAUSTION


def test_what_a_program_printed_is_read_when_its_exit_code_says_nothing():
    for printed in ("ModuleNotFoundError: No module named 'torch'\n", b"No module named torch"):
        error = subprocess.CalledProcessError(1, ["python"], stderr=printed)
        assert classify(error) is Category.DEPENDENCY
    error = subprocess.CalledProcessError(1, ["git"], output="fatal: early end\nConnection reset")
    assert classify(error, "weights") is Category.NETWORK
    assert classify(subprocess.CalledProcessError(1, ["x"]), "weights") is Category.CORRUPTION


# --- types


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (MemoryError(), Category.RESOURCE_EXHAUSTION),
        (TimeoutError(), Category.TIMEOUT),
        (concurrent.futures.TimeoutError(), Category.TIMEOUT),
        (subprocess.TimeoutExpired("x", 1), Category.TIMEOUT),
        (urllib.error.URLError("x"), Category.NETWORK),
        (ConnectionResetError(), Category.NETWORK),
        (zipfile.BadZipFile("x"), Category.CORRUPTION),
        (tarfile.ReadError("x"), Category.CORRUPTION),
        (zlib.error("x"), Category.CORRUPTION),
        (pickle.UnpicklingError("x"), Category.CORRUPTION),
        (json.JSONDecodeError("x", "{", 0), Category.CONFIGURATION),
        (configparser.DuplicateSectionError("x"), Category.CONFIGURATION),
        (PermissionError("without a number"), Category.PERMISSION),
        (ModuleNotFoundError("x", name="librosa"), Category.DEPENDENCY),
        (ModuleNotFoundError("x", name="transformers.modeling_layers"), Category.VERSION_MISMATCH),
        (foreign("torch", "OutOfMemoryError", RuntimeError), Category.RESOURCE_EXHAUSTION),
        (foreign("torch.cuda", "OutOfMemoryError", RuntimeError), Category.RESOURCE_EXHAUSTION),
        (foreign("requests.exceptions", "ReadTimeout", OSError), Category.TIMEOUT),
        (foreign("requests.exceptions", "JSONDecodeError", ValueError), Category.NETWORK),
        (foreign("huggingface_hub.errors", "GatedRepoError"), Category.AUTHENTICATION),
        (foreign("huggingface_hub.utils._errors", "GatedRepoError"), Category.AUTHENTICATION),
        (foreign("somewhere.else", "GatedRepoError"), None),
        (foreign("somewhere.else", "ReadError"), None),
        (KeyError("a bug"), None),
        (AttributeError("'NoneType' object has no attribute 'shape'"), None),
        (AttributeError("'str' object has no attribute 'get'"), None),
    ],
)
def test_type(error, category):
    assert error_types.of_type(error) is category or category is None
    assert classify(error) is category


def test_an_heir_of_a_known_class_is_known():
    mine = foreign("my.package", "Mine", ConnectionError)
    assert classify(mine) is Category.NETWORK


def test_real_errors_of_the_clients_we_use(tmp_path):
    import requests
    from safetensors import SafetensorError, safe_open

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        session = requests.Session()
        session.trust_env = False
        with pytest.raises(requests.ConnectionError) as caught:
            session.get(f"http://127.0.0.1:{nobody.getsockname()[1]}", timeout=5)
    assert classify(caught.value) is Category.NETWORK
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(SafetensorError) as broken:
        safe_open(tmp_path / "cut.safetensors", "np").__enter__()
    assert classify(broken.value) is Category.CORRUPTION


# --- the chain


def test_the_deepest_cause_counts():
    deep = caused(CannotTell("x"), caused(RuntimeError("y"), PermissionError(errno.EACCES, "z")))
    assert classify(deep, "weights") is Category.PERMISSION
    given_up = caused(TimeoutError("gave up"), OSError(errno.ENOSPC, "full"))
    assert classify(given_up) is Category.RESOURCE_EXHAUSTION


def test_a_fact_comes_before_what_was_only_being_handled():
    """`except ModuleNotFoundError: use the slow way` and the slow way finds the disk full."""
    error = arisen_in(OSError(errno.ENOSPC, "full"), ModuleNotFoundError("x", name="fast"))
    assert classify(error) is Category.RESOURCE_EXHAUSTION


def test_a_crash_of_an_error_handler_gives_way_to_what_it_handled():
    error = arisen_in(AttributeError("'NoneType' object has no attribute 'x'"), TimeoutError())
    assert classify(error) is Category.TIMEOUT
    error = arisen_in(KeyError("status"), caused(RuntimeError("r"), OSError(errno.ENOSPC, "f")))
    assert classify(error) is Category.RESOURCE_EXHAUSTION


def test_a_suppressed_context_is_not_asked():
    error = arisen_in(RuntimeError("nothing known"), TimeoutError())
    assert classify(error) is Category.TIMEOUT
    error.__suppress_context__ = True  # raise ... from None
    assert classify(error) is None


def test_a_chain_in_a_circle_ends():
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    first.__context__, second.__context__ = second, first
    assert classify(first, "disk") is Category.RESOURCE_EXHAUSTION


def test_errors_that_cannot_be_printed_or_read_say_nothing():
    class HostileError(Exception):
        def __str__(self):
            raise ValueError("no")

        @property
        def response(self):
            raise RuntimeError("no")

    assert classify(HostileError(), "config") is Category.CONFIGURATION


# --- ids, our own words, areas


def test_a_known_failure_is_what_was_judged_by_hand_whatever_its_exception():
    error = caused(
        Unhealthy("x", failure_id="stale-lock-infinite-wait"), PermissionError(errno.EACCES, "no")
    )
    assert classify(error, "install") is Category.TIMEOUT
    assert classify(caused(CannotTell("x"), error), "install") is Category.TIMEOUT
    unknown = Unhealthy("x", failure_id="no-card")
    assert classify(unknown, "hardware") is Category.SYSTEM
    assert classify(None, failure_id="truncated-pth") is Category.CORRUPTION
    assert classify(None, "weights") is Category.CORRUPTION
    assert classify(None) is None


def test_a_finding_with_a_known_failure_has_its_category():
    judged = Judged("disk.space", "x::y", "Title.", "disk", "blocker")
    loss = {"what": "A.", "why": "", "next": "", "failure_id": "flash-attn-cuda-mismatch"}
    assert of_degraded([loss]).finding(judged).category == "version_mismatch"
    assert of_degraded([{**loss, "failure_id": None}]).finding(judged).category is None
    told = of_error(Unhealthy("x", failure_id="cache-owned-by-root")).finding(judged)
    assert (told.category, told.failure_id) == ("permission", "cache-owned-by-root")


def test_our_own_words_are_not_read():
    """They name what they are about: a folder called "connection refused" is no network error."""
    for kind in (Unhealthy, CannotTell):
        assert classify(kind("Connection refused: CUDA out of memory."), "config") is (
            Category.CONFIGURATION
        )


def test_what_pytest_adds_to_an_assertion_is_not_read():
    assert classify(AssertionError("assert 'No module named x' in text"), "disk") is (
        Category.RESOURCE_EXHAUSTION
    )
    assert classify(AssertionError("plain\nassert 'timed out' == 1"), "disk") is (
        Category.RESOURCE_EXHAUSTION
    )
    assert classify(AssertionError("Torch not compiled with CUDA enabled")) is Category.DEPENDENCY


def test_reading_the_table_is_not_part_of_the_start():
    script = (
        "import sys; import modelmedic.verdicts, modelmedic.healing.classify\n"
        "assert not {'tomllib', 'tomli', 'ssl', 'importlib.metadata'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", PATHS + script], check=True)


PATHS = f"import sys; sys.path[:0] = {[entry for entry in sys.path if entry]!r}\n"


def test_every_known_failure_has_one_of_the_twelve_categories():
    assert len(known_failures()) == 108
    assert set(known_failures().values()) == set(Category)
