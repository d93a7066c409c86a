"""Each format of the export is read back by that format's own parser, whatever it holds."""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import jsonschema
import pytest
from junitparser import Error, Failure, JUnitXml, Skipped
from prometheus_client.parser import text_string_to_metric_families
from reporter_support import NOW, Past, finding
from support import CHECKOUT

from modelmedic import HealthReporter, ReliabilityManager
from modelmedic.reporter.interfaces import FORMATS

SCHEMA = json.loads((CHECKOUT / "reports/metrics.schema.json").read_text("utf-8"))
TOKEN = "hf_abcdefghijklmnopqrstuvwx"
HOSTILE = [
    "<script>alert(1)</script>&lt;]]>",
    '=HYPERLINK("http://x.invalid","y")',
    "  @SUM(A1)",
    "\uff1dcmd|' /C calc'!A0",
    "\x1b[31mred\x1b[0m\x00\x07\x7f",
    "one\ntwo\r\nthree\u2028four",
    'quote " backslash \\ brace {} comma ,',
    "\ud800 \udcff \ufffe \u202eright",
    f"token={TOKEN} Authorization: Bearer {TOKEN}",
    "x" * 1_000_000,
]  # fmt: skip

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian's package prometheus)"
)


@pytest.fixture
def past(tmp_path):
    with Past(tmp_path / "state") as made:
        yield made


@pytest.fixture
def plain(past):
    past.store(1, [finding("w.a[vae.pth]", seconds=1.5)])
    past.store(
        0,
        [
            finding("w.a[vae.pth]", "failed", failure_id="weights-cut", seconds=2.0),
            finding("w.a[t5.pth]", seconds=0.25),
            finding("g.x", "unknown"),
            finding("g.y", "blocked", blocked_by="g.x"),
            finding("g.z", "skipped"),
            finding("d.h", "healed"),
            finding("d.d", "degraded"),
        ],
    )
    past.heal("refetch", "healed", "healed", "not healed")
    past.history.add_alert(
        key="disk_full[/models]", severity="warning", text="It fills.", first_at=NOW, last_at=NOW
    )
    past.history.add_component_metrics(
        [(NOW - 60, "Down", "fetch", 7, 1, 2, 0.5, 2.0), (NOW, "Down", "fetch", 3, 0, 0, 0.4, 1.0)]
    )
    fill(past)
    return past


