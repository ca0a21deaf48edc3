"""Checks of a panel's predictions: classes without any, confidence without ground, and too few images to tell."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np
from scipy.special import ndtr

from triptych.evaluation.doctor.evidence import Evidence
from triptych.evaluation.doctor.rivals import COMPLEXITY, data_groups
from triptych.evaluation.pairs import join_words
from triptych.evaluation.report import Found
from triptych.evaluation.statistics import measure_clustering

# A class with fewer test images says little about itself.
FEW_IMAGES = 5
NAMED_CLASSES = 5
# A calibration error, in 0..1, beyond what a calibrated model would show by chance.
MISCALIBRATED = 0.05
# The level of the test of validation against test, over all panels: both parts are drawn alike.
SURPRISING = 0.001


def find_never_predicted(evidence: Evidence) -> Iterator[Found]:
    """Yield the classes that a panel never answers, though there are test images of them."""
    images = np.bincount(evidence.labels, minlength=len(evidence.classes))
    for panel in evidence.panels.values():
        answered = np.unique(np.concatenate([one.predicted for one in panel.tested]))
        never = [
            name
            for number, name in enumerate(evidence.classes)
            if images[number] >= FEW_IMAGES and number not in answered
        ]
        if never and COMPLEXITY[panel.kind_name] > 0:
            yield Found(
                "classes that are never answered",
                "collect more images of them, or set class_weights=balanced",
                panel.label,
                join_words(never, NAMED_CLASSES),
            )


def find_surprising_validation(evidence: Evidence) -> Iterator[Found]:
    """Yield the panels whose accuracies on validation and test differ by more than chance would have it."""
    sizes = evidence.data.prepared.sizes
    for panel in evidence.panels.values():
        validated = panel.standing.metrics.get("final_val_accuracy")
        if validated is None:
            continue
        clustering = measure_clustering(panel.correct.mean(axis=0), data_groups(evidence))
        pooled = (validated * sizes["validation"] + panel.accuracy * sizes["test"]) / (
            sizes["validation"] + sizes["test"]
        )
        variance = clustering * pooled * (1.0 - pooled) * (1.0 / sizes["validation"] + 1.0 / sizes["test"])
        difference = panel.accuracy - validated
        if variance and 2.0 * ndtr(-abs(difference) / sqrt(variance)) < SURPRISING / len(evidence.panels):
            yield Found(
                "accuracies on validation and test that differ by more than chance",
                "look at how the parts differ: in time, place, camera, or images that occur twice",
                panel.label,
                f"{validated:.4f} on validation, {panel.accuracy:.4f} on test",
            )


def find_miscalibrated(evidence: Evidence) -> Iterator[Found]:
    """Yield the panels that look at images, and are more or less confident than they are accurate, beyond chance."""
    for panel in evidence.panels.values():
        metrics = panel.standing.metrics
        error, floor = metrics["test_ece"], metrics["test_ece_floor"]
        if error - floor > MISCALIBRATED and COMPLEXITY[panel.kind_name] > 0:
            scaled = metrics.get("test_ece_calibrated")
            yield Found(
                "confidence that is off the accuracy",
                "do not take the probabilities at face value"
                + ("; a validation set makes it possible to scale them" if scaled is None else ""),
                panel.label,
                f"by {error:.3f}, where {floor:.3f} would be chance"
                + ("" if scaled is None else f"; {scaled:.3f} once scaled"),
            )


def find_small_classes(evidence: Evidence) -> Iterator[Found]:
    """Yield the classes with so few test images that nothing is known about them."""
    images = np.bincount(evidence.labels, minlength=len(evidence.classes))
    few = [
        f"{name} ({images[number]})" for number, name in enumerate(evidence.classes) if 0 < images[number] < FEW_IMAGES
    ]
    if few:
        yield Found(
            f"there are hardly any test images of {join_words(few, NAMED_CLASSES)}",
            "read nothing into the recall of these classes; collect more images, or join classes",
        )
