"""Record a night in the history of its board, and report to Prefect if a panel is worse than chance explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prefect.events import emit_event
from prefect.logging import get_run_logger

from triptych.data.boards import BoardData
from triptych.evaluation.history.added import measure_added
from triptych.evaluation.history.alarm import Alarm, judge_last
from triptych.evaluation.report import Report
from triptych.tracking.client import connect
from triptych.tracking.history.nights import describe_result, load_nights, merge_nights
from triptych.tracking.history.run import record_night
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.registry.champions import Verdict
from triptych.transfer.records import BoardEmbeddings

# What an automation waits for, and the beginning of the resource that it is about.
WORSE, BOARD_RESOURCE = "triptych.night.worse", "triptych.board"


def conclude_night(
    comparison: ComparisonRecord,
    data: BoardData,
    report: Report,
    embedded: BoardEmbeddings,
    verdict: Verdict | None,
) -> list[Alarm]:
    """Add a comparison to the history of its board, and return what is worse in it than chance explains.

    A cross-validation is no night: it tests all images, by trainings on a part of them.

    Args:
        comparison: the comparison, whose run is still open.
        data: the board.
        report: of the comparison.
        embedded: the embeddings of the board on this machine.
        verdict: what became of the challenger; None if there was none.
    """
    if report.folds:
        return []
    board = comparison.prepared.config.name
    tonight = describe_result(connect().get_run(comparison.run_id), report.as_json())
    loaded = load_nights(comparison.experiment_id)
    earlier = [night.data for night in merge_nights(*loaded) if night.panels and night.started < tonight.started]
    drift = measure_added(data, embedded.records, earlier[-1] if earlier else "")
    nights = record_night(board, comparison.experiment_id, loaded, replace(tonight, drift=drift), verdict)
    alarms = judge_last([night for night in nights if night.started <= tonight.started])
    report_alarms(board, comparison.comparison, alarms)
    return alarms


def report_alarms(board: str, comparison: str, alarms: Sequence[Alarm]) -> None:
    """Log what is worse than chance explains, and emit one event for an automation.

    Args:
        board: its name.
        comparison: the comparison's id.
        alarms: nothing is reported if there are none.
    """
    for alarm in alarms:
        get_run_logger().warning("%s: %s", board, alarm.sentence)
    if alarms:
        resource = {"prefect.resource.id": f"{BOARD_RESOURCE}.{board}", "prefect.resource.name": board}
        text = "; ".join(alarm.sentence for alarm in alarms)
        panels = [vars(alarm) for alarm in alarms]
        emit_event(WORSE, resource, payload={"comparison": comparison, "text": text, "panels": panels})
