"""Gather what support needs to know of a run, each piece masked before it is held any longer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmedic import rooms, runs, summary, support
from modelmedic.bundle import cleaning, files, kept
from modelmedic.bundle.cleaning import Hider
from modelmedic.bundle.members import MOST_MEMBER_BYTES, RECORD, RUNS, LeftOut, Member
from modelmedic.errors import CannotTell
from modelmedic.records import JOURNAL_NAME, NAME
from modelmedic.text import counted

_MOST_OLDER = 10  # records of earlier runs: how it came to this
_MOST_OLDER_BYTES = 1024 * 1024
_GOOD = frozenset({"passed", "skipped"})
_AREAS = frozenset({"system", "hardware", "python"})


@dataclass(slots=True)
class Collection:
    """What was gathered for one run, masked.

    Args:
        record: The run record; what else says the same is made from it by `of_the_record`.
        extras: All other members, in the order of the archive.
        left_out: What was there and cannot be in a bundle.
    """

    record: dict[str, Any]
    extras: list[Member] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def collect(run: Path, state_dir: Path, hider: Hider) -> Collection:
    """Return everything about a run that a bundle holds.

    Args:
        run: The report folder, or a report.json.
        state_dir: The state folder; what it does not have is not in the bundle.
        hider: Takes secrets and names out of it.

    Raises:
        CannotTell: There is no run record to read.
    """
    record: dict[str, Any] = cleaning.clean(runs.read(run), hider, cleaning.of_records())
    folder = run if run.is_dir() else run.parent
    found = Collection(record)
    for piece in (
        *_of_the_folder(folder, hider),
        *kept.journals(state_dir, record["run_id"], hider),
        *kept.logs(state_dir, hider),
        *kept.history(state_dir, record["run_id"], hider),
        *_older(record, state_dir, hider),
    ):
        if isinstance(piece, LeftOut):
            found.left_out.append(piece)
        else:
            found.extras.append(piece)
    return found


def newest(state_dir: Path) -> Path:
    """Return the folder of the newest kept run.

    Raises:
        CannotTell: No run is kept.
    """
    for folder in _kept(state_dir):
        if (folder / NAME).is_file():
            return folder
    raise CannotTell(
        f"No run is kept in {runs.folder(state_dir)}, so there is nothing to bundle.",
        "A run with --report-dir keeps its report there.",
        "Run the checks first, or name the report folder: modelmedic bundle FOLDER",
    )


def _kept(state_dir: Path) -> list[Path]:
    try:
        return sorted(runs.folder(state_dir).iterdir(), reverse=True)
    except OSError:
        return []


# -- the run itself ------------------------------------------------------------------------------


def of_the_record(record: dict[str, Any]) -> Iterator[Member | LeftOut]:
    """Yield the record and what is made from it, so that no page says more than the record does."""
    yield _record_member(RECORD, "the record of the run, as JSON", record, MOST_MEMBER_BYTES)
    page = rooms.load("reports", "html").render(record)
    yield Member("report.html", "the same as a page for people", page.encode())
    if told := support.text(record, verdict(record)):
        yield Member(support.NAME, "the same in short, as text to paste", told.encode())
    about = "machine, driver, Python and packages of the app"
    yield Member("environment.json", about, cleaning.dumped(_environment(record)))


def verdict(record: Mapping[str, Any]) -> str:
    """Return the sentence of the whole run, also of one that was killed."""
    if record["exit_code"] is not None:
        return summary.record_verdict(record)[0]
    count = counted(len(record["findings"]), "check")
    return f"the run did not end, or was killed; {count} had ended."


def _environment(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the machine as the run saw it, and what about it did not hold.

    ``conflicts`` is what "pip check" would say, as the run's own check of it found.
    """
    wrong = [finding for finding in record["findings"] if finding["outcome"] not in _GOOD]
    conflicts = next((f for f in record["findings"] if f["check"] == "python.conflicts"), None)
    return {
        **record["environment"],
        "conflicts": _told(conflicts) if conflicts else None,
        "does_not_hold": [_told(finding) for finding in wrong if finding["area"] in _AREAS],
    }


def _told(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {key: finding.get(key) for key in ("check", "outcome", "what", "facts")}


def _record_member(
    name: str, about: str, record: dict[str, Any], most_bytes: int
) -> Member | LeftOut:
    """Return a record as a member; a huge one without its findings that say nothing is wrong."""
    data = cleaning.dumped(record)
    if len(data) <= most_bytes:
        return Member(name, about, data)
    bad = [finding for finding in record["findings"] if finding["outcome"] not in _GOOD]
    data = cleaning.dumped({**record, "findings": bad})
    if len(data) > most_bytes:
        return LeftOut(name, f"it has {len(data):,} bytes, more than {most_bytes:,}")
    cut = counted(len(record["findings"]) - len(bad), "finding")
    return Member(name, about, data, f"{cut} that passed or were skipped")


def _of_the_folder(folder: Path, hider: Hider) -> Iterator[Member | LeftOut]:
    """Yield what else the run wrote: the XML, the plan, the growing file of one that was killed."""
    raw = files.tail(folder / "junit.xml", MOST_MEMBER_BYTES)
    if isinstance(raw, files.Raw):
        data = None if raw.cut else cleaning.as_xml(raw.data, hider)
        if data is None:
            yield LeftOut("junit.xml", "it is no XML that can be masked")
        else:
            yield Member("junit.xml", "the results as JUnit XML", data)
    yield from _plan(folder, "plan.json", hider)
    about = "findings of a run that was killed, as they came"
    yield from kept.lines(folder / JOURNAL_NAME, JOURNAL_NAME, about, hider)


def _plan(folder: Path, name: str, hider: Hider) -> Iterator[Member | LeftOut]:
    raw = files.tail(folder / "plan.json", MOST_MEMBER_BYTES)
    if isinstance(raw, files.Raw):
        data = None if raw.cut else cleaning.as_json(raw.data, hider)
        if data is None:
            yield LeftOut(name, "it is no JSON that can be masked")
        else:
            yield Member(name, "what would be repaired", data)


# -- earlier runs --------------------------------------------------------------------------------


def _older(record: Mapping[str, Any], state_dir: Path, hider: Hider) -> Iterator[Member | LeftOut]:
    """Yield what the runs before it on the same install left, the newest first.

    The check that a bundle is made of has repaired nothing: the heal and the plan are earlier runs.
    """
    count, has_plan = 0, False
    for folder in _kept(state_dir):
        if count == _MOST_OLDER:
            break
        try:
            older = cleaning.clean(runs.read(folder), hider, cleaning.of_records())
        except CannotTell:
            continue
        is_before = older["run_id"] != record["run_id"] and (
            older["started_at"] <= record["started_at"]
        )
        if is_before and older["install_dir"] == record["install_dir"]:
            count += 1
            name = f"{RUNS}{older['run_id']}.json"
            yield _record_member(name, "an earlier run on this install", older, _MOST_OLDER_BYTES)
            yield from kept.journals(state_dir, older["run_id"], hider)
            if not has_plan:
                plan = list(_plan(folder, f"plans/{older['run_id']}.json", hider))
                has_plan = bool(plan)
                yield from plan
