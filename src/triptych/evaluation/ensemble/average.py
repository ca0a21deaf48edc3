"""The ensemble of a comparison: how accurate the averaged probabilities are, and whether they beat the best panel.

What is chosen is chosen on the validation set: the weights, for each repeat from its own trainings, and the panel that
the ensemble is compared with. The test set then decides by the test of all pairs. It takes the seeds of both as
independent. Those of an ensemble and of one of its panels are the same, so that the test is cautious.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from triptych.data.boards import PreparedBoard
from triptych.evaluation.ensemble.weights import Floats, choose_weights
from triptych.evaluation.folds.words import describe_tested, find_design_effect
from triptych.evaluation.metrics import measure_probabilities
from triptych.evaluation.pairs import Pair, compare_pairs, describe_margin
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import ENSEMBLE, Ensemble, EvaluatedPanel, Standing, keep_common_repeats, rank_panel
from triptych.evaluation.statistics import Groups

Repeats = Mapping[int, Mapping[str, EvaluatedPanel]]
# Smaller weights are not named.
NAMED_WEIGHT = 0.005


def average_panels(
    prepared: PreparedBoard,
    panels: Sequence[EvaluatedPanel],
    tested: Mapping[str, Predictions],
    load_validated: Callable[[str], Predictions],
    groups: Groups | None = None,
) -> Ensemble | None:
    """Return the ensemble of a board's panels; None where it is turned off, or where there is nothing to average.

    That is with a single panel, without a validation set, with folds, where the panels have no repeat in common, and
    where of very many probabilities only the largest are stored.

    Args:
        prepared: the board.
        panels: every repeat of every panel.
        tested: the predictions of every test image, by run id.
        load_validated: returns the predictions of every validation image of a run.
        groups: (n,) int64, the group of each test image; None if every image stands alone.
    """
    config, repeats = prepared.config.evaluate, _collect_repeats(panels)
    if not _can_average(prepared, repeats):
        return None
    averages: dict[int, Predictions] = {}
    weights: list[dict[str, float]] = []
    for repeat, found in repeats.items():
        parts = [(tested[one.run_id], load_validated(one.run_id)) for one in found.values()]
        if any(one.columns is not None for part in parts for one in part):
            return None
        chosen = choose_weights(np.stack([_find_truths(validated) for _, validated in parts]))
        averages[repeat] = _average([one for one, _ in parts], chosen)
        weights.append(dict(zip(found, chosen.tolist(), strict=True)))
    standing = _rank(prepared, averages, groups)
    mean = {label: fmean(one[label] for one in weights) for label in weights[0]}
    rival = _find_rival(repeats)
    correct = {label: {at: tested[found[label].run_id].correct for at, found in repeats.items()} for label in mean}
    correct[ENSEMBLE] = {repeat: one.correct for repeat, one in averages.items()}
    # In Holm's correction it counts as one comparison more.
    pair = compare_pairs(correct, [*mean], config.confidence_level, groups, others=[(ENSEMBLE, rival)])[-1]
    head = f"{_introduce(mean, len(repeats))} reaches {standing.test_accuracy:.4f} on {describe_tested(prepared)}"
    return Ensemble(standing, mean, rival, pair, head + describe_outcome(pair, rival, config.confidence_level))


def _can_average(prepared: PreparedBoard, repeats: Repeats) -> bool:
    """Return whether there are panels to average, and images to weight them on."""
    config = prepared.config
    labels = {label for found in repeats.values() for label in found}
    possible = config.evaluate.ensemble and prepared.sizes["validation"] and not config.split.folds
    return bool(possible and len(labels) > 1 and all(found.keys() == labels for found in repeats.values()))


def _rank(prepared: PreparedBoard, averages: Mapping[int, Predictions], groups: Groups | None) -> Standing:
    """Return what the ranking shows of an ensemble, given its predictions for each repeat."""
    bins = prepared.config.evaluate.calibration_bins
    measured = [
        EvaluatedPanel(ENSEMBLE, ENSEMBLE, repeat, "", measure_probabilities(one.labels, one.probabilities, bins))
        for repeat, one in averages.items()
    ]
    correct = {repeat: one.correct for repeat, one in averages.items()}
    return rank_panel(prepared, measured, find_design_effect(correct, groups, {}))


def _collect_repeats(panels: Sequence[EvaluatedPanel]) -> Repeats:
    repeats: dict[int, dict[str, EvaluatedPanel]] = {}
    for panel in keep_common_repeats(panels):
        repeats.setdefault(panel.repeat, {})[panel.label] = panel
    return repeats


def _find_truths(validated: Predictions) -> Floats:
    """Return the probabilities of the true classes, (n,) float64."""
    return validated.probabilities[np.arange(len(validated.labels)), validated.labels].astype(np.float64)


def _average(predictions: Sequence[Predictions], weights: Floats) -> Predictions:
    """Return the predictions of the averaged probabilities, which are (n, classes) float64."""
    average = np.zeros(predictions[0].probabilities.shape)
    for one, weight in zip(predictions, weights.tolist(), strict=True):
        average += weight * one.probabilities.astype(np.float64)
    return replace(predictions[0], probabilities=average)


def _find_rival(repeats: Repeats) -> str:
    """Return the label of the panel that is best on the validation set, by accuracy, then log loss."""
    names = ("final_val_accuracy", "final_val_log_loss")

    def measure(label: str) -> tuple[float, float]:
        accuracy, loss = (fmean(found[label].metrics[name] for found in repeats.values()) for name in names)
        return accuracy, -loss

    return max(next(iter(repeats.values())), key=measure)


def _introduce(weights: Mapping[str, float], repeats: int) -> str:
    """Return which panels an ensemble averages.

    >>> _introduce({"vgg16": 0.38, "resnet50": 0.62, "most-frequent": 0.0001}, repeats=2)
    'The ensemble (0.62 resnet50 + 0.38 vgg16, mean weights, chosen on validation)'
    """
    ranked = sorted(weights.items(), key=lambda one: -one[1])
    shares = " + ".join(f"{weight:.2f} {label}" for label, weight in ranked if weight >= NAMED_WEIGHT)
    of, kind = (" of these trainings", "weights") if repeats == 1 else ("", "mean weights,")
    return f"The ensemble{of} ({shares}, {kind} chosen on validation)"


def describe_outcome(pair: Pair, rival: str, confidence_level: float) -> str:
    """Return the end of the sentence: whether an ensemble is better than the best panel on validation."""
    best = f"{rival}, the best panel on validation,"
    if pair.paired.agree:
        return f" and agrees with {best} on every test image."
    if pair.paired.difference == 0.0:
        return f" and is level with {best.removesuffix(',')}."
    ahead = pair.first == ENSEMBLE
    if not pair.separated:
        return f", but its lead over {best} could be chance." if ahead else f"; the lead of {best} could be chance."
    margin = describe_margin(pair if ahead else replace(pair, second=f"the {ENSEMBLE}"), confidence_level)
    if ahead:
        return f". It is significantly better than the best panel on validation, {margin}."
    return f". {best} is significantly better, {margin}."
