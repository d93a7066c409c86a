"""The promises of a recovery. Each is tried on an install of its own, in real runs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from modelmedic.context import OWN_FOLDER
from modelmedic.testing.conformance.case import Case
from modelmedic.testing.conformance.desk import Desk, Run, hub
from modelmedic.testing.conformance.snapshot import (
    BYTES,
    SAME,
    UNTOUCHED,
    Entry,
    Snapshot,
    below,
    differences,
    is_like,
    listed,
    take,
)
from modelmedic.testing.conformance.story import Broken, Story

__all__ = ["FULL", "PROMISES", "Broken", "Promise"]


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise: its name, the sentence, and what tries it."""

    name: str
    sentence: str
    keep: Callable[[Story], None]
    needs_posix: bool = False


def leaves_the_healthy_alone(story: Story) -> None:
    """Look at a run with ``--heal`` on the prepared install."""
    check, healthy = story.case.check, story.healthy
    outcome = healthy.run.finding(check).get("outcome", "not judged: is there a check of that id?")
    if outcome not in {"passed", "degraded"}:
        raise Broken(f"{check} holds on the prepared install.", f"It is {outcome}.", healthy.run)
    if healthy.changes:
        expected = "--heal changes nothing in a healthy install."
        raise Broken(expected, listed(list(healthy.changes)), healthy.run)


def is_detected(story: Story) -> None:
    """Break, then run the check: it fails, in the right category, and nothing is written."""
    case, detected = story.case, story.detected
    finding, run = detected.run.finding(case.check), detected.run
    seen = finding.get("outcome", "not judged")
    if seen not in {"failed", "unknown"} or run.code != 1:
        expected = f"{case.check} fails in the broken install, exit code 1."
        raise Broken(expected, f"It is {seen}, exit code {run.code}.", run)
    if finding["category"] != case.category:
        expected = f"The finding has the category {case.category}."
        raise Broken(expected, f"It has {finding['category']}.", run)
    if detected.changes:
        expected = "A run without --heal changes nothing."
        raise Broken(expected, listed(list(detected.changes)), run)


def plans_without_writing(story: Story) -> None:
    """Break, run the check once, then plan: the recovery is planned, and nothing is written."""
    case, desk = story.case, story.detected.desk
    before = desk.everything()  # with what any run keeps in the state folder
    with story.ending():
        run = desk.run("--heal=plan")
    _expect_untouched(desk, before, "--heal=plan changes nothing.", run)
    verdicts = [a["verdict"] for a in _own_attempts(story, run)]
    if verdicts != ["planned"]:
        expected = f"--heal=plan shows what {case.recovery} would do."
        raise Broken(expected, f"Its verdict is {verdicts or 'missing'}.", run)


def heals(story: Story) -> None:
    """Break and heal; a fresh run of all checks then says that it holds, unrepaired."""
    if story.case.outside is not None:
        _expect_gone(story)
        return
    run = story.again
    outcome = run.finding(story.case.check).get("outcome", "not judged")
    if outcome not in {"passed", "degraded"}:
        raise Broken("What is healed holds in a later run.", f"It is {outcome}.", run)
    try:
        if story.case.agrees is not None:
            story.case.agrees(story.standing().desk.install)
    except AssertionError as error:
        raise Broken("Other readers agree with a healed install.", str(error), run) from error


def changes_nothing_else(story: Story) -> None:
    """Look at what was healed: what the fault did not touch is as it was, and nothing is new."""
    healed, healthy = story.healed, take(story.healthy.install, without=(OWN_FOLDER,))
    paths = {*healthy, *healed.broken, *healed.files} - set(story.case.also_changes)
    paths -= _replaced(story.case, paths)
    spared = {path for path in paths if is_like(healthy.get(path), healed.broken.get(path), SAME)}
    changed = differences(_only(healed.broken, spared), _only(healed.files, spared), UNTOUCHED)
    # Of what the fault did touch: the mode that it left alone, where the file was there.
    rest = {
        path
        for path in paths & {*healed.files} - spared
        if path in healthy and is_like(healthy.get(path), healed.broken.get(path), ("mode",))
    }
    changed += differences(_only(healed.broken, rest), _only(healed.files, rest), ("mode",))
    if changed:
        expected = "The repair changes nothing but what was broken."
        raise Broken(expected, listed(changed), healed.run)


