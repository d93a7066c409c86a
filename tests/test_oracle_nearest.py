"""The least change: it mends, is stable, gives up no CUDA, and asks for what an index has."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_triples import (
    CONTRADICTORY,
    DOUBTFUL,
    FLASH,
    GTX_1080_TI,
    H100,
    RIGHT,
    RTX_3060,
    RTX_4090,
    RTX_5090,
    T4,
    V100,
    WAN,
    WAN_PACKAGES,
    WAN_STACK,
    WITHOUT_FLASH,
    linux,
    trio,
    windows,
)

from modelmedic.compat import oracle
from modelmedic.compat.stack import Machine, Stack
from modelmedic.compat.table import load

# Nothing that can be installed mends these: another card, another Python.
UNMENDABLE = {
    "the app needs flash-attn, the card is older than Ampere",
    "numpy below 2 on Python 3.13",
}
EVERY_DRIVER = ("450.80.02", "470.256.02", "525.60.13", "550.54.14", "570.86.10", "580.82.07")
TORCHES = [
    (row, tag) for row in load().torch for tag in (*row.tags, "cpu", "")
]  # every build that the table knows, the CPU builds and the index's own


def nearest(machine, versions, requirements=(), available=None):
    return oracle.nearest(machine, Stack(versions), requirements, available=available)


def is_cuda(machine, stack):
    return stack.build_of_torch(machine, load()).cuda is not None


def hold(machine: Machine, stack: Stack, requirements, change):
    """What must be true of every change."""
    after = change.applied_to(stack)
    assert oracle.judge(machine, after, requirements).contradictions == ()
    assert oracle.nearest(machine, after, requirements) is None
    assert change.reasons
    assert change.touches_torch == ("torch" in change.versions)
    if change.touches_torch:
        assert change.reasons[0].startswith("torch itself is changed")
        assert change.wheels_endpoint_tag == change.cuda_tag
    if after.version("torch") and (is_cuda(machine, stack) or machine.cards):
        assert is_cuda(machine, after)
    assert not set(change.versions) & set(change.removed)
    assert len(change.lost) == len(change.removed)


@pytest.mark.parametrize("triple", CONTRADICTORY, ids=[t.name for t in CONTRADICTORY])
def test_the_change_mends_a_triple_and_a_second_one_is_not_needed(triple):
    change = oracle.nearest(triple.machine, triple.stack, triple.requirements)
    if triple.name in UNMENDABLE:
        assert change is None
        return
    hold(triple.machine, triple.stack, triple.requirements, change)


@pytest.mark.parametrize("triple", [*RIGHT, *DOUBTFUL], ids=lambda triple: triple.name)
def test_what_is_right_or_only_doubtful_is_not_changed(triple):
    assert oracle.nearest(triple.machine, triple.stack, triple.requirements) is None


@pytest.mark.once
@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    build=st.sampled_from(TORCHES),
    vision=st.sampled_from(sorted({row.torchvision for row in load().torch})),
    card=st.sampled_from([RTX_3060, RTX_4090, RTX_5090, GTX_1080_TI, V100, T4, H100]),
    driver=st.sampled_from(EVERY_DRIVER),
    python=st.sampled_from(["3.10.14", "3.12.4", "3.13.1"]),
    flash=st.sampled_from(["", FLASH, "2.7.3+cu12torch2.5cxx11abiTRUE", "2.8.3"]),
    packages=st.fixed_dictionaries({
        "numpy": st.sampled_from(["1.26.4", "2.2.6"]),
        "opencv-python": st.sampled_from(["4.11.0.86", "4.12.0.88"]),
        "huggingface-hub": st.sampled_from(["0.36.2", "1.2.0"]),
        "tokenizers": st.sampled_from(["0.21.4", "0.22.1"]),
        "diffusers": st.sampled_from(["0.35.2", "0.42.1"]),
        "peft": st.sampled_from(["0.17.1", "0.18.0"]),
    }),
    is_windows=st.booleans(),
)  # fmt: skip
def test_any_stack_that_can_be_mended_is_mended(
    build, vision, card, driver, python, flash, packages, is_windows
):
    row, tag = build
    machine = windows(card, driver, python) if is_windows else linux(card, driver, python)
    end = f"+{tag}" if tag else ""
    versions = {"torch": row.version + end, "torchvision": vision + end, **packages}
    versions |= {"flash-attn": flash} if flash else {}
    versions["transformers"] = "4.51.3"
    requirements = tuple(line for line in WITHOUT_FLASH if not line.startswith("numpy"))
    stack = Stack(versions)
    change = oracle.nearest(machine, stack, requirements)
    if change is not None:
        hold(machine, stack, requirements, change)
    elif oracle.judge(machine, stack, requirements).contradictions:
        # Then no build of the table runs there at all.
        assert oracle.consistent(machine, requirements) == ()


def test_torch_stays_when_a_smaller_change_mends():
    change = nearest(linux(RTX_4090, "570.86.10"), WAN_STACK | {"torchvision": "0.22.1+cu128"}, WAN)
    assert change.pins == ("torchvision==0.23.0+cu128",)
    assert not change.touches_torch
    assert change.is_certain


def test_of_two_builds_that_mend_the_one_is_taken_that_keeps_flash_attn():
    """torch 2.11 is nearer in number; the app needs flash-attn, which ends at torch 2.8."""
    versions = trio("2.14.0", "0.29.0", "2.11.0") | WAN_PACKAGES
    change = nearest(linux(RTX_4090, "570.86.10"), versions, WAN)
    assert change.pins[0] == "torch==2.8.0+cu128"


def test_a_flash_attn_that_cannot_be_had_from_the_index_is_left_out_and_its_wheel_is_named():
    versions = WAN_STACK | {"flash-attn": "2.7.4.post1+cu12torch2.6cxx11abiTRUE"}
    change = nearest(linux(RTX_4090, "570.86.10"), versions, WAN)
    assert change.pins == ()
    assert change.removed == ("flash-attn",)
    wheel = "flash_attn-2.8.3.post1%2Bcu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"
    assert change.lost[0].endswith(f"/v2.8.3.post1/{wheel}.")


def test_a_flash_attn_that_the_index_has_is_pinned():
    versions = WAN_STACK | {"flash-attn": "2.7.4.post1+cu12torch2.6cxx11abiTRUE"}
    listed = {"flash-attn": ["2.8.3", "2.8.3.post1+cu12torch2.8cxx11abitrue"]}
    change = nearest(linux(RTX_4090, "570.86.10"), versions, WAN, lambda name: listed.get(name, ()))
    assert change.pins == ("flash-attn==2.8.3.post1+cu12torch2.8cxx11abitrue",)
    assert change.removed == ()


def test_only_versions_that_the_index_has_are_asked_for():
    machine = linux(RTX_4090, "570.86.10")
    versions = {"transformers": "4.51.3", "huggingface-hub": "1.2.0"}
    listed = {"huggingface-hub": ["0.30.1", "0.34.4", "1.2.0", "0.36.0rc1"]}
    change = nearest(machine, versions, (), lambda name: listed.get(name, ()))
    assert change.pins == ("huggingface-hub==0.34.4",)
    assert nearest(machine, versions, (), lambda name: ()) is None


def test_an_index_without_the_fitting_torch_is_asked_for_the_next_one_or_nothing():
    machine = linux(RTX_5090, "570.86.10")
    versions = trio("2.7.1", "0.22.1", "2.7.1", "cu126")
    listed = {
        "torch": ["2.8.0+cu128", "2.7.1+cu126"],
        "torchvision": ["0.23.0+cu128", "0.22.1+cu126"],
        "torchaudio": ["2.8.0+cu128", "2.7.1+cu126"],
    }
    change = nearest(machine, versions, (), lambda name: listed.get(name, ()))
    assert change.pins[0] == "torch==2.8.0+cu128"
    listed["torchaudio"] = ["2.7.1+cu126"]
    assert nearest(machine, versions, (), lambda name: listed.get(name, ())) is None


def test_the_ordinary_index_is_enough_where_its_own_build_is_the_one():
    """The index's own torch 2.8.0 for Linux is the CUDA 12.8 build, without a local version."""
    machine = linux(RTX_5090, "570.86.10")
    versions = {"torch": "2.7.1+cu126", "torchvision": "0.22.1+cu126"}
    listed = {"torch": ["2.8.0", "2.7.1"], "torchvision": ["0.23.0", "0.22.1"]}
    change = nearest(machine, versions, (), lambda name: listed.get(name, ()))
    assert change.pins == ("torch==2.8.0", "torchvision==0.23.0")
    assert (change.wheels_endpoint_tag, change.cuda_tag) == ("", "cu128")


