from __future__ import annotations

import pytest

from helpers.comparisons import Recorded
from triptych.errors import ConfigError
from triptych.tracking.client import connect
from triptych.tracking.history.boards import find_boards, find_histories
from triptych.tracking.history.nights import load_nights
from triptych.tracking.history.run import record_night
from triptych.tracking.tags import ROLE, own_tags


def test_a_board_is_told_with_and_without_the_run_that_keeps_its_nights(recorded: Recorded) -> None:
    comparison = recorded.comparison
    [history] = find_histories("digits")
    assert (history.board, len(history.nights), history.link) == ("digits", 1, "")
    assert history.summary.startswith("digits, ")
    loaded = load_nights(comparison.experiment_id)
    record_night("digits", comparison.experiment_id, loaded, loaded[1][0], None)
    connect().create_experiment("empty")
    [again] = find_histories()
    assert (again.nights, again.summary) == (history.nights, history.summary)
    assert "/#/metric?runs=[%22" in again.link
    assert "&plot_metric_keys=[%22test_accuracy.numpy-mlp%22]&x_axis=step" in again.link


@pytest.mark.usefixtures("own_store")
def test_what_has_no_night_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="no comparison yet: run `triptych compare`"):
        find_boards("digits")
    client = connect()
    client.create_run(client.create_experiment("photos"), tags=own_tags({ROLE: "comparison", "comparison": "one"}))
    with pytest.raises(ConfigError, match="no board 'digits' has a comparison: name one of photos"):
        find_boards("digits")
    with pytest.raises(ConfigError, match="the first comparison is running"):
        find_histories()
