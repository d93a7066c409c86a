"""Variables, libraries and the kernel's log around the card, as the checks judge them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest
from hardware_support import FILES, Given, Losses
from support import make_context, make_profile

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import cuda_libraries, driver, driver_words, kernel_log, pci
from modelmedic.facts.gpu import Gpu, Gpus, MigSlice, read_gpus
from modelmedic.profile.model import Fit, Hardware

checks = rooms.load("checks", "test_gpu_environment")
MISMATCH = "visible-devices-or-flags-mismatch"
VISIBLE, LIBRARIES, LOG = (
    checks.test_programs_are_given_the_cards,
    checks.test_no_other_cuda_stands_before_the_drivers,
    checks.test_kernel_noted_no_fault_of_a_card,
)
PAIR = tuple(Gpu(n, "NVIDIA GeForce RTX 4090", f"GPU-{n}{n}") for n in range(2))


class Desk:
    def __init__(self, place, gpus=PAIR, given=None, **profile):
        self.profile = make_profile(hardware=Hardware(needs_gpu=True), **profile)
        values = {read_gpus: Gpus("nvml", gpus=gpus)} | (given or {})
        self.facts = Given(make_context(place, self.profile), values)
        self.losses = Losses()

    def judge(self, check):
        check(self.facts, self.profile, self.losses)

    def failure(self, check) -> Unhealthy:
        with pytest.raises(Unhealthy) as caught:
            self.judge(check)
        assert caught.value.next_step
        return caught.value


@pytest.fixture
def desk(tmp_path, monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "WORLD_SIZE", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)

    def make(**given):
        return Desk(tmp_path, **given)

    return make


# --- CUDA_VISIBLE_DEVICES and its kin


@pytest.mark.parametrize("setting", [None, "0", "1,0", "GPU-00", "GPU-11,GPU-00"])
def test_a_setting_that_names_cards_is_healthy(desk, monkeypatch, setting):
    if setting is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    here = desk()
    here.judge(VISIBLE)
    assert here.losses == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("2", "names '2', which is no card; a program is given 0 cards"),
        ("0,5,1", "names '5', which is no card; a program is given 1 card"),
        ("GPU-zz", "names 'GPU-zz'"),
        ("", "hides all"),
        ("-1", "hides all"),
        ("MIG-abc", "names 'MIG-abc'"),
    ],
)
def test_a_setting_that_names_no_card_is_said_with_the_cards_there_are(
    desk, monkeypatch, setting, says
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    failure = desk().failure(VISIBLE)
    assert says in failure.what
    assert "0 (GPU-00), 1 (GPU-11)" in failure.why
    assert failure.next_step == "In the shell that starts the app: `unset CUDA_VISIBLE_DEVICES`."
    assert failure.failure_id == MISMATCH


def test_what_stands_after_a_wrong_entry_is_counted(desk, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,5,1")
    assert "1 later entry is not read." in desk().failure(VISIBLE).why


@pytest.mark.parametrize(("order", "losses"), [("", 1), ("FASTEST_FIRST", 1), ("PCI_BUS_ID", 0)])
def test_a_number_among_unequal_cards_may_mean_another_card(desk, monkeypatch, order, losses):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
    here = desk(gpus=(PAIR[0], replace(PAIR[1], name="NVIDIA GeForce RTX 3060")))
    here.judge(VISIBLE)
    assert len(here.losses) == losses
    assert all("CUDA_DEVICE_ORDER=PCI_BUS_ID" in loss[2] for loss in here.losses)


def test_more_processes_than_cards_never_start(desk, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    failure = desk().failure(VISIBLE)
    assert failure.what == "WORLD_SIZE is 8 in this shell; a program is given 2 cards."
    assert failure.failure_id == MISMATCH


@pytest.mark.parametrize(("ulysses", "world", "holds"), [
    (2, "2", True), (2, None, True), (1, None, True), (4, None, False), (2, "1", False),
])  # fmt: skip
def test_ulysses_size_is_compared_with_cards_and_processes(
    desk, monkeypatch, ulysses, world, holds
):
    if world:
        monkeypatch.setenv("WORLD_SIZE", world)
    here = desk(fits=(Fit("all", flags=f"--dit_fsdp --ulysses_size {ulysses}", source="test"),))
    if holds:
        here.judge(VISIBLE)
    else:
        failure = here.failure(VISIBLE)
        assert f"--ulysses_size {ulysses}" in failure.what
        assert "torchrun --nproc_per_node=2 generate.py --ulysses_size 2" in failure.next_step


def test_a_divided_card_is_named_by_its_slices(desk, monkeypatch):
    card = replace(PAIR[0], has_mig=True, slices=(MigSlice("MIG-a"),))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a")
    desk(gpus=(card,)).judge(VISIBLE)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert "has no slices" in desk(gpus=(replace(card, slices=()),)).failure(VISIBLE).what
    with pytest.raises(CannotTell):
        desk(gpus=(replace(card, slices=None),)).judge(VISIBLE)


# --- LD_LIBRARY_PATH

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the variable")


def library_path(monkeypatch, *folders):
    for folder, *names in folders:
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(b"\x7fELF")
    monkeypatch.setenv("LD_LIBRARY_PATH", ":".join(str(folder) for folder, *_ in folders))


@linux_only
def test_a_stub_of_the_driver_is_found(desk, monkeypatch, tmp_path):
    stubs = tmp_path / "cuda" / "lib64" / "stubs"
    library_path(
        monkeypatch, (stubs, "libcuda.so", "libcuda.so.1"), (tmp_path / "x", "libcuda.so.1")
    )
    failure = desk().failure(LIBRARIES)
    assert f"{stubs}/libcuda.so.1" in failure.what
    assert str(stubs) in failure.next_step


@linux_only
def test_a_driver_before_the_stub_is_healthy(desk, monkeypatch, tmp_path):
    library_path(
        monkeypatch,
        (tmp_path / "real", "libcuda.so.1"),
        (tmp_path / "stubs", "libcuda.so", "libnvidia-ml.so"),
        (tmp_path / "other", "libfoo.so"),
    )
    here = desk()
    here.judge(LIBRARIES)
    assert here.losses == []


@linux_only
@pytest.mark.parametrize(
    ("folder", "name", "says"),
    [
        ("cuda-12.4/compat", "libcuda.so.1", "error 803 or 804"),
        ("cuda-11.8/lib64", "libcudnn.so.8", "libraries it was not built for"),
        ("cuda-11.8/lib64", "libcudart.so.11.0", ""),
    ],
)
def test_another_cuda_is_a_stated_loss(desk, monkeypatch, tmp_path, folder, name, says):
    library_path(monkeypatch, (tmp_path / folder, name))
    here = desk()
    here.judge(LIBRARIES)
    if says:
        [(what, why, next_step, _id)] = here.losses
        assert name in what
        assert says in why
        assert str(tmp_path / folder) in next_step


def test_folders_that_are_not_there_or_not_ours_are_passed_over(tmp_path):
    (tmp_path / "file").write_text("")
    env = {"LD_LIBRARY_PATH": f"{tmp_path}/none::{tmp_path}/file:{tmp_path}"}
    assert cuda_libraries.folders_of(env) == ()
    assert cuda_libraries.folders_of({}) == ()


# --- the kernel's log

FELL = (
    "NVRM: Xid (PCI:0000:41:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
)
UNNUMBERED = "[  812.1] NVRM: GPU 0000:41:00.0: GPU has fallen off the bus."
ECC = "NVRM: Xid (PCI:0000:01:00): 48, pid=4242, DBE (double bit error) ECC Error"
APP = "NVRM: Xid (PCI:0000:01:00): 31, pid=4242, Ch 0000000b, MMU Fault"
RETIRED = "NVRM: Xid (PCI:0000:01:00): 63, pid=1, Row Remapper"


@pytest.mark.parametrize("line", [FELL, UNNUMBERED])
def test_a_card_that_fell_off_the_bus_is_said(desk, line):
    found = kernel_log.parse_log(f"{APP}\n{line}\n{line}\n")
    failure = desk(given={kernel_log.read_xids: found}).failure(LOG)
    assert failure.failure_id == "gpu-fell-off-bus"
    assert "Xid 79 of the card at 0000:41:00, 2 times" in failure.what


@pytest.mark.parametrize(("line", "is_failure"), [(ECC, True), (RETIRED, False)])
def test_memory_errors_of_the_log_are_the_cards(desk, line, is_failure):
    here = desk(given={kernel_log.read_xids: kernel_log.parse_log(line)})
    if is_failure:
        assert here.failure(LOG).failure_id == "ecc-uncorrectable"
    else:
        here.judge(LOG)
        assert here.losses[0][3] == "ecc-uncorrectable"


def test_faults_of_an_app_are_not_the_cards(desk):
    here = desk(given={kernel_log.read_xids: kernel_log.parse_log(APP)})
    here.judge(LOG)
    assert here.losses == []


def test_a_log_that_may_not_be_read_is_skipped_and_says_how_to(desk):
    here = desk(given={kernel_log.read_xids: CannotTell("Closed.", "", "Ask.")})
    with pytest.raises(pytest.skip.Exception, match="Ask"):
        here.judge(LOG)


@linux_only
@pytest.mark.parametrize(
    ("journal", "dmesg", "count"),
    [
        ("echo '{line}'", "exit 1", 1),
        ("case $* in *NVRM*) exit 1;; *) echo a line;; esac", "exit 1", 0),
        ("exit 1", "echo '{line}'", 1),
        ("echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1",
         "echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1", None),
    ],
    ids=["journal", "journal-without", "dmesg", "neither"],
)  # fmt: skip
def test_the_log_is_asked_of_whoever_shows_it(desk, tmp_path, monkeypatch, journal, dmesg, count):
    for name, script in (("journalctl", journal), ("dmesg", dmesg)):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script.replace('{line}', ECC)}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    facts = desk().facts
    if count is None:
        with pytest.raises(CannotTell, match="cannot be read by this user"):
            facts.get(kernel_log.read_xids)
    else:
        assert len(facts.get(kernel_log.read_xids)) == count


# --- containers


def words(**changes):
    return driver_words.of_driver(
        pci.Bus("linux"),
        replace(FILES, is_container=True, device_nodes=("/dev/nvidiactl",), **changes),
    )


def test_a_container_with_its_devices_is_healthy():
    assert words() is None


def test_a_container_whose_devices_are_kept_away_has_lost_its_gpu():
    found = words(is_control_blocked=True)
    assert found.failure_id == "container-lost-gpu"
    assert "create it again" in found.next_step


@pytest.mark.parametrize("setting", ["void", None])
def test_a_container_with_a_library_and_no_device_was_started_without(setting):
    found = driver_words.of_driver(
        pci.Bus("linux"), replace(FILES, is_container=True, container_devices=setting)
    )
    assert found.failure_id == "container-without-gpu"
    assert "--gpus all" in found.next_step


def test_a_node_that_may_be_opened_or_is_not_there_is_not_blocked(tmp_path, monkeypatch):
    node = tmp_path / "nvidiactl"
    assert not driver.is_blocked(node)
    node.write_bytes(b"")
    assert not driver.is_blocked(node)

    def refuse(*_args):
        raise PermissionError(1, "Operation not permitted")  # as a device rule does; not EACCES

    monkeypatch.setattr(os, "open", refuse)
    assert driver.is_blocked(node)


def test_without_a_card_to_ask_nothing_is_judged(tmp_path):
    here = Desk(tmp_path)
    here.profile = make_profile()
    for check in (VISIBLE, LIBRARIES, LOG):
        with pytest.raises(pytest.skip.Exception, match="does not ask"):
            here.judge(check)
