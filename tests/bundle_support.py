"""What tests of the support bundle build: a run with everything it leaves, and ZIP files by hand."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

from support import make_context

from modelmedic.bundle import making
from modelmedic.examination import Examination
from modelmedic.findings import Attempt, Finding
from modelmedic.records import run_record, write_json, write_text

RUN_ID = "20260101-120000-abcdef"
ABOUT = {"about": "something", "cut": ""}


def finding(check="x.one", outcome="failed", **values) -> Finding:
    return Finding(
        check=check,
        nodeid=f"checks/test_x.py::test_{check}",
        title="It holds.",
        area=values.pop("area", "system"),
        severity="blocker",
        outcome=outcome,
        **values,
    )


def make_record(place: Path, *findings: Finding, run_id: str = RUN_ID, exit_code=1) -> dict:
    found = Examination(
        context=make_context(place / "install", run_id=run_id, state_dir=place / "state"),
        facts=None,
        engine=SimpleNamespace(journal=None),
        registry=None,
        mode="apply",
        allowed=frozenset(),
        report_dir=place,
    )
    attempt = Attempt("mend", "failed", ({"kind": "rename", "text": "move a to b"},), 1.5, 10, "no")
    found.findings += findings or (
        finding(
            what="It broke.", why="So.", next="Mend it.", attempts=(attempt,), failure_id="f-1"
        ),
        finding("x.two", "blocked", blocked_by="x.one"),
        finding("x.three", "passed"),
    )
    return json.loads(json.dumps(run_record(found, exit_code=exit_code)))


def make_run(place: Path, record: dict | None = None) -> Path:
    """Write a run with all that lies beside its record; its state folder is ``place / state``."""
    folder = place / "run"
    folder.mkdir(parents=True, exist_ok=True)
    record = record or make_record(place)
    write_json(folder / "report.json", record)
    write_text(folder / "report.html", "<p>the page of the run</p>")
    write_text(
        folder / "junit.xml",
        '<testsuites><testsuite name="x" tests="1"><testcase classname="c" name="n">'
        "<failure>It &lt;broke&gt;.</failure></testcase></testsuite></testsuites>",
    )
    operation = {"kind": "replace_file", "path": "settings.json", "content": '{"a": 1}'}
    plan = {"recovery": "mend", "check": "x.one", "operations": [operation]}
    write_json(folder / "plan.json", {"schema": 1, "plans": [plan]})
    state = place / "state"
    journal = state / "journals/0123456789abcdef/01234567"
    journal.mkdir(parents=True, exist_ok=True)
    lines = [{"event": "open", "install": str(place / "install")}]
    lines += [{"event": "before", "operation": operation, "note": {}}]
    text = "\n".join(map(json.dumps, lines)) + "\n" + '{"event": "torn'
    write_text(journal / f"{record['run_id']}.jsonl", text)
    write_text(state / "errors.jsonl", json.dumps({"schema": 1, "error": "it failed"}) + "\n")
    return folder


def contents(made) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(made.data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def make(place: Path, **options):
    return making.make(str(place / "run"), place / "state", **options)


def planted(place: Path, text: str, **values) -> None:
    make_run(place, make_record(place, finding(what=text, **values)))


class Unmasked:
    """Masks nothing: what is found then was found by the second look."""

    text = mask = staticmethod(str)
    keep_map = staticmethod(lambda: None)


# -- archives by hand ----------------------------------------------------------------------------


def zip_of(*members: tuple[str, bytes], method=zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def raw_zip(*entries: dict) -> bytes:
    """Return an archive whose headers say what ``entries`` say, true or not.

    Keys: name (bytes), data, method, flags, crc, packed, size, and the same with ``local_`` before
    them for the member's own header; offset; attributes; extra.
    """
    body, directory = b"", b""
    for given in entries:
        data = given["data"]
        method = given.get("method", 0)
        packed = given.get("raw", _deflated(data) if method == 8 else data)
        entry = {"flags": 0, "crc": zlib.crc32(data), "packed": len(packed), "size": len(data)}
        entry |= {"method": method, "offset": len(body), "attributes": 0, "extra": b""} | given
        own = {key: entry.get(f"local_{key}", entry[key]) for key in entry if key != "data"}
        numbers = (own["crc"], own["packed"], own["size"], len(own["name"]), 0)
        body += struct.pack(
            "<4s5H3L2H", b"PK\x03\x04", 20, own["flags"], own["method"], 0, 33, *numbers
        )
        body += own["name"] + packed
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", (3 << 8) | 20, 20, entry["flags"], method, 0, 33,
            entry["crc"], entry["packed"], entry["size"], len(entry["name"]), len(entry["extra"]),
            0, 0, 0, entry["attributes"], entry["offset"],
        ) + entry["name"] + entry["extra"]  # fmt: skip
    count = len(entries)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()
