"""The folder of everything that one network embeds in one way, and the files in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.images.sources import ImageSource
from triptych.networks.backbones import Backbone
from triptych.system.files import touch, write_atomically
from triptych.system.paths import cache_home
from triptych.system.slices import iterate_slices
from triptych.transfer import records as embedding_record
from triptych.transfer.shards import is_sound

# Tells people what a space is of; nothing else reads it.
DESCRIPTION = "space.json"
# Part of the key: a change of how images are read must not find the old embeddings.
READING_METHOD = "rgb-upright-white-2"
FILE_FORMAT = "npy-sha256"


@dataclass(eq=False)
class EmbeddingSpace:
    """A folder of the store.

    Attributes:
        backbone: the frozen network.
        digest: SHA-256 of its state.
        folder: where its shards lie.
        computed: number of images whose embeddings were computed by this process.
        seconds: how long the network took for them.
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
        """Return the space of a network, with the number format that it is computed in."""
        digest = backbone.digest()
        return cls(backbone, digest, cache_home() / "embeddings" / identify_space(backbone, digest))

    def describe(self) -> None:
        """Write down what the space holds, for those who list the cache."""
        if not (self.folder / DESCRIPTION).is_file():
            told = _list_dependencies(self.backbone, self.digest) | {"weights_as_configured": self.backbone.weights}
            write_atomically(self.folder / DESCRIPTION, (json.dumps(told, indent=2) + "\n").encode())

    def find(self, shard: Shard) -> bool:
        """Return whether a shard is there and sound; a sound one is marked as used now."""
        try:
            sound = is_sound(shard.file, (len(shard.indices), self.backbone.dimension))
        except FileNotFoundError:
            return False
        if sound:
            touch(shard.file)
        elif shard.file not in self.damaged:
            self.damaged.append(shard.file)
        return sound


@dataclass(frozen=True, eq=False)
class Shard:
    """A file of embeddings, there or not yet.

    Attributes:
        space: the folder and its network.
        indices: the images that it is of.
        file: its place.
    """

    space: EmbeddingSpace
    indices: range
    file: Path


def list_shards(spaces: Sequence[EmbeddingSpace], images: ImageSource, numbers: range | None = None) -> list[Shard]:
    """Return the shards of some images in each of the spaces: all that hold the same images, then the next.

    Args:
        spaces: the folders.
        images: the raw images.
        numbers: which shards of each space; None means all.
    """
    slices = [range(part.start, part.stop) for part in iterate_slices(len(images), embedding_record.IMAGES_PER_SHARD)]
    wanted = slices if numbers is None else [slices[number] for number in numbers]
    names = [(indices, f"{_identify_images(images, indices)}.npy") for indices in wanted]
    return [Shard(space, indices, space.folder / name) for indices, name in names for space in spaces]


def identify_space(backbone: Backbone, digest: str) -> str:
    """Return the name of the folder for everything this network embeds this way."""
    key = json.dumps(_list_dependencies(backbone, digest), sort_keys=True)
    return f"{backbone.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _list_dependencies(backbone: Backbone, digest: str) -> dict[str, Any]:
    """Return everything that an embedding of an image depends on, and how it is stored."""
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
