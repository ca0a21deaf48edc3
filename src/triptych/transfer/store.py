"""The folders of the embedding store and the files in them, named by everything that the embeddings depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.errors import DamagedFileError, DataError
from triptych.images.sources import ImageSource
from triptych.networks.backbones import Backbone
from triptych.system.checked import discard, read_json, recall, write_json
from triptych.system.files import touch
from triptych.system.paths import cache_home
from triptych.system.slices import iterate_slices
from triptych.transfer import records as embedding_record
from triptych.transfer.shards import verify_shard

# Describes a space to people; no program reads it.
DESCRIPTION = "space.json"
# Part of the key. Change it when images are read differently, so that old embeddings are not found.
READING_METHOD = "rgb-upright-white-3"
FILE_FORMAT = "npy-sha256-2"


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
    """

    backbone: Backbone
    digest: str
    folder: Path
    computed: int = 0
    seconds: float = 0.0
    damaged: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, backbone: Backbone) -> EmbeddingSpace:
        """Return the space of a backbone, in its number format."""
        digest = backbone.digest()
        return cls(backbone, digest, cache_home() / "embeddings" / identify_space(backbone, digest))

    def describe(self) -> None:
        """Write a description of the space to its folder, unless there is one that is sound."""
        if recall(lambda: read_json(self.folder / DESCRIPTION)) is None:
            content = _list_dependencies(self.backbone, self.digest) | {"weights_as_configured": self.backbone.weights}
            write_json(self.folder / DESCRIPTION, content)
            write_json(self.folder / DESCRIPTION, content)

    def verify(self, shard: Shard) -> bool:
        """Return whether a shard exists and matches its checksum; mark the file as used, or note it as damaged."""
        touch(shard.file)
        try:
            verify_shard(shard.file, (len(shard.indices), self.backbone.dimension))
        except FileNotFoundError:
            return False
        except DamagedFileError as damaged:
            if shard.file not in self.damaged:
                self.damaged.append(shard.file)
                discard(damaged)
            return False
        return True


@dataclass(frozen=True, eq=False)
class Shard:
    """A file of embeddings, which may not exist yet.

    Attributes:
        space: the space that it belongs to.
        indices: the images whose embeddings it holds.
        file: its path.
    """

    space: EmbeddingSpace
    indices: range
    file: Path


def list_shards(spaces: Sequence[EmbeddingSpace], images: ImageSource, numbers: range | None = None) -> list[Shard]:
    """Return the shards of images in every space; those of the same images are adjacent.

    Args:
        spaces: the spaces.
        images: the raw images.
        numbers: indices of the shards of each space; None means all.
    """
    slices = [range(part.start, part.stop) for part in iterate_slices(len(images), embedding_record.IMAGES_PER_SHARD)]
    wanted = slices if numbers is None else [slices[number] for number in numbers]
    names = [(indices, f"{_identify_images(images, indices)}.npy") for indices in wanted]
    return [Shard(space, indices, space.folder / name) for indices, name in names for space in spaces]


def require_same_images(shard: Shard, images: ImageSource) -> None:
    """Check that a shard is still named by its images, before their embeddings are written to it.

    Raises:
        DataError: an image was changed meanwhile.
    """
    if shard.file.stem != _identify_images(images, shard.indices):
        first, last = shard.indices[0], shard.indices[-1]
        raise DataError(f"one of the images {first} to {last} was changed meanwhile: run the same command again")


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


def _identify_images(images: ImageSource, indices: range) -> str:
    digest = hashlib.sha256()
    for index in indices:
        digest.update(images.identify(index))
    images.release()
    return digest.hexdigest()[:32]
