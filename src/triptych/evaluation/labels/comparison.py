"""The labels of a comparison that are probably wrong, by the features that it has anyway."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from triptych.data.boards import BoardData
from triptych.evaluation.labels.judge import JudgedLabels, judge_labels
from triptych.evaluation.report import EvaluatedPanel
from triptych.panels.answers.labels import find_features
from triptych.transfer.discriminant import MOST_FEATURES, Features
from triptych.transfer.records import BoardEmbeddings

# A comparison of more numbers is not judged: they take 400 MB of memory, and seconds. 180,000 images of ten classes.
MOST_NUMBERS = 100_000_000


def choose_features(data: BoardData, embedded: BoardEmbeddings, panels: Sequence[EvaluatedPanel]) -> Features | None:
    """Return the features of all images of a comparison, (n, dimension) float32; None if they are too many.

    They are the embeddings of the panel that is best on the validation set.

    Args:
        data: the board.
        embedded: its embeddings on this machine.
        panels: every repeat of every panel.
    """
    if len(data.labels) * (MOST_FEATURES + len(data.prepared.classes)) > MOST_NUMBERS:
        return None

    def measure(name: str) -> float:
        found = [panel.metrics.get("final_val_accuracy", 0.0) for panel in panels if panel.panel == name]
        return fmean(found) if found else 0.0

    ranked = sorted(embedded.records, key=measure, reverse=True)
    return find_features(data, {name: embedded.records[name] for name in ranked})


def judge_comparison(data: BoardData, features: Features | None) -> JudgedLabels | None:
    """Return what is found about the labels of all images of a comparison; None without features.

    What is found changes nothing about the trainings, and no panel is chosen by it.

    Args:
        data: the board.
        features: as `choose_features` returns them.
    """
    try:
        return None if features is None else judge_labels(data, features)
    except np.linalg.LinAlgError:  # embeddings that are not finite
        return None
