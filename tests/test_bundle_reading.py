"""A bundle from a stranger: shown, rendered, compared and imported, and never believed."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from bundle_support import RUN_ID, finding, make_record, make_run, zip_of
from demo_support import Desk

from modelmedic import cli
from modelmedic.bundle import differing, making, reading, showing
from modelmedic.errors import CannotTell
from modelmedic.masking import Masker

HOSTILE = (
    "<script>alert(1)</script>\x1b[31m\u202eevil\n=cmd|' /C calc'!A0 {{7*7}} "
    "@someone #1 https://evil.example/ ![x](https://evil.example/x.png) ``` </pre>"
)


def make_bundle(place: Path, record: dict | None = None, name="b.zip") -> Path:
    make_run(place, record)
    path = place / name
    making.write(making.make(str(place / "run"), place / "state"), path)
    return path


def unpacked(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(path: Path, **changes: bytes | None) -> Path:
    """Write the bundle again with members changed, added, or (None) gone."""
    found = {**unpacked(path), **{name.replace("_json", ".json"): v for name, v in changes.items()}}
    path.write_bytes(zip_of(*((name, data) for name, data in found.items() if data is not None)))
    return path


def honest(path: Path, name: str, data: bytes) -> Path:
    """Change a member and what the manifest says of it: as a stranger would."""
    found = unpacked(path)
    manifest = json.loads(found["manifest.json"])
    for entry in manifest["members"]:
        if entry["name"] == name:
            entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    found |= {name: data, "manifest.json": json.dumps(manifest).encode()}
    path.write_bytes(zip_of(*found.items()))
    return path


@pytest.fixture
def bundle(tmp_path) -> Path:
    return make_bundle(tmp_path)


# -- reading -------------------------------------------------------------------------------------


def test_a_bundle_is_read_back(bundle):
    found = reading.read(bundle)
    assert found.is_whole
    assert found.warnings() == []
    assert found.record()["run_id"] == RUN_ID
    assert [record["run_id"] for record in reading.records(bundle)] == [RUN_ID]
    told = "\n".join(showing.lines(found))
    assert "Every file has the SHA-256 that the manifest names." in told
    assert "failed x.one: It broke. (1 check wait on it)" in told


def test_what_was_changed_is_said_and_not_imported(bundle):
    record = json.loads(unpacked(bundle)["report.json"])
    record["findings"][0]["what"] = "It is all fine."
    found = reading.read(repacked(bundle, report_json=json.dumps(record).encode()))
    assert found.changed == ("report.json",)
    assert "report.json was changed after the bundle was made" in "\n".join(showing.lines(found))
    with pytest.raises(CannotTell, match=r"changed or missing is report\.json"):
        reading.records(bundle)


def test_what_is_missing_or_added_is_said(bundle):
    found = reading.read(repacked(bundle, plan_json=None, other_json=b"{}"))
    assert found.missing == ("plan.json",)
    assert found.unlisted == ("other.json",)
    assert "other.json" not in found.data
    assert not found.is_whole


MANIFESTS = {
    "none": (None, "has no manifest.json"),
    "no json": (b"{", "no JSON"),
    "nested": (b"[" * 60_000, "no JSON|none of this version"),
    "another kind": (b'{"schema": 1, "kind": "x"}', "none of this version"),
    "huge": (b" " * 3_000_000, "too large|more than 200 times"),
}


@pytest.mark.parametrize(("data", "words"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_that_is_none_is_refused(bundle, data, words):
    with pytest.raises(CannotTell, match=words):
        reading.read(repacked(bundle, manifest_json=data))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\x1b[31m", "manifest.json"])
def test_a_manifest_with_names_that_no_bundle_has_is_refused(bundle, name):
    manifest = json.loads(unpacked(bundle)["manifest.json"])
    manifest["members"].append({**manifest["members"][0], "name": name})
    with pytest.raises(CannotTell) as caught:
        reading.read(repacked(bundle, manifest_json=json.dumps(manifest).encode()))
    assert str(caught.value).isprintable()


def test_a_manifest_that_names_a_member_twice_is_refused(bundle):
    manifest = json.loads(unpacked(bundle)["manifest.json"])
    manifest["members"].append(manifest["members"][0])
    with pytest.raises(CannotTell, match="names a member twice"):
        reading.read(repacked(bundle, manifest_json=json.dumps(manifest).encode()))


def test_a_record_that_is_none_is_refused(bundle):
    found = reading.read(honest(bundle, "report.json", b'{"schema": 1}'))
    assert found.is_whole
    with pytest.raises(CannotTell, match="cannot be read as a run record"):
        found.record()
    assert any("cannot be read as a run record" in line for line in showing.lines(found))


def test_a_bundle_whose_record_was_dropped_still_lists(tmp_path):
    make_run(tmp_path)
    made = making.make(str(tmp_path / "run"), tmp_path / "state", dropped=["report.json"])
    making.write(made, tmp_path / "b.zip")
    told = "\n".join(showing.lines(reading.read(tmp_path / "b.zip")))
    assert "holds no run record" in told
    assert "not in it: report.json: dropped by who made the bundle" in told


def test_nothing_is_written_when_a_bundle_is_read(bundle, tmp_path, monkeypatch):
    place = tmp_path / "empty"
    place.mkdir()
    monkeypatch.chdir(place)
    shutil.move(bundle, place / "b.zip")
    reading.read(place / "b.zip").records()
    assert [path.name for path in place.iterdir()] == ["b.zip"]


# -- hostile words -------------------------------------------------------------------------------


def hostile_record(place: Path) -> dict:
    bad = finding(
        "x.bad", what=HOSTILE, why=HOSTILE, next=HOSTILE, facts={HOSTILE: HOSTILE}, area="python"
    )
    record = make_record(place, bad)
    record["environment"] |= {"system": HOSTILE, "notes": [HOSTILE]}
    return record | {"profile": HOSTILE, "install_dir": HOSTILE}


def test_hostile_words_do_nothing_in_any_of_its_faces(tmp_path, capsysbinary):
    record = hostile_record(tmp_path)
    path = make_bundle(tmp_path, record)
    page = unpacked(path)["report.html"].decode()
    assert "<script>alert" not in page
    assert "\x1b" not in page
    for name, data in unpacked(path).items():
        assert b"\x1b[31m" not in data, name
    shown = "\n".join(showing.lines(reading.read(path)))
    told = "\n".join(differing.lines(record, make_record(tmp_path)))
    back = "\n".join(differing.lines(make_record(tmp_path), record))
    for text in (shown, told, back):
        assert all(line.isprintable() for line in text.split("\n"))
    assert cli.main(["report", str(path)]) == 0
    assert b"<script>alert" not in capsysbinary.readouterr().out


def test_a_strangers_bundle_may_say_what_it_likes_where_a_person_reads_it(bundle):
    manifest = json.loads(unpacked(bundle)["manifest.json"])
    manifest |= {"modelmedic": HOSTILE[:80], "machine": HOSTILE[:80], "profile": HOSTILE}
    manifest["members"][0] |= {"about": HOSTILE, "cut": HOSTILE}
    manifest["left_out"] = [{"name": HOSTILE, "why": HOSTILE}]
    found = reading.read(repacked(bundle, manifest_json=json.dumps(manifest).encode()))
    assert all(line.isprintable() for line in showing.lines(found))


# -- comparing -----------------------------------------------------------------------------------


def inventory(**changes) -> dict:
    return {
        "hash": "0" * 32, "system": "Linux 6.1 x86_64", "python": "3.11.2", "driver": "535.1",
        "gpus": ["A", "B"], "memory_bytes": 1 << 34, "packages": {"torch": "2.8.0", "numpy": "1.26"},
        "files": {"model/a": 100, "model/b": 5},
    } | changes  # fmt: skip


def on_machine(record: dict, name: str, **changes) -> dict:
    about = {"machine_id": f"machine:{name}", "inventory": inventory(**changes)}
    return {**record, "environment": {**record["environment"], **about}}


def test_two_runs_are_compared(tmp_path):
    record = make_record(tmp_path)
    good = make_record(tmp_path, finding(outcome="passed"), finding("x.new", "passed"))
    changes = {"driver": "580.2", "packages": {"torch": "2.9.0"}, "files": {"model/a": 7}}
    before, after = on_machine(record, "0123456789"), on_machine(good, "abcdef0123", **changes)
    assert list(differing.lines(before, after)) == [
        "Two machines: machine:0123456789 and machine:abcdef0123.",
        "4 outcomes differ:",
        "  x.one: failed -> passed",
        "  x.two: blocked -> (none)",
        "  x.three: passed -> (none)",
        "  x.new: (none) -> passed",
        "1 difference of the machines:",
        "  driver: 535.1 -> 580.2",
        "2 packages differ:",
        "  numpy: 1.26 -> (none)",
        "  torch: 2.8.0 -> 2.9.0",
        "2 files of the model differ:",
        "  model/a: 100 bytes (100 bytes) -> 7 bytes (7 bytes)",
        "  model/b: 5 bytes (5 bytes) -> (none)",
    ]
    assert list(differing.lines(before, before)) == [
        "The same machine: machine:0123456789.",
        "Nothing else differs.",
    ]


def test_two_bundles_and_a_run_are_compared_by_the_command(tmp_path, capsys):
    first = make_bundle(tmp_path)
    good = make_record(tmp_path, finding(outcome="passed"), exit_code=0)
    second = make_bundle(tmp_path, good, "c.zip")
    assert cli.main(["bundle", "diff", str(first), str(second)]) == 0
    assert "x.one: failed -> passed" in capsys.readouterr().out
    assert cli.main(["bundle", "diff", str(first), str(tmp_path / "run")]) == 0
    assert "x.one: failed -> passed" in capsys.readouterr().out
    assert cli.main(["bundle", "diff", str(first)]) == 4


# -- the commands --------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path)
    return tmp_path


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_terminal_nothing_is_written_unless_it_was_agreed_to(desk, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert cli.main(["bundle", "run"]) == 4
    told = capsys.readouterr().out
    assert "report.json" in told
    assert "Next: the same command with --yes" in told
    assert list(desk.glob("*.zip")) == []
    assert cli.main(["bundle", "run", "--yes"]) == 0
    assert [path.name for path in desk.glob("*.zip")] == [f"modelmedic-bundle-{RUN_ID}.zip"]


@pytest.mark.parametrize(("answer", "code", "count"), [("y", 0, 1), ("n", 2, 0), ("", 2, 0)])
def test_on_a_terminal_it_asks(desk, monkeypatch, answer, code, count):
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    assert cli.main(["bundle", "run", "--output", "my.zip"]) == code
    assert len(list(desk.glob("my.zip"))) == count


def test_the_end_of_the_terminal_is_no_yes(desk, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert cli.main(["bundle", "run"]) == 2
    assert list(desk.glob("*.zip")) == []


def test_a_terminal_that_knows_few_letters_is_no_trouble(desk, monkeypatch):
    record = make_record(desk, finding(what="\u6a21\u578b \U0001f600"))
    make_run(desk, record)
    cli.main(["bundle", "run", "--yes", "--output", "b.zip"])
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", plain)
    assert cli.main(["bundle", "show", "b.zip"]) == 0
    assert cli.main(["bundle", "run", "--issue"]) == 0
    plain.seek(0)
    assert "\\u6a21" in plain.read()


def test_show_tells_by_its_exit_code_whether_it_is_as_it_was_made(desk, capsys):
    cli.main(["bundle", "run", "--yes", "--output", "b.zip"])
    assert cli.main(["bundle", "show", "b.zip"]) == 0
    repacked(desk / "b.zip", plan_json=b"{}")
    assert cli.main(["bundle", "show", "b.zip"]) == 1
    assert "plan.json was changed" in capsys.readouterr().out


def test_a_report_is_rendered_from_a_bundle_and_a_change_is_said(desk, capsys):
    cli.main(["bundle", "run", "--yes", "--output", "b.zip"])
    assert cli.main(["report", "b.zip", "--output", "page.html"]) == 0
    assert "It broke." in (desk / "page.html").read_text(encoding="utf-8")
    repacked(desk / "b.zip", plan_json=b"{}")
    cli.main(["report", "b.zip", "--output", "page.html"])
    assert "NOTE: plan.json was changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["a", "b"], ["show"], ["show", "a", "b"], ["diff", "a"], ["show", "a", "--yes"],
     ["--issue", "--output", "x"], ["run", "--profile", "demo"]],
)  # fmt: skip
def test_wrong_use_is_said(desk, words):
    assert desk
    assert cli.main(["bundle", *words]) == 4


def test_the_history_takes_in_a_bundle_once_and_refuses_a_changed_one(desk, monkeypatch, capsys):
    cli.main(["bundle", "run", "--yes", "--output", "b.zip"])
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(desk / "elsewhere"))
    capsys.readouterr()
    assert cli.main(["history", "import", "b.zip"]) == 0
    assert cli.main(["history", "import", "b.zip"]) == 0
    told = capsys.readouterr().out
    assert "Imported: 1 new, 0 known" in told
    assert "Imported: 0 new, 1 known" in told
    repacked(desk / "b.zip", report_json=b"{}")
    assert cli.main(["history", "import", "b.zip"]) == 1
    assert "changed or missing is report.json" in capsys.readouterr().err


# -- a real run ----------------------------------------------------------------------------------


@pytest.mark.once
def test_a_real_run_is_bundled_read_elsewhere_and_compared(tmp_path, monkeypatch, capsys):
    work = tmp_path / "work"
    work.mkdir()
    desk = Desk(work)
    healed = desk.run("--stage=installed", "--heal")
    assert healed.code == 0, healed.out
    shutil.move(healed.folder, tmp_path / "first")
    victim = next(work.rglob("*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:100])
    sick = desk.run("--stage=installed", "--heal=plan")
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    for run, name in (("first", "a.zip"), (str(sick.folder), "b.zip")):
        assert cli.main(["bundle", run, "--yes", "--output", name]) == 0
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path / "elsewhere"))
    names = set(unpacked(tmp_path / "a.zip"))
    assert {"report.json", "report.html", "junit.xml", "environment.json"} <= names
    assert f"journal/{healed.record['run_id']}.jsonl" in names
    assert "plan.json" in unpacked(tmp_path / "b.zip")
    assert cli.main(["report", "b.zip", "--output", "page.html"]) == 0
    assert "is cut short" in Path("page.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["bundle", "diff", "a.zip", "b.zip"]) == 0
    told = capsys.readouterr().out
    assert "weights.intact[" in told
    assert "The same machine: machine:" in told
    assert victim.name in told.partition("of the model differ")[2]
    leaked = Masker.of_this_machine()
    for data in unpacked(tmp_path / "b.zip").values():
        assert leaked.mask(data.decode()) == data.decode()