def fill(past, per_day=-4e9, days=12):
    """Store minutes of a disk whose free space falls every day."""
    past.history.add_minutes(
        ("disk.free_bytes[/models]", int(NOW - day * 86400 - hour * 3600 - 60), *(free,) * 4, 60)
        for day in range(days)
        for hour in range(0, 24, 6)
        for free in [40e9 - (day + hour / 24) * per_day]
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Every text of a history that a stranger can choose, in each of the tables."""
    with Past(tmp_path_factory.mktemp("hostile") / "state") as past:
        yield spoiled(past)


@pytest.fixture(scope="module")
def exported_hostile(hostile):
    """Give the export in a form; each is made once: it is masked, and that takes seconds."""
    return functools.cache(functools.partial(exported, hostile))


def spoiled(past):
    past.store(
        0,
        [
            finding(
                f"w.{number}[{text[:400]}]", outcome, title=text, area=text[:300],
                severity=text[:300], failure_id=text, what=text, why=text, next=text,
                blocked_by=text,
            )
            for number, text in enumerate(HOSTILE)
            for outcome in [("failed", "unknown", "blocked", "degraded", "skipped")[number % 5]]
        ],
        profile="".join(HOSTILE[:8]),
        install_dir=f"/models/{HOSTILE[0]}\n{TOKEN}",
    )  # fmt: skip
    for number, text in enumerate(HOSTILE):
        name = text.encode("utf-8", "replace").decode()[:5000]
        past.heal(name, "healed", category=name)
        past.history.add_alert(
            key=name, severity=name, text=name, first_at=NOW + number, last_at=NOW
        )
        past.history.add_component_metrics([(NOW, name, name, 1, 1, 1, None, float("inf"))])
    past.history.add_alert(
        key="long", severity="warning", text="y" * 10_000_000, first_at=NOW, last_at=NOW
    )
    for ending in "ab":  # names that meet when they are cut
        past.heal("x" * 300 + ending, "healed")
    return past


def exported(past, form, **options):
    with HealthReporter(state_dir=past.state_dir, clock=lambda: NOW, **options) as reporter:
        text = reporter.export_metrics(form)
    text.encode("utf-8")  # no half of a character is left in it
    return text


def read_json(text):
    value = json.loads(text)
    jsonschema.validate(value, SCHEMA)
    return value


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def read_prometheus(text):
    families = list(text_string_to_metric_families(text))
    assert text.endswith("\n")
    assert all(family.documentation and family.type != "unknown" for family in families)
    samples = [
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert len({sample[:2] for sample in samples}) == len(samples)
    return samples


def read_junit(text):
    root = ET.fromstring(text)
    document = JUnitXml.fromstring(text.encode())
    assert {child.tag for child in root} <= {"testsuite"}
    for suite in root:
        for name, count in (("tests", "testcase"), ("failures", "testcase/failure"),
                            ("errors", "testcase/error"), ("skipped", "testcase/skipped")):  # fmt: skip
            assert int(suite.get(name)) == len(suite.findall(count))
    return document


READERS = {
    "json": read_json, "csv": read_csv, "prometheus": read_prometheus, "junit": read_junit,
}  # fmt: skip


def test_another_format_is_refused_by_name(past):
    with pytest.raises(ValueError, match="json, csv, prometheus, junit"):
        exported(past, "xml")
    assert set(READERS) == set(FORMATS)


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_history_is_exported_as_an_empty_document(form, past):
    READERS[form](exported(past, form))
    assert not past.state_dir.exists()


def test_json_says_all_there_is(plain):
    found = read_json(exported(plain, "json"))
    (install,) = found["installs"]
    assert found["machine"] == install["machine"]
    assert re.fullmatch(r"install:[0-9a-f]{10}", install["install"])
    checks = {each["check"]: each for each in install["checks"]}
    assert len(checks) == 7
    assert checks["w.a[vae.pth]"]["failure_id"] == "weights-cut"
    assert checks["w.a[vae.pth]"]["since"] == NOW - 3600
    assert checks["g.y"]["blocked_by"] == "g.x"
    assert found["heals"] == [
        {"recovery": "refetch", "category": "corruption", "verdict": "healed", "count": 2},
        {"recovery": "refetch", "category": "corruption", "verdict": "not healed", "count": 1},
    ]
    (component,) = found["components"]
    assert (component["calls"], component["failures"], component["median_seconds"]) == (10, 1, 0.4)
    (forecast,) = found["forecasts"]
    assert forecast["seconds"] == pytest.approx(10 * 86400, rel=0.1)
    assert forecast["soonest_seconds"] <= forecast["seconds"] <= forecast["latest_seconds"]


def test_a_managers_counts_are_exported_beside_the_history(past):
    class Component:
        def work(self):
            return 1

    past.store(0, [finding("a.b")])
    manager = ReliabilityManager()
    wrapped = manager.wrap_component(Component(), "Component")
    assert wrapped.work() + wrapped.work() == 2
    (component,) = read_json(exported(past, "json", manager=manager))["components"]
    assert (component["component"], component["operation"], component["calls"]) == (
        "Component", "work", 2,
    )  # fmt: skip


def test_after_a_run_of_a_part_what_it_left_out_is_exported_too(past):
    past.store(2, [finding("a.gone", "failed")])
    past.store(1, [finding("a.b", "failed"), finding("a.c")])
    past.store(0, [finding("a.b")], is_partial=True)
    (install,) = read_json(exported(past, "json"))["installs"]
    found = {each["check"]: each["outcome"] for each in install["checks"]}
    assert found == {"a.b": "passed", "a.c": "passed"}


def test_csv_has_a_line_for_each_check(plain):
    rows = read_csv(exported(plain, "csv"))
    assert len(rows) == 7
    row = next(row for row in rows if row["check"] == "w.a[vae.pth]")
    assert (row["outcome"], row["seconds"], row["failure"]) == ("failed", "2.0", "weights-cut")
    assert row["since"] == "2026-11-28T23:00:00Z"


def test_prometheus_has_the_names_and_values_that_rules_are_written_for(plain):
    samples = read_prometheus(exported(plain, "prometheus"))
    values = {(name, dict(labels).get("check"), dict(labels).get("outcome")): value
              for name, labels, value in samples}  # fmt: skip
    assert values["modelmedic_check_status", "w.a", "failed"] == 1
    assert values["modelmedic_check_status", "w.a", "passed"] == 1
    assert values["modelmedic_check_status", "d.h", "failed"] == 0
    assert values["modelmedic_check_duration_seconds", "w.a", None] == 2.25
    assert values["modelmedic_last_run_timestamp_seconds", None, None] == NOW - 3600
    assert values["modelmedic_predicted_exhaustion_seconds", None, None] > 8 * 86400
    heals = {dict(labels)["result"]: value for name, labels, value in samples
             if name == "modelmedic_heal_total"}  # fmt: skip
    assert heals == {"healed": 2, "not healed": 1, "failed": 0}
    told = {part for _, labels, _ in samples for _, part in labels}
    assert not [part for part in told if re.search(r"/|\.pth|\d{8}-\d{6}|fills", part)]


def test_an_alert_of_a_monitor_that_has_stopped_is_not_said_to_hold(past):
    past.store(0, [finding("a.b")])
    alert = {"key": "memory", "severity": "warning", "text": "It is full."}
    past.history.add_alert(**alert, first_at=NOW - 9000, last_at=NOW - 9000)
    past.history.add_alert(**alert, first_at=NOW - 7200, last_at=NOW - 7200)
    assert read_json(exported(past, "json"))["alerts"] == []
    past.history.add_minutes([("memory.used_bytes", int(NOW) - 120, *(1.0,) * 4, 60)])
    (told,) = read_json(exported(past, "json"))["alerts"]
    assert told["first_at"] == NOW - 7200


def test_without_a_trend_no_exhaustion_is_predicted(past):
    past.store(0, [finding("a.b")])
    fill(past, per_day=0.0)
    assert "predicted" not in exported(past, "prometheus")
    assert read_json(exported(past, "json"))["forecasts"] == []


def test_junit_has_a_suite_for_each_install(plain):
    plain.store(0, [finding("a.b")], install_dir="/models/other")
    document = read_junit(exported(plain, "junit"))
    assert len(document) == 2
    suite = max(document, key=lambda each: each.tests)
    cases = {case.name: case for case in suite}
    (failure,) = cases["w.a[vae.pth]"].result
    assert isinstance(failure, Failure)
    assert failure.type == "weights-cut"
    assert isinstance(cases["g.x"].result[0], Error)
    assert isinstance(cases["g.y"].result[0], Skipped)
    assert cases["w.a[t5.pth]"].result == []
    assert cases["w.a[t5.pth]"].time == 0.25


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_content_stays_content_and_no_token_is_left(form, exported_hostile):
    text = exported_hostile(form)
    READERS[form](text)
    assert TOKEN not in text
    assert len(text) < 500_000
    assert not set(text) & set("\x00\x07\x1b\x7f\u202e")


def test_no_cell_of_a_spreadsheet_is_a_formula(exported_hostile):
    rows = read_csv(exported_hostile("csv"))
    assert len(rows) == len(HOSTILE)
    for row in rows:
        for cell in row.values():
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d")), cell
            assert "\n" not in cell


@pytest.mark.once
@needs_promtool
@pytest.mark.parametrize("which", ["plain", "hostile"])
def test_promtool_finds_nothing_to_complain_of(which, plain, exported_hostile):
    text = exported(plain, "prometheus") if which == "plain" else exported_hostile("prometheus")
    told = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@pytest.mark.once
@needs_promtool
def test_the_rules_of_the_docs_are_rules(tmp_path):
    page = (CHECKOUT / "docs/health-reports.md").read_text("utf-8")
    text = page.partition("<!-- rules -->\n```yaml\n")[2].partition("```")[0]
    (tmp_path / "rules.yml").write_text(text)
    told = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "rules.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert "4 rules found" in told.stdout


def test_each_metric_of_the_docs_is_written_and_each_written_one_is_in_the_docs(plain):
    page = (CHECKOUT / "docs/health-reports.md").read_text("utf-8")
    table = page.partition("| metric | labels | is |")[2].partition("`install` is a stand-in")[0]
    named = set(re.findall(r"`(modelmedic_\w+)`", table))
    named |= {f"modelmedic_component{name}" for name in re.findall(r"`(_\w+_total)`", table)}
    assert named == {sample[0] for sample in read_prometheus(exported(plain, "prometheus"))}


def test_the_rules_of_the_docs_name_metrics_that_are_written(plain):
    page = (CHECKOUT / "docs/health-reports.md").read_text("utf-8")
    rules = page.partition("<!-- rules -->")[2].partition("<!-- /rules -->")[0]
    named = set(re.findall(r"\bmodelmedic_\w+", rules))
    assert len(named) == 4
    assert named <= {sample[0] for sample in read_prometheus(exported(plain, "prometheus"))}
