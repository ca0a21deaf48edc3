"""One evaluator for all panels, over every image of the test part."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.errors import ReloadError
from triptych.evaluation.calibration import fit_temperature
from triptych.evaluation.metrics import measure_calibrated, measure_probabilities
from triptych.evaluation.predictions import Predictions
from triptych.networks.saved import Network
from triptych.panels.kinds import find_kind
from triptych.panels.reference import ReferencePredictions
from triptych.system.threads import release_torch_threads
from triptych.transfer.records import EmbeddingRecord

Probabilities = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
# Largest difference between a trainer's probabilities and those of its model loaded back: float32 rounding in
# batches of another size, and no more.
RELOAD_TOLERANCE = 1e-5
# The same for a frozen network computed in 16 bits, whose rounding is coarser by three decimal places.
COARSE_TOLERANCE = 2e-2
# A prediction is timed until one of these is used up.
TIMING_SECONDS, TIMED_CALLS = 0.5, 25


@dataclass(frozen=True)
class Evaluation:
    """What a panel achieves on the test part.

    Attributes:
        metrics: the final metrics by MLflow's name.
        predictions: of every test image.
        reload_difference: largest difference between the logged model's and its trainer's probabilities.
    """

    metrics: dict[str, float]
    predictions: Predictions
    reload_difference: float


def check_reload(
    model: Any, data: BoardData, reference: ReferencePredictions, tolerance: float = RELOAD_TOLERANCE
) -> float:
    """Return the largest difference between a loaded model's probabilities and its trainer's.

    Args:
        model: an `mlflow.pyfunc` model; it gets raw images, in batches of equal size.
        data: the board.
        reference: what the trainer saw.
        tolerance: what still is rounding.

    Raises:
        ReloadError: the difference is no rounding error.
    """
    images = [data.images[int(index)] for index in reference.indices]
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for position, image in enumerate(images):
        by_shape.setdefault(image.shape, []).append(position)
    difference = 0.0
    for positions in by_shape.values():
        probabilities = model.predict(np.stack([images[position] for position in positions]))
        difference = max(difference, float(np.abs(probabilities - reference.probabilities[positions]).max()))
    if not difference <= tolerance:
        raise ReloadError(
            f"the logged model, loaded back, differs from its trainer by {difference:.3g} in a probability: "
            f"at most {tolerance:g} is rounding"
        )
    return difference


def time_predictions(network: Network, data: BoardData, reference: ReferencePredictions) -> float:
    """Return raw images per second of a warm network, the median of several calls with all reference images.

    The panels of a board may be trained meanwhile, so this is a rough figure.
    """
    images = [data.images[int(index)] for index in reference.indices]
    durations: list[float] = []
    while not durations or (sum(durations) < TIMING_SECONDS and len(durations) < TIMED_CALLS):
        started = time.perf_counter()
        network.predict_images(images)
        durations.append(time.perf_counter() - started)
    return len(images) / median(durations)


def evaluate_logged_model(
    model: Any, panel: str, data: BoardData, reference: ReferencePredictions, embedded: EmbeddingRecord | None
) -> Evaluation:
    """Return what a logged model achieves on the test part, once it has proven to be its trainer's.

    Args:
        model: an `mlflow.pyfunc` model.
        panel: the panel that it is of.
        data: the board.
        reference: what the trainer saw.
        embedded: the record of the stored embeddings where the panel stands on a frozen network.

    Raises:
        ReloadError: the model does not repeat its trainer's probabilities.
    """
    release_torch_threads()
    coarse = embedded is not None and not embedded.number_format.startswith("float32")
    difference = check_reload(model, data, reference, COARSE_TOLERANCE if coarse else RELOAD_TOLERANCE)
    network = model.get_raw_model()
    speed = time_predictions(network, data, reference)
    predict = find_kind(data.prepared.config, panel).find_predictor()
    test, validation = data.split.test, data.split.validation
    probabilities = predict(network, data, embedded, test)
    assert len(probabilities) == len(test) == len(set(test.tolist())), "every test image is seen once"  # noqa: S101
    bins = data.prepared.config.evaluate.calibration_bins
    metrics = measure_probabilities(data.labels[test], probabilities, bins)
    if len(validation):
        chosen_on = predict(network, data, embedded, validation)
        on_validation = measure_probabilities(data.labels[validation], chosen_on, bins)
        metrics |= {f"final_val_{name}": on_validation[f"test_{name}"] for name in ("accuracy", "log_loss")}
        temperature = fit_temperature(data.labels[validation], chosen_on)
        metrics |= measure_calibrated(data.labels[test], probabilities, temperature, bins)
    metrics["predict_images_per_second"] = speed
    return Evaluation(metrics, Predictions(test, data.labels[test], probabilities), difference)
