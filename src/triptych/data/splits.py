"""A stratified split into train, validation and test, identified by a hash and shared by all panels of a board."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from triptych.config.schema import SplitConfig
from triptych.errors import DataError
from triptych.system.checked import read_json, write_json

Indices = NDArray[np.int64]

# Part of every split id: change it with the method below, so that old splits are not reused.
METHOD = "stratified-1"


@dataclass(frozen=True)
class Split:
    """Indices into a data set; the three parts contain every image exactly once.

    Attributes:
        split_id: hash of the data's digest, the fractions and the seed.
        train: (n_train,) int64, ascending.
        validation: (n_validation,) int64, ascending; empty if the validation fraction is 0.
        test: (n_test,) int64, ascending.
    """

    split_id: str
    train: Indices
    validation: Indices
    test: Indices

    def sizes(self) -> dict[str, int]:
        """Return the number of images of each part."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}

    def parts(self) -> NDArray[np.str_]:
        """Return the part of every image, (n,) of "train", "validation" or "test"."""
        parts = np.full(sum(self.sizes().values()), "train", dtype="<U10")
        parts[self.validation], parts[self.test] = "validation", "test"
        return parts


def identify_split(data_digest: str, settings: SplitConfig) -> str:
    """Return the id of the split that these settings draw from this data, 16 hexadecimal digits.

    >>> identify_split("data", SplitConfig(seed=0)) == identify_split("data", SplitConfig(seed=1))
    False
    """
    text = json.dumps([METHOD, data_digest, settings.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identify_test_set(image_ids: NDArray[np.bytes_], labels: NDArray[np.int64], classes: tuple[str, ...]) -> str:
    """Return the id of a test set, 16 hexadecimal digits: a hash of its images and their classes in any order.

    Args:
        image_ids: (n_test,) "S32", of the test images.
        labels: (n_test,) int64, indices into `classes`.
        classes: the class names.

    >>> ids, labels = np.array([b"1f", b"2e"]), np.array([0, 1])
    >>> identify_test_set(ids, labels, ("ant", "bee")) == identify_test_set(ids[::-1], labels, ("bee", "ant"))
    True
    """
    named = zip(image_ids.tolist(), labels.tolist(), strict=True)
    lines = sorted(f"{image_id.decode()} {classes[label]}" for image_id, label in named)
    return hashlib.sha256("\0".join(lines).encode()).hexdigest()[:16]


def draw_split(
    labels: NDArray[np.int64],
    parts: NDArray[np.str_] | None,
    classes: tuple[str, ...],
    data_digest: str,
    settings: SplitConfig,
) -> Split:
    """Return the split of a data set: the parts that it comes with, if they are kept; the others are drawn.

    Args:
        labels: (n,) int64, indices into `classes`.
        parts: (n,) of "train", "validation" or "test", or None.
        classes: the class names, for error messages.
        data_digest: SHA-256 of the data.
        settings: fractions, seed, and whether parts are kept.

    Raises:
        DataError: a class has too few images to be in every part.

    >>> labels = np.repeat([0, 1], 10)
    >>> draw_split(labels, None, ("cat", "dog"), "data", SplitConfig(test_fraction=0.3)).sizes()
    {'train': 11, 'validation': 3, 'test': 6}
    """
    everything = np.arange(len(labels))
    if parts is not None and settings.keep_own_parts:
        test, validation = np.flatnonzero(parts == "test"), np.flatnonzero(parts == "validation")
        training = np.flatnonzero(parts == "train")
    else:
        training, test = _divide(everything, settings.test_fraction, labels, classes, settings.seed)
        validation = everything[:0]
    if len(validation) == 0 and settings.validation_fraction > 0:
        training, validation = _divide(training, settings.validation_fraction, labels, classes, settings.seed)
    return Split(identify_split(data_digest, settings), training, validation, test)


def _divide(
    indices: Indices, fraction: float, labels: NDArray[np.int64], classes: tuple[str, ...], seed: int
) -> tuple[Indices, Indices]:
    """Return the larger and the smaller part, stratified by class, ascending."""
    counts = np.bincount(labels[indices], minlength=len(classes))
    if counts.min() < 2:
        scarce = classes[int(counts.argmin())]
        raise DataError(
            f"class {scarce!r} has {counts.min()} image(s) to split, and every part needs at least one: "
            f"add images, or remove the class"
        )
    try:
        rest, cut = train_test_split(indices, test_size=fraction, stratify=labels[indices], random_state=seed)
    except ValueError as error:
        raise DataError(
            f"a fraction of {fraction} of {len(indices)} images is too small to contain all {len(classes)} classes: "
            f"add images, or change split.test_fraction or split.validation_fraction"
        ) from error
    for part in (rest, cut):
        present = np.bincount(labels[part], minlength=len(classes))
        if present.min() == 0:
            raise DataError(
                f"class {classes[int(present.argmin())]!r} has too few images ({counts[int(present.argmin())]}) to be "
                f"in every part: add images, or remove the class"
            )
    return np.sort(rest), np.sort(cut)


def save_split(split: Split, file: Path) -> None:
    """Write a split to a JSON file, atomically.

    Raises:
        StorageError: there is no room, no permission, or something else in the way.
    """
    content = {name: getattr(split, name).tolist() for name in ("train", "validation", "test")}
    write_json(file, {"split_id": split.split_id, **content})


def load_split(file: Path) -> Split:
    """Return a split that `save_split` wrote.

    Raises:
        DamagedFileError: the file is not what was written.
        FileNotFoundError: there is no such file.
    """
    content = read_json(file)
    parts = {name: np.asarray(content[name], dtype=np.int64) for name in ("train", "validation", "test")}
    return Split(content["split_id"], **parts)
