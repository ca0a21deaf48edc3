"""A split into train, validation and test, identified by a hash and shared by all panels of a board.

The images of a fixed data set are divided exactly, stratified by class. A folder grows: there each image is assigned by
a hash of its pixels, so that adding, renaming, moving or deleting images moves no other one. Groups of images are
assigned by a hash of what they have in common.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.config.schema import NO_GROUPS, SplitConfig
from triptych.data.datasets import require_two_classes
from triptych.data.folders import Parts
from triptych.errors import DataError, SplitSeedError
from triptych.system.checked import read_json, write_json

Indices = NDArray[np.int64]

# Part of every split id: change them with the methods below, so that old splits are not reused.
STRATIFIED, HASHED = "stratified-1", "hashed-1"
# The seeds from 0 that an error looks through for one that would do, and as many numbers as that may take to draw.
SEEDS_TRIED, NUMBERS_TRIED = 1000, 2_000_000


@dataclass(frozen=True)
class Split:
    """Indices into a data set; the three parts contain every image exactly once.

    Attributes:
        split_id: hash of the data's digest and the settings of the split.
        train: (n_train,) int64, ascending.
        validation: (n_validation,) int64, ascending; empty if the validation fraction is 0.
        test: (n_test,) int64, ascending.
        groups: (n,) int64, the number of each image's group; None if none are asked for.
    """

    split_id: str
    train: Indices
    validation: Indices
    test: Indices
    groups: Indices | None = None

    def sizes(self) -> dict[str, int]:
        """Return the number of images of each part."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}

    def parts(self) -> NDArray[np.str_]:
        """Return the part of every image, (n,) of "train", "validation" or "test"."""
        parts = np.full(sum(self.sizes().values()), "train", dtype="<U10")
        parts[self.validation], parts[self.test] = "validation", "test"
        return parts


def identify_split(data_digest: str, settings: SplitConfig, *, hashed: bool = False) -> str:
    """Return the id of the split that these settings draw from this data, 16 hexadecimal digits.

    Args:
        data_digest: SHA-256 of the data.
        settings: fractions, seed, and whether parts are kept.
        hashed: whether each image is assigned by a hash.

    >>> identify_split("data", SplitConfig(seed=0)) == identify_split("data", SplitConfig(seed=1))
    False
    """
    # Without groups and folds, ids are those of the versions that had none.
    unused = {name for name, value in {"group_by": NO_GROUPS, "folds": 0}.items() if getattr(settings, name) == value}
    fields = settings.model_dump(mode="json", exclude=unused)
    text = json.dumps([HASHED if hashed else STRATIFIED, data_digest, fields], sort_keys=True)
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


def check_classes(
    labels: NDArray[np.int64], parts: Parts | None, classes: tuple[str, ...], settings: SplitConfig
) -> None:
    """Check, before images are decoded, that there are two classes, and that each has an image for every part drawn.

    Args:
        labels: (n,) int64, indices into `classes`.
        parts: (n,) of "train", "validation" or "test", or None.
        classes: the class names.
        settings: fractions, and whether parts are kept.

    Raises:
        DataError: there is only one class, a class has too few images, or folds are asked for where parts are kept.
    """
    require_two_classes(classes)
    if settings.folds:
        _check_folds(labels, parts, classes, settings)
        return
    own = set() if parts is None or not settings.keep_own_parts else set(parts.tolist())
    drawn = [part for part in _list_parts(settings) if part == "train" or part not in own]
    counts = np.bincount(labels if not own or parts is None else labels[parts == "train"], minlength=len(classes))
    scarce = int(counts.argmin())
    if 1 < len(drawn) > counts[scarce]:
        kind = "training image(s)" if own else "image(s)"
        raise DataError(
            f"class {classes[scarce]!r} has {counts[scarce]} {kind} to split, and every part needs at least one: "
            f"add images, or remove the class"
        )


def _check_folds(
    labels: NDArray[np.int64], parts: Parts | None, classes: tuple[str, ...], settings: SplitConfig
) -> None:
    if parts is not None and settings.keep_own_parts:
        raise DataError(
            f"split.folds={settings.folds} tests every image, but the data set comes with parts of its own: set "
            f"split.keep_own_parts=false to pool them, or split.folds=0"
        )
    require_each_fold(labels, np.arange(len(labels)), classes, settings.folds, "image(s)")


def require_each_fold(
    labels: NDArray[np.int64], groups: Indices, classes: tuple[str, ...], folds: int, kind: str
) -> None:
    """Check that each class can be in every fold.

    Args:
        labels: (n,) int64, indices into `classes`.
        groups: (n,), what no fold parts.
        classes: the class names.
        folds: number of folds.
        kind: what a group is called.

    Raises:
        DataError: a class has fewer groups than there are folds.
    """
    counts = [len(np.unique(groups[labels == label])) for label in range(len(classes))]
    scarce = int(np.argmin(counts))
    if counts[scarce] < folds:
        fewer = f"set split.folds={counts[scarce]}, " if counts[scarce] > 1 else ""
        raise DataError(
            f"class {classes[scarce]!r} has {counts[scarce]} {kind} to divide, and split.folds={folds} needs one for "
            f"each fold: add images, {fewer}or remove the class"
        )


def _list_parts(settings: SplitConfig) -> list[str]:
    return ["train", "validation", "test"] if settings.validation_fraction > 0 else ["train", "test"]


