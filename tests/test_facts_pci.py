"""The cards on the bus, as Linux, WSL, a Jetson and Windows show them."""

from __future__ import annotations

import json

import pytest
from gpu_support import add_card

from modelmedic.commands import Completed
from modelmedic.errors import CannotTell
from modelmedic.facts import pci


def test_display_controllers_are_read_from_sysfs(tmp_path):
    root = tmp_path / "bus"
    card = add_card(root, "0000:01:00.0", driver="nvidia")
    (card / "current_link_width").write_text("8\n")
    (card / "max_link_width").write_text("16\n")
    add_card(root, "0000:01:00.1", kind="0x040300")  # the card's sound function
    add_card(root, "0000:02:00.0", kind="0x030200", driver="vfio-pci")
    add_card(root, "0000:00:02.0", vendor="0x8086")
    found = pci.sysfs_cards(root)
    assert [(c.address, c.vendor, c.driver) for c in found] == [
        ("0000:00:02.0", "Intel", ""),
        ("0000:01:00.0", "NVIDIA", "nvidia"),
        ("0000:02:00.0", "NVIDIA", "vfio-pci"),
    ]
    assert (found[1].link_width, found[1].link_width_max) == (8, 16)
    assert (found[2].link_width, found[2].link_width_max) == (None, None)
    assert found[1].device_id == 0x2684


@pytest.mark.parametrize("width", ["0", "63", "255", "Unknown", ""])
def test_a_link_that_does_not_answer_has_no_width(tmp_path, width):
    card = add_card(tmp_path, "0000:01:00.0")
    (card / "current_link_width").write_text(f"{width}\n")
    assert pci.sysfs_cards(tmp_path)[0].link_width is None


def test_a_device_without_numbers_is_not_taken_for_no_card(tmp_path):
    add_card(tmp_path, "0000:01:00.0", vendor="nonsense\x1b[31m")
    with pytest.raises(CannotTell, match="where a number is expected") as caught:
        pci.sysfs_cards(tmp_path)
    assert "\x1b" not in str(caught.value)


def test_a_device_that_goes_while_reading_is_left_out(tmp_path):
    (tmp_path / "0000:01:00.0").mkdir()
    add_card(tmp_path, "0000:02:00.0")
    assert [card.address for card in pci.sysfs_cards(tmp_path)] == ["0000:02:00.0"]


def linux(monkeypatch, tmp_path, release="6.8.0-generic", tree="", has_dxg=False):
    for name, text in {"KERNEL_RELEASE": release, "DEVICE_TREE": tree}.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(pci, name, tmp_path / name)
    if has_dxg:
        (tmp_path / "dxg").touch()
    monkeypatch.setattr(pci, "WSL_DEVICE", tmp_path / "dxg")
    monkeypatch.setattr(pci, "SYSFS_DEVICES", tmp_path / "bus")


def test_a_bus_without_cards_says_there_are_none(monkeypatch, tmp_path):
    linux(monkeypatch, tmp_path)
    (tmp_path / "bus").mkdir()
    bus = pci.linux_bus()
    assert (bus.platform, bus.cards, bus.is_conclusive) == ("linux", (), True)


def test_without_sysfs_nothing_is_concluded(monkeypatch, tmp_path):
    linux(monkeypatch, tmp_path)
    assert not pci.linux_bus().is_conclusive


@pytest.mark.parametrize("has_dxg", [True, False])
def test_in_wsl_the_bus_concludes_nothing(monkeypatch, tmp_path, has_dxg):
    linux(monkeypatch, tmp_path, "5.15.153.1-microsoft-standard-WSL2", has_dxg=has_dxg)
    bus = pci.linux_bus()
    assert (bus.platform, bus.is_conclusive, bus.has_wsl_device) == ("wsl", False, has_dxg)


def test_on_a_jetson_the_bus_concludes_nothing(monkeypatch, tmp_path):
    linux(monkeypatch, tmp_path, tree="nvidia,p3737-0000+p3701-0000\0nvidia,tegra234\0")
    (tmp_path / "bus").mkdir()
    assert not pci.linux_bus().is_conclusive


def windows(stdout: str, returncode: int = 0) -> pci.Bus:
    return pci.windows_bus(Completed(("powershell.exe",), returncode, stdout, "", 0.1))


WINDOWS_4090 = {
    "Name": "NVIDIA GeForce RTX 4090",
    "PNPDeviceID": r"PCI\VEN_10DE&DEV_2684&SUBSYS_88E21043&REV_A1\4&2283F625&0&0008",
    "DriverVersion": "32.0.15.6094",
    "ConfigManagerErrorCode": 0,
}


def test_a_lone_card_of_windows_is_printed_without_a_list():
    [card] = windows(json.dumps(WINDOWS_4090)).nvidia_cards
    assert (card.device_id, card.driver_version, card.problem_code) == (0x2684, "560.94", 0)


def test_displays_of_windows_that_are_no_cards_are_left_out():
    remote = {"Name": "Microsoft Remote Display Adapter", "PNPDeviceID": r"SWD\REMOTE\x"}
    intel = WINDOWS_4090 | {"PNPDeviceID": r"PCI\VEN_8086&DEV_A780&SUBSYS_0"}
    bus = windows(json.dumps([remote, intel, WINDOWS_4090, {"PNPDeviceID": None}, 7]))
    assert [card.vendor for card in bus.cards] == ["Intel", "NVIDIA"]
    assert windows("").cards == ()


@pytest.mark.parametrize(("stdout", "code"), [("not JSON", 0), ("[]", 1)])
def test_a_windows_that_does_not_answer_is_unknown(stdout, code):
    with pytest.raises(CannotTell):
        windows(stdout, code)


@pytest.mark.parametrize(
    ("windows_version", "version"),
    [
        ("32.0.15.6094", "560.94"),
        ("31.0.15.2741", "527.41"),
        ("30.0.14.7111", "471.11"),
        ("10.0.19041.3636", None),  # Windows's own basic driver
        ("", None),
        ("a.b.c.d", None),
    ],
)
def test_nvidias_version_is_read_out_of_windowss(windows_version, version):
    assert pci.nvidia_version_of(windows_version) == version