def test_each_name_is_asked_of_the_index_once():
    asked = []

    def available(name):
        asked.append(name)
        return ()

    nearest(linux(RTX_5090, "570.86.10"), trio("2.7.1", "0.22.1", "2.7.1", "cu126"), (), available)
    assert len(asked) == len(set(asked))
    assert "numpy" not in asked


def test_what_the_packages_themselves_require_is_believed_before_the_table():
    """A hub client that the table does not know, refused by the metadata of transformers."""
    stack = Stack(
        {"transformers": "4.57.0", "huggingface-hub": "1.2.0", "tokenizers": "0.22.1"},
        {"transformers": ("huggingface-hub<1.0,>=0.34.0", 'tokenizers ; extra == "x"')},
    )
    machine = linux(None, None)
    wrong = oracle.judge(machine, stack, ()).contradictions
    assert [entry.packages for entry in wrong] == [("transformers", "huggingface-hub")]
    change = oracle.nearest(machine, stack, ())
    assert change.pins == ("huggingface-hub==0.36.2",)


def test_a_wrong_version_that_the_app_excludes_is_mended_too():
    change = nearest(linux(RTX_4090, "570.86.10"), WAN_STACK | {"numpy": "2.2.6"}, WAN)
    assert change.pins == ("numpy==1.26.4",)


