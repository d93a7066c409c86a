"""What was planted into a run, its logs, plan and journal comes out of no bundle and no issue."""

from __future__ import annotations

import json

import pytest
from bundle_support import RUN_ID, contents, finding, make, make_record, make_run
from planted.corpus import planted

from modelmedic.bundle import issue, making
from modelmedic.records import write_json, write_text

pytestmark = pytest.mark.once
CORPUS = planted()
GRAM = 10  # letters of a secret that are looked for, as in test_planted_secrets.py


def found_in(text: str) -> list[str]:
    grams = {text[at : at + GRAM] for at in range(len(text) - GRAM + 1)}
    return [one.id for one in CORPUS if any(needle[-GRAM:] in grams for needle in one.needles)]


@pytest.fixture
def sick(tmp_path):
    """A run that nobody masked: the bundle alone keeps what is in it."""
    findings = [
        finding(f"x.n{n}", what=one.text, facts={"said": one.text}) for n, one in enumerate(CORPUS)
    ]
    make_run(tmp_path, make_record(tmp_path, *findings))
    texts = [one.text for one in CORPUS]
    assert len(found_in("\n".join(texts))) > 0.9 * len(CORPUS)
    write_json(tmp_path / "run/plan.json", {"schema": 1, "plans": [{"note": t} for t in texts]})
    lines = "".join(json.dumps({"event": "x", "schema": 1, "said": text}) + "\n" for text in texts)
    journal = tmp_path / f"state/journals/0123456789abcdef/01234567/{RUN_ID}.jsonl"
    for log in (journal, tmp_path / "state/errors.jsonl"):
        write_text(log, lines)
    write_text(tmp_path / "state/reliability.jsonl", "\n".join(texts))  # no JSON at all
    return tmp_path


def test_no_planted_secret_is_in_a_bundle(sick):
    made = make(sick)
    assert len(contents(made)) > 8
    leaked = {name: found_in(data.decode()) for name, data in contents(made).items()}
    assert {name: ids for name, ids in leaked.items() if ids} == {}


def test_no_planted_secret_is_in_an_issue(sick):
    record = making.masked_record(str(sick / "run"), sick / "state")
    assert found_in(issue.issue(record, most_letters=100_000).body) == []
    assert found_in(json.dumps(record, ensure_ascii=False)) == []
