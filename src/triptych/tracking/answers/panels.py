"""What the run of a comparison shows of its panels: their accuracies, and where the two best ones disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES

from triptych.config.names import spell_safely
from triptych.data.boards import BoardData
from triptych.evaluation.page.disagreements import draw_disagreements
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import ENSEMBLE, EvaluatedPanel, Report, keep_common_repeats
from triptych.tracking.client import connect
from triptych.tracking.links import DISAGREEMENTS
from triptych.tracking.metrics import MetricLog

# Followed by the panel.
ACCURACY_OF = "test_accuracy."


def log_panels(
    run_id: str,
    data: BoardData,
    report: Report,
    panels: Sequence[EvaluatedPanel],
    predictions: Mapping[str, Predictions],
) -> None:
    """Log the accuracy of each panel, the metrics of the ensemble, and a picture of what the best two disagree on.

    If an earlier comparison has trained all panels, it has the picture. What an interrupted comparison has logged is
    not logged again.

    Args:
        run_id: of the comparison.
        data: the board.
        report: the ranking.
        panels: every repeat of every panel.
        predictions: of every test image, by run id.
    """
    first = {one.label: one for one in reversed(keep_common_repeats(panels))}
    accuracies = {first[one.label].panel: one.test_accuracy for one in report.standings}
    client = connect()
    measured = {f"{ACCURACY_OF}{spell_safely(panel)}": accuracy for panel, accuracy in accuracies.items()}
    averaged = report.ensemble.standing.metrics if report.ensemble else {}
    MetricLog(run_id).log(measured | {f"{ENSEMBLE}_{name}": value for name, value in averaged.items()})
    best = [one.label for one in report.standings[:2]]
    drawn_before = MLFLOW_LOGGED_IMAGES in client.get_run(run_id).data.tags
    if len(best) < 2 or drawn_before or all(panel.shared for panel in panels):
        return
    drawn = draw_disagreements(
        data.images, data.prepared.classes, {label: predictions[first[label].run_id] for label in best}
    )
    if drawn is not None:
        client.log_image(run_id, drawn, key=DISAGREEMENTS, step=0)