def draw_split(
    labels: NDArray[np.int64],
    parts: Parts | None,
    classes: tuple[str, ...],
    data_digest: str,
    settings: SplitConfig,
    keys: NDArray[np.bytes_] | None = None,
) -> Split:
    """Return the split of a data set: the parts that it comes with, if they are kept; the others are drawn.

    With folds every image is in the test part, and `triptych.data.folds` draws the parts of each training.

    Args:
        labels: (n,) int64, indices into `classes`.
        parts: (n,) of "train", "validation" or "test", or None.
        classes: the class names, for error messages.
        data_digest: SHA-256 of the data.
        settings: fractions, seed, and whether parts are kept.
        keys: (n,) "S32", hexadecimal: each image's part depends on its key, its own part and the settings only; None:
            the parts are drawn together, stratified by class.

    Raises:
        DataError: a class is not in every part.
        SplitSeedError: it would be, with another seed.

    >>> labels = np.repeat([0, 1], 10)
    >>> draw_split(labels, None, ("cat", "dog"), "data", SplitConfig(test_fraction=0.3)).sizes()
    {'train': 11, 'validation': 3, 'test': 6}
    """
    own = parts if settings.keep_own_parts else None
    split_id = identify_split(data_digest, settings, hashed=keys is not None)
    codes = None if keys is None else np.unique(keys, return_inverse=True)[1].astype(np.int64)
    groups = None if settings.group_by == NO_GROUPS else codes
    if settings.folds:
        if codes is not None:
            require_each_fold(labels, codes, classes, settings.folds, "different image(s) or groups")
        everything = np.arange(len(labels))
        return Split(split_id, everything[:0], everything[:0], everything, groups)
    if keys is not None:
        assigned = assign_parts(keys, own, settings)
        if gap := _find_gap(assigned, labels, classes, settings):
            raise _explain_gap(*gap, settings.seed, _find_seed(keys, own, labels, classes, settings))
        train, validation, test = (np.flatnonzero(assigned == part) for part in ("train", "validation", "test"))
        return Split(split_id, train, validation, test, groups)
    everything = np.arange(len(labels))
    if own is not None:
        test, validation = np.flatnonzero(own == "test"), np.flatnonzero(own == "validation")
        training = np.flatnonzero(own == "train")
    else:
        training, test = _divide(everything, settings.test_fraction, labels, classes, settings.seed)
        validation = everything[:0]
    if len(validation) == 0 and settings.validation_fraction > 0:
        training, validation = _divide(training, settings.validation_fraction, labels, classes, settings.seed)
    return Split(split_id, training, validation, test)


def assign_parts(keys: NDArray[np.bytes_], own: Parts | None, settings: SplitConfig) -> Parts:
    """Return the part of every image, (n,) of "train", "validation" or "test", each by its own key alone.

    Two numbers in [0, 1) follow from the key and the seed: the first decides whether the image is held out for the
    test, the second whether it is taken from the rest for validation. The fractions hold in expectation.

    Args:
        keys: (n,) "S32", hexadecimal.
        own: (n,), the parts that the images come with, which stay as they are; None: there are none.
        settings: fractions and seed.
    """
    digests = (hashlib.sha256(b"%d %s" % (settings.seed, key)).digest() for key in keys.tolist())
    numbers = np.frombuffer(b"".join(digest[:16] for digest in digests), dtype=">u8").reshape(-1, 2) / 2.0**64
    parts = np.full(len(keys), "train", dtype="<U10") if own is None else own.astype("<U10")
    if own is None:
        parts[numbers[:, 0] < settings.test_fraction] = "test"
    if not (parts == "validation").any():
        parts[(parts == "train") & (numbers[:, 1] < settings.validation_fraction)] = "validation"
    return parts


def _find_gap(
    parts: Parts, labels: NDArray[np.int64], classes: tuple[str, ...], settings: SplitConfig
) -> tuple[str, str] | None:
    """Return a class and a part that has none of its images; None if every class is in every part."""
    for part in _list_parts(settings):
        counts = np.bincount(labels[parts == part], minlength=len(classes))
        if counts.min() == 0:
            return classes[int(counts.argmin())], part
    return None


def _find_seed(
    keys: NDArray[np.bytes_],
    own: Parts | None,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    settings: SplitConfig,
) -> int | None:
    """Return the lowest seed with which every class is in every part; None if no such seed is found quickly."""
    for seed in range(min(SEEDS_TRIED, NUMBERS_TRIED // len(keys))):
        other = settings.model_copy(update={"seed": seed})
        if _find_gap(assign_parts(keys, own, other), labels, classes, other) is None:
            return seed
    return None


def _explain_gap(name: str, part: str, seed: int, other: int | None) -> DataError:
    problem = (
        f"class {name!r} has no image in the {part} set, where split.seed={seed} and a hash of its pixels or its group "
        f"put each image: add images, or"
    )
    if other is None:
        return DataError(f"{problem} divide the folder into train, val and test yourself")
    return SplitSeedError(f"{problem} set split.seed={other}, with which every class is in every part", other)


def _divide(
    indices: Indices, fraction: float, labels: NDArray[np.int64], classes: tuple[str, ...], seed: int
) -> tuple[Indices, Indices]:
    """Return the larger and the smaller part, stratified by class, ascending."""
    from sklearn.model_selection import train_test_split  # takes a second, and folders and opened boards need none

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
    arrays = {name: getattr(split, name) for name in ("train", "validation", "test", "groups")}
    content = {name: array.tolist() for name, array in arrays.items() if array is not None}
    write_json(file, {"split_id": split.split_id, **content})


def load_split(file: Path) -> Split:
    """Return a split that `save_split` wrote.

    Raises:
        DamagedFileError: the file is not what was written.
        FileNotFoundError: there is no such file.
    """
    content = read_json(file)
    split_id = content.pop("split_id")
    return Split(split_id, **{name: np.asarray(array, dtype=np.int64) for name, array in content.items()})
