# ruff: noqa: F401, F811 - fixtures are imported from engine_support
"""What the closing pass says of a repair that it cannot undo."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from engine_support import engine_for, hub, install, operation, plan_of

from modelmedic import closing, rooms
from modelmedic.findings import Attempt, Finding
from modelmedic.healing.interrupts import Interrupts

PASS = rooms.load("plugins", "closing").ClosingPass


def finding(check, outcome, *attempts):
    return Finding(
        check=check, nodeid=f"x::{check}", title="", area="install", severity="blocker",
        outcome=outcome, attempts=attempts,
    )  # fmt: skip


@pytest.mark.parametrize("last", ["failed", "passed"])
def test_a_repair_that_could_not_be_undone_is_not_said_to_be(install, hub, monkeypatch, last):
    """A person changed the file after it; the last pass decides what became of its check."""
    engine = engine_for(install)
    with engine.locked():
        engine.keep(engine.apply(plan_of(operation("replace_file", install, hub))))
    (install / "settings.json").write_text("a person's own change")
    found = SimpleNamespace(
        engine=engine, rootdir=install, notes=[], interrupts=Interrupts(),
        findings=[
            finding("some.check", "healed", Attempt("some_recovery", "healed")),
            finding("other.check", "passed"),
        ],
    )  # fmt: skip
    passes = []

    def run(_found, nodeids):
        passes.append(nodeids)
        told = {"area": "install", "what": "No.", "why": "", "next": ""}
        return {
            "other.check": told | {"outcome": "failed"},
            "some.check": told | {"outcome": last if len(passes) > 2 else "passed"},
        }

    monkeypatch.setattr(closing, "run", run)
    with engine.locked():
        left = PASS(found).judge()
    mended, other = found.findings
    assert left == (["other.check", "some.check"] if last == "failed" else ["other.check"])
    assert mended.outcome == ("failed" if last == "failed" else "healed")
    assert [attempt.verdict for attempt in mended.attempts] == ["healed"]
    assert other.outcome == "failed"
    assert "settings.json was not put back" in " ".join(found.notes)
