"""Tune one panel: open its study, run the trials, and record the results."""

from __future__ import annotations

from functools import partial

from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger

from triptych.config.schema import BoardConfig
from triptych.data.preparation import prepare_once
from triptych.orchestration import describe_flow_run, long_step, name_key, provide_board, reporting
from triptych.orchestration.trials import TrialRunner
from triptych.system.progress import tracking
from triptych.system.text import escape_markdown
from triptych.tracking.records import StudyRecord
from triptych.tracking.registry.weights import pin_weights
from triptych.tracking.studies import finish_study, start_study
from triptych.transfer.records import BoardEmbeddings
from triptych.tuning.results import TuningResult, save_best, summarise_study
from triptych.tuning.study import (
    check_validation,
    identify_journal,
    identify_study,
    list_failed,
    load_study,
    prepare_study,
)
from triptych.tuning.trainers import load_trainer


@long_step("open the study of {panel} on {config.name}")
def start_tuning(config: BoardConfig, panel: str, trials: int, workers: int) -> StudyRecord:
    """Open or continue the study of a panel, and divide the trials that are left among the workers."""
    with tracking(f"open the study of {panel}", passing=True):
        return _start(config.model_copy(update={"panels": (panel,)}), panel, trials, workers)


def _start(config: BoardConfig, panel: str, trials: int, workers: int) -> StudyRecord:
    prepared = prepare_once(pin_weights(config))
    check_validation(prepared)
    shares = prepare_study(prepared, panel, trials, workers)
    name = identify_study(prepared, panel)
    continued = sum(map(len, shares)) < trials
    failed, journal, flow_run = list_failed(load_study(name)), identify_journal(name), describe_flow_run()
    return start_study(prepared, panel, name, shares, flow_run, failed=failed, journal=journal, continued=continued)


@long_step("tune {study.panel}, share {worker}")
def run_trials(study: StudyRecord, worker: int, embedded: BoardEmbeddings | None) -> None:
    """Run one worker's share of the trials, one after another, on a study and data that are read once."""
    share = study.shares[worker]
    runner = TrialRunner(study, load_trainer(provide_board(study.prepared), study.panel, embedded))
    with reporting(f"tune {study.panel}, worker {worker + 1}") as report:
        for done, index in enumerate(share):
            result = runner.run(index, partial(report, done, len(share)))
            report(done + 1, len(share), result)
            get_run_logger().info(result)


@long_step("record the study of {study.panel}")
def record_study(study: StudyRecord, preset: str) -> TuningResult:
    """Write the best setting and all trials to MLflow and to the page of the flow run; close the run of the study."""
    with tracking(f"record the study of {study.panel}", passing=True):
        findings = summarise_study(study.prepared, study.panel)
        best = findings.as_yaml(preset)
        link = finish_study(study, findings, best)
    key = name_key(f"{study.prepared.config.name}-{study.panel}-trials")
    board, verdict = map(escape_markdown, (study.prepared.config.name, findings.verdict))
    title = f"**{board}: the trials of {study.panel}, best first.** {verdict}"
    create_table_artifact(findings.as_rows(), key=key, description=title)
    return TuningResult(findings, save_best(findings, best), link)
