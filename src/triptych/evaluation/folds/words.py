"""What reports say of a cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from triptych.data.boards import PreparedBoard
from triptych.evaluation.folds.corrected import Folds, find_overlap_effect
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.statistics import Correct, Groups, measure_clustering


def collect_folds(repeats: Iterable[int], predictions: Iterable[Predictions]) -> dict[int, Folds]:
    """Return for each repeat the fold that tests each image, (n,) int64; empty without cross-validation.

    Args:
        repeats: of one or more panels, which all have the same folds.
        predictions: of the same panels and repeats.
    """
    found = zip(repeats, predictions, strict=True)
    return {repeat: one.folds for repeat, one in found if one.folds is not None}


def find_design_effect(correct: Mapping[int, Correct], groups: Groups | None, folds: Mapping[int, Folds]) -> float:
    """Return how many times larger groups and folds make the variance of an accuracy.

    Args:
        correct: for each repeat, (n,) bool, which images are classified correctly.
        groups: (n,) int64, the group of each image; None if every image stands alone.
        folds: for each repeat, (n,) int64, the fold that tests each image; empty without cross-validation.
    """
    rows = np.stack([*correct.values()])
    clustering = measure_clustering(rows.mean(axis=0), groups)
    if not folds:
        return clustering
    tested_in = np.stack([folds[repeat] for repeat in correct])
    return max(clustering, find_overlap_effect(rows, tested_in, grouped=groups is not None))


def describe_tested(prepared: PreparedBoard) -> str:
    """Return on how many images, and how, the panels of a board are tested."""
    images, folds = prepared.sizes["test"], prepared.config.split.folds
    return f"{images} images out of fold ({folds} folds)" if folds else f"{images} test images"


def explain_folds(prepared: PreparedBoard) -> Sequence[str]:
    """Return what a cross-validation means for the result; nothing without one."""
    folds = prepared.config.split.folds
    if not folds:
        return ()
    rest = f"{folds - 1} of {folds} folds"
    trained = f"cross-validation: each image is tested by a training on {rest}, from which its validation part is taken"
    corrected = "intervals and p-values allow for the overlap of these trainings (Nadeau and Bengio 2003)"
    return (f"{trained}; {corrected}", "times are sums over the folds")


def build_fold_rows(predicted: Mapping[str, Sequence[Predictions]]) -> list[dict[str, str]]:
    """Return the accuracy of each panel and repeat on each fold as text; empty without cross-validation.

    Args:
        predicted: for each label and repeat, the predictions of all images.
    """
    return [
        {"panel": f"{label} #{repeat}" if len(repeats) > 1 else label} | _list_accuracies(one.correct, one.folds)
        for label, repeats in predicted.items()
        for repeat, one in enumerate(repeats)
        if one.folds is not None
    ]


def _list_accuracies(correct: Correct, folds: Folds) -> dict[str, str]:
    accuracies = np.bincount(folds, weights=correct) / np.bincount(folds)
    return {f"fold {number}": f"{accuracy:.4f}" for number, accuracy in enumerate(accuracies, start=1)}
