"""Duplicates in a data set: images with the same pixels, and images that look alike."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triptych.data.folders import Parts
from triptych.images.pixels import Pixels
from triptych.system.slices import iterate_slices

# Indices of images that are duplicates of each other, ascending.
Group = tuple[int, ...]

LOOK_SIDE = 8
# Smaller images have too little detail: a 3 looks as much like an 8 as like a copy of itself.
SMALLEST_COMPARED_PIXELS = 32
# Of the shorter side: for a quick mean over large images, not every pixel is needed.
ENOUGH_PIXELS = 80
# The mean of two correlations. Of 397 photos of insects, no two different ones had more than 0.80. The frames of bursts
# of them, cropped by up to 2 % at each side, lit differently, compressed and with noise, had 0.92 or more in 99 of 100
# pairs; cropped by up to 4 %, 0.92 or more in 90 of 100; whatever the size of the photos, from 64 pixels.
SIMILAR_CORRELATION = 0.88
# Mean difference in grey levels, 0..255: all plain areas look alike in all that is compared otherwise.
SIMILAR_LEVELS = 64
# In grey levels: contrasts below it are noise.
NOISE_LEVELS = 2.0
# Looks are whole numbers with this norm: their products are below 2**24, so that float32 adds them exactly, in any
# order. All machines then find the same images similar.
LOOK_NORM = 2000.0
COMPARED_AT_ONCE, DESCRIBED_AT_ONCE = 128, 1024


def identify_pixels(image: Pixels) -> bytes:
    """Return the SHA-256 of an image's shape and pixels: the same for equal pixels in different files.

    Args:
        image: (height, width, channels) uint8.
    """
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def group_equal(identities: Iterable[bytes | str | None]) -> list[Group]:
    """Return the groups of two or more images with the same identity; None equals nothing.

    >>> group_equal([b"a", b"b", None, b"a", None])
    [(0, 3)]
    """
    members: defaultdict[bytes | str, list[int]] = defaultdict(list)
    for index, identity in enumerate(identities):
        if identity is not None:
            members[identity].append(index)
    return [tuple(group) for group in members.values() if len(group) > 1]


def spans(group: Group, values: NDArray[np.str_] | NDArray[np.int64]) -> bool:
    """Return whether the images of a group have different values: different parts, or different labels.

    Args:
        group: indices into `values`.
        values: (n,), the part or the label of every image.

    >>> spans((0, 2), np.array(["train", "test", "train"]))
    False
    """
    return len(set(values[list(group)].tolist())) > 1


def find_leaked(groups: Iterable[Group], parts: Parts) -> set[int]:
    """Return the test images that have a duplicate in train or validation.

    Args:
        groups: images with the same pixels, or that look alike.
        parts: (n,) of "train", "validation" or "test".

    >>> sorted(find_leaked([(0, 1, 2), (3, 4)], np.array(["train", "test", "test", "test", "test"])))
    [1, 2]
    """
    return {index for group in groups if spans(group, parts) for index in group if parts[index] == "test"}


def shrink(image: Pixels) -> bytes | None:
    """Return an image scaled down for comparison with others, (8, 8, channels) uint8, or None if it is too small.

    They are returned as bytes, copied into Python's own memory: what a library allocates for each of many images, while
    large ones come and go, takes fifty times its size, as the gaps between the pieces are not used again.

    Args:
        image: (height, width, channels) uint8.
    """
    height, width, channels = image.shape
    if min(height, width) < SMALLEST_COMPARED_PIXELS:
        return None
    step = max(1, min(height, width) // ENOUGH_PIXELS)
    fewer = np.ascontiguousarray(image[::step, ::step] if channels == 3 else image[::step, ::step, 0])
    shrunk = Image.fromarray(fewer).resize((LOOK_SIDE, LOOK_SIDE), Image.Resampling.BOX)
    return np.asarray(shrunk).tobytes()


def stack_shrunk(shrunk: Iterable[bytes]) -> Pixels:
    """Return what `shrink` returned of one image or more as one array, (n, 8, 8, channels) uint8."""
    pieces = list(shrunk)
    return np.frombuffer(b"".join(pieces), dtype=np.uint8).reshape(len(pieces), LOOK_SIDE, LOOK_SIDE, -1)


def describe_looks(shrunk: Pixels) -> NDArray[np.float32]:
    """Return a vector for each image whose scalar product with that of another one says how much they look alike.

    It is the mean of two correlations: that of the colours, which are compared without their mean and their contrast,
    as by Torralba, Fergus & Freeman, "80 Million Tiny Images", 2008; and that of the steps in brightness from each
    pixel to its neighbours, which tell images of one layout apart.

    Args:
        shrunk: (n, 8, 8, channels) uint8, 0..255.

    Returns:
        (n, features) float32, whole numbers with a norm of about `LOOK_NORM`.
    """
    colours = shrunk.astype(np.float64)
    brightness = colours.mean(axis=3)  # (n, 8, 8)
    steps = [np.diff(brightness, axis=axis).reshape(len(shrunk), -1) for axis in (1, 2)]
    centred = (colours - colours.mean(axis=(1, 2), keepdims=True)).reshape(len(shrunk), -1)
    halves = [_normalise(half) for half in (centred, np.hstack(steps))]
    looks: NDArray[np.float32] = np.rint(np.hstack(halves) * (LOOK_NORM / np.sqrt(2.0))).astype(np.float32)
    return looks


def _normalise(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of norm 1, with one feature more that makes those of plain images alike."""
    plain = np.full((len(features), 1), NOISE_LEVELS * np.sqrt(features.shape[1]))
    extended = np.hstack([features, plain])
    normalised: NDArray[np.float64] = extended / np.linalg.norm(extended, axis=1, keepdims=True)
    return normalised


