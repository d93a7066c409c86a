"""The cases of letters.py: what an author of a plugin would write."""

from __future__ import annotations

from pathlib import Path

from modelmedic import rooms
from modelmedic.testing.conformance import Case, conformance, missing, prepare_demo

LETTER = "outputs/letter.txt"
CHECKS = (rooms.room("checks") / "test_letter.py",)


def prepare(install: Path) -> None:
    prepare_demo(install)
    (install / LETTER).write_text("Dear reader\n")
    (install / "outputs" / "diary.txt").write_text("Today it rained.\n")


def tear(install: Path) -> None:
    (install / LETTER).write_text("Dear rea")


def remove(install: Path) -> None:
    (install / LETTER).unlink()


def case(name: str, **more) -> Case:
    return Case(
        recovery=name, check=f"letter.{name}", category="validation", break_install=tear,
        spoil=remove, prepare=prepare, checks=CHECKS, **more,
    )  # fmt: skip


NAMES = missing([rooms.load("recoveries", "letters")], ())
for _name in NAMES:
    _more = {"deadline_seconds": 10.0} if _name == "hangs" else {}
    globals()[f"test_{_name}"] = conformance(case(_name, **_more))
