"""Recoveries of installed distributions: seen, named, and never in a built-in's place."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile

import pytest
from extension_support import Site, folder_check
from support import CHECKOUT, child_env

MAKER = """
from modelmedic.healing.registry import recovery
from modelmedic.operations.kinds import MakeDir

@recovery("{family}", order=5)
def {name}(repair, context):
    '''Make the folder.'''
    repair.step(MakeDir(repair.need_subject()))
    yield

def helper():
    '''No recovery.'''
"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    return Site(tmp_path)


@pytest.mark.parametrize("value", ["acme_repairs", "acme_repairs:make_extra"])
def test_a_distribution_brings_a_recovery_that_heals(site, value):
    site.install(
        "acme-repairs", "2.1", {"modelmedic.recoveries": [f"ours = {value}"]},
        acme_repairs=MAKER.format(family="system", name="make_extra"),
    )  # fmt: skip
    done = site.run(folder_check('"system", using=["make_extra"]'), "--heal")
    assert done.code == 0, done.out
    found = done.finding("try.folder")
    assert found["outcome"] == "healed"
    assert [a["recovery"] for a in found["attempts"]] == ["make_extra"]
    assert (site.folder / "install" / "extra").is_dir()


def test_it_is_seen_by_the_workers_too(site):
    site.install(
        "acme-repairs", "2.1", {"modelmedic.recoveries": ["ours = acme_repairs"]},
        acme_repairs=MAKER.format(family="system", name="make_extra"),
    )  # fmt: skip
    options = ("--heal", "-pxdist.plugin", "-n1")
    done = site.run(folder_check('"system", using=["make_extra"]'), *options)
    assert done.code == 0, done.out
    assert done.finding("try.folder")["outcome"] == "healed"


def test_the_command_sees_it_though_pytests_own_search_is_off(site, tmp_path):
    """`modelmedic` sets PYTEST_DISABLE_PLUGIN_AUTOLOAD; a distribution that errs is named."""
    site.install(
        "acme-repairs", "2.1", {"modelmedic.recoveries": ["ours = acme_repairs"]},
        acme_repairs="raise OSError('its licence server is down')",
    )  # fmt: skip
    script = (
        f"import sys; sys.path[:0] = {[str(CHECKOUT / 'src'), str(site.folder / 'site')]!r}\n"
        "from modelmedic import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, "check", "--profile=demo", "-k", "nothing"],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        env=child_env(MODELMEDIC_STATE_DIR=str(tmp_path / "state")),
    )  # fmt: skip
    assert done.returncode == 4, done.stdout + done.stderr
    assert "acme-repairs 2.1 cannot be loaded: OSError: its licence server is down" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_built_in_is_never_replaced(site):
    site.install(
        "acme-repairs", "2.1", {"modelmedic.recoveries": ["ours = acme_repairs"]},
        acme_repairs=MAKER.format(family="system", name="create_missing_folder"),
    )  # fmt: skip
    done = site.run(folder_check('"system", using=["create_missing_folder"]'), "--heal")
    assert done.code == 4
    assert (
        "two recoveries are named create_missing_folder: one of modelmedic, one of acme-repairs 2.1"
        in done.out
    )
    assert not (site.folder / "install" / "extra").exists()


def test_two_distributions_with_one_name_are_both_named(site):
    for name in ("acme-repairs", "best-repairs"):
        module = name.replace("-", "_")
        site.install(
            name, "1.0", {"modelmedic.recoveries": [f"ours = {module}"]},
            **{module: MAKER.format(family="system", name="make_extra")},
        )  # fmt: skip
    done = site.run(folder_check('"system"'))
    assert done.code == 4
    assert "named make_extra: one of acme-repairs 1.0, one of best-repairs 1.0" in done.out


def test_a_recovery_cannot_take_the_name_of_a_fixture(site):
    site.install(
        "acme-repairs", "2.1", {"modelmedic.recoveries": ["ours = acme_repairs"]},
        acme_repairs=MAKER.format(family="system", name="context"),
    )  # fmt: skip
    done = site.run(folder_check('"system"'))
    assert done.code == 4
    assert "The recovery context of acme-repairs 2.1 has the name of another fixture" in done.out


