"""The table of what goes together: whole, typed, sourced, and cheap to have around."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from support import FIND_US

from modelmedic.compat import rows, table, versions
from modelmedic.compat.stack import Machine, Stack, cards_of, machine_of, own_glibc, stack_of
from modelmedic.facts.gpu import Gpu, Gpus

TABLE = table.load()
ROWS = [row for _group, found in TABLE.groups() for row in found]
HOWS = {"metadata", "git", "doc", "third-party", "computed", "memory"}
LINUX = Machine("linux")


def test_every_row_has_a_source_says_how_sure_it_is_and_has_a_name_of_its_own():
    assert len(ROWS) > 90
    assert {row.how for row in ROWS} <= HOWS
    assert all(len(row.source) > 8 for row in ROWS)
    assert len({row.cite for row in ROWS}) == len(ROWS)


def test_certain_is_what_was_read_at_its_source():
    assert {row.how for row in ROWS if row.is_certain} == {"metadata", "git", "doc"}
    assert {row.how for row in ROWS if not row.is_certain} <= {"third-party", "computed", "memory"}


def test_every_version_and_range_of_the_table_can_be_compared():
    for release in TABLE.torch:
        for text in (release.version, release.torchvision, release.torchaudio):
            assert versions.parsed(text)
        assert all(rows.cuda_of(tag) for tag in release.tags)
        assert all(re.fullmatch(r"3\.\d+", minor) for minor in release.python)
    for pin in TABLE.pin:
        assert pin.is_exact or pin.needs
        assert versions.is_in("1", pin.versions) is not None
        assert all(versions.requirement(line) for line in pin.needs)
    drivers = [f.min_driver_linux for f in TABLE.cuda_family]
    drivers += [f.min_driver_windows for f in TABLE.cuda_family]
    drivers += [t.toolkit_driver_linux for t in TABLE.cuda_toolkit]
    assert all(versions.parsed(driver) for driver in drivers)


def test_a_file_with_a_key_that_no_row_has_is_refused(tmp_path):
    file = tmp_path / "compat.toml"
    file.write_text('as_of = "2026-01-01"\n[[torch]]\nversoin = "1"\nhow = "doc"\nsource = "x"\n')
    with pytest.raises(TypeError, match="versoin"):
        table.read(file)


@pytest.mark.parametrize(
    ("capability", "arches", "is_served"),
    [
        ((8, 9), ("8.6", "9.0"), True),
        ((8, 0), ("8.6",), False),
        ((12, 0), ("9.0",), False),
        ((12, 1), ("12.0",), True),
        ((12, 1), ("10.0+PTX",), True),
        ((9, 0), ("12.0+PTX",), False),
        ((7, 0), ("7.5", "8.0"), False),
    ],
)
def test_code_runs_on_its_own_major_and_newer_minors_and_ptx_on_anything_newer(
    capability, arches, is_served
):
    row = rows.TorchArch("x", "doc", torch="2.8", cuda_tag="cu128", arches=arches)
    assert row.serves(capability) is is_served


def test_a_certain_row_is_preferred_where_two_hold():
    assert TABLE.code("2.6.0+cu126", "cu126", "x86_64").is_certain
    assert TABLE.code("2.13.0", "cu126", "aarch64").arches == ("8.0", "9.0")
    assert TABLE.code("2.99.0", "cu126", "x86_64") is None


@pytest.mark.parametrize(
    ("tag", "cuda"), [("cu128", (12, 8)), ("cu118", (11, 8)), ("cpu", None), ("rocm6.2", None)]
)
def test_the_tag_of_a_wheel_tells_its_cuda(tag, cuda):
    assert rows.cuda_of(tag) == cuda


# --- what torch was built for


def built(versions_, requires=(), machine=LINUX, foreign=frozenset()):
    given = {"torch": tuple(requires)} if requires else {}
    return Stack(versions_, given, foreign).build_of_torch(machine, TABLE).tag


RUNTIME = (
    'nvidia-cuda-runtime-cu12==12.8.90; platform_system == "Linux" and platform_machine == "x86_64"'
)
TOOLKIT = 'cuda-toolkit[cublas,cudart]==13.0.2; platform_system == "Linux"'


def test_a_local_version_tells_the_build():
    assert built({"torch": "2.8.0+cu126"}) == "cu126"
    assert built({"torch": "2.8.0+cpu"}) == "cpu"
    assert built({"torch": "2.8.0+rocm6.4"}) == "rocm6.4"
    assert built({"torch": "2.8.0a0+34c6371d24.nv25.08"}) == ""


def test_without_one_the_required_runtime_tells_it_then_the_installed_one_then_the_table():
    """Lines as torch 2.8.0 and 2.11.0 have them in their metadata."""
    assert built({"torch": "2.8.0"}, [RUNTIME]) == "cu128"
    assert built({"torch": "2.11.0"}, ["filelock", TOOLKIT]) == "cu130"
    assert built({"torch": "2.7.0", "nvidia-cuda-runtime-cu12": "12.6.77"}) == "cu126"
    assert built({"torch": "2.11.0"}) == "cu130"
    both = {
        "torch": "2.11.0",
        "nvidia-cuda-runtime-cu12": "12.8.90",
        "nvidia-cuda-runtime": "13.0.96",
    }
    assert built(both) == "cu130"


def test_on_other_systems_and_of_other_makers_nothing_is_guessed():
    assert built({"torch": "2.8.0"}, machine=Machine("win32")) == "cpu"
    assert built({"torch": "2.8.0"}, machine=Machine("darwin", "aarch64")) == "cpu"
    assert built({"torch": "2.8.0"}, machine=Machine("linux", "aarch64")) == ""
    assert built({"torch": "2.8.0"}, [RUNTIME], Machine("linux", "aarch64")) == ""
    assert built({"torch": "2.8.0"}, foreign=frozenset({"torch"})) == ""
    assert built({"torch": "2.99.0"}) == ""
    assert built({}) == ""


@pytest.mark.parametrize(
    ("version", "torch", "cuda", "abi"),
    [
        ("2.8.3.post1+cu12torch2.8cxx11abiTRUE", (2, 8), 12, "TRUE"),
        ("2.6.3+cu123torch2.4cxx11abiFALSE", (2, 4), 12, "FALSE"),
        ("2.6.3+cu118torch2.4cxx11abiFALSE", (2, 4), 11, "FALSE"),
        ("2.8.2+cu128torch2.8.0cxx11abitrue", (2, 8), 12, "TRUE"),
    ],
)
def test_the_name_of_a_flash_attn_wheel_is_read(version, torch, cuda, abi):
    build = Stack({"flash-attn": version}).build_of_flash()
    assert (build.torch, build.cuda_major, build.abi) == (torch, cuda, abi)
    assert Stack({"flash-attn": "2.8.3"}).build_of_flash() is None


# --- from facts


def test_machine_and_stack_come_from_facts(tmp_path):
    from interpreter_support import ask
    from python_support import add_package, make_venv, site_packages

    target = make_venv(tmp_path / "env")
    add_package(site_packages(target), "torch", "2.8.0+cu128", "numpy>=1")
    add_package(site_packages(target), "Huggingface_Hub", "0.36.2")
    add_package(site_packages(target), "mkl", "1", installer="conda")
    found = ask(target)
    cards = (
        Gpu(0, "RTX 4090", compute_capability=(8, 9)),
        Gpu(1, "lost", compute_capability=(8, 9), error_code=15),
        Gpu(2, "mute"),
    )
    machine = machine_of(found, Gpus("nvml", "570.1", gpus=cards))
    assert machine.python == found.version
    assert [card.name for card in machine.cards] == ["GPU 0 (RTX 4090)"]
    assert machine.driver == "570.1"
    assert cards_of(Gpus()) == ()
    stack = stack_of(found)
    assert stack.versions == {"torch": "2.8.0+cu128", "huggingface-hub": "0.36.2", "mkl": "1"}
    assert stack.requires == {"torch": ("numpy>=1",)}
    assert stack.foreign == {"mkl"}


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is told on Linux only.")
def test_the_c_library_of_this_system_is_told():
    told = own_glibc()
    assert told is None or re.fullmatch(r"2\.\d+", told)


def test_importing_the_checks_of_the_stack_loads_neither_the_table_nor_its_rules():
    code = FIND_US + (
        "from modelmedic import rooms\n"
        "rooms.load('checks', 'test_stack')\n"
        "loaded = [name for name in sys.modules if name.startswith('modelmedic.compat')]\n"
        "assert loaded == [], loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
