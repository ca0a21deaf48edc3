"""One evaluator for all panels, over every image of the test set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.errors import DataError, EvaluationError, ReloadError
from triptych.evaluation.abstention.promise import COVERED_RATE, draw_independent, measure_coverage
from triptych.evaluation.calibration import fit_temperature
from triptych.evaluation.metrics import measure_calibrated, measure_probabilities
from triptych.evaluation.predictions import Predictions
from triptych.images.pixels import Pixels
from triptych.images.room import gather
from triptych.images.sources import ImageSource, SelectedImages
from triptych.networks.saved import Network
from triptych.panels.kinds import find_kind
from triptych.panels.reference import ReferencePredictions
from triptych.system.own_memory import taking_memory
from triptych.system.threads import release_torch_threads
from triptych.transfer.records import EmbeddingRecord

Probabilities = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
# Largest difference between the probabilities of a trained model and of the same model loaded again: float32 rounding
# in batches of a different size.
RELOAD_TOLERANCE = 1e-5
# The same for a frozen network in a 16-bit format, whose rounding is three orders of magnitude coarser.
COARSE_TOLERANCE = 2e-2
# Predictions are timed until either limit is reached.
TIMING_SECONDS, TIMED_CALLS = 0.5, 25


@dataclass(frozen=True)
class Evaluation:
    """The results of a panel on the test set.

    Attributes:
        metrics: the final metrics by MLflow's name.
        predictions: of every test image.
        validated: the predictions of every validation image; None if there is none.
        reload_difference: largest difference between the probabilities of the logged model and of its training; None
            if no model is logged.
    """

    metrics: dict[str, float]
    predictions: Predictions
    validated: Predictions | None
    reload_difference: float | None


def keep_present(reference: ReferencePredictions, images: ImageSource) -> ReferencePredictions:
    """Return the predictions of the reference images that are still what they were: photos may go during a training.

    Raises:
        DataError: none of them is.
    """
    kept: list[int] = []
    errors: list[DataError] = []
    for position, index in enumerate(reference.indices):
        try:
            images.identify(int(index))
            kept.append(position)
        except DataError as error:
            errors.append(error)
    if errors and not kept:
        raise errors[0]
    return ReferencePredictions(reference.indices[kept], reference.probabilities[kept])


def check_reload(
    model: Any, data: BoardData, reference: ReferencePredictions, tolerance: float = RELOAD_TOLERANCE
) -> float:
    """Return the largest difference between the probabilities of a loaded model and of its training.

    Args:
        model: an `mlflow.pyfunc` model; it is called with batches of raw images of the same size.
        data: the board.
        reference: the probabilities of the reference images at the end of the training.
        tolerance: the largest difference that counts as rounding.

    Raises:
        ReloadError: the difference is larger than the tolerance, or not a number.
    """
    difference = 0.0
    for gathered in gather(enumerate(SelectedImages(data.images, reference.indices)), len(reference.indices)):
        by_shape: dict[tuple[int, ...], list[tuple[int, Pixels]]] = {}
        for position, image in gathered:
            by_shape.setdefault(image.shape, []).append((position, image))
        for alike in by_shape.values():
            positions = [position for position, _ in alike]
            probabilities = np.asarray(model.predict(np.stack([image for _, image in alike])))
            difference = max(difference, float(np.abs(probabilities - reference.probabilities[positions]).max()))
    if not difference <= tolerance:
        raise ReloadError(
            f"the logged model, loaded again, differs by {difference:.3g} in a probability from its training: "
            f"at most {tolerance:g} is rounding"
        )
    return difference


def time_predictions(network: Network, data: BoardData, reference: ReferencePredictions) -> float:
    """Return the throughput of a warm network in raw images per second: the median of several calls.

    It is a rough figure, since other panels may be training at the same time.

    Args:
        network: the panel's network, loaded again.
        data: the board.
        reference: names the images of each call; large ones are timed in a call of fewer.
    """
    selected = enumerate(SelectedImages(data.images, reference.indices))
    images = [image for _, image in next(gather(selected, len(reference.indices)))]
    durations: list[float] = []
    while not durations or (sum(durations) < TIMING_SECONDS and len(durations) < TIMED_CALLS):
        started = time.perf_counter()
        network.predict_images(images)
        durations.append(time.perf_counter() - started)
    return len(images) / median(durations)


@taking_memory()
def evaluate_logged_model(
    model: Any, panel: str, data: BoardData, reference: ReferencePredictions, embedded: EmbeddingRecord | None
) -> Evaluation:
    """Return the results of a logged model on the test set, after checking that it reproduces its training.

    Args:
        model: an `mlflow.pyfunc` model.
        panel: the name of its panel.
        data: the board.
        reference: the probabilities of the reference images at the end of the training.
        embedded: the record of the stored embeddings of a panel with a backbone, else None.

    Raises:
        DataError: all reference images are gone, or a photo that the network itself has to see.
        ReloadError: the model does not reproduce the probabilities of its training.
        EvaluationError: a test image has no prediction, or more than one, or one that is not a number.
    """
    release_torch_threads()
    reference = keep_present(reference, data.images)
    coarse = embedded is not None and any(not one.number_format.startswith("float32") for one in embedded.each)
    difference = check_reload(model, data, reference, COARSE_TOLERANCE if coarse else RELOAD_TOLERANCE)
    network = model.get_raw_model()
    speed = time_predictions(network, data, reference)
    predict = find_kind(data.prepared.config, panel).find_predictor()
    test, validation = data.split.test, data.split.validation
    probabilities = predict(network, data, embedded, test)
    check_coverage(test, probabilities)
    check_numbers("test", probabilities)
    bins = data.prepared.config.evaluate.calibration_bins
    metrics = measure_probabilities(data.labels[test], probabilities, bins)
    validated = None
    if len(validation):
        validated = predict(network, data, embedded, validation)
        check_numbers("validation", validated)
        measured = measure_probabilities(data.labels[validation], validated, bins)
        metrics |= {f"final_val_{name}": measured[f"test_{name}"] for name in ("accuracy", "log_loss")}
        temperature = fit_temperature(data.labels[validation], validated)
        metrics |= measure_calibrated(data.labels[test], probabilities, temperature, bins)
    metrics["predict_images_per_second"] = speed
    tested = _collect(data, test, probabilities)
    on_validation = None if validated is None else _collect(data, validation, validated)
    if on_validation:
        covered = measure_coverage(draw_independent(on_validation), (tested.confidence, tested.correct), COVERED_RATE)
        metrics |= {f"test_{name}_at_2_percent": value for name, value in covered.items()}
    return Evaluation(metrics, tested, on_validation, difference)


def _collect(data: BoardData, part: Indices, probabilities: Probabilities) -> Predictions:
    given = (part, data.labels[part], probabilities, data.image_ids[part], data.prepared.classes)
    return Predictions(*given, groups=data.group_part(part))


def check_coverage(indices: Indices, probabilities: Probabilities) -> None:
    """Check that every test image has exactly one prediction.

    Args:
        indices: (n,) int64, the test images.
        probabilities: (n, classes), their predictions.

    Raises:
        EvaluationError: an image occurs twice, or the numbers of images and predictions differ.

    >>> check_coverage(np.array([4, 7]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    """
    different = len(np.unique(indices))
    if not len(probabilities) == len(indices) == different:
        raise EvaluationError(
            f"{len(probabilities)} predictions for {len(indices)} test images, {different} of them different: "
            f"every test image must be predicted exactly once"
        )


def check_numbers(part: str, probabilities: Probabilities) -> None:
    """Check that every probability is a finite number.

    Args:
        part: "test" or "validation".
        probabilities: (n, classes), the predictions of its images.

    Raises:
        EvaluationError: some are not.

    >>> check_numbers("test", np.array([[0.9, 0.1], [0.2, 0.8]]))
    """
    wrong = int((~np.isfinite(probabilities).all(axis=1)).sum())
    if wrong:
        raise EvaluationError(
            f"the probabilities of {wrong} of {len(probabilities)} {part} images are not finite numbers: train the "
            f"panel with a smaller learning rate"
        )
