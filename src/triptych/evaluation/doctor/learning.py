"""Checks of the course of a training: ended too early, too late, or never begun."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from triptych.evaluation.doctor.evidence import Evidence, PanelEvidence
from triptych.evaluation.pairs import join_words
from triptych.evaluation.report import Found
from triptych.panels.spaces import find_edges

# A training that still improves: the loss falls by more than this share in its last tenth, and the accuracy, in 0..1,
# rises by more than so much in its last third.
LAST_SHARE, STILL_FALLING = 10, 0.02
# Fewer epochs have no course.
FEWEST_EPOCHS = 4
LAST_THIRD, STILL_RISING = 3, 0.005
# Differences of accuracies, in 0..1, beyond the sampling error of the validation set.
OVERFIT, UNDERFIT = 0.10, 0.05
# A training that has hardly begun: the loss falls by less than this share from the first epoch to the last.
HARDLY_FALLEN, LEARNT = 0.02, 0.9
QUANTILE = 1.96


def find_stopped_early(evidence: Evidence) -> Iterator[Found]:
    """Yield the panels that still improve at the last epoch."""
    for panel in evidence.panels.values():
        part = "val" if len(panel.curve("val_loss")) else "train"
        losses, accuracies = panel.curve(f"{part}_loss"), panel.curve(f"{part}_accuracy")
        last = max(1, len(losses) // LAST_SHARE)
        ending = f"last {last}" if last > 1 else "last"
        if len(losses) < FEWEST_EPOCHS or len(losses) < panel.settings.epochs:
            continue
        before, after = float(losses[-2 * last : -last].mean()), float(losses[-last:].mean())
        falling = losses[-last:].min() == losses.min() and before - after > STILL_FALLING * before
        risen = accuracies[-1] - accuracies[-(len(losses) // LAST_THIRD)]
        # Training images alone don't tell learning from memorising, of which the gap to new images is a measure.
        memorised = accuracies[-1] - panel.accuracy if part == "train" else 0.0
        if falling and risen > max(STILL_RISING, memorised):
            name = {"val": "validation", "train": "training"}[part]
            yield Found(
                "still improving at the last epoch",
                "train for more epochs, or with a larger learning rate",
                panel.label,
                f"{name} loss down {100 * (1 - after / before):.1f} % in the {ending} of {len(losses)} epochs",
                f"{panel.kind.section}.epochs={2 * len(losses)}",
            )


def find_overfitted(evidence: Evidence) -> Iterator[Found]:
    """Yield the panels that are much better on the images that they learnt from."""
    images = evidence.data.prepared.sizes["validation"]
    for panel in _list_trained(evidence):
        if not images or not len(panel.curve("val_accuracy")):
            continue
        train, validation = (float(panel.curve(f"{part}_accuracy")[panel.kept_epoch]) for part in ("train", "val"))
        if train - validation - _sampling_error(validation, images) > OVERFIT:
            yield Found(
                "overfitted",
                "use more images, augmentation, a larger weight_decay or dropout, or a smaller network",
                panel.label,
                f"{train:.4f} on the training images, {validation:.4f} on validation",
            )


def find_underfitted(evidence: Evidence) -> Iterator[Found]:
    """Yield the panels that are worse on their own training images than a panel with the same input on new ones."""
    for panel in _list_trained(evidence):
        train = float(panel.curve("train_accuracy")[-1])
        rivals = [one for one in evidence.panels.values() if one.kind.input == panel.kind.input and one is not panel]
        best = max(rivals, key=lambda one: one.accuracy, default=None)
        if best and best.accuracy - _sampling_error(best.accuracy, len(evidence.labels)) - train > UNDERFIT:
            yield Found(
                "underfitted",
                "train for more epochs, with a larger learning rate or a larger network",
                panel.label,
                f"{train:.4f} on its own training images, where {best.label} has {best.accuracy:.4f} on test images",
            )


def find_best_at_edge(evidence: Evidence) -> Iterator[Found]:
    """Yield the tuned settings that lie at the edge of what was searched."""
    images = evidence.data.prepared.sizes["train"]
    for panel in evidence.panels.values():
        if panel.name in evidence.data.prepared.tuned:
            edges = find_edges(panel.settings, panel.kind.space(panel.settings), images)
            if edges:
                yield Found(
                    "best setting at the edge of what was searched",
                    "try values beyond it with --set",
                    panel.label,
                    join_words(edges),
                )


def find_stalled(evidence: Evidence) -> Iterator[Found]:
    """Yield the panels whose loss hardly falls from the first epoch to the last."""
    for panel in _list_trained(evidence):
        losses, accuracy = panel.curve("train_loss"), panel.curve("train_accuracy")[-1]
        if losses[-1] > (1.0 - HARDLY_FALLEN) * losses[0] and accuracy < LEARNT:
            yield Found(
                "hardly learning",
                "try a learning rate ten times as large, and a tenth of it",
                panel.label,
                f"training loss {losses[0]:.4g} after the first epoch, {losses[-1]:.4g} after the last",
                f"{panel.kind.section}.learning_rate",
            )


def _list_trained(evidence: Evidence) -> list[PanelEvidence]:
    return [panel for panel in evidence.panels.values() if panel.is_trained_in_epochs]


def _sampling_error(accuracy: float, images: int) -> float:
    return QUANTILE * sqrt(accuracy * (1.0 - accuracy) / images)
