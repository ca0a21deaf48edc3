"""Compare the panels of a board: a table, a verdict, and a link to the charts in MLflow."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from functools import partial

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from triptych.data.boards import open_board
from triptych.evaluation.doctor.checks import examine_models
from triptych.evaluation.doctor.evidence import gather_evidence
from triptych.evaluation.ensemble.average import average_panels
from triptych.evaluation.labels.comparison import choose_features, judge_comparison
from triptych.evaluation.labels.sheet import show_suspects
from triptych.evaluation.page.changes import describe_changes
from triptych.evaluation.page.facts import describe_facts
from triptych.evaluation.page.pictures import draw_blank
from triptych.evaluation.page.render import Context, render_page
from triptych.evaluation.report import ComparisonResult, EvaluatedPanel, MissingPanel, Report, write_report
from triptych.orchestration import describe_flow_run, name_key, step
from triptych.orchestration.nights.conclusion import conclude_night
from triptych.panels.twins import measure_drift
from triptych.system.progress import tracking
from triptych.system.text import escape_markdown
from triptych.tracking.answers.amount import recall_amounts
from triptych.tracking.answers.labels import log_suspects
from triptych.tracking.answers.panels import log_panels
from triptych.tracking.answers.previous import recall_previous
from triptych.tracking.artifacts import (
    VALIDATED_ARRAYS,
    finish_comparison,
    load_logged_curves,
    load_logged_predictions,
    log_drifts,
)
from triptych.tracking.leases import own_leases
from triptych.tracking.links import link_to_view
from triptych.tracking.provenance import describe_board
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.registry.champions import Verdict
from triptych.transfer.records import BoardEmbeddings

log = logging.getLogger(f"triptych.{__name__}")
NOTHING_CHOSEN = "no model was registered: without a validation set, none can be chosen"
NOTHING_TRAINED = (
    "no model was registered: folds measure methods, and no model of them saw all images; split.folds=0 trains one"
)


@step("compare {comparison.prepared.config.name}")
def record_comparison(
    comparison: ComparisonRecord,
    panels: list[EvaluatedPanel],
    missing: list[MissingPanel],
    embedded: BoardEmbeddings,
    verdict: Verdict | None,
) -> ComparisonResult:
    """Write the report of a comparison to MLflow and to the page of the flow run, and close the comparison."""
    own_leases.require(comparison.run_id)
    with tracking("write the report", passing=True):
        return _record(comparison, panels, missing, embedded, verdict)


def _record(
    comparison: ComparisonRecord,
    panels: list[EvaluatedPanel],
    missing: list[MissingPanel],
    embedded: BoardEmbeddings,
    verdict: Verdict | None,
) -> ComparisonResult:
    drifts = [measure_drift(comparison.prepared, repeat) for repeat in range(comparison.prepared.config.repeats)]
    log_drifts(panels, drifts)
    predictions = {panel.run_id: load_logged_predictions(panel.run_id) for panel in panels}
    data = open_board(comparison.prepared)
    groups = None if data.groups is None else data.groups[data.split.test]
    report = write_report(comparison.prepared, panels, predictions, drifts, missing, groups)
    load_validated = partial(load_logged_predictions, file=VALIDATED_ARRAYS)
    report = replace(report, ensemble=average_panels(comparison.prepared, panels, predictions, load_validated, groups))
    curves = load_logged_curves(panels)
    findings = examine_models(gather_evidence(data, report, panels, predictions, curves))
    report = replace(report, findings=findings)
    features = choose_features(data, embedded, panels)
    suspects = None
    if judged := judge_comparison(data, features):
        suspects = show_suspects(judged)
        log_suspects(comparison.run_id, judged)
        report = replace(report, caveats=(*report.caveats, *judged.caveats))
    log_panels(comparison.run_id, data, report, panels, predictions)
    promotion = verdict.text if verdict else NOTHING_TRAINED if report.folds else NOTHING_CHOSEN
    context = Context(
        facts=_collect_facts(comparison),
        champion=promotion,
        changes=describe_changes(data.prepared, report, recall_previous(comparison.experiment_id, comparison.run_id)),
        more_images=recall_amounts(comparison.experiment_id),
        labels=suspects,
        features=features,
    )
    page = render_page(data, report, panels, predictions, curves, context)
    if draw_blank() in page:
        log.warning("photos were changed or deleted after the training: the report has no picture of them")
    # Before the comparison is closed: an interruption in between leaves one that is continued.
    conclude_night(comparison, data, report, embedded, verdict)
    link = finish_comparison(comparison, report.as_json(), report.as_markdown(), curves, page)
    _show_on_page(report, promotion, link)
    result = ComparisonResult(comparison.comparison, link, report, promotion)
    if verdict is None:
        return result
    awaiting = verdict.version if verdict.state == "waiting" else ""
    return replace(result, awaiting=awaiting, state=verdict.state, models=verdict.models)


def _collect_facts(comparison: ComparisonRecord) -> dict[str, str]:
    """Return where the result of a comparison comes from, and the commands that repeat and verify it."""
    prepared, name = comparison.prepared, comparison.comparison
    verified = {} if prepared.config.split.folds else {"is this what it says?": f"triptych verify {name}"}
    return {
        "date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M}",
        "comparison": name,
        "in MLflow": link_to_view(comparison.experiment_id, name),
        **verified,
        "repeat it": "triptych compare --config config.yaml, with the artifact of this comparison's run",
        **describe_facts(prepared, describe_board(prepared) | describe_flow_run()),
    }


def _show_on_page(report: Report, promotion: str, link: str) -> None:
    """Create the artifacts of a comparison on the page of its flow run, each with a title."""
    key, board = name_key(report.board), escape_markdown(report.board)
    verdict, champion = escape_markdown(report.verdict), f"**Champion:** {escape_markdown(promotion)}"
    missing = [f"**Missing:** {escape_markdown(f'{panel.label} ({panel.reason})')}" for panel in report.missing]
    text = "\n\n".join([f"# {board}: the comparison", champion, *missing, report.as_markdown()])
    create_markdown_artifact(text, key=f"{key}-report", description=f"**{board}: the verdict.** {verdict} {champion}")
    last = "; the last row averages them" if report.ensemble else ""
    panels = f"**{board}: the panels, best first{last}.** {verdict}"
    create_table_artifact(report.as_rows(), key=f"{key}-table", description=panels)
    charts = f"**{board}: curves and final metrics** of all panels"
    create_link_artifact(link, link_text="Open them in MLflow", key=f"{key}-mlflow", description=charts)
