"""What a check raises decides its outcome; a crash of the check is never called a failure."""

from __future__ import annotations

import errno
import json
import pickle
import ssl

import pytest

from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.findings import Outcome
from modelmedic.healing.classify import classify
from modelmedic.transfer import TransferFailed
from modelmedic.verdicts import Judged, of_degraded, of_error

JUDGED = Judged("weights.intact[a]", "x::y", "Title.", "weights", "blocker")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Unhealthy("a", "b", "c"), Outcome.FAILED),
        (AssertionError("plain"), Outcome.FAILED),
        (CannotTell("a"), Outcome.UNKNOWN),
        (KeyError("a bug in the check"), Outcome.UNKNOWN),
        (OSError(errno.EIO, "input/output error"), Outcome.UNKNOWN),
    ],
)
def test_outcome_by_error(error, outcome):
    assert of_error(error).outcome is outcome


def test_an_unhealthy_finding_carries_all_it_said():
    error = Unhealthy(
        "Cut short.",
        "Download.",
        "Fetch.",
        failure_id="truncated-safetensors",
        subject="model/a",
        evidence={"size_bytes": 5},
    )
    finding = of_error(error).finding(JUDGED)
    assert (finding.what, finding.why, finding.next) == ("Cut short.", "Download.", "Fetch.")
    assert finding.failure_id == "truncated-safetensors"
    assert finding.facts == {"size_bytes": 5}
    assert finding.category == "corruption"
    assert of_error(error).subject == "model/a"


def test_several_losses_are_all_told():
    loss = {"what": "A.", "why": "", "next": "X", "failure_id": None}
    verdict = of_degraded([loss, {**loss, "what": "B."}])
    assert (verdict.outcome, verdict.what) == (Outcome.DEGRADED, "A. B.")


def test_an_unhealthy_verdict_survives_pickling():
    error = Unhealthy("a", "b", "c", subject="s", evidence={"n": 1})
    again = pickle.loads(pickle.dumps(error))
    assert (again.subject, again.evidence, str(again)) == ("s", {"n": 1}, str(error))


def caused(outer, inner):
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (OSError(errno.ENOSPC, "full"), Category.RESOURCE_EXHAUSTION),
        (PermissionError(errno.EACCES, "no"), Category.PERMISSION),
        (OSError(errno.EROFS, "read-only"), Category.PERMISSION),
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), Category.NETWORK),
        (ssl.SSLCertVerificationError("cert"), Category.NETWORK),
        (TimeoutError("slow"), Category.TIMEOUT),
        (TransferFailed("x", status=401), Category.AUTHENTICATION),
        (TransferFailed("x", status=503), Category.NETWORK),
        (caused(CannotTell("x"), PermissionError(errno.EACCES, "no")), Category.PERMISSION),
        (json.JSONDecodeError("bad", "{", 0), Category.CONFIGURATION),
        (ModuleNotFoundError("torch"), Category.DEPENDENCY),
        (RuntimeError("read 15009 of 20000 bytes"), Category.CORRUPTION),
        (RuntimeError("certainly 500 tokens"), Category.CORRUPTION),
    ],
)
def test_categories_come_from_types_and_numbers_never_from_words(error, category):
    assert classify(error, "weights") is category


def test_without_area_and_known_type_there_is_no_category():
    assert classify(RuntimeError("x")) is None
