from __future__ import annotations

from dataclasses import replace

import pytest

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData
from triptych.tracking.records import ComparisonRecord

BACKBONE = "shufflenet_v2_x0_5"


@pytest.fixture
def comparison(digits: BoardData) -> ComparisonRecord:
    panels = ["numpy-mlp", BACKBONE]
    config = resolve_config("digits", panels=panels, settings=["repeats=2", "pools.transfer=gpu"]).boards[0]
    return ComparisonRecord("id", "1", "run", replace(digits.prepared, config=config))


def test_panels_of_a_pool_are_trained_elsewhere(comparison: ComparisonRecord) -> None:
    assert [(job.panel, job.repeat) for job in comparison.jobs] == [
        ("numpy-mlp", 0),
        ("numpy-mlp", 1),
        (BACKBONE, 0),
        (BACKBONE, 1),
    ]
    assert comparison.panels_elsewhere == [BACKBONE]
    assert comparison.backbones == []


def test_the_other_machine_trains_only_what_was_ordered(comparison: ComparisonRecord) -> None:
    there = replace(comparison, ordered=BACKBONE)
    assert {job.panel for job in there.jobs} == {BACKBONE}
    assert there.panels_elsewhere == []
    assert there.backbones == [BACKBONE]
