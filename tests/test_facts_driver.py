"""The driver's files: module, library, Secure Boot, container."""

from __future__ import annotations

import os

import pytest
from support import make_facts

from modelmedic.facts import driver

PROPRIETARY = """\
NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)
"""
OPEN = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22-I3-B17-02-5)  Tue Sep 23 09:55:41 UTC 2025
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04.2)
"""


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (PROPRIETARY, "535.129.03"),
        (OPEN, "580.95.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.77  Release", "565.77"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  440.33", "440.33"),
        ("GCC version:  gcc version 11.4.0 (x)\n", None),
        ("", None),
    ],
)
def test_the_modules_version_is_read(text, version):
    assert driver.parse_module_version(text) == version


def test_modules_that_drive_the_card_are_found_by_their_whole_name():
    text = "nouveau 2400256 1 - Live 0x0\nnvidia_uvm 1 0 - Live 0x0\ni2c_nvidia_gpu 1 0 - Live 0x0"
    assert driver.loaded_modules(text) == ("nouveau",)
    assert driver.loaded_modules("nvidia 56 1 nvidia_uvm, Live 0x0") == ("nvidia",)


@pytest.mark.parametrize(
    ("listing", "is_built"),
    [
        ("updates/dkms/nvidia.ko.zst: kernel/x.ko\n", True),
        ("kernel/drivers/i2c/busses/i2c-nvidia-gpu.ko:\nkernel/nvidia-drm.ko: a\n", False),
        (None, None),
    ],
)
def test_a_module_for_the_kernel_is_looked_up_in_its_list(tmp_path, listing, is_built):
    if listing is not None:
        (tmp_path / "modules.dep").write_text(listing)
    assert driver.is_module_built(tmp_path) is is_built


def test_the_libraries_version_is_in_the_name_it_links_to(tmp_path):
    real = tmp_path / "libnvidia-ml.so.535.129.03"
    real.touch()
    link = tmp_path / "libnvidia-ml.so.1"
    link.symlink_to(real.name)
    assert driver.version_of_library(link) == "535.129.03"
    assert driver.version_of_library(None) is None
    plain = tmp_path / "wsl" / "libnvidia-ml.so.1"
    assert driver.version_of_library(plain) is None


def test_the_library_is_found_on_the_path_and_in_the_loaders_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "LIBRARY_FOLDERS", ())
    odd = tmp_path / "odd place"
    odd.mkdir()
    library = odd / driver.LIBRARY
    library.touch()
    cache = tmp_path / "ld.so.cache"
    cache.write_bytes(b"glibc-ld.so.cache1.1\0/usr/lib/libm.so.6\0" + os.fsencode(library) + b"\0")
    monkeypatch.setattr(driver, "LOADER_CACHE", tmp_path / "none")
    assert driver.find_library({}) is None
    assert driver.find_library({"LD_LIBRARY_PATH": f":/nowhere:{odd}"}) == library
    monkeypatch.setattr(driver, "LOADER_CACHE", cache)
    assert driver.find_library({}) == library


@pytest.mark.parametrize(
    ("data", "is_on"), [(b"\6\0\0\0\1", True), (b"\6\0\0\0\0", False), (b"", None), (None, None)]
)
def test_secure_boot_is_read_from_the_firmware(tmp_path, data, is_on):
    if data is not None:
        (tmp_path / "SecureBoot").write_bytes(data)
    assert driver.has_secure_boot(tmp_path / "SecureBoot") is is_on


def test_a_container_is_known_by_its_mark_or_its_cgroup(tmp_path, monkeypatch):
    mark, cgroup = tmp_path / "mark", tmp_path / "cgroup"
    monkeypatch.setattr(driver, "CONTAINER_MARKS", (mark,))
    monkeypatch.setattr(driver, "INIT_CGROUP", cgroup)
    assert not driver.is_container()
    cgroup.write_text("0::/init.scope\n")
    assert not driver.is_container()
    cgroup.write_text("12:devices:/kubepods/besteffort/pod1\n")
    assert driver.is_container()
    cgroup.unlink()
    mark.touch()
    assert driver.is_container()


def test_this_machines_driver_files_can_be_read(tmp_path):
    found = make_facts(tmp_path).get(driver.read_driver)
    assert found.kernel == os.uname().release
    assert set(found.denied_nodes) <= set(found.device_nodes)
