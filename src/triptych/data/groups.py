"""Groups of images that belong together, such as the frames of a burst: a group is in one part of the split.

Each image has a key, from which its part follows; images with the same key are a group. The key of an image in no group
is its own id, so that copies of it are in the same part. Keys do not depend on the class: one day, person or camera may
be in several.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from triptych.config.schema import NO_GROUPS, SIMILAR
from triptych.data.datasets import Dataset
from triptych.data.duplicates import SMALLEST_COMPARED_PIXELS
from triptych.data.shards.thumbnails import ID_DIGITS, ID_TYPE
from triptych.data.stored import ImageIds, StoredDataset
from triptych.errors import DataError
from triptych.images.decoding import open_image
from triptych.images.sources import ArrayImages, FileImages, require_unchanged

# EXIF's "YYYY:MM:DD HH:MM:SS" up to the minute; a camera whose clock was never set writes zeros.
MINUTE = re.compile(r"(?!0000)\d{4}:\d\d:\d\d \d\d:\d\d")

# What the images of a group have in common, for every image; None for one without it.
Common = list[str | None]


def find_keys(dataset: Dataset, stored: StoredDataset, group_by: str) -> ImageIds | None:
    """Return the key of every image, (n,) "S32", hexadecimal; None for a fixed data set without groups.

    Args:
        dataset: the labelled images.
        stored: their ids, and the groups of images that look alike.
        group_by: as in `split.group_by`.

    Raises:
        DataError: the data set has nothing to group by.
    """
    if group_by == NO_GROUPS:
        return stored.image_ids if dataset.grows else None
    if group_by == SIMILAR:
        return _find_keys_of_similar(dataset, stored)
    if not isinstance(dataset.images, FileImages):
        raise DataError(f"split.group_by={group_by} needs photos in files, which {dataset.name} has not: leave it out")
    kind, _, expression = group_by.partition(":")
    read, missing = READERS[kind]
    common = read(dataset, dataset.images, expression)
    require_unchanged(dataset.images)
    if not any(common):
        raise DataError(f"split.group_by={group_by} finds no group in {dataset.name}, where {missing}: leave it out")
    ids = stored.image_ids.tolist()
    return np.array([_hash(value) if value else one for value, one in zip(common, ids, strict=True)], dtype=ID_TYPE)


def _find_keys_of_similar(dataset: Dataset, stored: StoredDataset) -> ImageIds:
    """Return for each image the lowest id of those that look like it: the key of a group changes only with that one."""
    if isinstance(dataset.images, ArrayImages) and min(stored.pixels.shape[1:3]) < SMALLEST_COMPARED_PIXELS:
        raise DataError(
            f"split.group_by={SIMILAR} needs images of {SMALLEST_COMPARED_PIXELS} pixels or more, as smaller ones look "
            f"alike without being copies, and those of {dataset.name} are smaller: leave it out"
        )
    keys = stored.image_ids.tolist()
    for group in stored.similar:
        lowest = min(keys[index] for index in group)
        for index in group:
            keys[index] = lowest
    return np.array(keys, dtype=ID_TYPE)


def _read_names(dataset: Dataset, images: FileImages, expression: str) -> Common:
    """Return the part of each file's name that an expression captures; without a capture, all that it matches."""
    del dataset
    pattern = re.compile(expression)
    found = [pattern.search(file.stem) for file in images.files]
    return [match and ("\0".join(filter(None, match.groups())) or match.group()) for match in found]


def _read_folders(dataset: Dataset, images: FileImages, expression: str) -> Common:
    """Return the folder that is directly below that of the class."""
    del expression
    return list(dataset.subfolders) or [None] * len(images)


def _read_minutes(dataset: Dataset, images: FileImages, expression: str) -> Common:
    """Return the minute in which each photo was taken, as its EXIF data say."""
    del dataset, expression
    common: Common = []
    for file in images.files:
        with open_image(file) as image:
            match = MINUTE.match(_read_time(image))
        common.append(match and match.group())
    return common


def _read_time(image: Image.Image) -> str:
    try:
        exif = image.getexif()
        taken = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    except Exception:  # noqa: BLE001 - broken EXIF data raise almost any error, and the photo can be read all the same
        return ""
    return str(taken)


def _read_groups(dataset: Dataset, images: FileImages, expression: str) -> Common:
    """Return the group of each image in its table."""
    del expression
    return [group or None for group in dataset.groups or [""] * len(images)]


def _hash(common: str) -> bytes:
    return hashlib.sha256(os.fsencode(common)).hexdigest()[:ID_DIGITS].encode()


# By the kind of `split.group_by`: what reads the images, and what is so if it finds nothing.
READERS: dict[str, tuple[Callable[[Dataset, FileImages, str], Common], str]] = {
    "name": (_read_names, "no file name matches"),
    "folder": (_read_folders, "no class has folders in its folder"),
    "minute": (_read_minutes, "no photo has a time in its EXIF data"),
    "group": (_read_groups, "no table gives an image a group"),
}
