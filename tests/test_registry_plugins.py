"""What installed distributions and pytest plugins add: seen, named, and never in a built-in's place.

Each distribution is a real one: modules and a dist-info folder on the path of a child process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import CHECKOUT, child_env

HEAD = """
import pytest
from modelmedic.errors import CannotTell, Unhealthy
"""
FOLDER_CHECK = """
@pytest.mark.check("try.folder", area="install")
@pytest.mark.recover({marker})
def test_folder(context):
    '''The folder is there.'''
    if not (context.place / "extra").is_dir():
        raise Unhealthy("extra is missing.", "Because.", "Make it.", subject="extra")
"""
ODD_CHECK = """
@pytest.mark.check("try.odd", area="weights")
def test_odd():
    '''Nothing is odd.'''
    raise CannotTell("It is odd.") from RuntimeError("words that nobody knows")
"""
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


@dataclass(slots=True)
class Site:
    """A folder on the path in which distributions lie as pip installs them."""

    folder: Path

    def install(self, name, version, groups, **modules):
        """Put a distribution there; ``groups`` are its entry points: {group: [lines]}."""
        info = self.folder / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
        )
        lines = [f"[{group}]\n" + "\n".join(entries) for group, entries in groups.items()]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for module, text in modules.items():
            (self.folder / "site" / f"{module}.py").write_text(
                textwrap.dedent(text), encoding="utf-8"
            )

    def run(self, checks, *options):
        """Run checks of our own in a child that has the folder on its path."""
        (self.folder / "install").mkdir(exist_ok=True)
        file = self.folder / "test_own.py"
        file.write_text(HEAD + checks, encoding="utf-8")
        start = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
        done = subprocess.run(
            [
                sys.executable, "-c", start, f"--config-file={CHECKOUT / 'pyproject.toml'}",
                f"--rootdir={self.folder}", "-pmodelmedic.entry", str(file), "--profile=demo",
                f"--install-dir={self.folder / 'install'}", "--stage=installed", "--offline",
                f"--report-dir={self.folder / 'report'}", *options,
            ],
            cwd=self.folder, capture_output=True, text=True, timeout=100, check=False,
            env=child_env(
                MODELMEDIC_STATE_DIR=str(self.folder / "state"),
                MODELMEDIC_CACHE_DIR=str(self.folder / "cache"),
                PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
                PYTHONPATH=os.pathsep.join([str(CHECKOUT / "src"), str(self.folder / "site")]),
            ),
        )  # fmt: skip
        return Done(done.returncode, done.stdout + done.stderr, self.folder / "report")


@dataclass(slots=True)
class Done:
    code: int
    out: str
    report: Path

    @property
    def record(self):
        return json.loads((self.report / "report.json").read_text(encoding="utf-8"))

    @property
    def notes(self):
        return self.record["environment"]["notes"]

    def finding(self, check):
        return next(f for f in self.record["findings"] if f["check"] == check)


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    return Site(tmp_path)


def folder_check(marker):
    return FOLDER_CHECK.format(marker=marker)


# --- recoveries


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


# --- classifiers


CLASSIFIER = """
def ask(error):
    {body}
"""


def classifier(site, body, name="acme-words"):
    module = name.replace("-", "_")
    site.install(
        name, "1.0", {"modelmedic.classify": [f"ours = {module}:ask"]},
        **{module: CLASSIFIER.format(body=body)},
    )  # fmt: skip


def test_an_error_that_nobody_knows_is_put_where_a_distribution_says(site):
    classifier(site, "return 'authentication' if 'odd' in str(error) else None")
    done = site.run(ODD_CHECK)
    assert done.finding("try.odd")["category"] == "authentication"
    assert not done.notes


def test_facts_come_before_distributions_and_words_after(site):
    classifier(site, "return 'authentication'")
    checks = """
@pytest.mark.check("try.fact", area="weights")
def test_fact():
    '''A fact.'''
    raise CannotTell("x") from OSError(28, "full")

@pytest.mark.check("try.words", area="weights")
def test_words():
    '''Words.'''
    raise CannotTell("x") from RuntimeError("Connection refused")

@pytest.mark.check("try.known", area="weights")
def test_known():
    '''A known failure.'''
    raise Unhealthy("x", failure_id="cpu-only-torch")
