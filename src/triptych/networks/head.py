"""The new last layer of a pretrained network, and the two together: raw images in, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from triptych.images.pixels import Pixels
from triptych.images.preprocessing import Preprocessing
from triptych.networks.backbones import Backbone, assemble_backbone
from triptych.networks.light_torch import GradientDescent, copy_state, hold_weights, restore_state
from triptych.networks.minibatches import Examples, check_step, inplace_draw_mask, shuffle_minibatches
from triptych.networks.precision import find_device

if TYPE_CHECKING:
    from triptych.config.trainers import TransferConfig

Floats = NDArray[np.float32]
# Rows measured at once: enough for the matrix product, few enough for live embeddings.
MEASURING_BATCH = 1024
TRUNK_FILE, HEAD_FILE = "backbone.safetensors", "head.safetensors"


class Head:
    """The new last layer: dropout while training, then one linear map to the logits of the classes.

    Attributes:
        linear: weight (classes, dimension) and bias (classes,), float32.
        dropout: probability with which an input is dropped while training.
        iterations: steps of the solver that found the layer; 0 where it was trained epoch by epoch.
    """

    def __init__(self, linear: nn.Linear, dropout: float = 0.0, iterations: int = 0) -> None:
        """Take over a linear layer."""
        self.linear = linear
        self.dropout = dropout
        self.iterations = iterations
        self._optimizer = GradientDescent(self.linear.parameters(), fused=False)

    def train_epoch(
        self, train: Examples, settings: TransferConfig, learning_rate: float, rng: np.random.Generator
    ) -> None:
        """Take one step on the cross-entropy of the logits for each batch of a newly shuffled training part.

        Args:
            train: embeddings (n, dimension) and labels (n,).
            settings: batch size, momentum and weight decay.
            learning_rate: step size.
            rng: draws the order, then what is dropped of each batch.

        Raises:
            NonFiniteStepError: the loss is infinite or not a number.
        """
        torch.set_num_threads(settings.threads)
        self._optimizer.set_options(learning_rate, settings.momentum, settings.weight_decay)
        for step, indices in enumerate(shuffle_minibatches(len(train), settings.batch_size, rng), start=1):
            x, labels = _as_tensor(train.features[indices]), torch.from_numpy(train.labels[indices])
            if self.dropout:
                mask = torch.empty(x.shape, dtype=x.dtype)
                inplace_draw_mask(mask.numpy(), self.dropout, rng)
                x = x * mask
            self._optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.linear(x), labels)
            loss.backward()
            self._optimizer.step()
            check_step(loss.item(), step)

    def copy_state(self) -> dict[str, Floats]:
        """Return copies of weight and bias and of their momentum, where there is any, by name."""
        return copy_state(self.linear, self._optimizer)

    def restore_state(self, state: dict[str, Floats]) -> None:
        """Take back what `copy_state` returned."""
        restore_state(self.linear, self._optimizer, state)

    @torch.inference_mode()
    def predict_proba(self, embeddings: Floats) -> Floats:
        """Return class probabilities, (n, classes) float32; the softmax belongs here alone.

        Args:
            embeddings: (n, dimension), an array or what is read like one, some rows at a time.
        """
        parts = (slice(start, start + MEASURING_BATCH) for start in range(0, len(embeddings), MEASURING_BATCH))
        return np.concatenate([self.linear(_as_tensor(embeddings[part])).softmax(dim=1).numpy() for part in parts])

    @torch.inference_mode()
    def measure(self, examples: Examples) -> tuple[float, float]:
        """Return the mean cross-entropy and the accuracy."""
        loss, right = 0.0, 0
        for start in range(0, len(examples), MEASURING_BATCH):
            part = slice(start, start + MEASURING_BATCH)
            logits = self.linear(_as_tensor(examples.features[part]))
            labels = torch.from_numpy(examples.labels[part])
            loss += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(dim=1) == labels).sum())
        return loss / len(examples), right / len(examples)


@dataclass(frozen=True)
class TransferNetwork:
    """A frozen network and its head: raw images in, class probabilities out.

    Attributes:
        backbone: everything below the last layer.
        head: the last layer.
        batch_size: images that pass through the network at once.
    """

    backbone: Backbone
    head: Head
    batch_size: int = 32

    def predict_images(self, images: Sequence[Pixels] | Pixels) -> Floats:
        """Return class probabilities, (n, classes) float32, of raw images (height, width, channels) uint8."""
        starts = range(0, len(images), self.batch_size)
        batches = (images[start : start + self.batch_size] for start in starts)
        return np.concatenate([self.head.predict_proba(self.backbone.embed(batch)) for batch in batches])

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the trunk and the head to a folder; return what `load` needs beside them, as JSON values."""
        trunk = {key: value.contiguous() for key, value in self.backbone.trunk.state_dict().items()}
        save_file(trunk, folder / TRUNK_FILE)
        save_file(self.head.linear.state_dict(), folder / HEAD_FILE)
        return {
            "backbone": self.backbone.name,
            "weights": self.backbone.weights,
            "preprocessing": self.backbone.preprocessing.as_json(),
            "batch_size": self.batch_size,
            "number_format": self.backbone.number_format,
        }

    @classmethod
    def load(cls, folder: Path, description: dict[str, Any]) -> Self:
        """Return what `save` wrote, computed on a GPU where there is one."""
        preprocessing = Preprocessing.from_json(description["preprocessing"])
        trunk, head = load_file(folder / TRUNK_FILE), load_file(folder / HEAD_FILE)
        name, weights = description["backbone"], description["weights"]
        backbone = assemble_backbone(name, weights, preprocessing, trunk, trunk_only=True)
        computed = backbone.on_device(find_device()).in_format(description["number_format"])
        return cls(computed, Head(hold_weights(head["weight"], head["bias"])), description["batch_size"])


def _as_tensor(rows: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows))
