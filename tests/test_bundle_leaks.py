"""What masking misses keeps a bundle back; and one is written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_support import Unmasked, contents, finding, make, make_record, make_run, planted
from support import FIND_US, child_env

from modelmedic import leaks, records
from modelmedic.bundle import cleaning, making, members, reading, scanning
from modelmedic.errors import ModelmedicError

# Of no shape that a rule of the masking knows; the second look knows the variable's value.
SECRET = "correct-Horse7battery"

# -- the second look -----------------------------------------------------------------------------


def test_what_masking_misses_is_found_by_the_second_look_and_masked(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_SERVICE_TOKEN", SECRET)
    planted(tmp_path, f"It said {SECRET} to me.", facts={"password": SECRET, "n": 1})
    errors = json.dumps({"schema": 1, "said": [SECRET]})
    (tmp_path / "state/errors.jsonl").write_text(errors, encoding="utf-8")
    monkeypatch.setattr(making, "masker", lambda _state: Unmasked)
    made = make(tmp_path)
    assert made.found > 0
    for name, data in contents(made).items():
        assert SECRET.encode() not in data, name
    record = json.loads(contents(made)["report.json"])
    assert record["findings"][0]["what"] == "It said *** to me."
    assert record["findings"][0]["facts"]["n"] == 1


def test_a_token_is_found_by_its_shape_when_the_rules_of_masking_are_broken(tmp_path, monkeypatch):
    token = "hf_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0"[:28]
    planted(tmp_path, f"The Hub refused {token} today.")
    assert make(tmp_path).found == 0
    monkeypatch.setattr("modelmedic.masking.table.Table.apply", lambda _self, text, _lower: text)
    made = make(tmp_path)
    assert made.found > 0
    assert token.encode() not in b"".join(contents(made).values())


def test_what_a_key_calls_a_secret_is_masked_whatever_it_looks_like(tmp_path):
    planted(tmp_path, "It broke.", facts={"db_password": "zebra", "size_bytes": 7})
    facts = json.loads(contents(make(tmp_path))["report.json"])["findings"][0]["facts"]
    assert facts == {"db_password": "***", "size_bytes": 7}


def test_the_second_look_knows_values_by_their_key_too(tmp_path, monkeypatch):
    monkeypatch.setattr(cleaning.ByRules, "by_key", lambda *_: None)
    monkeypatch.setattr(making, "masker", lambda _state: Unmasked)
    planted(tmp_path, "It broke.", facts={"db_password": "Tr0ub4dor-9-xyz", "size_bytes": 7})
    made = make(tmp_path)
    facts = json.loads(contents(made)["report.json"])["findings"][0]["facts"]
    assert facts == {"db_password": "***", "size_bytes": 7}
    assert made.found > 0


def test_what_cannot_be_masked_keeps_the_bundle_back_and_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_SERVICE_TOKEN", SECRET)
    monkeypatch.setattr(making, "masker", lambda _state: Unmasked)
    monkeypatch.setattr(leaks, "without", lambda text, _known: text)  # it hides nothing
    planted(tmp_path, "It broke.")
    errors = json.dumps({"schema": 1, "said": SECRET})
    (tmp_path / "state/errors.jsonl").write_text(errors, encoding="utf-8")
    with pytest.raises(scanning.Leaking, match=r"--drop logs/errors\.jsonl") as caught:
        make(tmp_path)
    assert SECRET not in str(caught.value)
    assert "logs/errors.jsonl, line 1" in str(caught.value)
    assert SECRET.encode() not in make(tmp_path, dropped=["logs/errors.jsonl"]).data


@pytest.mark.parametrize("name", ["in_archive", "Known"])
def test_a_scan_that_cannot_run_lets_nothing_leave(tmp_path, monkeypatch, name):
    make_run(tmp_path)

    class Broken:
        def __call__(self, *_args):
            raise MemoryError

        of_this_machine = __call__

    monkeypatch.setattr(leaks, name, Broken())
    with pytest.raises(scanning.CannotScan, match="MemoryError"):
        make(tmp_path)


def test_names_of_members_are_looked_at_too(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_SERVICE_TOKEN", SECRET)
    make_run(tmp_path)
    telling = members.Member(f"journal/{SECRET}.jsonl", "x", b"{}\n")
    monkeypatch.setattr("modelmedic.bundle.kept.journals", lambda *_: [telling])
    with pytest.raises(scanning.Leaking, match="its name") as caught:
        make(tmp_path)
    assert SECRET not in str(caught.value)
    assert SECRET.encode() not in make(tmp_path, dropped=[telling.name]).data


def test_a_name_that_is_a_word_of_the_schema_does_not_break_the_record(tmp_path, monkeypatch):
    mask = staticmethod(lambda text: text.replace("apply", "<user>"))
    monkeypatch.setattr(Unmasked, "mask", mask)
    monkeypatch.setattr(making, "masker", lambda _state: Unmasked)
    make_run(tmp_path, make_record(tmp_path, finding(what="apply was here.")))
    record = json.loads(contents(make(tmp_path))["report.json"])
    assert record["mode"] == "apply"
    assert record["findings"][0]["what"] == "<user> was here."


def test_a_bundle_that_nobody_could_read_is_not_written(tmp_path, monkeypatch):
    """Its log is deflated although it unfolds like a bomb, as `packing` would not do it."""
    make_run(tmp_path)
    line = json.dumps({"schema": 1, "error": "the same again and again"})
    (tmp_path / "state/errors.jsonl").write_text(f"{line}\n" * 6_000, encoding="utf-8")
    monkeypatch.setattr("modelmedic.bundle.packing.MOST_RATIO", 10_000)
    with pytest.raises(ModelmedicError, match="could not be read back"):
        make(tmp_path)


# -- writing -------------------------------------------------------------------------------------


def test_it_is_written_for_this_user_only_and_replaces_only_a_bundle(tmp_path):
    make_run(tmp_path)
    made = make(tmp_path)
    path = tmp_path / "b.zip"
    making.write(made, path)
    making.write(made, path)
    assert path.read_bytes() == made.data
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = tmp_path / "thesis.doc"
    other.write_text("years of work", encoding="utf-8")
    with pytest.raises(ModelmedicError, match="is there already and is no bundle"):
        making.write(made, other)
    assert other.read_text(encoding="utf-8") == "years of work"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_leaves_no_bundle_and_is_said(tmp_path, monkeypatch):
    make_run(tmp_path)
    made = make(tmp_path)
    real = os.open

    def full(path, flags, *args, **kwargs):
        if str(path).startswith(str(tmp_path / ".b.zip")):
            real(path, flags, *args, **kwargs)
            return real("/dev/full", os.O_WRONLY)
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(records.os, "open", full)
    with pytest.raises(ModelmedicError, match=os.strerror(errno.ENOSPC)):
        making.write(made, tmp_path / "b.zip")
    assert list(tmp_path.glob("*b.zip*")) == []


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_kill_while_writing_leaves_nothing_under_its_name(tmp_path):
    make_run(tmp_path)
    script = f"""{FIND_US}
import os, pathlib, signal
from modelmedic.bundle import making
place = pathlib.Path({str(tmp_path)!r})
made = making.make(str(place / "run"), place / "state")
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
making.write(made, place / "b.zip")
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], env=child_env(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "b.zip").exists()
    making.write(make(tmp_path), tmp_path / "b.zip")
    assert reading.read(tmp_path / "b.zip").is_whole
