"""Runs of studies: one for each study, with a nested run for each trial."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from triptych.data.boards import PreparedBoard
from triptych.system.processes import find_host
from triptych.tracking.client import connect, find_or_create_experiment
from triptych.tracking.leases import own_leases
from triptych.tracking.links import link_to_run, page_address
from triptych.tracking.metrics import SECONDS_BETWEEN_CALLS
from triptych.tracking.provenance import describe_board
from triptych.tracking.records import StudyRecord
from triptych.tracking.resume import claim_study, close_abandoned_trials, name_share
from triptych.tracking.runs import create_run, open_run
from triptych.tracking.tags import (
    BEST_TRIAL,
    DIVERGED,
    FLOW_RUN,
    HOST,
    JOURNAL,
    LABEL,
    OUTCOME,
    PANEL,
    PREFIX,
    ROLE,
    STUDY,
    TRAINED_EPOCHS,
    TRIAL,
    TRIALS,
    own_tags,
    read_tags,
    search,
    set_tags,
)
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import PanelJob

if TYPE_CHECKING:
    from triptych.tuning.results import Findings
    from triptych.tuning.study import TrialOutcome

# MLflow's status of the run of a trial.
STATUS_OF_OUTCOME = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED"}


def start_study(
    prepared: PreparedBoard,
    panel: str,
    study: str,
    shares: tuple[range, ...],
    tags: Mapping[str, str],
    *,
    failed: Collection[int] = (),
    journal: str = "",
    continued: bool = True,
) -> StudyRecord:
    """Create the run of a study in the board's experiment, or reopen that of a study which is continued.

    Runs that other processes left in state RUNNING when they were interrupted are closed.

    Args:
        prepared: the prepared board.
        panel: the panel that is tuned.
        study: the study's name.
        shares: the trials of each worker.
        tags: the flow run that works on it.
        failed: numbers of the trials that were interrupted.
        journal: the file of the study's trials; a run with the trials of another file is not reopened.
        continued: whether there are trials already; otherwise a run of unknown file, as earlier versions wrote them, is
            not reopened either.

    Raises:
        ConcurrentRunError: another process of the same flow run is at work.
    """
    client = connect()
    experiment_id = find_or_create_experiment(client, prepared.config.name)
    tags = {**tags, HOST: find_host()}
    own = {ROLE: "study", STUDY: study, JOURNAL: journal, PANEL: panel, **tags}
    unknown = journal if continued else None
    runs = search(client, [experiment_id], {ROLE: "study", STUDY: study})
    found = next((run for run in runs if read_tags(run).get(JOURNAL, unknown) == journal), None)
    if found is not None:
        run_id = str(found.info.run_id)
    else:
        run_id = create_run(client, experiment_id, f"tune {panel}", {**own, **describe_board(prepared)}, prepared)
    claim_study(client, client.get_run(run_id), tags[FLOW_RUN])
    close_abandoned_trials(client, experiment_id, tags[FLOW_RUN])
    _withdraw_outcomes(client, experiment_id, run_id, study, failed)
    set_tags(client, run_id, own)
    client.update_run(run_id, status="RUNNING")
    return StudyRecord(study, experiment_id, run_id, prepared, panel, shares, tags)


def _withdraw_outcomes(
    client: mlflow.MlflowClient, experiment_id: str, run_id: str, study: str, failed: Collection[int]
) -> None:
    """Mark the runs of trials as KILLED that were interrupted after they were logged, before the study had the result.

    They are run again, and would count twice.
    """
    for run in find_trial_runs(experiment_id, study) if failed else []:
        tags = read_tags(run)
        if OUTCOME in tags and tags.get(MLFLOW_PARENT_RUN_ID) == run_id and int(tags[TRIAL]) in failed:
            client.update_run(run.info.run_id, status="KILLED")
            client.delete_tag(run.info.run_id, PREFIX + OUTCOME)


class TrialRun:
    """The nested run of a trial, which is written in few calls: each is a transaction of the tracking store."""

    def __init__(self, client: mlflow.MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
        """Keep the id of an open run, and what is to be logged with its first metrics."""
        self._client = client
        self.run_id = run_id
        self._params = [Param(name, str(value)) for name, value in params.items()]
        self._metrics: list[Metric] = []
        self._logged = time.monotonic()

    def log_epoch(self, metrics: EpochMetrics) -> None:
        """Log the metrics of an epoch, together with those of other epochs that end within a second."""
        self._collect(metrics.values(), metrics.epoch)
        if time.monotonic() - self._logged >= SECONDS_BETWEEN_CALLS:
            self._log({})

    def log_outcome(self, job: PanelJob, outcome: TrialOutcome) -> None:
        """Log the outcome and close the run: as KILLED if the trial was pruned, as FAILED if it diverged."""
        if outcome.score is not None:
            self._collect({f"best_{job.settings.monitor}": outcome.score}, outcome.epochs)
        reason = {DIVERGED: outcome.reason} if outcome.reason else {}
        epochs = f"{outcome.epochs} of {job.settings.most_epochs}"
        self.close(STATUS_OF_OUTCOME[outcome.state], {OUTCOME: outcome.state, TRAINED_EPOCHS: epochs, **reason})

    def close(self, status: str, tags: Mapping[str, str]) -> None:
        """Log what was collected, write some tags, and close the run."""
        self._log(tags)
        self._client.set_terminated(self.run_id, status)

    def _log(self, tags: Mapping[str, str]) -> None:
        written = [RunTag(name, value) for name, value in own_tags(tags).items()]
        self._client.log_batch(self.run_id, self._metrics, self._params, written)
        self._metrics, self._params, self._logged = [], [], time.monotonic()

    def _collect(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self._metrics += [Metric(name, value, now, step) for name, value in values.items()]


@contextmanager
def trial_run(record: StudyRecord, job: PanelJob, number: int, provenance: Mapping[str, str]) -> Iterator[TrialRun]:
    """Create the nested run of a trial and yield it; the run ends as FAILED if the block raises.

    Its parameters are those of the panel; what all trials share is in the run of the study: the other parameters, and
    the data set.

    Args:
        record: the study.
        job: the panel, on a board with the settings of the trial.
        number: number of the trial in the study.
        provenance: the result of `describe_board`, which is the same for all trials.
    """
    client = connect()
    own = {ROLE: "trial", TRIAL: str(number), STUDY: record.study, PANEL: job.panel, LABEL: job.label}
    common = {**record.tags, **own, MLFLOW_PARENT_RUN_ID: record.run_id, **provenance}
    run_id = open_run(client, record.experiment_id, f"{job.label} trial {number}", common)
    tried = {name: value for name, value in job.prepared.config.flat().items() if name.startswith(f"{job.kind}.")}
    run = TrialRun(client, run_id, tried)
    try:
        yield run
    except BaseException:
        run.close("FAILED", {})
        raise


def finish_study(record: StudyRecord, findings: Findings, best: str) -> str:
    """Log the best settings and the table of trials, close the study's run, and return the link to its page.

    MLflow's parameters cannot be changed, but the best settings of a continued study can. The names of the
    parameters therefore say of how many trials they are the best.

    Args:
        record: the study.
        findings: the results of the study.
        best: the best settings as the content of a YAML file.

    Raises:
        ValueError: the best trial has no score, so it is not complete.
    """
    client = connect()
    count = len(findings.trials)
    fields = [Param(f"best_of_{count}.{name}", str(value)) for name, value in findings.best.fields.items()]
    client.log_batch(record.run_id, params=fields)
    score = findings.best.outcome.score
    if score is None:
        raise ValueError(f"the best trial of study {record.study}, number {findings.best.number}, has no score")
    _log_best(client, record.run_id, findings.monitor, score, step=count)
    client.log_text(record.run_id, best, "best.yaml")
    client.log_dict(record.run_id, {"verdict": findings.verdict, "trials": findings.as_rows()}, "trials.json")
    note = f"{findings.verdict}\n\n[All trials side by side]({link_to_trials(record)})\n\n```yaml\n{best}```"
    set_tags(client, record.run_id, {TRIALS: str(count), BEST_TRIAL: str(findings.best.number), MLFLOW_RUN_NOTE: note})
    client.set_terminated(record.run_id)
    own_leases.release(record.run_id, name_share(record.tags[FLOW_RUN]))
    return link_to_run(record.experiment_id, record.run_id)


def find_trial_runs(experiment_id: str, study: str) -> list[Run]:
    """Return the runs of a study's trials, in the order in which they were started."""
    return search(connect(), [experiment_id], {ROLE: "trial", STUDY: study})[::-1]


def link_to_trials(record: StudyRecord) -> str:
    """Return the address of MLflow's page that compares the trials which ended: parallel coordinates, scatter, table.

    The page of an experiment shows no charts of nested runs.
    """
    trials = find_trial_runs(record.experiment_id, record.study)
    own = [run for run in trials if run.data.tags.get(MLFLOW_PARENT_RUN_ID, record.run_id) == record.run_id]
    runs = [run for run in own if OUTCOME in read_tags(run)]
    chosen = quote(json.dumps([run.info.run_id for run in runs], separators=(",", ":")), safe="")
    experiments = quote(json.dumps([record.experiment_id]), safe="")
    return f"{page_address()}/#/compare-runs?runs={chosen}&experiments={experiments}"


def _log_best(client: mlflow.MlflowClient, run_id: str, monitor: str, score: float, step: int) -> None:
    client.log_batch(run_id, metrics=[Metric(f"best_{monitor}", score, int(time.time() * 1000), step)])
