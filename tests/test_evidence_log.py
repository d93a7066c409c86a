"""The posterior is exact; the log of judged repairs loses nothing and believes nobody."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import subprocess
import sys

import pytest
from evidence_support import entry
from support import CHECKOUT, child_env

from modelmedic.healing.evidence_log import NAME, EvidenceLog
from modelmedic.healing.posterior import Posterior

# --- the posterior


def test_before_the_first_try_every_rate_is_as_likely():
    assert Posterior().mean == 0.5
    assert Posterior().interval() == pytest.approx((0.05, 0.95), abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "failures", "interval"),
    [  # distribution functions that can be inverted by hand: x^n, 1 - (1-x)^n
        (1, 0, (math.sqrt(0.05), math.sqrt(0.95))),
        (9, 0, (0.05**0.1, 0.95**0.1)),
        (0, 1, (1 - math.sqrt(0.95), 1 - math.sqrt(0.05))),
        (0, 49, (1 - 0.95**0.02, 1 - 0.05**0.02)),
    ],
)
def test_the_interval_is_that_of_the_closed_forms(successes, failures, interval):
    assert Posterior(successes, failures).interval() == pytest.approx(interval, abs=1e-12)


@pytest.mark.parametrize(("successes", "failures"), [(41, 3), (3, 41), (17, 19), (200, 100)])
def test_the_interval_cuts_off_the_tails_of_the_binomial_sum(successes, failures):
    known = Posterior(successes, failures)
    assert known.mean == (successes + 1) / (successes + failures + 2)
    tries = successes + failures + 1
    for rate, below in zip(known.interval(), (0.05, 0.95), strict=True):
        terms = (
            math.comb(tries, j) * rate**j * (1 - rate) ** (tries - j)
            for j in range(successes + 1, tries + 1)
        )
        assert sum(terms) == pytest.approx(below, abs=1e-10)


def test_the_figures_of_the_docs_are_right():
    assert [round(100 * end) for end in Posterior(41, 3).interval()] == [84, 97]
    assert [round(100 * end) for end in Posterior(1, 0).interval()] == [22, 97]
    assert round(100 * Posterior(41, 3).mean) == 91
    assert round(100 * Posterior(1, 0).mean) == 67


def test_a_million_tries_have_a_narrow_interval():
    low, high = Posterior(900_000, 100_000).interval()
    assert 0.899 < low < 0.9 < high < 0.901


# --- the log


def test_what_is_added_is_read_again_and_only_the_owner_can_read_it(tmp_path):
    log = EvidenceLog(tmp_path / "state")
    assert log.read().entries == []
    entries = [entry(1), entry(2, verdict="failed"), entry(3, verdict="not healed")]
    for each in entries:
        log.add(each)
    assert EvidenceLog(tmp_path / "state").read().entries == entries
    assert log.trouble == ""
    if os.name == "posix":
        assert log.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "line",
    [
        b'{"version": 1, "repair": "r9", "at"',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"version": 1}',
        b"null",
        b'{"version": 2, "something": "new"}',
        json.dumps({"version": 1, **dataclasses.asdict(entry(7, verdict="splendid"))}).encode(),
        json.dumps({"version": 1, **dataclasses.asdict(entry(7, at=float("inf")))}).encode(),
        json.dumps({"version": 1, **dataclasses.asdict(entry(7, seconds=-1.0))}).encode(),
        json.dumps({"version": 1, **dataclasses.asdict(entry(7, recovery="x" * 999))}).encode(),
        json.dumps({"version": 1, **dataclasses.asdict(entry(7, verdict=["healed"]))}).encode(),
        json.dumps({"version": 1, **dataclasses.asdict(entry(7, fetched_bytes=True))}).encode(),
        json.dumps({"version": 1, **dataclasses.asdict(entry(7)), "count": 10**30}).encode(),
        json.dumps({"version": 1, **dataclasses.asdict(entry(7)), "count": 2.5}).encode(),
    ],
)
def test_a_torn_or_impossible_line_is_passed_over_and_costs_no_other(tmp_path, line):
    log = EvidenceLog(tmp_path)
    log.add(entry(1))
    with log.path.open("ab") as stream:
        stream.write(line)  # no end of line: as a kill leaves it
    log.add(entry(2))
    history = log.read()
    assert [each.repair for each in history.entries] == ["r1", "r2"]
    assert not history.tallies


@pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
@pytest.mark.parametrize("how", ["readable", "link", "pipe", "folder", "huge"])
def test_a_log_that_is_not_ours_alone_is_ignored_with_a_note(tmp_path, how):
    log = EvidenceLog(tmp_path)
    log.add(entry(1))
    if how == "readable":
        log.path.chmod(0o644)
    elif how == "link":
        log.path.rename(tmp_path / "elsewhere")
        log.path.symlink_to("elsewhere")
    elif how == "huge":
        os.truncate(log.path, 5_000_000)
    else:
        log.path.unlink()
        os.mkfifo(log.path, 0o600) if how == "pipe" else log.path.mkdir()
    assert log.read().entries == []
    assert "was not used" in log.trouble
    log.add(entry(2))  # what this run saw still counts in this run
    assert [each.repair for each in log.read().entries] == ["r2"]
    if how in {"readable", "huge"}:
        assert b'"r2"' not in log.path.read_bytes()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_a_log_of_another_user_is_ignored(tmp_path):
    log = EvidenceLog(tmp_path)
    log.add(entry(1))
    os.chown(log.path, 65534, 65534)
    assert log.read().entries == []
    assert "another user" in log.trouble


def test_a_later_verdict_on_a_repair_replaces_the_earlier(tmp_path):
    log = EvidenceLog(tmp_path)
    log.add(entry(1))
    log.add(entry(2))
    log.revise("r1", "not healed", is_lasting=True)
    log.revise("r9", "not healed", is_lasting=True)
    counts = log.read().counts(lambda _each: True)
    assert counts == {"healed": 1, "not healed": 1}
    assert log.path.read_bytes().count(b'"r1"') == 2  # appended, not rewritten


def test_old_lines_become_counts_and_no_count_is_lost(tmp_path):
    log = EvidenceLog(tmp_path, most_bytes=8_000, kept=5)
    for number in range(300):
        verdict = "healed" if number % 3 else "not healed"
        log.add(entry(number, verdict=verdict))
    assert log.path.stat().st_size < 9_000
    history = log.read()
    assert history.counts(lambda _each: True) == {"healed": 200, "not healed": 100}
    assert history.entries[-1].repair == "r299"
    assert not log.path.with_suffix(".new").exists()


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from modelmedic.healing.evidence_log import Entry, EvidenceLog
log = EvidenceLog(Path(sys.argv[2]), most_bytes=6_000, kept=4)
sys.stdin.readline()
for number in range(150):
    log.add(Entry(f"{sys.argv[3]}-{number}", 1.0, "mend", "system", "", "Linux", "x86_64", "try.it",
                  "healed", 0.0, 0, "", False))
sys.exit(log.trouble or 0)
"""


def test_two_processes_that_compact_at_the_same_time_lose_nothing(tmp_path):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(CHECKOUT / "src"), str(tmp_path), name],
            stdin=subprocess.PIPE, env=child_env(), text=True,
        )
        for name in ("first", "second")
    ]  # fmt: skip
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=100)
        assert writer.returncode == 0
    log = EvidenceLog(tmp_path)
    assert log.read().counts(lambda _each: True) == {"healed": 300}
    assert log.path.stat().st_size < 7_000


@pytest.mark.skipif(sys.platform == "win32", reason="flock")
def test_the_mere_presence_of_a_file_is_no_lock(tmp_path, monkeypatch):
    """It would outlive a killed run, and every later one would wait for it in vain."""
    import fcntl

    def not_here(_handle, _how):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", not_here)
    log = EvidenceLog(tmp_path)
    log.add(entry(1))
    assert "was not used: Function not implemented" in log.trouble
    assert not (tmp_path / NAME).exists()
    assert [each.repair for each in log.read().entries] == ["r1"]


def test_who_has_no_room_is_not_told_to_move_the_file_away(tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = EvidenceLog(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    log.add(entry(1))
    assert "Free space on that disk" in log.trouble
    assert "Move the file away" not in log.trouble
