"""Predictions of a trained panel: for a part of a board, and for image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.errors import ConfigError, DataError
from triptych.images.decoding import IMAGE_SUFFIXES, decode_image
from triptych.networks.saved import Network
from triptych.system.slices import iterate_slices

# Images decoded and predicted at once.
BATCH = 32
# Raw images held in memory at once.
RAW_IMAGES = 256


def predict_raw(network: Network, data: BoardData, embedded: object, part: NDArray[np.int64]) -> NDArray[Any]:  # noqa: ARG001
    """Return the probabilities of a part of a board, (n, classes), from its raw images."""
    slices = iterate_slices(len(part), RAW_IMAGES)
    batches = ([data.images[int(index)] for index in part[rows]] for rows in slices)
    return np.concatenate([network.predict_images(images) for images in batches])


def predict_thumbnails(network: Network, data: BoardData, embedded: object, part: NDArray[np.int64]) -> NDArray[Any]:  # noqa: ARG001
    """Return the probabilities of a part of a board, (n, classes).

    The pixels were prepared from the raw images in just the way in which the network would do it itself.
    """
    return np.asarray(network.predict_images(data.pixels[part]))


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the given files, and all image files below the given folders.

    Raises:
        ConfigError: a path does not exist, or a folder holds no image.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path} does not exist: name images, or folders of them")
        found = [path]
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise ConfigError(f"{path} holds no image: a folder needs some of {', '.join(sorted(IMAGE_SUFFIXES))}")
        files += found
    return files


def predict_files(
    network: Network, classes: Sequence[str], files: Sequence[Path], top: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the most probable classes of each image, and why the others could not be read.

    Args:
        network: the panel.
        classes: the class names, in order of the probabilities.
        files: image files.
        top: classes per image, the most probable first.
    """
    rows: list[dict[str, Any]] = []
    unreadable: list[str] = []
    for start in range(0, len(files), BATCH):
        readable, images = [], []
        for file in files[start : start + BATCH]:
            try:
                images.append(decode_image(file))
                readable.append(file)
            except DataError as error:
                unreadable.append(str(error))
        if images:
            probabilities = np.asarray(network.predict_images(images))
            rows += [_describe(file, row, classes, top) for file, row in zip(readable, probabilities, strict=True)]
    return rows, unreadable


def _describe(file: Path, probabilities: Any, classes: Sequence[str], top: int) -> dict[str, Any]:
    best = np.argsort(-probabilities, kind="stable")[:top]
    guesses = [{"class": classes[index], "probability": round(float(probabilities[index]), 6)} for index in best]
    return {"image": str(file), "classes": guesses}
