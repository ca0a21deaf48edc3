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
from triptych.panels.reference import ReferencePredictions
from triptych.system.slices import iterate_slices
from triptych.system.threads import release_torch_threads
from triptych.transfer.records import EmbeddingRecord, ShardedEmbeddings, load_embeddings

Probabilities = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
# Largest difference between a trainer's probabilities and those of its model loaded back: float32 rounding in
# batches of another size, and no more.
RELOAD_TOLERANCE = 1e-5
# The same for a frozen network computed in 16 bits, whose rounding is coarser by three decimal places.
COARSE_TOLERANCE = 2e-2
# A prediction is timed until one of these is used up.
TIMING_SECONDS, TIMED_CALLS = 0.5, 25
# Raw images held in memory at once.
RAW_IMAGES = 256


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


def predict_part(network: Any, data: BoardData, embeddings: ShardedEmbeddings | None, part: Indices) -> Probabilities:
    """Return the probabilities of some images of the board, (n, classes).

    Args:
        network: the panel, loaded back.
        data: the board.
        embeddings: those of all images, (n, dimension), where the panel stands on a frozen network: its head
            is applied to them, as `check_reload` has shown that this is the whole network. A network that was
            trained itself sees the raw images.
        part: (n,) int64, which images.
    """
    if embeddings is not None:
        probabilities: Probabilities = network.head.predict_proba(embeddings.select(part))
        return probabilities
    if hasattr(network, "backbone"):
        slices = iterate_slices(len(part), RAW_IMAGES)
        batches = ([data.images[int(index)] for index in part[rows]] for rows in slices)
        return np.concatenate([network.predict_images(images) for images in batches])
    # The MLPs see pixels that were prepared from the raw images in just the way they would do it themselves.
    return np.asarray(network.predict_images(data.pixels[part]))


def evaluate_logged_model(
    model: Any, data: BoardData, reference: ReferencePredictions, embedded: EmbeddingRecord | None
) -> Evaluation:
    """Return what a logged model achieves on the test part, once it has proven to be its trainer's.

    Args:
        model: an `mlflow.pyfunc` model.
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
    stored = _load_stored(data, embedded)
    test, validation = data.split.test, data.split.validation
    probabilities = predict_part(network, data, stored, test)
    assert len(probabilities) == len(test) == len(set(test.tolist())), "every test image is seen once"  # noqa: S101
    bins = data.prepared.config.evaluate.calibration_bins
    metrics = measure_probabilities(data.labels[test], probabilities, bins)
    if len(validation):
        chosen_on = predict_part(network, data, stored, validation)
        on_validation = measure_probabilities(data.labels[validation], chosen_on, bins)
        metrics |= {f"final_val_{name}": on_validation[f"test_{name}"] for name in ("accuracy", "log_loss")}
        temperature = fit_temperature(data.labels[validation], chosen_on)
        metrics |= measure_calibrated(data.labels[test], probabilities, temperature, bins)
    metrics["predict_images_per_second"] = speed
    return Evaluation(metrics, Predictions(test, data.labels[test], probabilities), difference)


def _load_stored(data: BoardData, embedded: EmbeddingRecord | None) -> ShardedEmbeddings | None:
    """Return the stored embeddings that a panel's head belongs to; None where it has none."""
    if embedded is None or data.prepared.config.transfer.fine_tunes:
        return None
    from triptych.transfer.plan import find_embeddings

    return load_embeddings(find_embeddings(data, embedded.panel, embedded))
