"""Finished trainings: a comparison shares the run of an identical one, instead of storing it again.

A second run could not have the model: MLflow finds `runs:/RUN/NAME` only in the run that logged it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from triptych.config.names import spell_safely
from triptych.errors import DamagedFileError, describe_error
from triptych.networks.checksums import check_checksums
from triptych.networks.trunks import open_trunk
from triptych.panels.identity import TRAINING, identify_evaluation, identify_training
from triptych.panels.kinds import find_kind
from triptych.panels.twins import lacks_weights
from triptych.tracking.artifacts import VALIDATED_ARRAYS, load_logged_predictions
from triptych.tracking.client import connect, list_artifacts
from triptych.tracking.records import ComparisonRecord, TrainedPanel
from triptych.tracking.tags import (
    EVALUATED,
    EVALUATION,
    MODEL,
    PANEL,
    PREFIX,
    ROLE,
    SHARED,
    count_epochs,
    list_shared,
    read_tags,
    select,
    set_tags,
)
from triptych.training.jobs import PanelJob
from triptych.transfer.records import EmbeddingRecord

# As many identical trainings are looked at, the newest first.
MOST_TRIED = 3


def share_finished(
    record: ComparisonRecord, job: PanelJob, embedded: EmbeddingRecord | None, on_damage: Callable[[str], None]
) -> TrainedPanel | None:
    """Return a panel that an earlier comparison of the board trained and evaluated, and share its run.

    Args:
        record: the comparison that shares it.
        job: the panel and its repeat.
        embedded: the record of the embeddings of its backbone; None if it has none.
        on_damage: called with one line for each such run whose files are gone or damaged.

    Returns:
        The panel; None if there is none, or the job asks for a training of its own.
    """
    draws = find_kind(job.prepared.config, job.panel).draws(job.settings)
    if job.fresh_since is not None or (draws and not job.settings.checkpoint_epochs):
        return None
    same = {ROLE: "panel", PANEL: job.panel, TRAINING: identify_training(job, embedded), EVALUATED: "true"}
    query = select(same | {EVALUATION: identify_evaluation(job.prepared.config)})
    client = connect()
    for run in client.search_runs(
        [record.experiment_id], f"{query} and attributes.status = 'FINISHED'", max_results=MOST_TRIED
    ):
        if lacks_weights(job, count_epochs(run)):
            continue
        # Shared first, so that it is not pruned while it is checked.
        set_tags(client, record.run_id, {_name_share(job): run.info.run_id})
        try:
            _check_whole(run)
        except (MlflowException, OSError, DamagedFileError) as error:
            client.delete_tag(record.run_id, f"{PREFIX}{_name_share(job)}")
            on_damage(f"an identical training, run {run.info.run_id}, is not whole ({describe_error(error)})")
            continue
        return _describe(run, job, embedded)
    return None


def find_shared(record: ComparisonRecord, job: PanelJob) -> TrainedPanel | None:
    """Return the panel that a comparison shares; None if it shares none."""
    client = connect()
    run_id = list_shared(client.get_run(record.run_id)).get(_name_share(job).removeprefix(SHARED))
    return _describe(client.get_run(run_id), job, None) if run_id else None


def _name_share(job: PanelJob) -> str:
    """Return the name of the tag, without its prefix, that says which run a comparison shares."""
    return f"{SHARED}{spell_safely(job.panel)}.{job.repeat}"


def _describe(run: Run, job: PanelJob, embedded: EmbeddingRecord | None) -> TrainedPanel:
    return TrainedPanel(job, run.info.run_id, read_tags(run)[MODEL], count_epochs(run), embedded, shared=True)


def _check_whole(run: Run) -> None:
    """Check that the model of a run and its predictions are there, and as they were logged.

    Raises:
        DamagedFileError: a file is not what was logged.
        FileNotFoundError: there is no model.
        MlflowException: something was deleted.
    """
    run_id = run.info.run_id
    if connect().get_run(run_id).info.lifecycle_stage != "active":
        raise FileNotFoundError(f"run {run_id} was deleted")
    load_logged_predictions(run_id)
    if VALIDATED_ARRAYS in list_artifacts(run_id):
        load_logged_predictions(run_id, VALIDATED_ARRAYS)
    check_model(read_tags(run)[MODEL])


def check_model(model_uri: str) -> None:
    """Check that the files of a logged model are there, and as they were logged.

    Raises:
        DamagedFileError: a file is not what was logged.
        FileNotFoundError: there are none.
        MlflowException: the model was deleted.
    """
    with TemporaryDirectory() as folder:
        model = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=folder))
        if not (model / "MLmodel").is_file():
            raise FileNotFoundError(f"{model_uri} has no files")
        for saved in (model / "data").iterdir():
            check_checksums(saved)
            with open_trunk(saved):
                pass
