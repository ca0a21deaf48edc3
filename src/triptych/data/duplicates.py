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

# Indices of images that are duplicates of each other, ascending.
Group = tuple[int, ...]
Hashes = NDArray[np.uint64]

HASH_SIDE = 16
# Smaller images have too little detail for a difference hash: a 3 is as close to an 8 as to a copy of itself.
SMALLEST_HASHED_PIXELS = 32
# Of 256 bits. 396 photos of insects differed from each other by 67 or more, and mostly by 22 or less from copies of
# themselves that were scaled down or compressed more.
SIMILAR_BITS = 26
# Mean difference of the shrunken images in grey levels, 0..255: needed as all plain areas have the same hash.
SIMILAR_LEVELS = 32.0


def identify_pixels(image: Pixels) -> bytes:
    """Return the SHA-256 of an image's shape and pixels: the same for equal pixels in different files.

    Args:
        image: (height, width, channels) uint8.
    """
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()


def group_equal(identities: Iterable[bytes | None]) -> list[Group]:
    """Return the groups of two or more images with the same identity; None equals nothing.

    >>> group_equal([b"a", b"b", None, b"a", None])
    [(0, 3)]
    """
    members: defaultdict[bytes, list[int]] = defaultdict(list)
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


def count_leaked(groups: Iterable[Group], parts: Parts) -> int:
    """Return how many test images are also in train or validation.

    Args:
        groups: images with the same pixels.
        parts: (n,) of "train", "validation" or "test".

    >>> count_leaked([(0, 1, 2), (3, 4)], np.array(["train", "test", "test", "test", "test"]))
    2
    """
    return sum(parts[list(group)].tolist().count("test") for group in groups if spans(group, parts))


def shrink_for_hash(image: Pixels) -> Pixels | None:
    """Return an image scaled down for its difference hash, (16, 17, channels) uint8, or None if it is too small.

    Args:
        image: (height, width, channels) uint8.
    """
    height, width, channels = image.shape
    if min(height, width) < SMALLEST_HASHED_PIXELS:
        return None
    picture = Image.fromarray(image if channels == 3 else image[:, :, 0])
    shrunk = picture.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX)
    return np.asarray(shrunk).reshape(HASH_SIDE, HASH_SIDE + 1, channels)


def hash_differences(shrunk: Pixels) -> Hashes:
    """Return difference hashes: whether each pixel is brighter than its neighbour to the left.

    Source: Krawetz, "Kind of Like That", The Hacker Factor Blog, 2013, with 16 x 16 bits instead of 8 x 8.

    Args:
        shrunk: (n, 16, 17, channels) uint8, 0..255.

    Returns:
        (n, 4) uint64: 256 bits of each image.
    """
    brightness = shrunk.astype(np.int32).sum(axis=3)  # (n, 16, 17)
    brighter = brightness[:, :, 1:] > brightness[:, :, :-1]  # (n, 16, 16)
    packed = np.packbits(brighter.reshape(len(shrunk), -1), axis=1)  # (n, 32)
    return packed.view(np.uint64)


def group_similar(shrunk: Pixels) -> list[Group]:
    """Return the groups of two or more images that look alike: the connected components of all similar pairs.

    Rotated, mirrored and strongly cropped copies are not found.

    Args:
        shrunk: (n, 16, 17, channels) uint8, of `shrink_for_hash`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = _find_similar_pairs(shrunk)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(shrunk), len(shrunk)))
    _, component = connected_components(graph, directed=False)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index in np.unique(pairs).tolist():
        members[int(component[index])].append(index)
    return [tuple(group) for group in members.values()]


def _find_similar_pairs(shrunk: Pixels) -> NDArray[np.int64]:
    """Return (pairs, 2) int64; a quarter of the bits rules out nearly all pairs before the costly comparisons."""
    hashes = hash_differences(shrunk)
    found: list[tuple[int, int]] = []
    for index in range(len(hashes) - 1):
        first = np.bitwise_count(hashes[index + 1 :, 0] ^ hashes[index, 0])
        others = np.flatnonzero(first <= SIMILAR_BITS) + index + 1
        bits = np.bitwise_count(hashes[others] ^ hashes[index]).sum(axis=1)
        others = others[bits <= SIMILAR_BITS]
        levels = np.abs(shrunk[others].astype(np.int16) - shrunk[index]).mean(axis=(1, 2, 3))
        found += [(index, other) for other in others[levels <= SIMILAR_LEVELS].tolist()]
    return np.asarray(found, dtype=np.int64).reshape(-1, 2)


def expand_groups(groups: Sequence[Group], equal: Sequence[Group]) -> list[Group]:
    """Return groups with the exact copies of their members added.

    >>> expand_groups([(0, 5)], [(0, 2), (3, 4)])
    [(0, 2, 5)]
    """
    copies = {group[0]: group for group in equal}
    return [tuple(sorted(copy for index in group for copy in copies.get(index, (index,)))) for group in groups]