def test_of_a_module_only_its_recoveries_count(site):
    """A fixture or a hook beside them could stand before ours."""
    more = """
import pytest

@pytest.fixture
def context():
    raise SystemExit("ours was replaced")

def pytest_runtest_setup(item):
    raise SystemExit("a hook was registered")
"""
    site.install(
        "acme-repairs", "2.1", {"modelmedic.recoveries": ["ours = acme_repairs"]},
        acme_repairs=MAKER.format(family="system", name="make_extra") + more,
    )  # fmt: skip
    done = site.run(folder_check('"system", using=["make_extra"]'), "--heal")
    assert done.code == 0, done.out


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("import no_such_package", "No module named 'no_such_package'"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("x = 1", "holds no recovery"),
        (MAKER.format(family="weather", name="make_extra"), "unknown family 'weather'"),
    ],
)
def test_a_distribution_that_cannot_be_used_is_named_with_the_rule(site, module, words):
    site.install(
        "acme-repairs", "2.1", {"modelmedic.recoveries": ["ours = acme_repairs"]},
        acme_repairs=module,
    )  # fmt: skip
    done = site.run(folder_check('"system"'))
    assert done.code == 4
    assert words in done.out
    assert "Correct or uninstall acme-repairs 2.1." in done.out
    assert "Traceback" not in done.out


def test_the_package_of_the_docs_is_built_installed_and_heals(site):
    page = (CHECKOUT / "docs" / "writing-recoveries.md").read_text(encoding="utf-8")
    project = site.folder / "acme"
    project.mkdir()
    for title in ("pyproject.toml", "acme_repairs.py"):
        fence = rf"^```\w+ title={re.escape(title)}\n(.*?)^```$"
        [text] = re.findall(fence, page, re.DOTALL | re.MULTILINE)
        (project / title).write_text(text, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(project)],
        check=True, capture_output=True, timeout=100, env=child_env(),
    )  # fmt: skip
    [wheel] = (project / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:  # what installing a pure wheel is
        archive.extractall(site.folder / "site")
    seat = """
class SeatTaken(Exception):
    pass

@pytest.mark.check("try.seat", area="weights")
def test_seat():
    '''A seat is free.'''
    raise CannotTell("Nobody knows.") from SeatTaken("5 of 5")
"""
    done = site.run(folder_check('"system", using=["make_render_folder"]') + seat, "--heal")
    assert done.finding("try.folder")["outcome"] == "healed", done.out
    assert done.finding("try.seat")["category"] == "authentication"


# --- names that nobody knows


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ('"weather"', "names the family 'weather'; known are missing_method, "),
        (
            '"system", using=["pray"]',
            "names the recovery 'pray', which no plugin brings; known are",
        ),
        ('"system", using="make"', "has using='make'; it is a list"),
        ('"system", use=["make"]', "takes a family and using="),
    ],
)
def test_a_wrong_name_ends_the_run_at_collection(site, marker, words):
    done = site.run(folder_check(marker))
    assert done.code == 4
    assert "test_own.py::test_folder: recover() " in done.out
    assert words in done.out


NEEDY = """
from modelmedic.healing.registry import recovery
from modelmedic.operations.kinds import MakeDir

@recovery("system", order=5)
def make_extra(repair{needs}):
    '''Make the folder.'''
    repair.step(MakeDir("extra"))
    yield
    {after}
"""


@pytest.mark.parametrize(
    ("needs", "after", "said"),
    [
        (", no_such_fixture", "", "FixtureLookupError"),
        ("", "raise RuntimeError('its end is wrong')", "RuntimeError: its end is wrong"),
    ],
    ids=["needs-what-is-not-there", "fails-after-the-check"],
)
def test_the_error_of_a_recovery_is_told_as_its_own(site, needs, after, said):
    """It never ran, or the check held: "did not help" would be wrong."""
    site.install(
        "acme-repairs", "2.1", {"modelmedic.recoveries": ["ours = acme_repairs"]},
        acme_repairs=NEEDY.format(needs=needs, after=after),
    )  # fmt: skip
    done = site.run(folder_check('"system", using=["make_extra"]'), "--heal")
    assert done.code == 1, done.out
    (attempt,) = done.finding("try.folder")["attempts"]
    assert attempt["verdict"] == "failed"
    assert said in attempt["error"]
    assert done.finding("try.folder")["outcome"] == "failed"
    assert "did not help" not in done.out
    assert not (site.folder / "install" / "extra").exists()
