"""Studies: one run for each, with a nested run for every trial."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import mlflow
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from triptych.data.boards import PreparedBoard
from triptych.tracking.client import connect, find_or_create_experiment
from triptych.tracking.links import link_to_run, page_address
from triptych.tracking.provenance import describe_board
from triptych.tracking.records import StudyRecord
from triptych.tracking.resume import FLOW_RUN, HOST, claim_studies, find_host, release
from triptych.tracking.runs import create_run
from triptych.training.jobs import PanelJob

if TYPE_CHECKING:
    from triptych.tuning.results import Findings
    from triptych.tuning.study import TrialOutcome

# What became of a trial, as MLflow's pages mark it.
STATUS_OF_OUTCOME = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED"}


def start_study(
    prepared: PreparedBoard, panel: str, study: str, shares: tuple[range, ...], tags: Mapping[str, str]
) -> StudyRecord:
    """Open the run of a study in the board's experiment, or take it up where the study was left.

    What others left in state RUNNING when they were cut off is closed.

    Args:
        prepared: the prepared board.
        panel: the panel that is tuned.
        study: the study's name.
        shares: what each worker has to do.
        tags: the flow run that runs it.

    Raises:
        ConcurrentRunError: another process of the same flow run is at work.
    """
    client = connect()
    experiment_id = find_or_create_experiment(client, prepared.config.name)
    claim_studies(client, experiment_id, tags[FLOW_RUN])
    tags = {**tags, HOST: find_host()}
    own = {"role": "study", "study": study, "panel": panel, **tags}
    found = client.search_runs([experiment_id], f"tags.study = '{study}' and tags.role = 'study'", max_results=1)
    if found:
        run_id = str(found[0].info.run_id)
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in own.items()])
        client.update_run(run_id, status="RUNNING")
    else:
        run_id = create_run(client, experiment_id, f"tune {panel}", {**own, **describe_board(prepared)}, prepared)
    return StudyRecord(study, experiment_id, run_id, prepared, panel, shares, tags)


@contextmanager
def trial_run(record: StudyRecord, job: PanelJob, number: int) -> Iterator[str]:
    """Open the nested run of a trial and yield its id; it ends as FAILED if the block raises.

    Args:
        record: the study.
        job: the panel, on a board with the setting that is tried.
        number: the trial's, within the study.
    """
    client = connect()
    own = {"role": "trial", "trial": str(number), "study": record.study, "panel": job.panel, "label": job.label}
    common = {**record.tags, **own, MLFLOW_PARENT_RUN_ID: record.run_id, **describe_board(job.prepared)}
    run_id = create_run(client, record.experiment_id, f"{job.label} trial {number}", common, job.prepared)
    try:
        yield run_id
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise


def log_outcome(run_id: str, job: PanelJob, outcome: TrialOutcome) -> None:
    """Log what came of a trial, and close its run: pruned as KILLED, diverged as FAILED."""
    client = connect()
    if outcome.score is not None:
        _log_best(client, run_id, job.settings.monitor, outcome.score, step=outcome.epochs)
    reason = {"diverged": outcome.reason} if outcome.reason else {}
    tags = {"outcome": outcome.state, "trained_epochs": f"{outcome.epochs} of {job.settings.epochs}", **reason}
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    client.set_terminated(run_id, STATUS_OF_OUTCOME[outcome.state])


def finish_study(record: StudyRecord, findings: Findings, best: str) -> str:
    """Log the best setting and the table of trials, close the study's run, and return the link to its page.

    Parameters can't be changed, and the best setting of a study that is continued may: their names tell how many
    trials they are the best of.

    Args:
        record: the study.
        findings: what it has found.
        best: the best setting as a file.
    """
    client = connect()
    count = len(findings.trials)
    fields = [Param(f"best_of_{count}.{name}", str(value)) for name, value in findings.best.fields.items()]
    client.log_batch(record.run_id, params=fields)
    assert findings.best.outcome.score is not None  # noqa: S101 - a complete trial has one
    _log_best(client, record.run_id, findings.monitor, findings.best.outcome.score, step=count)
    client.log_text(record.run_id, best, "best.yaml")
    client.log_dict(record.run_id, {"verdict": findings.verdict, "trials": findings.as_rows()}, "trials.json")
    note = f"{findings.verdict}\n\n[All trials beside each other]({link_to_trials(record)})\n\n```yaml\n{best}```"
    tags = {"trials": str(count), "best_trial": str(findings.best.number), MLFLOW_RUN_NOTE: note}
    client.log_batch(record.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    client.set_terminated(record.run_id)
    release(record.tags[FLOW_RUN])
    return link_to_run(record.experiment_id, record.run_id)


def find_trial_runs(experiment_id: str, study: str) -> list[mlflow.entities.Run]:
    """Return the runs of a study's trials, in the order in which they were started."""
    query = f"tags.study = '{study}' and tags.role = 'trial'"
    return list(connect().search_runs([experiment_id], query, order_by=["attributes.start_time ASC"]))


def link_to_trials(record: StudyRecord) -> str:
    """Return the address of MLflow's page with every trial that counts: parallel coordinates, scatter, table.

    The page of all runs shows no charts of nested ones.
    """
    runs = [run for run in find_trial_runs(record.experiment_id, record.study) if "outcome" in run.data.tags]
    chosen = quote(json.dumps([run.info.run_id for run in runs], separators=(",", ":")), safe="")
    experiments = quote(json.dumps([record.experiment_id]), safe="")
    return f"{page_address()}/#/compare-runs?runs={chosen}&experiments={experiments}"


def _log_best(client: mlflow.MlflowClient, run_id: str, monitor: str, score: float, step: int) -> None:
    client.log_batch(run_id, metrics=[Metric(f"best_{monitor}", score, int(time.time() * 1000), step)])
