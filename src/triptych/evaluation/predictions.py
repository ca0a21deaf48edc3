"""A panel's predictions for the images of a part, and their file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.evaluation.calibration import iterate_rows
from triptych.system.checked import read_arrays, reading
from triptych.system.files import replace_atomically

# A file holds the probabilities of all classes unless they are more than these: 10,000 images of 1,000 classes would
# take 40 MB, which hardly shrink. Then it holds those of the most probable classes.
ALL_PROBABILITIES, MOST_PROBABLE = 1_000_000, 20
# A table for people shows every image and class unless it has more cells; then the mistakes, at most as many.
TABLE_CELLS, TABLE_MISTAKES = 20_000, 1000

Table = dict[str, list[Any]]


@dataclass(frozen=True)
class Predictions:
    """The predictions of one trained panel.

    Attributes:
        indices: (n,) int64, the images, as indices into the data set.
        labels: (n,) int64, their true classes.
        probabilities: (n, classes), rows summing to one; or (n, 20), those of the most probable classes.
        ids: (n,) S32, the images by their content; empty in files of earlier versions.
        classes: the class names; empty in files of earlier versions.
        columns: (n, 20), the classes that the probabilities belong to, the most probable first; None: all of them.
        folds: (n,) int64, the fold that tests each image; None without cross-validation.
        groups: (n,) int64, the number of each image's group, such as the frames of a burst; None if each stands alone.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.floating[Any]]
    ids: NDArray[np.bytes_] = field(default_factory=lambda: np.empty(0, dtype="S32"))
    classes: tuple[str, ...] = ()
    columns: NDArray[np.unsignedinteger[Any]] | None = None
    folds: NDArray[np.int64] | None = None
    groups: NDArray[np.int64] | None = None

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image, (n,) int64."""
        best = self.probabilities.argmax(axis=1) if self.columns is None else self.columns[:, 0]
        return best.astype(np.int64)

    @property
    def confidence(self) -> NDArray[np.floating[Any]]:
        """The probability of each image's predicted class, (n,)."""
        highest: NDArray[np.floating[Any]] = self.probabilities.max(axis=1)
        return highest

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Which images are classified correctly, (n,) bool."""
        right: NDArray[np.bool_] = self.predicted == self.labels
        return right

    def answers(self) -> dict[bytes, str]:
        """Return the name of the predicted class of each image, by the image's content."""
        names = np.asarray(self.classes)[self.predicted] if self.classes else ()
        return dict(zip(self.ids.tolist(), map(str, names), strict=False))

    def digest(self) -> str:
        """Return the SHA-256, hexadecimal, of the probabilities, the images by content, and their classes."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for array in (self.ids, self.labels, self.columns, self.probabilities):
            if array is not None:
                digest.update(f"{array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def compact(self) -> Predictions:
        """Return the predictions as they are stored: of very many probabilities, those of the most probable classes."""
        large = self.probabilities.size > ALL_PROBABILITIES and self.probabilities.shape[1] > MOST_PROBABLE
        return self.keep_most_probable() if large else self

    def keep_most_probable(self) -> Predictions:
        """Return the predictions with the probabilities of each image's 20 most probable classes only."""
        parts = iterate_rows(self.probabilities)
        columns = np.concatenate([find_most_probable(self.probabilities[rows], MOST_PROBABLE) for rows in parts])
        kept = np.take_along_axis(self.probabilities, columns, axis=1)
        smallest = np.min_scalar_type(self.probabilities.shape[1] - 1)
        return replace(self, probabilities=kept, columns=columns.astype(smallest))


def find_most_probable(probabilities: NDArray[np.floating[Any]], kept: int) -> NDArray[np.int64]:
    """Return the most probable classes of each image, (n, kept), the most probable first; of equals, the first class.

    >>> find_most_probable(np.array([[0.1, 0.4, 0.1, 0.4]]), 3).tolist()
    [[1, 3, 0]]
    """
    columns = np.sort(np.argpartition(-probabilities, kept - 1, axis=1)[:, :kept], axis=1)
    found = np.take_along_axis(probabilities, columns, axis=1)
    columns = np.take_along_axis(columns, np.argsort(-found, axis=1, kind="stable"), axis=1)
    # Where others are as probable as the last one, the partition may have kept any of them.
    tied = (probabilities >= found.min(axis=1, keepdims=True)).sum(axis=1) > kept
    columns[tied] = np.argsort(-probabilities[tied], axis=1, kind="stable")[:, :kept]
    return columns


def save_predictions(predictions: Predictions, file: Path) -> None:
    """Write predictions to an npz file, atomically; of very many probabilities those of the most probable classes."""
    stored = predictions.compact()
    arrays = {one.name: getattr(stored, one.name) for one in fields(stored)}
    with replace_atomically(file) as partial:
        np.savez_compressed(partial, **{name: array for name, array in arrays.items() if array is not None})


def load_predictions(file: Path) -> Predictions:
    """Return predictions that `save_predictions` wrote.

    Raises:
        DamagedFileError: the file cannot be read.
    """
    with reading(file):
        arrays = read_arrays(file)
        names = arrays.get("classes", np.empty(0, dtype=np.str_))
        ids = arrays.get("ids", np.empty(0, dtype="S32"))
        classes = tuple(map(str, names.tolist()))
        given = (arrays["indices"], arrays["labels"], arrays["probabilities"])
        return Predictions(*given, ids, classes, *map(arrays.get, ("columns", "folds", "groups")))


def tabulate_predictions(predictions: Predictions) -> Table | None:
    """Return the predictions as a table for people, a row for each image; None if it would be too large.

    Args:
        predictions: with the probabilities of all classes.
    """
    if predictions.probabilities.size > TABLE_CELLS:
        return None
    rounded = predictions.probabilities.astype(np.float64).round(6)
    columns = zip(predictions.classes, rounded.T.tolist(), strict=True)
    return _name_rows(predictions, slice(None)) | {f"probability of {name}": column for name, column in columns}


def tabulate_mistakes(predictions: Predictions) -> Table:
    """Return the images that are misclassified as a table for people, those with the highest confidence first.

    Args:
        predictions: with the probabilities of all classes.
    """
    wrong = np.flatnonzero(~predictions.correct)
    rows = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:TABLE_MISTAKES]
    probabilities = predictions.probabilities[rows].astype(np.float64)
    truth = probabilities[np.arange(len(rows)), predictions.labels[rows]]
    return _name_rows(predictions, rows) | {
        "probability of predicted": probabilities.max(axis=1).round(6).tolist(),
        "probability of class": truth.round(6).tolist(),
        "rank of class": (1 + (probabilities > truth[:, None]).sum(axis=1)).tolist(),
    }


def _name_rows(predictions: Predictions, rows: Any) -> Table:
    names = np.asarray(predictions.classes)
    return {
        "image": predictions.indices[rows].tolist(),
        "class": names[predictions.labels[rows]].tolist(),
        "predicted": names[predictions.predicted[rows]].tolist(),
    }
