"""What a run of the checks came to, as a verdict on one strategy."""

from __future__ import annotations

import pytest

from modelmedic.healing.slots import ModelRedownloadStrategy
from modelmedic.reliability.child_runs import ChildRun
from modelmedic.reliability.install_failure import InstallFailure

STRATEGY = ModelRedownloadStrategy("model_validation")


def finding(check, outcome, *attempts, what="", nxt=""):
    return {
        "check": check, "area": check.partition(".")[0], "outcome": outcome, "what": what, "why": "",
        "next": nxt,
        "attempts": [
            {"recovery": "refetch_model_file", "verdict": verdict, "error": error,
             "operations": [{"text": "fetch it"}]}
            for verdict, error in attempts
        ],
    }  # fmt: skip


class Runs:
    """Stands in for the runs: one record, and what was asked for."""

    def __init__(self, *findings, problem=""):
        self.run = ChildRun({"findings": list(findings)}, problem)

    def heal(self, *options, **values):
        self.asked = options, values
        return self.run


def judged(*findings, problem="", checks="weights", **values):
    failure = InstallFailure(Runs(*findings, problem=problem), checks, 60, **values)
    return STRATEGY.apply(failure), failure


GOOD = finding("weights.sha256[a.pth]", "passed")


@pytest.mark.parametrize(
    ("findings", "verdict", "words"),
    [
        ([GOOD], "healed", "Nothing was repaired: its checks hold."),
        ([finding("weights.sha256[a.pth]", "healed", ("healed", ""))], "healed", "fetch it"),
        ([GOOD, finding("weights.sha256[b.pth]", "degraded", what="Slow.", nxt="Wait.")],
         "degraded", "Slow. Next: Wait."),
        ([GOOD, finding("weights.sha256[b.pth]", "failed", what="It is cut.")], "refused", "is cut"),
        ([finding("weights.intact[a.pth]", "healed", ("healed", "")),
          finding("weights.sha256[b.pth]", "failed", ("refused", "No room."))], "not healed", "No room."),
        ([finding("weights.intact[a.pth]", "failed", ("not healed", "It still fails."))],
         "not healed", "still fails"),
        ([finding("weights.intact[a.pth]", "failed", ("failed", "Cut off."))], "failed", "Cut off."),
        ([finding("weights.intact[a.pth]", "failed", ("not allowed", "It is costly."))],
         "refused", "It is costly."),
        ([finding("weights.sha256[a.pth]", "unknown", what="Denied.")], "refused", "Denied."),
        ([finding("weights.sha256[a.pth]", "blocked"), finding("install.folder", "failed", what="Gone.")],
         "refused", "Gone."),
        ([finding("weights.sha256[a.pth]", "skipped"), finding("install.folder", "passed")],
         "refused", "Nothing was checked"),
        ([], "refused", "Nothing was checked"),
    ],
)  # fmt: skip
def test_a_verdict_is_what_the_checks_say(findings, verdict, words):
    attempt, _failure = judged(*findings)
    assert attempt.verdict == verdict
    assert words in attempt.note
    assert attempt.is_recovered is (verdict in {"healed", "degraded"})


def test_a_run_without_a_verdict_is_a_failure_whatever_it_found():
    attempt, _failure = judged(GOOD, problem="It was killed.")
    assert (attempt.verdict, attempt.note) == ("failed", "It was killed.")


def test_only_the_part_that_counts_is_judged():
    dead = finding("network.http[hub]", "failed", what="No answer.")
    fetched = finding("weights.present[a.pth]", "healed", ("healed", ""))
    missing = finding("weights.present[b.pth]", "failed", what="It is missing.")
    both = {"checks": "network,weights", "judged_by": "weights"}
    assert judged(dead, fetched)[0].verdict == "not healed"
    assert judged(dead, fetched, **both)[0].verdict == "healed"
    assert judged(dead, fetched, missing, **both)[0].verdict == "not healed"


def test_what_was_worked_around_is_a_loss_although_what_came_by_it_is_healed():
    way = finding(
        "network.proxy", "degraded", ("degraded", ""), what="For this run.", nxt="export A=b"
    )
    fetched = finding("weights.present[a.pth]", "healed", ("healed", ""))
    attempt, _failure = judged(way, fetched, checks="network,weights", judged_by="weights")
    assert attempt.verdict == "degraded"
    assert "export A=b" in attempt.note


def test_of_a_check_of_many_things_only_what_is_named_counts():
    own = finding("python.package[sun]", "passed")
    others = finding("python.files", "failed", what="moon lacks files.")
    ours = finding("python.files", "failed", what="Sun lacks files.")
    of_sun = {"checks": "python", "names": ("sun",)}
    assert judged(own, others, **of_sun)[0].verdict == "healed"
    assert judged(own, ours, **of_sun)[0].verdict == "refused"
    assert judged(own, finding("python.imports[sun]", "blocked"), **of_sun)[0].verdict == "refused"


def test_what_no_check_judges_counts_only_by_a_repair_that_names_it():
    values = {"checks": "python", "names": ("fetch",), "must_repair": True}
    own = finding("python.files", "passed")
    assert judged(own, **values)[0].verdict == "refused"
    assert (
        judged(own, finding("python.owners", "healed", ("healed", "")), **values)[0].verdict
        == "healed"
    )
    values["names"] = ("sun",)
    assert (
        judged(own, finding("python.owners", "healed", ("healed", "")), **values)[0].verdict
        == "refused"
    )


def test_a_run_is_kept_to_the_recoveries_of_the_strategy_and_to_what_was_allowed():
    _attempt, failure = judged(GOOD, options=("--deep",), allow=("costly",))
    options, values = failure.runs.asked
    assert options == (
        "--checks=weights", f"--using={','.join(STRATEGY.recoveries())}", "--deep",
    )  # fmt: skip
    assert values["allow"] == ("costly",)
    assert not failure.waits_for_consent
    refused = finding("weights.intact[a.pth]", "failed", ("not allowed", "It is costly."))
    assert judged(refused)[1].waits_for_consent
