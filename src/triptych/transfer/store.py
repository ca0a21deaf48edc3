"""The folders of the embedding store, named by everything that the embeddings depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config.names import spell_safely
from triptych.data.shards import files as shard_files
from triptych.data.shards.files import Identities
from triptych.data.shards.space import Space
from triptych.images.sources import ImageSource
from triptych.networks.backbones import Backbone
from triptych.networks.families.table import find_versions
from triptych.system.checked import read_json, recall, write_json
from triptych.system.paths import cache_home
from triptych.transfer.records import Embeddings
from triptych.transfer.shards import lay_out, write_shard

# Describes a space to people; no program reads it.
DESCRIPTION = "space.json"
# Part of the key. Change it when images are read differently, so that old embeddings are not found.
READING_METHOD = "rgb-upright-white-4"
FILE_FORMAT = "npy-marks-sha256-3"


@dataclass(eq=False, kw_only=True)
class EmbeddingSpace(Space):
    """A folder of the store: the embeddings of one backbone with one preprocessing and number format.

    Attributes:
        backbone: the frozen backbone.
        digest: SHA-256 of its parameters and buffers, hexadecimal.
        computed: number of embeddings that this process has computed.
        seconds: time that the backbone took for them.
    """

    backbone: Backbone
    digest: str
    computed: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, backbone: Backbone) -> EmbeddingSpace:
        """Return the space of a backbone, in its number format."""
        digest = backbone.digest()
        folder = cache_home() / "embeddings" / identify_space(backbone, digest)
        return cls(folder, lay_out(backbone.dimension), backbone=backbone, digest=digest)

    def describe(self) -> None:
        """Write a description of the space to its folder, unless there is one that is sound."""
        if recall(lambda: read_json(self.folder / DESCRIPTION)) is None:
            content = _list_dependencies(self.backbone, self.digest) | {"weights_as_configured": self.backbone.weights}
            write_json(self.folder / DESCRIPTION, content)

    def write(self, file: Path, identities: Identities, rows: Embeddings) -> None:
        """Write the embeddings of images to a file."""
        self.describe()
        write_shard(file, identities, rows)


def list_indices(images: ImageSource, numbers: range | None = None) -> NDArray[np.int64]:
    """Return the indices of the images in some parts of 256; None means all."""
    size = shard_files.IMAGES_PER_SHARD
    everything = np.arange(len(images))
    return everything if numbers is None else everything[numbers.start * size : numbers.stop * size]


def identify_space(backbone: Backbone, digest: str) -> str:
    """Return the name of the folder for the embeddings of a backbone with this digest."""
    key = json.dumps(_list_dependencies(backbone, digest), sort_keys=True)
    return f"{spell_safely(backbone.name)}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


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
        # Without packages, the folders have the names that earlier versions gave them.
        **({"packages": packages} if (packages := find_versions(backbone.packages)) else {}),
    }
