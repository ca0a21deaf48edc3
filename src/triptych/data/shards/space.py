"""A folder of files of rows: finding the rows of images, and keeping the files few."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from triptych.data.shards import files as shard_files
from triptych.data.shards.files import (
    Identities,
    Layout,
    MappedShard,
    Marks,
    are_sound,
    read_marks,
    try_lock,
    write_rows,
)
from triptych.data.shards.places import Places, find_places
from triptych.errors import DamagedFileError, StorageError
from triptych.images.sources import ImageSource
from triptych.system.checked import discard, verify
from triptych.system.files import touch

# With more files than this that are not whole, small ones are merged.
MOST_SMALL_FILES = 16
# A merged file stays for a day after its last use, as another process may be reading it.
SECONDS_KEPT = 86_400


@dataclass(eq=False)
class Space:
    """A folder of files of rows.

    Attributes:
        folder: the folder.
        layout: what its files hold.
        damaged: files that were found damaged.
        marks: whose rows each file holds, as far as they were read.
    """

    folder: Path
    layout: Layout
    damaged: list[Path] = field(default_factory=list)
    marks: dict[Path, Marks] = field(default_factory=dict)

    def find(self, identities: Identities) -> Places:
        """Return where the rows of images are, given (n,) "S32"; only files with the right checksum count."""
        self._update()
        while True:
            places = self._find(identities)
            if all(self.verify(file) for file in places.used):
                return places

    def holds(self, identities: Identities) -> bool:
        """Return whether there is a row for each image; checksums are verified only when it is used."""
        self._update()
        return not len(self._find(identities).missing)

    def _find(self, identities: Identities) -> Places:
        return find_places(self.marks, identities, self.layout.mark)

    def _update(self) -> None:
        """Take up the files that were written since, and drop those that are gone."""
        files = {file for file in self.folder.glob("[!.]*.npy") if os.access(file, os.R_OK)}
        self.marks = {file: marks for file, marks in self.marks.items() if file in files}
        for file in files - self.marks.keys():
            with self._noting_damage(file):
                self.marks[file] = read_marks(file, self.layout)

    def verify(self, file: Path) -> bool:
        """Return whether a file exists and matches its checksum; mark it as used, or note it as damaged."""
        touch(file)
        with self._noting_damage(file):
            verify(file)
            return True
        return False

    @contextmanager
    def _noting_damage(self, file: Path) -> Iterator[None]:
        """Forget a file that the block finds gone or damaged."""
        try:
            yield
        except FileNotFoundError:
            self.marks.pop(file, None)
        except DamagedFileError as damaged:
            self.marks.pop(file, None)
            if file not in self.damaged:
                self.damaged.append(file)
                discard(damaged)

    def merge(self) -> None:
        """Merge small files if there are many, and delete those that were merged long enough ago.

        Files that other processes may be reading stay until they have not been used for a day. Nothing is merged where
        this user may not write.
        """
        if len(self.marks) <= MOST_SMALL_FILES:
            return
        with suppress(StorageError, FileNotFoundError), try_lock(self.folder / "merging") as locked:
            if locked:
                self._update()
                used = self._delete_merged()
                for files in choose_merges({file: len(self.marks[file]) for file in used}):
                    if all(self.verify(file) for file in files):
                        self._merge(files)

    def _delete_merged(self) -> list[Path]:
        """Delete the files whose images are all found in others, once they are a day old; return the others."""
        everything = np.concatenate([marks["identity"] for marks in self.marks.values()])
        used = self._find(everything).used
        for file in self.marks.keys() - set(used):
            others = self._find(self.marks[file]["identity"]).used
            with suppress(OSError):  # deleted by `triptych cache`, or another user's
                if time.time() - file.stat().st_mtime > SECONDS_KEPT and are_sound(others):
                    file.unlink()
        return used

    def _merge(self, files: Sequence[Path]) -> None:
        """Write one file of all images in some files."""
        marks = np.concatenate([self.marks[file] for file in files])
        rows = np.concatenate([MappedShard(file).rows for file in files])
        identities, first = np.unique(marks["identity"], return_index=True)
        write_rows(self.folder / name_shard(identities), marks[first], rows[first])


def choose_merges(sizes: Mapping[Path, int]) -> list[list[Path]]:
    """Return which files to merge: none, unless many are small.

    Each merged file is larger than any of its parts and at most as large as a whole shard. Any two that are left
    unmerged would make more than a whole shard: there are at most twice as many files as there must be, and a few.

    Args:
        sizes: the number of images in each file.
    """
    whole = shard_files.IMAGES_PER_SHARD
    small = sorted((size, file) for file, size in sizes.items() if size < whole)
    if len(small) <= MOST_SMALL_FILES:
        return []
    merges: list[list[Path]] = [[]]
    room = whole
    for size, file in small:
        if size > room:
            merges.append([])
            room = whole
        merges[-1].append(file)
        room -= size
    return [files for files in merges if len(files) > 1]


def identify_images(images: ImageSource, indices: Iterable[int]) -> Identities:
    """Return the SHA-256 of images, (n,) "S32"."""
    identities = np.array([images.identify(index) for index in indices], dtype="S32")
    images.release()
    return identities


def name_shard(identities: Identities) -> str:
    """Return the name of a file of the rows of images, given (n,) "S32"."""
    return f"{hashlib.sha256(identities.tobytes()).hexdigest()[:32]}.npy"