"""
    done = site.run(checks)
    assert done.finding("try.fact")["category"] == "resource_exhaustion"
    assert done.finding("try.words")["category"] == "authentication"
    assert done.finding("try.known")["category"] == "dependency"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('its own bug')", "it failed: KeyError: 'its own bug'"),
        ("raise SystemExit(3)", "it failed: SystemExit: 3"),
        ("return 'weather'", "it answered 'weather'; categories are system, network, "),
        ("return ['network']", "it answered ['network']; categories are "),
    ],
)
@pytest.mark.parametrize(
    "options", [(), ("-Werror",), ("-pxdist.plugin", "-n1")], ids=["", "W", "n"]
)
def test_one_that_crashes_or_errs_is_told_by_name_and_passed_over(site, body, words, options):
    classifier(site, body)
    classifier(site, "return 'timeout'", name="best-words")
    done = site.run(ODD_CHECK, *options)
    assert done.code == 1
    assert done.finding("try.odd")["category"] == "timeout"
    assert f"modelmedic.classify 'ours' of acme-words 1.0 was passed over: {words}" in done.out
    if options != ("-Werror",):  # there the warning cannot be kept; it is printed
        [note] = done.notes
        assert words in note


@pytest.mark.parametrize(
    ("module", "words"),
    [("import no_such_package", "No module named"), ("ask = 5", "acme_words:ask is not callable")],
)
def test_one_that_cannot_be_loaded_is_told_once(site, module, words):
    site.install(
        "acme-words", "1.0", {"modelmedic.classify": ["ours = acme_words:ask"]}, acme_words=module
    )
    again = ODD_CHECK.replace("try.odd", "try.again").replace("test_odd", "test_again")
    done = site.run(ODD_CHECK + again)
    assert done.finding("try.odd")["category"] == "corruption"
    [note] = done.notes
    assert words in note


def test_no_distribution_is_loaded_when_facts_suffice(site):
    classifier(site, "return None")
    (site.folder / "site" / "acme_words.py").write_text(
        f"open({str(site.folder / 'loaded')!r}, 'w').close()\ndef ask(error): return None\n"
    )
    checks = """
@pytest.mark.check("try.fact", area="weights")
def test_fact():
    '''A fact.'''
    raise CannotTell("x") from OSError(28, "full")
"""
    assert site.run(checks).code == 1
    assert not (site.folder / "loaded").exists()
    site.run(ODD_CHECK)
    assert (site.folder / "loaded").exists()


# --- hooks of pytest plugins


PLUGIN = """
def pytest_heal_classify(item, error):
    {body}
"""


def plugin(site, body, name="acme_plugin"):
    (site.folder / "site" / f"{name}.py").write_text(PLUGIN.format(body=body), encoding="utf-8")
    return f"-p{name}"


def test_a_hook_chooses_the_family_before_error_and_marker(site):
    option = plugin(site, "return 'system' if 'extra' in str(error) else None")
    done = site.run(folder_check('"permission"'), "--heal", option)
    assert done.code == 0, done.out
    assert done.finding("try.folder")["attempts"][0]["recovery"] == "create_missing_folder"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return 'weather'", "it answered 'weather'; families are missing_method, "),
        ("raise OSError('its own bug')", "it failed: OSError: its own bug"),
    ],
)
def test_a_hook_that_crashes_or_errs_is_told_by_name_and_the_next_is_asked(site, body, words):
    good = plugin(site, "return 'system'", "good_plugin")
    bad = plugin(site, body, "bad_plugin")
    done = site.run(folder_check('"permission"'), "--heal", good, bad)
    assert done.code == 0, done.out
    assert done.finding("try.folder")["outcome"] == "healed"
    [note] = [n for n in done.notes if "passed over" in n]
    assert note.startswith("pytest_heal_classify of the plugin bad_plugin was passed over: ")
    assert words in note


def test_without_a_hook_the_error_comes_before_the_marker(site):
    """The folder is missing, says the errno-free check; the marker alone would find nothing."""
    checks = folder_check('"permission"').replace(
        'subject="extra")', 'subject="extra") from RuntimeError("Segmentation fault")'
    )
    done = site.run(checks, "--heal")
    assert done.finding("try.folder")["outcome"] == "healed", done.out


def test_what_a_family_without_recoveries_needs_is_said(site):
    done = site.run(folder_check('"missing_method"'), "--heal")
    assert done.code == 1
    attempts = done.finding("try.folder")["attempts"]
    assert [a["recovery"] for a in attempts] == [
        "DynamicMethodInjectionStrategy", "FallbackImplementationStrategy",
        "AlternativeClassStrategy", "ManualInterventionStrategy",
    ]  # fmt: skip
    assert {a["verdict"] for a in attempts} == {"refused"}
    assert "no shim for a missing method is installed" in attempts[0]["error"]


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
