"""Predictions of a trained panel for a part of a board, and for image files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UnreadableImageError
from triptych.images.decoding import decode_image
from triptych.images.depth import WHITE
from triptych.images.pixels import Pixels
from triptych.images.room import gather
from triptych.images.sources import SelectedImages, require_unchanged
from triptych.networks.familiar.distances import Familiarity
from triptych.networks.saved import Network
from triptych.system.slices import iterate_slices

if TYPE_CHECKING:
    from triptych.data.boards import BoardData

# Image files that are decoded and predicted at a time, at most.
FILES_AT_A_TIME = 32
# What is said in place of a class.
NOT_SURE, FOREIGN = "not sure", "foreign"
# Images of a board that are predicted at a time.
IMAGES_AT_A_TIME = 256


def predict_raw(network: Network, data: BoardData, embedded: object, part: NDArray[np.int64]) -> NDArray[Any]:  # noqa: ARG001 - all predictors take it
    """Return the probabilities of a part of a board, (n, classes), from its raw images.

    Raises:
        DataError: an image was changed after its data set was read.
    """
    slices = iterate_slices(len(part), IMAGES_AT_A_TIME)
    batches = (SelectedImages(data.images, part[rows]) for rows in slices)
    probabilities = np.concatenate([network.predict_images(images) for images in batches])
    require_unchanged(data.images)
    return probabilities


def predict_thumbnails(network: Network, data: BoardData, embedded: object, part: NDArray[np.int64]) -> NDArray[Any]:  # noqa: ARG001 - all predictors take it
    """Return the probabilities of a part of a board, (n, classes), from its stored pixels.

    The network would prepare the same pixels from the raw images.
    """
    return np.asarray(network.predict_images(data.pixels[part]))


@dataclass(frozen=True)
class Caution:
    """When a panel gives no answer.

    Attributes:
        threshold: the confidence above which it answers.
        familiarity: recognises foreign images, which get no answer; None: no image is foreign.
    """

    threshold: float
    familiarity: Familiarity | None = None

    def answer(self, features: NDArray[Any], probabilities: NDArray[Any], classes: Sequence[str]) -> list[str]:
        """Return for each image its most probable class, "not sure" or "foreign"."""
        foreign = self.familiarity.is_foreign(features) if self.familiarity else np.zeros(len(features), np.bool_)
        sure = probabilities.max(axis=1) > self.threshold
        best = probabilities.argmax(axis=1)
        named = np.where(sure, np.asarray(classes, dtype=object)[best], NOT_SURE)
        return [str(name) for name in np.where(foreign, FOREIGN, named)]


def predict_files(
    network: Network,
    classes: Sequence[str],
    files: Iterable[Path],
    top: int,
    white_level: int = WHITE,
    caution: Caution | None = None,
) -> tuple[list[dict[str, Any]], list[UnreadableImageError]]:
    """Return the most probable classes of each image file, and an error for each unreadable file.

    Args:
        network: the panel.
        classes: the class names, in the order of the probabilities.
        files: image files.
        top: number of classes to return for each image, the most probable first.
        white_level: that of the images it was trained on.
        caution: when to give no answer; each row then has an `answer`.
    """
    rows: list[dict[str, Any]] = []
    unreadable: list[UnreadableImageError] = []

    def decode() -> Iterator[tuple[Path, Pixels]]:
        for file in files:
            try:
                yield file, decode_image(file, white_level)
            except UnreadableImageError as error:
                unreadable.append(error)

    for decoded in gather(decode(), FILES_AT_A_TIME):
        images = [image for _, image in decoded]
        features = network.extract(images) if caution else None
        probabilities = np.asarray(network.predict_images(images) if features is None else network.classify(features))
        found = [_list_top(file, row, classes, top) for (file, _), row in zip(decoded, probabilities, strict=True)]
        if caution and features is not None:
            answers = caution.answer(features, probabilities, classes)
            found = [{**row, "answer": answer} for row, answer in zip(found, answers, strict=True)]
        rows += found
    return rows, unreadable


def _list_top(file: Path, probabilities: Any, classes: Sequence[str], top: int) -> dict[str, Any]:
    best = np.argsort(-probabilities, kind="stable")[:top]
    guesses = [{"class": classes[index], "probability": round(float(probabilities[index]), 6)} for index in best]
    return {"image": str(file), "classes": guesses}
