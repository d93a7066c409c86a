"""The sample installer with each planted fault, as it is and with the library, in real processes."""

from __future__ import annotations

import re

import pytest
from sample_faults import FAULTS
from sample_support import SHARD, world

_HANGS_SECONDS = 4
LONG = (pytest.mark.slow, pytest.mark.once)


# One of each kind runs on every Python: what is put in, what is left alone, what is tried again.
QUICK = {"missing-method-with-shim", "typo-in-method", "503-twice"}
ROWS = [
    pytest.param(fault, id=fault.name, marks=[fault.skip] if fault.skip else []) for fault in FAULTS
]

RELIABLE_ROWS = [
    row if row.id in QUICK else pytest.param(*row.values, id=row.id, marks=[*row.marks, *LONG])
    for row in ROWS
]


def test_the_plain_installer_completes_on_a_healthy_machine(tmp_path):
    with world(tmp_path) as found:
        ended = found.run("plain")
        assert ended.code == 0, ended.out
        assert found.wrong() == []


@pytest.mark.once
@pytest.mark.parametrize("fault", ROWS)
def test_the_plain_installer_does_not_complete(fault, tmp_path):
    with world(tmp_path) as found:
        fault.plant(found, "plain")
        ended = found.run("plain", _HANGS_SECONDS if fault.plain is None else 60)
        assert ended.code != 0, ended.out
        assert (ended.code is None) == (fault.plain is None), ended.out
        assert re.search(fault.plain or "", ended.out), ended.out


@pytest.mark.slow
@pytest.mark.once
def test_the_reliable_installer_completes_on_a_healthy_machine(tmp_path):
    with world(tmp_path) as found:
        ended = found.run("reliable")
        assert ended.code == 0, ended.out
        assert ended.out == "complete\n"
        assert found.wrong() == []
        assert found.journal() == []


@pytest.mark.parametrize("fault", RELIABLE_ROWS)
def test_with_the_library_it_completes_or_stops_with_the_true_cause(fault, tmp_path):
    with world(tmp_path) as found:
        fault.plant(found, "reliable")
        ended = found.run("reliable", 150)
        assert ended.code == (1 if fault.ends == "stops" else 0), ended.out
        assert found.registrar.count == fault.registrations, ended.out
        if fault.ends != "stops":
            assert found.wrong() == [], ended.out
        assert ("degraded: " in ended.out) == (fault.ends == "degraded"), ended.out
        for pattern in fault.says:
            assert re.search(pattern, ended.out), (pattern, ended.out)
        tried = found.attempts()
        assert set(fault.tried) <= tried, (tried, ended.out)
        if fault.name == "wrong-bytes-with-mirror":
            served = [r for r in found.mirror.requests if r.side == "cdn" and SHARD in r.path]
            assert served, "the mirror was not asked"
        assert list((tmp_path / "tmp").iterdir()) == []
