from __future__ import annotations

from helpers.evidence import make_evidence
from triptych.data.boards import BoardData
from triptych.evaluation.doctor.rivals import COMPLEXITY, find_beaten_by_majority, find_beaten_by_simpler
from triptych.panels.kinds import KINDS


def test_every_kind_has_its_complexity() -> None:
    assert {*COMPLEXITY} == {*KINDS}


def test_a_lead_over_the_majority_has_to_be_more_than_chance(digits: BoardData) -> None:
    """Of 540 test images 10 % are right by chance; two or three images more are no evidence."""
    tie = {"name": "numpy-mlp", "errors": 483}
    assert [*find_beaten_by_majority(make_evidence(digits, tie))]
    clear = {"name": "numpy-mlp", "errors": 400}
    assert not [*find_beaten_by_majority(make_evidence(digits, clear))]


def test_the_most_frequent_class_is_no_simpler_rival(digits: BoardData) -> None:
    evidence = make_evidence(digits, {"name": "numpy-mlp", "errors": 540}, {"name": "most-frequent", "answer": 0})
    assert [*find_beaten_by_simpler(evidence)] == []