def group_similar(shrunk: Pixels) -> list[Group]:
    """Return the groups of two or more images that look alike: the connected components of all similar pairs.

    Rotated, mirrored and strongly cropped copies are not found. Memory grows with the number of images, not of pairs:
    a pair is forgotten once its two components are one.

    Args:
        shrunk: (n, 8, 8, channels) uint8, of `stack_shrunk`.
    """
    looks = np.vstack([describe_looks(shrunk[block]) for block in iterate_slices(len(shrunk), DESCRIBED_AT_ONCE)])
    levels = shrunk.sum(axis=(1, 2), dtype=np.int32).T  # (channels, n)
    limit = SIMILAR_LEVELS * LOOK_SIDE**2 * len(levels)
    component = np.arange(len(looks))  # (n,), the lowest index of those that each image is connected with
    for block in iterate_slices(len(looks), COMPARED_AT_ONCE):
        alike = looks[block] @ looks[block.start :].T >= SIMILAR_CORRELATION * LOOK_NORM**2
        alike &= component[block, None] != component[block.start :]
        for row in np.flatnonzero(alike.any(axis=1)).tolist():
            index = block.start + row
            found = block.start + np.flatnonzero(alike[row] & (component[block.start :] != component[index]))
            close = np.abs(levels[:, found] - levels[:, index, None]).sum(axis=0) <= limit
            _connect(component, index, found[close])
    return _list_components(component)


def _connect(component: NDArray[np.int64], index: int, others: NDArray[np.int64]) -> None:
    """Make the components of an image and of others one, in place."""
    joined = np.zeros(len(component), dtype=bool)
    joined[component[index]] = joined[component[others]] = True
    component[joined[component]] = np.flatnonzero(joined)[0]


def _list_components(component: NDArray[np.int64]) -> list[Group]:
    """Return the components of two or more images.

    >>> _list_components(np.array([0, 1, 0, 3, 1]))
    [(0, 2), (1, 4)]
    """
    members: defaultdict[int, list[int]] = defaultdict(list)
    several = np.bincount(component, minlength=1) > 1
    for index in np.flatnonzero(several[component]).tolist():
        members[int(component[index])].append(index)
    return [tuple(group) for group in members.values()]


def find_similar(shrunk: Sequence[bytes | None], equal: Sequence[Group]) -> list[Group]:
    """Return the groups of images that look alike, not all of them equal.

    Args:
        shrunk: of every image, of `shrink`.
        equal: the groups of images with the same pixels, of which one each is compared.
    """
    copies = {index for group in equal for index in group[1:]}
    compared = [index for index, one in enumerate(shrunk) if one is not None and index not in copies]
    if len(compared) < 2:
        return []
    groups = group_similar(stack_shrunk(one for index in compared if (one := shrunk[index]) is not None))
    return expand_groups([tuple(compared[member] for member in group) for group in groups], equal)


def expand_groups(groups: Sequence[Group], equal: Sequence[Group]) -> list[Group]:
    """Return groups with the exact copies of their members added.

    >>> expand_groups([(0, 5)], [(0, 2), (3, 4)])
    [(0, 2, 5)]
    """
    copies = {group[0]: group for group in equal}
    return [tuple(sorted(copy for index in group for copy in copies.get(index, (index,)))) for group in groups]