def test_an_xformers_that_nothing_fits_is_removed_and_said():
    versions = trio("2.8.0", "0.23.0", "2.8.0", "cu128") | {"xformers": "0.0.33.post2"}
    available = {"xformers": ["0.0.33.post2"]}.get
    change = nearest(linux(RTX_4090, "580.65.06"), versions, (), lambda name: available(name, ()))
    assert change.removed == ("xformers",)
    assert change.lost == ("xformers 0.0.33.post2 is removed: the app does not ask for it.",)


def test_a_build_that_has_no_torchaudio_is_not_taken_where_one_is_installed():
    """torchaudio ended at 2.11.0, before CUDA 13.2: of one index only what it has can be asked."""
    versions = {"torch": "2.13.0+cpu", "torchaudio": "2.11.0+cpu"}
    machine = linux(RTX_4090, "595.45.04")
    assert nearest(machine, versions).versions == {
        "torch": "2.13.0+cu130", "torchaudio": "2.11.0+cu130",
    }  # fmt: skip
    assert nearest(machine, {"torch": "2.13.0+cpu"}).pins == ("torch==2.13.0+cu132",)
    tags = {entry.cuda_tag for entry in oracle.consistent(machine, ("torch", "torchaudio"))}
    assert "cu132" not in tags


def test_a_build_of_unknown_kind_gets_siblings_without_a_local_version():
    change = nearest(linux(None, None), {"torch": "2.8.0+abc", "torchvision": "0.22.1"})
    assert change.pins == ("torchvision==0.23.0",)


def test_of_as_many_changes_the_one_over_the_smaller_distance_is_taken():
    listed = {"numpy": ["2.2.6"], "opencv-python": ["4.11.0.86"]}
    versions = {"numpy": "1.26.4", "opencv-python": "4.12.0.88"}
    change = nearest(linux(None, None), versions, (), lambda name: listed[name])
    assert change.pins == ("opencv-python==4.11.0.86",)


def test_cuda_is_not_given_up_where_the_index_has_only_a_build_without_it():
    versions = {"torch": "2.8.0+cu129"}
    wanted = ("torch>=2.9",)
    assert nearest(linux(None, None), versions, wanted, lambda name: ["2.9.0+cpu"]) is None
    change = nearest(linux(None, None), versions, wanted, lambda name: ["2.9.0+cu126"])
    assert change.pins == ("torch==2.9.0+cu126",)


def test_the_runtime_of_the_torch_that_goes_says_nothing_of_the_one_that_comes():
    versions = {"torch": "2.11.0", "nvidia-cuda-runtime": "13.0.96"}
    change = nearest(linux(RTX_4090, "570.86.10"), versions, (), lambda name: ["2.10.0"])
    assert (change.pins, change.cuda_tag) == (("torch==2.10.0",), "cu128")


def test_a_sibling_of_the_ordinary_index_is_not_taken_for_another_build():
    listed = {"torch": ["2.8.0+cu126"], "torchvision": ["0.23.0"]}  # 0.23.0 is the one for 12.8
    versions = {"torch": "2.8.0+cu128", "torchvision": "0.23.0+cu128"}
    machine = linux(GTX_1080_TI, "575.64.03")
    assert nearest(machine, versions, (), lambda name: listed[name]) is None


def test_a_set_that_rests_on_certain_rows_comes_before_a_newer_one_that_does_not():
    """What code torch 2.11 for CUDA 12.8 has is a third party's word."""
    first, second, *_rest = oracle.consistent(linux(RTX_4090, "570.86.10"), ("torch==2.11.*",))
    assert (first.cuda_tag, first.is_certain) == ("cu126", True)
    assert (second.cuda_tag, second.is_certain) == ("cu128", False)


def test_a_computer_without_a_card_keeps_its_cpu_build():
    versions = {"torch": "2.8.0+cpu", "torchvision": "0.22.1+cpu"}
    change = nearest(linux(None, None), versions)
    assert change.pins == ("torchvision==0.23.0+cpu",)
    changed = nearest(linux(None, None), versions, ("torch>=2.9",))
    assert changed.versions == {"torch": "2.9.1+cpu", "torchvision": "0.24.1+cpu"}


def test_the_sets_of_a_machine_begin_with_the_known_one_and_agree_with_it():
    found = oracle.consistent(linux(RTX_4090, "570.86.10"), WAN)
    best = found[0]
    assert best.versions | WAN_PACKAGES == best.versions
    assert (best.torch, best.flash_attn) == ("2.8.0+cu128", FLASH)
    assert best.is_certain
    for entry in found:
        stack = Stack(entry.versions)
        assert not oracle.judge(linux(RTX_4090, "570.86.10"), stack, WAN).contradictions


def test_no_set_is_named_for_a_card_that_none_serves():
    assert oracle.consistent(linux(T4, "570.86.10"), WAN) == ()
    assert oracle.consistent(linux(T4, "570.86.10"), WITHOUT_FLASH)
    assert oracle.consistent(linux(RTX_5090, "470.256.02"), WITHOUT_FLASH) == ()