def heals_once(story: Story) -> None:
    """Heal again, all checks: nothing is repaired, nothing changes, and all is well."""
    run, healed = story.again, story.standing()
    tried = [
        f"{attempt['recovery']} for {finding['check']}: {attempt['verdict']}"
        for finding in run.record.get("findings", [])
        for attempt in finding["attempts"]
        # What another check is about, and what refuses itself, repairs nothing.
        if attempt["verdict"] != "refused" or attempt["recovery"] == story.case.recovery
    ]
    if tried and story.case.outside is None:
        raise Broken("A second --heal finds nothing to repair.", listed(tried), run)
    if changed := differences(healed.files, healed.desk.files(), UNTOUCHED):
        raise Broken("A second --heal changes nothing.", listed(changed), run)
    if worse := run.bad() - story.healthy.run.bad():
        raise Broken("The healed install is healthy.", f"Not so: {listed(sorted(worse))}.", run)


def refuses(story: Story) -> None:
    """Spoil the precondition once the check has failed: refused, and nothing is changed."""
    case = story.case
    spoiled: dict[str, Entry] = {}
    with story.desk() as desk:
        story.break_on(desk)

        def spoil() -> object:
            held = case.spoil(desk.install) if case.spoil else None
            spoiled.update(desk.files())
            return held

        runs, waited = desk.run_held(1, spoil, "--heal", *case.spoil_options)  # type: ignore[arg-type]
        if not waited:
            raise Broken(f"{case.check} fails in the broken install.", "It does not.", runs[0])
        told = [f"{a['verdict']} {a['error']}".strip() for a in _own_attempts(story, runs[0])]
        if not any(each.startswith("refused") for each in told):
            expected = f"{case.recovery} refuses when its precondition does not hold."
            raise Broken(expected, f"It did not: {listed(told) or 'not tried'}.", runs[0])
        if changed := differences(spoiled, desk.files(), UNTOUCHED):
            raise Broken("A refusal changes nothing.", listed(changed), runs[0])


def is_undone(story: Story) -> None:
    """Break, heal, undo: every file is what and where it was."""
    healed = story.undone()
    with story.ending():
        said = _expect_undone(healed.desk, healed.broken, "the repair")
    if story.case.outside is not None and "nothing to put back" not in said:
        raise Broken("Undo says that there is nothing to put back.", said)


def survives_a_kill(story: Story) -> None:
    """Kill the run after some journaled events; heal again, or undo."""
    points = _points(story)
    chosen = sorted({points[0], points[-1]})
    _kill(story, chosen[0], then_undo=False)
    _kill(story, chosen[-1], then_undo=True)


def survives_every_kill(story: Story) -> None:
    """Kill the run after each journaled event; heal again, and in another install undo."""
    for number in range(1, len(story.healed.run.events) + 1):
        _kill(story, number, then_undo=False)
        _kill(story, number, then_undo=True)


def repairs_once_when_two_run(story: Story) -> None:
    """Two runs see the fault before either has the lock: one repairs, the other looks again."""
    case = story.case
    _ = story.healed  # now: what its run fetches is not counted below
    with story.desk() as desk:
        story.break_on(desk)
        hub().clear()
        runs, waited = desk.run_held(2, lambda: None, "--heal")
        if waited < len(runs):
            raise Broken(f"{case.check} fails for both runs.", "It does not.", runs[0])
        if case.outside is not None:
            _expect_both(story, runs)
            return
        kept = [event for run in runs for event in run.events if event == "verdict kept"]
        verdicts = sorted(str(_telling(story, run.attempts(case.check))) for run in runs)
        if len(kept) != 1 or verdicts != ["['healed']", "['rechecked']"]:
            told = " and ".join(verdicts)
            seen = f"{len(kept)} repairs were kept; the attempts of the two: {told}."
            raise Broken("One repair is kept; the other run looks again.", seen, runs[-1])
        _expect_fetched_once()
        _expect_content(story, desk, "Two runs at once leave what one leaves.", runs[-1])


