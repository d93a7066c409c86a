"""Classifiers of installed distributions and hooks of pytest plugins: asked in turn, told by name."""

from __future__ import annotations

import pytest
from extension_support import Site, folder_check

pytestmark = pytest.mark.once

ODD_CHECK = """
@pytest.mark.check("try.odd", area="weights")
def test_odd():
    '''Nothing is odd.'''
    raise CannotTell("It is odd.") from RuntimeError("words that nobody knows")
"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    return Site(tmp_path)


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
        ("raise SystemExit(3)", "it failed: SystemExit: 3"),
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
    assert "a check sees no running component to inject a shim into" in attempts[0]["error"]
