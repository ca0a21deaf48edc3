"""A second night of the same board, in which nothing has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.pyfunc import load_model
from mlflow.utils.file_utils import local_file_uri_to_path

from helpers.comparisons import Recorded, artifacts_missing
from triptych.panels import twins
from triptych.panels.identity import TRAINING
from triptych.tracking.queries import find_compared_runs, find_recorded, list_charted
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.registry.champions import challenge
from triptych.tracking.registry.registering import _find_registered
from triptych.tracking.retention import Keep, list_entries, measure_addresses, select_old
from triptych.tracking.runs import find_trained, start_comparison
from triptych.tracking.sharing.finished import find_shared, share_finished
from triptych.tracking.tags import COMPARISON, PANEL, REPEAT, ROLE, own_tags, read_tags, set_tags
from triptych.training.jobs import PanelJob


@pytest.fixture
def tonight(recorded: Recorded) -> tuple[ComparisonRecord, PanelJob]:
    record = start_comparison(recorded.comparison.prepared, {}, "another night")
    return record, record.jobs[0]


def test_a_night_that_trains_nothing_new_stores_no_panel(
    recorded: Recorded, tonight: tuple[ComparisonRecord, PanelJob]
) -> None:
    (record, job), said = tonight, list[str]()
    assert find_shared(record, job) is None
    shared = share_finished(record, job, None, said.append)
    assert shared is not None
    assert find_shared(record, job) == shared
    assert find_trained(record, job) is None
    assert (shared.run_id, shared.model_uri) == (recorded.panel.run_id, recorded.panel.model_uri)
    assert shared.restored_epochs == 2
    assert not said
    # What the report names loads without triptych.
    assert load_model(f"runs:/{shared.run_id}/{job.panel}").predict is not None

    client = MlflowClient()
    interrupted = {COMPARISON: record.comparison, ROLE: "panel", PANEL: job.panel, REPEAT: "0"}
    killed = client.create_run(record.experiment_id, tags=own_tags(interrupted)).info.run_id
    run = client.get_run(record.run_id)
    assert [one.info.run_id for one in find_compared_runs(record.experiment_id, run)] == [shared.run_id]
    assert list_charted(record.experiment_id, run) == [shared.run_id]
    [shown] = find_recorded()
    assert [(one.comparison, one.restored_epochs) for one in shown.panels] == [(record.comparison, 2)]
    first = challenge(record.prepared, recorded.panel)
    again = challenge(record.prepared, shared.with_metrics(recorded.panel.metrics))
    assert (first.state, again.state) == ("new", "same")

    # The run is kept for as long as the comparison that shares it.
    client.delete_model_version("digits", first.version.partition("/")[2])
    for one in (killed, record.run_id):
        client.set_terminated(one)
    new, old = list_entries(client)
    assert (new.name, old.name) == (record.comparison, recorded.comparison.comparison)
    assert (new.shares, dict(new.models)) == (frozenset({shared.run_id}), {})
    assert measure_addresses(new.addresses) < measure_addresses(old.addresses) / 10
    assert not select_old(client, [new, old], Keep(1))
    assert [one.entry for one in select_old(client, [replace(new, shares=frozenset()), old], Keep(1))] == [old]


def test_what_is_not_shared(
    recorded: Recorded, tonight: tuple[ComparisonRecord, PanelJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    (record, job), said = tonight, list[str]()
    evaluated = job.prepared.config.evaluate.model_copy(update={"calibration_bins": 3})
    trained = job.settings.model_copy(update={"epochs": 3})
    unsaved = job.settings.model_copy(update={"checkpoint_epochs": 0})
    others = [{"evaluate": evaluated}, {"numpy_mlp": trained}, {"numpy_mlp": unsaved}]
    boards = [replace(job.prepared, config=job.prepared.config.model_copy(update=other)) for other in others]
    for other in (replace(job, fresh_since=0.0), *(replace(job, prepared=board) for board in boards)):
        assert share_finished(record, other, None, said.append) is None
    assert not said
    with artifacts_missing(recorded, "test_predictions.npz"):
        assert share_finished(record, job, None, said.append) is None
    assert said.pop().startswith(f"an identical training, run {recorded.panel.run_id}, is not whole (")
    with monkeypatch.context() as patch:
        patch.setattr(twins, "keeps_weights", lambda config, panel: True)
        assert share_finished(record, job, None, said.append) is None
    client = MlflowClient()
    client.delete_logged_model(recorded.panel.model_uri.removeprefix("models:/"))
    assert share_finished(record, job, None, said.append) is None
    assert len(said) == 1
    client.delete_run(recorded.panel.run_id)
    assert share_finished(record, job, None, said.append) is None
    assert len(said) == 1
    assert find_shared(record, job) is None


def test_a_shared_run_that_was_deleted_is_missing_and_not_silent(
    recorded: Recorded, tonight: tuple[ComparisonRecord, PanelJob]
) -> None:
    record, job = tonight
    assert share_finished(record, job, None, print) is not None
    MlflowClient().delete_run(recorded.panel.run_id)
    [shown] = find_recorded()
    assert shown.missing == [f"numpy-mlp.0 (run {recorded.panel.run_id} was deleted in MLflow)"]


def test_a_version_without_its_files_is_not_taken_for_a_new_training(
    recorded: Recorded, tonight: tuple[ComparisonRecord, PanelJob]
) -> None:
    record, _ = tonight
    first = challenge(record.prepared, recorded.panel)
    assert first.state == "new"
    repeated = replace(recorded.panel, run_id=start_comparison(record.prepared, {}, "a third night").run_id)
    training = {TRAINING: read_tags(MlflowClient().get_run(recorded.panel.run_id))[TRAINING]}
    set_tags(MlflowClient(), repeated.run_id, training)
    repeated = replace(repeated, restored_epochs=2)
    found = _find_registered("digits", record.prepared, repeated, MlflowClient().get_run(repeated.run_id))
    assert found is not None
    model = MlflowClient().get_logged_model(recorded.panel.model_uri.removeprefix("models:/"))
    folder = Path(local_file_uri_to_path(model.artifact_location))
    hidden = folder.rename(folder.with_name("hidden"))
    assert _find_registered("digits", record.prepared, repeated, MlflowClient().get_run(repeated.run_id)) is None
    hidden.rename(folder)