def repairs_once_with_two_workers(story: Story) -> None:
    """Run all checks with two workers of pytest-xdist: the fault is repaired once."""
    case = story.case
    _ = story.healed  # now: what its run fetches is not counted below
    with story.desk() as desk:
        story.break_on(desk)
        run = desk.run("--heal", "-n2", whole=True)
        verdicts = [
            verdict
            for finding in run.record.get("findings", [])
            for verdict in _telling(story, finding["attempts"])
        ]
        kept = verdicts.count("healed") + verdicts.count("degraded")
        if kept != 1 or set(verdicts) - {"healed", "degraded", "rechecked", "refused"}:
            expected = f"{case.recovery} repairs once with two workers."
            raise Broken(expected, f"The attempts: {listed(verdicts) or 'none'}.", run)
        _expect_content(story, desk, "Two workers leave what one process leaves.", run)


def follows_no_link(story: Story) -> None:
    """Put a link in the way when an operation is about to run: nothing outside is changed."""
    with story.desk() as desk:
        broken = story.break_on(desk)
        run = desk.run("--heal", swap=str(desk.outside))
        outside = take(desk.outside)
        links = [name for name in desk.install.iterdir() if name.is_symlink()]
        copied = {path: entry for link in links for path, entry in below(broken, link.name).items()}
        outside.pop(".")
        if changed := differences(copied, outside, BYTES):
            raise Broken("Nothing outside the install is changed.", listed(changed), run)


PROMISES = (
    Promise("leaves-the-healthy-alone", "a healthy one is not changed", leaves_the_healthy_alone),
    Promise("is-detected", "the fault is found, in its category", is_detected),
    Promise("plans-without-writing", "a plan changes nothing", plans_without_writing),
    Promise("heals", "the fault is repaired", heals),
    Promise("changes-nothing-else", "what was not broken stays as it was", changes_nothing_else),
    Promise("heals-once", "healing twice changes nothing more", heals_once),
    Promise("refuses", "without its precondition it changes nothing and says why", refuses),
    Promise("is-undone", "undo restores every byte", is_undone),
    Promise("survives-a-kill", "killed, it can be finished or undone", survives_a_kill),
    Promise("repairs-once", "two runs at once repair once", repairs_once_when_two_run),
    Promise("follows-no-link", "it follows no link in its way", follows_no_link, needs_posix=True),
)  # fmt: skip
# What takes longer; in place of the promise of the same kind above.
FULL = (
    Promise("survives-every-kill", "killed, it can be finished or undone", survives_every_kill),
    Promise("repairs-once-with-workers", "two workers repair once", repairs_once_with_two_workers),
)  # fmt: skip


def _own_attempts(story: Story, run: Run) -> list[dict[str, str]]:
    return [a for a in run.attempts(story.case.check) if a["recovery"] == story.case.recovery]


def _telling(story: Story, attempts: list[dict[str, str]]) -> list[str]:
    """Return the verdicts of attempts, without those of others that were tried first in vain."""
    return [
        attempt["verdict"]
        for attempt in attempts
        if attempt["recovery"] == story.case.recovery
        or attempt["verdict"] not in {"refused", "failed"}
    ]


def _only(snapshot: Snapshot, paths: set[str]) -> Snapshot:
    return {path: entry for path, entry in snapshot.items() if path in paths}


def _expect_untouched(desk: Desk, before: Snapshot, expected: str, run: Run) -> None:
    if changed := differences(before, desk.everything(), UNTOUCHED):
        raise Broken(expected, listed(changed), run)


def _expect_content(story: Story, desk: Desk, expected: str, run: Run) -> None:
    wanted, now = story.healed.files, desk.files()
    paths = {*wanted, *now}
    anew = _replaced(story.case, paths)
    changed = differences(_only(wanted, paths - anew), _only(now, paths - anew), BYTES)
    changed += differences(_only(wanted, anew), _only(now, anew), ("kind",))
    if changed:
        raise Broken(expected, listed(changed), run)


