from __future__ import annotations

import pytest

from helpers.comparisons import Recorded
from triptych.tracking.answers.previous import recall_previous
from triptych.tracking.client import connect
from triptych.tracking.queries import RESULT_FILES
from triptych.tracking.tags import COMPARISON, ROLE, own_tags


def test_the_comparison_before_is_found_with_its_data_and_result(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, prepared = recorded.comparison, recorded.comparison.prepared
    assert recall_previous(first.experiment_id, first.run_id) is None
    # It lacked a panel; another one that ended before its report says nothing.
    connect().set_terminated(first.run_id, "FAILED")
    connect().create_run(first.experiment_id, tags=own_tags({ROLE: "comparison", COMPARISON: "interrupted"}))
    later = connect().create_run(first.experiment_id).info.run_id
    found = recall_previous(first.experiment_id, later)
    assert found
    assert (found.name, found.sizes) == (first.comparison, prepared.sizes)
    assert (found.data_digest, found.test_set_id) == (prepared.data_digest, prepared.test_set_id)
    assert found.result["standings"][0]["label"] == "numpy-mlp"
    # One whose result was deleted is none.
    monkeypatch.setitem(RESULT_FILES, "comparison", "deleted.json")
    assert recall_previous(first.experiment_id, later) is None
