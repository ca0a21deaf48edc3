"""Checks of a panel's predictions: classes without any, confidence without ground, and too few images to tell."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np
from scipy.special import ndtr

from triptych.evaluation.doctor.evidence import Evidence, Found
from triptych.evaluation.doctor.rivals import COMPLEXITY, data_groups
from triptych.evaluation.pairs import join_words
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
                f"{panel.label} never answers {join_words(never, NAMED_CLASSES)}",
                "collect more images of them, or set class_weights=balanced",
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
                f"{panel.label} has {validated:.4f} on validation and {panel.accuracy:.4f} on test: more than chance",
                "look at how the parts differ: in time, place, camera, or images that occur twice",
            )


def find_miscalibrated(evidence: Evidence) -> Iterator[Found]:
    """Yield the panels that look at images, and are more or less confident than they are accurate, beyond chance."""
    for panel in evidence.panels.values():
        metrics = panel.standing.metrics
        error, floor = metrics["test_ece"], metrics["test_ece_floor"]
        if error - floor > MISCALIBRATED and COMPLEXITY[panel.kind_name] > 0:
            scaled = metrics.get("test_ece_calibrated")
            remedy = "a validation set allows to scale them" if scaled is None else f"scaled, they are {scaled:.3f} off"
            yield Found(
                f"the confidence of {panel.label} is {error:.3f} off its accuracy, where {floor:.3f} would be chance",
                f"do not take its probabilities at face value; {remedy}",
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
