"""The oracle judges hand-written triples of card, driver and stack right; it reads no network."""

from __future__ import annotations

import pytest
from oracle_triples import CONTRADICTORY, DOUBTFUL, RIGHT

from modelmedic.compat import oracle
from modelmedic.compat.table import load


def each(triples):
    return pytest.mark.parametrize("triple", triples, ids=[triple.name for triple in triples])


def judged(triple):
    return oracle.judge(triple.machine, triple.stack, triple.requirements)


def kinds(found):
    return {entry.kind for entry in found}


def cited(found):
    return {row for entry in found for row in entry.rows}


def test_there_are_twelve_right_and_twenty_contradictory_ones_with_names_of_their_own():
    assert len(RIGHT) >= 12
    assert len(CONTRADICTORY) >= 20
    names = [triple.name for triple in (*RIGHT, *CONTRADICTORY, *DOUBTFUL)]
    assert len(names) == len(set(names))


@each((*RIGHT, *CONTRADICTORY, *DOUBTFUL))
def test_every_row_that_a_triple_cites_is_in_the_table(triple):
    known = {row.cite for _group, rows in load().groups() for row in rows}
    assert set(triple.rows) <= known


@each(RIGHT)
def test_a_right_triple_is_judged_right(triple):
    found = judged(triple)
    assert found.contradictions == ()
    assert kinds(found.doubts) == triple.doubted


@each(CONTRADICTORY)
def test_a_contradictory_triple_is_contradicted_by_the_rows_it_cites(triple):
    found = judged(triple)
    stated = [entry for entry in found.contradictions if entry.kind != "requirement"]
    assert {(entry.kind, entry.failure_id) for entry in stated} == triple.wrong
    assert kinds(found.doubts) == triple.doubted
    assert set(triple.rows) <= cited(stated)
    assert all(entry.is_certain and entry.what.endswith(".") and entry.why for entry in stated)


@each(DOUBTFUL)
def test_an_uncertain_row_gives_a_doubt_and_never_a_contradiction(triple):
    found = judged(triple)
    assert found.contradictions == ()
    assert kinds(found.doubts) == triple.doubted
    assert set(triple.rows) <= cited(found.doubts)
