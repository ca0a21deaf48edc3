from __future__ import annotations

import mlflow
import pytest

from helpers.studies import PANEL, distance_from_a_tenth, name_board, pretend
from triptych.data.boards import BoardData
from triptych.errors import DivergenceError
from triptych.orchestration.trials import make_job, run_trial
from triptych.tracking import start_study
from triptych.tracking.leases import own_leases
from triptych.tracking.resume import name_share
from triptych.tracking.studies import find_trial_runs
from triptych.tracking.tags import FLOW_RUN
from triptych.tuning.study import Fit, identify_study, prepare_study


def test_a_trial_has_the_settings_that_were_suggested(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "suggested")
    job = make_job(prepared, PANEL, {"learning_rate": 0.25, "hidden_units": "[50, 50]"})
    assert (job.panel, job.repeat) == (PANEL, 0)
    assert (job.settings.learning_rate, job.settings.hidden_units) == (0.25, (50, 50))
    assert job.settings.keep_best_epoch


def diverge(settings: object, on_epoch: object) -> None:
    del settings, on_epoch
    raise DivergenceError("the training loss is nan")


@pytest.mark.parametrize(
    ("name", "fit", "text", "status"),
    [
        ("learns", pretend(distance_from_a_tenth), "trial 0 complete, val_loss", "FINISHED"),
        ("diverges", diverge, "trial 0 diverged, no epoch measured", "FAILED"),
    ],
)
def test_a_trial_is_logged_in_a_run_of_its_own(
    name: str, fit: Fit, text: str, status: str, digits: BoardData, own_store: str
) -> None:
    prepared = name_board(digits.prepared, name)
    shares = prepare_study(prepared, PANEL, 1, workers=1)
    record = start_study(prepared, PANEL, identify_study(prepared, PANEL), shares, {FLOW_RUN: name})
    reported: list[str] = []
    assert run_trial(record, 0, fit, reported.append).startswith(text)
    [run] = find_trial_runs(record.experiment_id, record.study)
    assert run.info.status == status
    steps = mlflow.MlflowClient(own_store).get_metric_history(run.info.run_id, "val_loss")
    assert [point.step for point in steps] == list(range(1, len(reported) + 1))
    own_leases.release(record.run_id, name_share(name))
