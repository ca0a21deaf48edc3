"""Several frozen networks and one head: raw images in, class probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from triptych.images.pixels import Pixels
from triptych.networks.backbones import Backbone, restore_backbone
from triptych.networks.checksums import reading_model
from triptych.networks.head import HEAD_FILE, Head
from triptych.networks.light_torch import wrap_weights
from triptych.networks.trunks import TRUNK_FILE, open_trunk

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CombinedNetwork:
    """Frozen networks and one head on their embeddings side by side.

    Attributes:
        backbones: the networks, each with its own preprocessing, in the order of their embeddings.
        head: the last layer, (classes, d1 + d2 + ...).
        batch_size: images that pass through a network at once.
    """

    backbones: tuple[Backbone, ...]
    head: Head
    batch_size: int = 32

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """An embedding has none."""
        return ()

    def predict_images(self, images: Sequence[Pixels] | Pixels) -> Floats:
        """Return class probabilities, (n, classes) float32, of raw images, each (height, width, channels) uint8."""
        return self.classify(self.extract(images))

    def extract(self, images: Sequence[Pixels] | Pixels) -> Floats:
        """Return the embeddings of raw images, (n, d1 + d2 + ...) float32."""
        starts = range(0, len(images), self.batch_size)
        batches = (images[start : start + self.batch_size] for start in starts)
        return np.concatenate([np.hstack([one.embed(batch) for one in self.backbones]) for batch in batches])

    def classify(self, features: Floats) -> Floats:
        """Return class probabilities, (n, classes) float32, of embeddings."""
        return self.head.predict_proba(features)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the trunks and the head to a folder; return what else `load` needs, as JSON values."""
        trunks = {
            f"{number}.{key}": value.contiguous()
            for number, backbone in enumerate(self.backbones)
            for key, value in backbone.trunk.state_dict().items()
        }
        save_file(trunks, folder / TRUNK_FILE)
        save_file(self.head.linear.state_dict(), folder / HEAD_FILE)
        return {"backbones": [one.as_json() for one in self.backbones], "batch_size": self.batch_size}

    @classmethod
    def load(cls, folder: Path, description: dict[str, Any]) -> Self:
        """Return the network that `save` wrote; it is computed on a GPU if there is one."""
        with open_trunk(folder) as file, reading_model(folder):
            trunks, head = load_file(file), load_file(folder / HEAD_FILE)
        backbones = []
        for number, one in enumerate(description["backbones"]):
            prefix = f"{number}."
            state = {key.removeprefix(prefix): value for key, value in trunks.items() if key.startswith(prefix)}
            backbones.append(restore_backbone(one, state))
        return cls(tuple(backbones), Head(wrap_weights(head["weight"], head["bias"])), description["batch_size"])
