"""The test images that panels get wrong, with the answers of every panel: what the page pages through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from triptych.data.boards import BoardData
from triptych.evaluation.charts.panels import COMPARABLE
from triptych.evaluation.page.pictures import embed_pictures
from triptych.evaluation.predictions import Predictions

# Images with their answers on one page: each takes about a hundred bytes without its picture.
MOST_IMAGES = 5000


def collect_mistakes(data: BoardData, predicted: Mapping[str, Predictions], picture_bytes: int) -> dict[str, Any]:
    """Return the test images that a panel gets wrong, as JSON values, the most certain mistakes first.

    A panel that is less than half as accurate as the best adds no images, but its answers are listed.

    Args:
        data: the board.
        predicted: of every test image, by label, the best panel first; the images in the same order.
        picture_bytes: of all pictures together.

    Returns:
        panels: their labels, and which of them add images.
        images: the name, the true class and, as far as they fit, the picture of each image.
        answers: for each panel and image the predicted class.
        confidences: the probability of that class in thousandths.
        left_out: images without a place on the page.
    """
    first = next(iter(predicted.values()))
    best = first.correct.mean()
    compared = [label for label, one in predicted.items() if one.correct.mean() >= COMPARABLE * best]
    wrong = np.array([~predicted[label].correct for label in compared])
    certainty = np.where(wrong, np.array([predicted[label].confidence for label in compared]), 0.0).max(axis=0)
    # Of equally certain ones the first, so that the same comparison gives the same page.
    order = np.argsort(-certainty, kind="stable")[: int(wrong.any(axis=0).sum())]
    rows = order[:MOST_IMAGES]
    indices = first.indices[rows].tolist()
    return {
        "panels": [{"label": label, "compared": label in compared} for label in predicted],
        "images": [data.name_image(index) for index in indices],
        "truths": first.labels[rows].tolist(),
        "pictures": embed_pictures(data.images, indices, picture_bytes),
        "answers": [one.predicted[rows].tolist() for one in predicted.values()],
        "confidences": [np.rint(1000 * one.confidence[rows]).astype(int).tolist() for one in predicted.values()],
        "left_out": len(order) - len(rows),
    }


def list_disagreements(mistakes: Mapping[str, Any], first: int, second: int) -> list[int]:
    """Return the places of the images of which exactly one of two panels is right, the most certain mistakes first.

    Args:
        mistakes: as `collect_mistakes` returns them.
        first: the place of a panel.
        second: that of another.
    """
    wrong = {panel: set(list_mistakes(mistakes, panel)) for panel in (first, second)}
    certainty = {row: mistakes["confidences"][panel][row] for panel, rows in wrong.items() for row in rows}
    return sorted(wrong[first] ^ wrong[second], key=lambda row: (-certainty[row], row))


def list_mistakes(mistakes: Mapping[str, Any], panel: int) -> list[int]:
    """Return the places of the images that a panel gets wrong, its most certain mistake first.

    Args:
        mistakes: as `collect_mistakes` returns them.
        panel: its place.
    """
    confidences = mistakes["confidences"][panel]
    rows = enumerate(zip(mistakes["truths"], mistakes["answers"][panel], strict=True))
    return sorted((row for row, (truth, answer) in rows if answer != truth), key=lambda row: -confidences[row])
