from __future__ import annotations

from pathlib import Path

import pytest

from helpers.comparisons import Recorded
from helpers.nights import make_night, make_nights
from triptych.evaluation.history.drift import Drift
from triptych.tracking.client import connect, list_artifacts
from triptych.tracking.history.nights import find_history_run, load_nights
from triptych.tracking.history.run import list_values, record_night
from triptych.tracking.queries import find_recorded
from triptych.tracking.registry.champions import Verdict
from triptych.tracking.retention import list_entries

VERDICT = Verdict("refused", "panel-0", "photos/2", "p = 0.4", "panel-0 remains the champion")


@pytest.mark.usefixtures("own_store")
def test_a_night_is_a_step_of_the_run_and_is_written_once(tmp_path: Path) -> None:
    client = connect()
    board = client.create_experiment("photos", artifact_location=(tmp_path / "artifacts").as_uri())
    *earlier, tonight = make_nights(nights=8)
    earlier.append(make_night(40))
    # The second time an interruption is made up for; the third is the next night.
    for night in (tonight, tonight, make_night(41, 520, 521, drift=Drift("vgg16", 3, 9, 0.1, 0.5))):
        recorded, others = load_nights(board)
        nights = record_night(
            "photos", board, (recorded, [*earlier, *others] if not recorded else others), night, VERDICT
        )
    assert [one.number for one in nights] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    run = find_history_run(client, board)
    assert run is not None
    assert (run.info.status, run.info.run_name) == ("FINISHED", "history")
    history = client.get_metric_history(run.info.run_id, "test_accuracy.panel-0")
    expected = {night.number: (night.started, night.panels[0].accuracy) for night in nights if night.panels}
    assert {point.step: (point.timestamp, point.value) for point in history} == expected
    assert len(history) == len(expected)
    assert [point.value for point in client.get_metric_history(run.info.run_id, "drift")] == [0.1]
    assert list_artifacts(run.info.run_id) == ["nights/2026-01.json", "nights/2026-02.json"]
    assert load_nights(board) == (nights, [])
    assert (nights[-1].decision, nights[-1].reason, nights[-1].champion) == ("refused", "p = 0.4", "")


def test_a_failed_night_has_no_accuracies() -> None:
    values = dict(list_values(make_night(0)))
    assert (values["failed"], values["images.test"]) == (1.0, 540.0)
    assert not any("accuracy" in name for name in values)


def test_the_run_is_neither_a_comparison_nor_deleted_with_one(recorded: Recorded) -> None:
    comparison = recorded.comparison
    entries, [shown] = list_entries(connect()), find_recorded()
    loaded = load_nights(comparison.experiment_id)
    [night] = loaded[1]
    record_night("digits", comparison.experiment_id, loaded, night, None)
    assert list_entries(connect()) == entries
    assert find_recorded() == [shown]
