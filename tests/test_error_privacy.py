"""No secret, no content and no foreign code's side effect gets into the context of an error."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmedic.masking import Masker
from modelmedic.reliability import chains, correlation, gpu_notes, summaries
from modelmedic.reliability.capture import ErrorCapture
from modelmedic.reliability.environment_names import is_listed, kept
from modelmedic.reliability.error_log import to_json
from modelmedic.reliability.veil import Veil

PLAIN = Veil(Masker())
TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWx"


@pytest.fixture(autouse=True)
def _no_card(monkeypatch):
    monkeypatch.setattr(gpu_notes, "KNOWN", gpu_notes.GpuNotes())
    gpu_notes.KNOWN.note(None)


def context_of(call, **given):
    try:
        call()
    except BaseException as error:  # noqa: BLE001
        return ErrorCapture(level="full").capture(
            error, **{"component": "Downloader", "method": "get"} | given
        )
    raise AssertionError("nothing was raised")


def everything(context):
    return json.dumps(to_json(context))


# --- secrets


def test_planted_secrets_are_nowhere_in_a_context(monkeypatch, tmp_path):
    home = str(tmp_path / "jane.doe")
    for name, value in {
        "HOME": home, "USERPROFILE": home, "LOGNAME": "jane.doe", "USER": "jane.doe",
        "HF_TOKEN": "oddly-shaped-1", "MY_SERVICE_SECRET": "canary-two-22",
        "HTTPS_PROXY": "http://jane:pa55/w%40rd@proxy:3128", "PIP_INDEX_URL": "https://u:canary3@i/s",
        "HF_HOME": f"{home}/hf", "UNLISTED": "canary-four-44",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    def call():
        api_key = "canary-five-55"
        try:
            raise OSError(2, f"no {TOKEN} in {home}/x", f"{home}/{api_key}")  # noqa: TRY301
        except OSError as cause:
            raise ValueError(
                f"401 for oddly-shaped-1, canary-two-22, {api_key}, short7, "
                f"http://jane:pa55/w%40rd@proxy:3128, w@rd, https://cdn/x?Signature=canary6abc"
            ) from cause

    context = context_of(
        call,
        args=("canary-seven", {"canary-eight": 1}),
        kwargs={"password": "short7", "place": Path(home) / "models"},
        phase=f"in {home}", task=f"with {TOKEN}",
        previous_errors=[ValueError(TOKEN)], recovery_attempts=[f"tried {TOKEN}"],
    )  # fmt: skip
    text = everything(context)
    for secret in (
        TOKEN[3:], "oddly-shaped", "canary", "pa55", "w%40rd", "jane.doe", "short7",
    ):  # fmt: skip
        assert secret not in text, secret
    assert context.summary["arguments"]["place"]["path"] == "~/models"
    assert context.environment_vars["HF_HOME"] == "~/hf"
    assert context.environment_vars["PIP_INDEX_URL"] == "https://***@i/s"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('login(password="hunter22", x=1)', 'login(password="***", x=1)'),
        ("{'token': 'abc def', 'n': 1}", "{'token': '***', 'n': 1}"),
        ('api_key = "a\\"b"', 'api_key = "***"'),
        ('{"tokenizer": "umt5"}', '{"tokenizer": "umt5"}'),
    ],
)
def test_a_quoted_secret_in_code_or_a_printed_dict_is_hidden(text, left):
    assert PLAIN.mask(text) == left
    assert PLAIN.mask(left) == left


@given(st.text(), st.integers(20, 60))
def test_masking_twice_is_masking_once_also_when_cut(text, most):
    assert PLAIN.mask(PLAIN.mask(text)) == PLAIN.mask(text)
    assert len(PLAIN.cut(text, most)) <= most + 60


@pytest.mark.parametrize("at", range(0, 9_000, 35))
def test_a_secret_at_a_cut_is_not_left_in_half(at):
    filler = "word " * 4_000
    text = f"{filler[:at]}{TOKEN} {filler[at:]}"
    assert "AbCd" not in PLAIN.cut(text, 500)
    assert "UvWx" not in PLAIN.cut(text, 500)


def test_half_a_private_key_is_left_out():
    key = "-----BEGIN PRIVATE KEY-----\n" + "SECRETLINE\n" * 4_000 + "-----END PRIVATE KEY-----"
    assert "SECRET" not in PLAIN.cut(f"{key}{'x ' * 200}", 500)
    assert "SECRET" not in PLAIN.cut(f"{'x ' * 90}{key}", 500)
    assert "SECRET" not in PLAIN.cut(f"a {key[:-30]}", 50_000)


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [("CUDA_VISIBLE_DEVICES", True), ("HF_HOME", True), ("HF_TOKEN", False), ("PATH", True),
     ("PYTORCH_CUDA_ALLOC_CONF", True), ("https_proxy", True), ("AWS_SECRET_ACCESS_KEY", False),
     ("UV_PUBLISH_PASSWORD", False), ("HUGGING_FACE_HUB_TOKEN", False), ("SSH_AUTH_SOCK", False),
     ("HOME", False), ("TOKENIZERS_PARALLELISM", True), ("PIP_INDEX_URL", True),
     ("MODELSCOPE_API_TOKEN", False), ("ANYTHING", False), ("TMPDIR", True)],
)  # fmt: skip
def test_variables_are_kept_by_a_list_of_names(name, is_kept):
    assert is_listed(name) is is_kept
    assert (name in kept({name: "x"}, PLAIN)) is is_kept


def test_the_page_on_privacy_lists_every_name_that_is_kept():
    from support import CHECKOUT

    from modelmedic.reliability.environment_names import NAMES, PREFIXES

    page = (CHECKOUT / "docs" / "privacy.md").read_text("utf-8")
    assert [name for name in NAMES if f"`{name}`" not in page] == []
    assert [name for name in PREFIXES if f"`{name}*`" not in page] == []


# --- arguments and locals


class Hostile:
    """Everything that could be asked of it says so."""

    asked: list[str] = []  # noqa: RUF012 - what all of them share is the point

    def _told(self, *args):
        Hostile.asked.append("asked")
        raise RuntimeError("asked")

    __repr__ = __str__ = __len__ = __iter__ = __bool__ = __eq__ = __getattr__ = _told
    __hash__ = __format__ = __fspath__ = _told
    shape = dtype = __class__ = property(_told)


class Meta(type):
    __name__ = __module__ = property(Hostile._told)

    def __getattribute__(cls, name):
        return Hostile._told(cls)


class HostileType(metaclass=Meta):
    pass


class HostileList(list):
    __len__ = __iter__ = __repr__ = Hostile._told


def test_nothing_of_a_hostile_value_is_run():
    values = {"a": Hostile(), "b": object.__new__(HostileType), "c": HostileList([1, 2])}
    Hostile.asked.clear()
    found = summaries.of_call(list(values.values()), values, PLAIN)
    assert Hostile.asked == []
    assert found["a"]["type"].endswith("Hostile")
    assert found["b"]["type"].endswith("HostileType")
    assert found["2"] == {"type": found["c"]["type"], "length": 2}


def test_values_are_described_never_shown():
    class Point:
        __module__ = "numpy.planted"
        shape = property(lambda self: (3,))

    described = {
        name: summaries.of_value(value, PLAIN)
        for name, value in {
            "text": "secret", "data": b"12", "many": {"a": 1}, "none": None, "number": 7,
            "array": np.zeros((2, 3), dtype="float32"), "place": Path("/x/y"), "point": Point(),
        }.items()
    }  # fmt: skip
    assert described["text"] == {"type": "str", "length": 6}
    assert described["data"] == {"type": "bytes", "length": 2}
    assert described["many"] == {"type": "dict", "length": 1}
    assert described["none"] == {"type": "NoneType"}
    assert described["number"] == {"type": "int"}
    assert described["array"] == {"type": "numpy.ndarray", "shape": [2, 3], "dtype": "float32"}
    assert described["place"]["path"] == str(Path("/x/y"))
    assert set(described["point"]) == {"type"}, "a property is not run"


def test_locals_are_those_of_the_innermost_frames_and_bounded():
    def inner():
        for number in range(60):
            exec(f"v{number} = {number}")
        many = {f"v{number}": number for number in range(60)}
        locals().update(many)
        raise ValueError("x")

    def outer(depth):
        return outer(depth - 1) if depth else inner()

    context = context_of(lambda: outer(40))
    assert len(context.summary["locals"]) <= 20
    assert next(reversed(context.summary["locals"])).startswith("inner:")
    many = summaries.of_call(range(100), {}, PLAIN)
    assert len(many) == 31
    assert many["..."] == {"type": "70 more"}


# --- chains


def test_causes_contexts_and_members_are_named_nearest_first():
    def call():
        try:
            try:
                raise KeyError("k")  # noqa: TRY301
            except KeyError as error:
                raise OSError(5, "io") from error
        except OSError:
            raise ValueError("top")  # noqa: B904 - that it has a context is what is tested

    context = context_of(call)
    assert context.chain == ["context: OSError: [Errno 5] io", "cause: KeyError: 'k'"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no groups of errors")
def test_members_of_a_group_are_in_the_chain():
    group = ExceptionGroup("two", [ValueError("a"), ExceptionGroup("in", [OSError(5, "io")])])  # noqa: F821
    told = chains.chain(group, PLAIN)
    assert told == [
        "member: ValueError: a",
        "member: ExceptionGroup: in (1 sub-exception)",
        "member: OSError: [Errno 5] io",
    ]


def test_a_loop_and_a_very_long_chain_end():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert chains.chain(first, PLAIN) == ["cause: ValueError: b"]
    error = ValueError("0")
    top = error
    for number in range(500):
        error.__cause__ = error = ValueError(str(number))
    assert len(chains.chain(top, PLAIN)) == 50


def test_an_error_that_cannot_be_printed_still_has_a_context():
    class Mute(Exception):  # noqa: N818
        def __str__(self):
            raise SystemExit(3)

        __cause__ = property(lambda self: 1 / 0)
        __traceback__ = property(lambda self: 1 / 0)

    context = context_of(lambda: (_ for _ in ()).throw(Mute()))
    assert context.error.endswith(": (its message cannot be read: SystemExit)")
    assert context.component == "Downloader"


def test_a_huge_message_and_a_deep_recursion_are_cut():
    def deep():
        deep()

    def ping():
        pong()

    def pong():
        ping()

    assert len(context_of(deep).stack_trace) < 21_000
    assert context_of(ping).stack_trace.count("in pong") <= 20, "the innermost 40 frames"
    huge = ValueError("x" * 50_000_000)
    context = context_of(lambda: (_ for _ in ()).throw(huge))
    assert len(everything(context)) < 200_000


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2), MemoryError()])
def test_errors_that_are_no_exceptions_have_a_context_too(error):
    context = context_of(lambda: (_ for _ in ()).throw(error))
    assert context.error.startswith(type(error).__name__)


# --- correlation


def ids(capture, count=2):
    return {
        capture.capture(ValueError(), component="C", method="m").correlation_id
        for _ in range(count)
    }


def test_errors_of_one_outermost_call_have_one_id_and_others_another():
    capture = ErrorCapture(level="minimal")
    with correlation.correlated():
        outer = ids(capture)
        with correlation.correlated():
            outer |= ids(capture)
    with correlation.correlated():
        other = ids(capture)
    assert len(outer) == len(other) == 1
    assert outer != other
    assert len(ids(capture)) == 2, "outside of all calls each error stands alone"


def test_tasks_and_threads_carry_the_id_and_strangers_do_not():
    capture = ErrorCapture(level="minimal")

    async def call():
        with correlation.correlated():
            tasks = [asyncio.to_thread(ids, capture, 1) for _ in range(4)]
            found = ids(capture).union(*await asyncio.gather(*tasks))
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                found |= pool.submit(correlation.carried(ids), capture).result()
                stranger = pool.submit(ids, capture, 1).result()
        return found, stranger

    async def both():
        return await asyncio.gather(call(), call())

    (first, stranger), (second, _) = asyncio.run(both())
    assert len(first) == len(second) == 1
    assert first != second
    assert not stranger & first


def test_an_id_is_asked_by_threads_at_once_and_is_one():
    found, barrier = set(), threading.Barrier(8)

    def ask():
        barrier.wait(30)
        found.add(correlation.current_id())

    with correlation.correlated():
        threads = [threading.Thread(target=correlation.carried(ask)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(found) == 1


def test_a_context_is_a_value():
    context = context_of(lambda: 1 / 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.error = "x"
    assert context.error_id != context_of(lambda: 1 / 0).error_id
    assert os.getpid()
