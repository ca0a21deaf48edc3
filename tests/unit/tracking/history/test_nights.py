from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.comparisons import Recorded
from helpers.nights import DAY, make_night, make_nights
from triptych.tracking.client import connect
from triptych.tracking.history.nights import FOLDER, HISTORY, find_history_run, load_nights, merge_nights
from triptych.tracking.tags import COMPARISON, ROLE, own_tags


def test_a_comparison_describes_its_night(recorded: Recorded) -> None:
    comparison = recorded.comparison
    [], [night] = load_nights(comparison.experiment_id)
    assert (night.comparison, night.status, night.failed) == (comparison.comparison, "finished", False)
    [panel] = night.panels
    assert (panel.panel, panel.accuracy) == ("numpy-mlp", recorded.panel.metrics["test_accuracy"])
    assert (panel.log_loss, panel.seconds) == (
        recorded.panel.metrics["test_log_loss"],
        recorded.panel.metrics["fit_seconds"],
    )
    assert panel.independent_images == pytest.approx(540, abs=2)
    assert night.images == comparison.prepared.sizes
    assert (night.data, night.test_set) == (comparison.prepared.data_digest, comparison.prepared.test_set_id)
    assert night.verdict


@pytest.mark.usefixtures("own_store")
def test_what_is_running_is_left_out_and_what_failed_is_a_night() -> None:
    client = connect()
    board = client.create_experiment("photos")
    for name, status in (("one", "FAILED"), ("two", "RUNNING"), ("three", "KILLED")):
        run = client.create_run(board, tags=own_tags({ROLE: "comparison", COMPARISON: name}))
        if status != "RUNNING":
            client.set_terminated(run.info.run_id, status)
    [], found = load_nights(board)
    assert [(night.comparison, night.status, night.failed) for night in found] == [
        ("one", "failed", True),
        ("three", "killed", True),
    ]


@pytest.mark.usefixtures("own_store")
def test_a_cross_validation_is_no_night() -> None:
    client = connect()
    board = client.create_experiment("photos")
    for name, folds in (("one", "0"), ("two", "5")):
        run = client.create_run(board, tags=own_tags({ROLE: "comparison", COMPARISON: name}))
        client.log_param(run.info.run_id, "split.folds", folds)
        client.set_terminated(run.info.run_id, "FAILED")
    [], found = load_nights(board)
    assert [night.comparison for night in found] == ["one"]


@pytest.mark.usefixtures("own_store")
def test_a_damaged_month_is_read_again_from_its_comparisons(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = connect()
    board = client.create_experiment("photos", artifact_location=(tmp_path / "artifacts").as_uri())
    nights = merge_nights([], make_nights(nights=40))
    run = client.create_run(board, tags=own_tags({ROLE: HISTORY}))
    for month in ("2026-01", "2026-02"):
        text = json.dumps([night.as_json() for night in nights if night.month == month])
        client.log_text(run.info.run_id, text if month == "2026-02" else text[:-9], f"{FOLDER}/{month}.json")
    found = find_history_run(client, board)
    assert found is not None
    assert found.info.run_id == run.info.run_id
    # A comparison of that month, and one that is known.
    for night in (nights[3], nights[39]):
        tags = own_tags({ROLE: "comparison", COMPARISON: night.comparison})
        created = client.create_run(board, start_time=night.started, tags=tags)
        client.set_terminated(created.info.run_id, "FAILED")
    recorded, others = load_nights(board)
    assert [night.month for night in recorded] == ["2026-02"] * len(recorded)
    assert [night.comparison for night in others] == ["night-003"]
    assert f"{FOLDER}/2026-01.json is damaged" in caplog.text


def test_a_comparison_that_was_continued_replaces_its_failure(recorded: Recorded) -> None:
    comparison = recorded.comparison
    [], [night] = load_nights(comparison.experiment_id)
    failed = make_night(0, started=night.started, comparison=night.comparison)
    merged = merge_nights(merge_nights([], [make_night(0), failed]), [night])
    assert [(one.comparison, one.number, one.failed) for one in merged] == [
        ("night-000", 1, True),
        (night.comparison, 2, False),
    ]


def test_nights_are_in_order_and_keep_their_numbers() -> None:
    first, second, third = make_nights(nights=3)
    recorded = merge_nights([], [first, third])
    assert [night.number for night in merge_nights(recorded, [second])] == [1, 3, 2]
    assert third.started - first.started == 2 * DAY
