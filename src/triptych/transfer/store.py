"""The folders of the embedding store and the files in them, named by everything that the embeddings depend on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DamagedFileError, StorageError
from triptych.images.sources import ImageSource
from triptych.networks.backbones import Backbone
from triptych.system.checked import discard, read_json, recall, verify, write_json
from triptych.system.files import touch
from triptych.system.paths import cache_home
from triptych.transfer import records as embedding_record
from triptych.transfer.places import Places, find_places
from triptych.transfer.records import Embeddings
from triptych.transfer.shards import Identities, MappedShard, Marks, are_sound, read_marks, try_lock, write_shard

# Describes a space to people; no program reads it.
DESCRIPTION = "space.json"
# Part of the key. Change it when images are read differently, so that old embeddings are not found.
READING_METHOD = "rgb-upright-white-4"
FILE_FORMAT = "npy-marks-sha256-3"
# With more files than this that are not whole, small ones are merged.
MOST_SMALL_FILES = 16
# A merged file stays for a day after its last use, as another process may be reading it.
SECONDS_KEPT = 86_400


@dataclass(eq=False)
class EmbeddingSpace:
    """A folder of the store: the embeddings of one backbone with one preprocessing and number format.

    Attributes:
        backbone: the frozen backbone.
        digest: SHA-256 of its parameters and buffers, hexadecimal.
        folder: the folder of its shards.
        computed: number of embeddings that this process has computed.
        seconds: time that the backbone took for them.
        damaged: files that were found damaged.
        marks: whose embeddings each file holds, as far as they were read.
    """

    backbone: Backbone
    digest: str
    folder: Path
    computed: int = 0
    seconds: float = 0.0
    damaged: list[Path] = field(default_factory=list)
    marks: dict[Path, Marks] = field(default_factory=dict)

    @classmethod
    def of(cls, backbone: Backbone) -> EmbeddingSpace:
        """Return the space of a backbone, in its number format."""
        digest = backbone.digest()
        return cls(backbone, digest, cache_home() / "embeddings" / identify_space(backbone, digest))

    def find(self, identities: Identities) -> Places:
        """Return where the embeddings of images are, given (n,) "S32"; only files with the right checksum count."""
        self._update()
        while True:
            places = find_places(self.marks, identities)
            if all(self.verify(file) for file in places.used):
                return places

    def holds(self, identities: Identities) -> bool:
        """Return whether there is an embedding of each image; checksums are verified only when it is used."""
        self._update()
        return not len(find_places(self.marks, identities).missing)

    def _update(self) -> None:
        """Take up the files that were written since, and drop those that are gone."""
        files = {file for file in self.folder.glob("[!.]*.npy") if os.access(file, os.R_OK)}
        self.marks = {file: marks for file, marks in self.marks.items() if file in files}
        for file in files - self.marks.keys():
            with self._noting_damage(file):
                self.marks[file] = read_marks(file, self.backbone.dimension)

    def describe(self) -> None:
        """Write a description of the space to its folder, unless there is one that is sound."""
        if recall(lambda: read_json(self.folder / DESCRIPTION)) is None:
            content = _list_dependencies(self.backbone, self.digest) | {"weights_as_configured": self.backbone.weights}
            write_json(self.folder / DESCRIPTION, content)
            write_json(self.folder / DESCRIPTION, content)

    def verify(self, file: Path) -> bool:
        """Return whether a file exists and matches its checksum; mark it as used, or note it as damaged."""
        touch(file)
        with self._noting_damage(file):
            verify(file)
            return True
        return False

    def write(self, file: Path, identities: Identities, rows: Embeddings) -> None:
        """Write the embeddings of images to a file."""
        self.describe()
        write_shard(file, identities, rows)

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
        used = find_places(self.marks, everything).used
        for file in self.marks.keys() - set(used):
            others = find_places(self.marks, self.marks[file]["identity"]).used
            with suppress(OSError):  # deleted by `triptych cache`, or another user's
                if time.time() - file.stat().st_mtime > SECONDS_KEPT and are_sound(others):
                    file.unlink()
        return used

    def _merge(self, files: Sequence[Path]) -> None:
        """Write one file of all images in some files."""
        identities = np.concatenate([self.marks[file]["identity"] for file in files])
        rows = np.concatenate([MappedShard(file).rows for file in files])
        identities, first = np.unique(identities, return_index=True)
        self.write(self.folder / name_shard(identities), identities, rows[first])


def choose_merges(sizes: Mapping[Path, int]) -> list[list[Path]]:
    """Return which files to merge: none, unless many are small.

    Each merged file is larger than any of its parts and at most as large as a whole shard. Any two that are left
    unmerged would make more than a whole shard: there are at most twice as many files as there must be, and a few.

    Args:
        sizes: the number of images in each file.
    """
    small = sorted((size, file) for file, size in sizes.items() if size < embedding_record.IMAGES_PER_SHARD)
    if len(small) <= MOST_SMALL_FILES:
        return []
    merges: list[list[Path]] = [[]]
    room = embedding_record.IMAGES_PER_SHARD
    for size, file in small:
        if size > room:
            merges.append([])
            room = embedding_record.IMAGES_PER_SHARD
        merges[-1].append(file)
        room -= size
    return [files for files in merges if len(files) > 1]


def identify_images(images: ImageSource, indices: Iterable[int]) -> Identities:
    """Return the SHA-256 of images, (n,) "S32"."""
    identities = np.array([images.identify(index) for index in indices], dtype="S32")
    images.release()
    return identities


def list_indices(images: ImageSource, numbers: range | None = None) -> NDArray[np.int64]:
    """Return the indices of the images in some parts of 256; None means all."""
    size = embedding_record.IMAGES_PER_SHARD
    everything = np.arange(len(images))
    return everything if numbers is None else everything[numbers.start * size : numbers.stop * size]


def name_shard(identities: Identities) -> str:
    """Return the name of a file of the embeddings of images, given (n,) "S32"."""
    return f"{hashlib.sha256(identities.tobytes()).hexdigest()[:32]}.npy"


def identify_space(backbone: Backbone, digest: str) -> str:
    """Return the name of the folder for the embeddings of a backbone with this digest."""
    key = json.dumps(_list_dependencies(backbone, digest), sort_keys=True)
    return f"{backbone.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _list_dependencies(backbone: Backbone, digest: str) -> dict[str, Any]:
    """Return everything that the embedding of an image depends on, and the file format."""
    return {
        "network": backbone.name,
        "weights": digest,
        "transform": backbone.preprocessing.as_json(),
        "cut_layer": backbone.cut_layer,
        "number_format": backbone.number_format,
        "reading": READING_METHOD,
        "file_format": FILE_FORMAT,
    }