def _replaced(case: Case, paths: Iterable[str]) -> set[str]:
    """Return the paths that are, or lie in, what the repair makes anew as a whole."""
    folders = tuple(f"{path}/" for path in case.replaces)
    return {path for path in paths if f"{path}/".startswith(folders)}


def _expect_gone(story: Story) -> None:
    """Expect that the fault is there again once the run that met it is over."""
    run = story.later
    outcome = run.finding(story.case.check).get("outcome", "not judged")
    if outcome not in {"failed", "unknown"}:
        raise Broken("What held for its run only fails in a later one.", f"It is {outcome}.", run)


def _expect_both(story: Story, runs: list[Run]) -> None:
    """Expect that each of two runs cured what it met itself: each has its own environment."""
    good = {story.case.leaves, "passed"}
    outcomes = [run.finding(story.case.check).get("outcome", "not judged") for run in runs]
    if not set(outcomes) <= good:
        raise Broken("Both runs cure what they meet.", f"They end {listed(outcomes)}.", runs[-1])


def _expect_undone(desk: Desk, broken: Snapshot, what: str) -> str:
    done = desk.undo()
    said = f" It said: {(done.stdout + done.stderr).strip()[-500:]}"
    if done.returncode != 0:
        raise Broken(f"Undo of {what} succeeds.", f"Exit code {done.returncode}.{said}")
    if changed := differences(broken, desk.files(), SAME):
        raise Broken(f"Undo of {what} restores every file.", listed(changed) + "." + said)
    return said


def _expect_fetched_once() -> None:
    asked = Counter(
        request.path.partition("?")[0] + str(request.range or "")
        for request in hub().requests
        if request.method == "GET" and request.bytes_sent and request.side == "cdn"
    )
    if twice := [path for path, count in asked.items() if count > 1]:
        raise Broken("What is missing is fetched once.", f"Fetched twice: {listed(twice)}.")


def _points(story: Story) -> list[int]:
    """Return the journaled events at which a kill tells most: around the operations.

    The first is after the first operation; the last one when the last operation is at work.
    """
    events = story.healed.run.events
    numbers = list(enumerate(events, start=1))
    after = [number for number, event in numbers if event == "after"]
    at_work = [number for number, event in numbers if event in {"before", "noted"}]
    if not after or not at_work:
        raise Broken("A repair journals its operations.", f"The journal says: {listed([*events])}.")
    return [after[0], at_work[-1]]


def _kill(story: Story, number: int, *, then_undo: bool) -> None:
    """Kill a run after its event ``number``; look at the files; then heal again, or undo."""
    healed = story.healed
    event = healed.run.events[number - 1]
    when = f"a run killed after event {number} ({event}) of {len(healed.run.events)}"
    with story.desk() as desk:
        broken = story.break_on(desk)
        run = desk.run("--heal", kill_at=number)
        if run.code >= 0 and sys.platform != "win32":
            raise Broken("The run is killed.", f"It ended with exit code {run.code}.", run)
        _expect_old_or_new(story.case, desk.files(), broken, healed.files, when)
        if then_undo:
            _expect_undone(desk, broken, when)
            return
        again = desk.run("--heal")
        if again.code != 0:
            expected = f"--heal after {when} repairs."
            raise Broken(expected, f"Exit code {again.code}.", again)
        _expect_content(story, desk, f"--heal after {when} ends as if nothing was.", again)


def _expect_old_or_new(case: Case, now: Snapshot, old: Snapshot, new: Snapshot, when: str) -> None:
    every = {*now, *old, *new}
    paths = sorted(every - _replaced(case, every))
    neither = [
        path
        for path in paths
        if not is_like(now.get(path), old.get(path), BYTES)
        and not is_like(now.get(path), new.get(path), BYTES)
    ]
    if neither:
        clauses = [clause for clause in differences(old, now, BYTES)
                   if clause.startswith(tuple(neither))]  # fmt: skip
        raise Broken(f"After {when} each file is the old or the new one.", listed(clauses))
