"""Where the embeddings of images are: in which file, and in which row of it; imports no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.transfer.records import Run
from triptych.transfer.shards import MARK, Identities, Marks


@dataclass(frozen=True)
class Places:
    """Where the embeddings of some images are.

    Attributes:
        files: the files of the space.
        owners: (n,) int64, for each image the index of its file; -1 if no file holds it.
        rows: (n,) int64, its row in the file.
        contents: (n,) "S32", the SHA-256 of its embedding.
    """

    files: tuple[Path, ...]
    owners: NDArray[np.int64]
    rows: NDArray[np.int64]
    contents: Identities

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


def find_places(held: Mapping[Path, Marks], identities: Identities) -> Places:
    """Return where the embeddings of images are.

    An image that is in several files is found in the largest; of equally large files in the one whose name sorts first.

    Args:
        held: whose embeddings each file of the space holds.
        identities: (n,) "S32", the SHA-256 of each image.
    """
    files = tuple(sorted(held, key=lambda file: (-len(held[file]), file.name)))
    sizes = [len(held[file]) for file in files]
    marks = np.concatenate([*(held[file] for file in files), np.zeros(1, dtype=MARK)])
    owners = np.append(np.repeat(np.arange(len(files)), sizes), -1)
    rows = np.concatenate([*map(np.arange, sizes), [0]])
    wanted, positions = np.unique(identities, return_inverse=True)
    nearest = np.searchsorted(wanted, marks["identity"][:-1]).clip(max=max(0, len(wanted) - 1))
    hits = np.flatnonzero(wanted[nearest] == marks["identity"][:-1])[::-1]
    # The last mark stands for what is missing. Of several hits the last one is kept, which comes first in the files.
    chosen = np.full(len(wanted), len(marks) - 1)
    chosen[nearest[hits]] = hits
    places = chosen[positions]
    return Places(files, owners[places], rows[places], marks["content"][places])
