"""Where the rows of images are: in which file, and in which row of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from triptych.data.shards.files import Identities, Marks


class Run(NamedTuple):
    """Rows of a file, in the order of the images of a data set.

    Attributes:
        file: the file.
        start: the first row.
        stop: the row after the last one.
    """

    file: Path
    start: int
    stop: int


@dataclass(frozen=True)
class Places:
    """Where the rows of some images are.

    Attributes:
        files: the files of the folder.
        owners: (n,) int64, for each image the index of its file; -1 if no file holds it.
        rows: (n,) int64, its row in the file.
        marks: (n,) its mark in the file.
    """

    files: tuple[Path, ...]
    owners: NDArray[np.int64]
    rows: NDArray[np.int64]
    marks: Marks

    @property
    def missing(self) -> NDArray[np.int64]:
        """The positions of the images that no file holds."""
        return np.flatnonzero(self.owners < 0)

    @property
    def used(self) -> list[Path]:
        """The files that hold one of the images or more."""
        return [self.files[owner] for owner in np.unique(self.owners[self.owners >= 0])]

    def list_runs(self) -> Iterator[Run]:
        """Yield the rows in the order of the images; all of them must be held."""
        inner = np.flatnonzero((np.diff(self.owners) != 0) | (np.diff(self.rows) != 1)) + 1
        bounds = np.concatenate([[0], inner, [len(self.rows)]]).tolist()
        for first, after in pairwise(bounds):
            start = int(self.rows[first])
            yield Run(self.files[self.owners[first]], start, start + after - first)


def find_places(held: Mapping[Path, Marks], identities: Identities, mark: np.dtype[Any]) -> Places:
    """Return where the rows of images are.

    An image that is in several files is found in the largest; of equally large files in the one whose name sorts first.

    Args:
        held: whose rows each file of the folder holds.
        identities: (n,) "S32", the SHA-256 of each image.
        mark: the dtype of the marks.
    """
    files = tuple(sorted(held, key=lambda file: (-len(held[file]), file.name)))
    sizes = [len(held[file]) for file in files]
    marks = np.concatenate([*(held[file] for file in files), np.zeros(1, dtype=mark)])
    owners = np.append(np.repeat(np.arange(len(files)), sizes), -1)
    rows = np.concatenate([*map(np.arange, sizes), [0]])
    wanted, positions = np.unique(identities, return_inverse=True)
    nearest = np.searchsorted(wanted, marks["identity"][:-1]).clip(max=max(0, len(wanted) - 1))
    hits = np.flatnonzero(wanted[nearest] == marks["identity"][:-1])[::-1]
    # The last mark stands for what is missing. Of several hits the last one is kept, which comes first in the files.
    chosen = np.full(len(wanted), len(marks) - 1)
    chosen[nearest[hits]] = hits
    places = chosen[positions]
    return Places(files, owners[places], rows[places], marks[places])


def find_first(identities: Identities, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first of some positions of each image, in order: what equal images need is computed once.

    >>> find_first(np.array([b"a", b"b", b"a", b"c"]), np.array([0, 2, 3])).tolist()
    [0, 3]
    """
    return positions[np.sort(np.unique(identities[positions], return_index=True)[1])]
