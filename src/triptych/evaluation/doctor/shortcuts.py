"""Checks of whether something trivial predicts the class: the brightness, the size or the format of a file.

A network may learn nothing else, and fail on photos that were taken or stored in another way. Source: Geirhos et al.,
"Shortcut learning in deep neural networks", Nature Machine Intelligence, 2020.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.evaluation.doctor.evidence import Evidence
from triptych.evaluation.report import Found
from triptych.images.sources import FileImages
from triptych.system.slices import iterate_slices

# A number is cut into so many ranges, with equally many training images each.
RANGES = 12
# A trait is a shortcut if it closes more than this share of the gap between the most frequent class and certainty.
CLOSED = 0.5
MOST_IMAGES = 20_000

Traits = NDArray[np.int64]


def find_shortcuts(evidence: Evidence) -> Iterator[Found]:
    """Yield the traits of a file that alone predict the class of a test image."""
    data = evidence.data
    train, test = data.split.train[:MOST_IMAGES], data.split.test[:MOST_IMAGES]
    counts = np.bincount(data.labels[train], minlength=len(evidence.classes))
    majority = float((data.labels[test] == counts.argmax()).mean())
    for name, values in _list_traits(data, np.concatenate([train, test])):
        predicted = predict_by_trait(values[: len(train)], data.labels[train], values[len(train) :])
        accuracy = float((predicted == data.labels[test]).mean())
        if accuracy - majority > CLOSED * (1.0 - majority):
            yield Found(
                f"the {name} alone predicts the class of {100 * accuracy:.1f} % of the test images, where always the "
                f"same answer is right for {100 * majority:.1f} %",
                f"make sure that the classes don't differ in {name} by the way they were collected",
            )


def predict_by_trait(train: Traits, labels: NDArray[np.int64], test: Traits) -> NDArray[np.int64]:
    """Return the most frequent class of the training images with the same trait, (m,) int64.

    Args:
        train: (n,) int64, the traits of the training images, small numbers from 0.
        labels: (n,) int64, their classes.
        test: (m,) int64, the traits of other images; one that no training image has gets the most frequent class.
    """
    size = int(max(train.max(), test.max())) + 1
    counts = np.zeros((size, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (train, labels), 1)
    best: NDArray[np.int64] = np.where(counts.any(axis=1), counts.argmax(axis=1), counts.sum(axis=0).argmax())
    return best[test]


def _list_traits(data: BoardData, rows: NDArray[np.int64]) -> Iterator[tuple[str, Traits]]:
    """Yield the traits of images by name, (n,) int64 each."""
    brightness = np.concatenate(
        [data.pixels[rows[part]].mean(axis=(1, 2, 3)) for part in iterate_slices(len(rows), 1024)]
    )
    yield "brightness", _cut_into_ranges(brightness)
    if isinstance(data.images, FileImages):
        files, states = data.images.files, data.images.states
        yield "size of the file", _cut_into_ranges(np.array([states[row][0] for row in rows], dtype=np.float64))
        formats = np.array([files[row].suffix.lower() for row in rows])
        yield "format of the file", np.unique(formats, return_inverse=True)[1].astype(np.int64)


def _cut_into_ranges(values: NDArray[np.float64]) -> Traits:
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, RANGES + 1)[1:-1]))
    ranges: Traits = np.searchsorted(edges, values).astype(np.int64)
    return ranges
