from __future__ import annotations

import pytest

from helpers.comparisons import Recorded
from triptych.evaluation.promotion import Promotion
from triptych.tracking.registry.looks import Looks, count_looks, record_look
from triptych.tracking.registry.registering import register_version


def test_only_decisions_that_opened_the_test_set_count(recorded: Recorded) -> None:
    version = register_version("looks", recorded.comparison.prepared, recorded.panel)
    record_look(version, Promotion(promoted=False, reason="", opened=False), "a test set")
    assert count_looks("looks") == Looks(0, 0.0)
    record_look(version, Promotion(promoted=False, reason="", opened=True, spent=0.02), "a test set")
    record_look(version, Promotion(promoted=False, reason="", opened=True, spent=0.01), "a test set")
    looks = count_looks("looks")
    assert looks.opened == 1
    assert looks.spent == pytest.approx(0.01)
    assert count_looks("looks", without=str(version.version)) == Looks(0, 0.0)
