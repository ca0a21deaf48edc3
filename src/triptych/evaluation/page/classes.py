"""What a page says about each class: precision, recall, F1, and with which others it is confused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from triptych.evaluation.charts.classes import EXTREMES, SHOWN_CLASSES, list_confused
from triptych.evaluation.metrics import Confusions, count_confusions, measure_classes
from triptych.evaluation.predictions import Predictions

# The confused pairs that a page lists for each panel.
LISTED_PAIRS = 50
MEASURES = ("precision", "recall", "f1")


def describe_classes(predicted: Mapping[str, Sequence[Predictions]], classes: Sequence[str]) -> dict[str, Any]:
    """Return what is measured about the classes, as JSON values.

    Args:
        predicted: for each label the predictions of each repeat, the best panel first.
        classes: the class names.

    Returns:
        support: the test images of each class.
        measured: for each label and measure the value of each class, of the first repeat.
        confused: for each label the most confused pairs as true class, predicted class and images, over the repeats.
        counts: for each label the confusion matrix over the repeats; of few classes only.
    """
    first = {label: repeats[0] for label, repeats in predicted.items()}
    rows = {label: measure_classes(one.labels, one.predicted, len(classes)) for label, one in first.items()}
    counts = {label: sum_confusions(repeats, len(classes)) for label, repeats in predicted.items()}
    few = len(classes) <= SHOWN_CLASSES
    return {
        "support": [int(row["images"]) for row in next(iter(rows.values()))],
        "measured": {
            label: {name: [round(row[name], 3) for row in values] for name in MEASURES}
            for label, values in rows.items()
        },
        "confused": {label: list_confused(matrix)[:LISTED_PAIRS] for label, matrix in counts.items()},
        "counts": {label: matrix.toarray().tolist() for label, matrix in counts.items()} if few else {},
    }


def choose_rows(described: Mapping[str, Any], label: str) -> list[int]:
    """Return the classes that the table shows at first: all of few ones, otherwise the worst and the best by recall.

    Args:
        described: as `describe_classes` returns it.
        label: of the panel.
    """
    recalls, support = described["measured"][label]["recall"], described["support"]
    if len(recalls) <= SHOWN_CLASSES:
        return list(range(len(recalls)))
    order = sorted((number for number, images in enumerate(support) if images), key=lambda number: recalls[number])
    return order if len(order) <= 2 * EXTREMES else [*order[:EXTREMES], *order[-EXTREMES:]]


def sum_confusions(repeats: Sequence[Predictions], classes: int) -> Confusions:
    """Return the confusion matrix over all repeats, sparse (classes, classes) int64."""
    return sum(count_confusions(one.labels, one.predicted, classes) for one in repeats)
