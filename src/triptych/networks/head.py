"""The new last layer of a pretrained network, and the whole network: raw images in, class probabilities out."""

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
from triptych.networks.backbones import Backbone, restore_backbone
from triptych.networks.checksums import reading_model
from triptych.networks.light_torch import (
    GradientDescent,
    copy_state,
    differentiate_cross_entropy,
    restore_state,
    sum_cross_entropy,
    wrap_weights,
)
from triptych.networks.minibatches import Examples, Measured, check_step, inplace_draw_mask, shuffle_minibatches
from triptych.networks.trunks import TRUNK_FILE, open_trunk

if TYPE_CHECKING:
    from triptych.config.trainers import TransferConfig

Floats = NDArray[np.float32]
# Rows per matrix product: enough to be fast, few enough for embeddings that are computed on demand.
MEASURING_BATCH = 1024
HEAD_FILE = "head.safetensors"


class Head:
    """The new last layer: dropout during training, then one linear map to the class logits.

    Attributes:
        linear: weight (classes, dimension) and bias (classes,), float32.
        dropout: probability of dropping an input during training.
        iterations: iterations of the solver that fitted the layer; 0 if it was trained by gradient descent.
    """

    def __init__(self, linear: nn.Linear, dropout: float = 0.0, iterations: int = 0) -> None:
        """Wrap a linear layer, which training changes in place."""
        self.linear = linear
        self.dropout = dropout
        self.iterations = iterations
        self._optimizer = GradientDescent(self.linear.parameters(), fused=False)

    def train_epoch(
        self, train: Examples, settings: TransferConfig, learning_rate: float, rng: np.random.Generator
    ) -> None:
        """Shuffle the training set, and take one step per batch on the cross-entropy of the logits.

        Args:
            train: embeddings (n, dimension), labels (n,), and perhaps weights (n,).
            settings: batch size, momentum and weight decay.
            learning_rate: for this epoch.
            rng: draws the order, then the dropout mask of each batch.

        Raises:
            NonFiniteStepError: the loss is infinite or not a number.
        """
        torch.set_num_threads(settings.threads)
        self._optimizer.set_options(learning_rate, settings.momentum, settings.weight_decay)
        masks = torch.empty(min(settings.batch_size, len(train)), self.linear.in_features)
        for step, indices in enumerate(shuffle_minibatches(len(train), settings.batch_size, rng), start=1):
            x, labels = _as_tensor(train.features[indices]), torch.from_numpy(train.labels[indices])
            if self.dropout:
                mask = masks[: len(indices)]
                inplace_draw_mask(mask.numpy(), self.dropout, rng)
                x = mask.mul_(x)
            loss = differentiate_cross_entropy(self.linear, x, labels, train.weights_of(indices))
            self._optimizer.step()
            check_step(loss.item(), step)

    def copy_state(self) -> dict[str, Floats]:
        """Return copies of the weight and bias, and of their momentum if there is any, by name."""
        return copy_state(self.linear, self._optimizer)

    def restore_state(self, state: dict[str, Floats]) -> None:
        """Restore a state from `copy_state`."""
        restore_state(self.linear, self._optimizer, state)

    @torch.inference_mode()
    def predict_proba(self, embeddings: Floats) -> Floats:
        """Return class probabilities, (n, classes) float32: the softmax of the logits.

        Args:
            embeddings: (n, dimension), an array or stored embeddings, of which some rows are read at a time.
        """
        parts = (slice(start, start + MEASURING_BATCH) for start in range(0, len(embeddings), MEASURING_BATCH))
        return np.concatenate([self.linear(_as_tensor(embeddings[part])).softmax(dim=1).numpy() for part in parts])

    @torch.inference_mode()
    def measure(self, examples: Examples) -> Measured:
        """Return loss and accuracy; the log loss is the loss itself, the cross-entropy."""
        loss, correct = 0.0, 0
        for start in range(0, len(examples), MEASURING_BATCH):
            part = slice(start, start + MEASURING_BATCH)
            logits = self.linear(_as_tensor(examples.features[part]))
            labels = torch.from_numpy(examples.labels[part])
            loss += float(sum_cross_entropy(logits, labels, examples.weights_of(part)))
            correct += int((logits.argmax(dim=1) == labels).sum())
        return Measured(loss / len(examples), correct / len(examples), loss / len(examples))


@dataclass(frozen=True)
class TransferNetwork:
    """A frozen network and its head: raw images in, class probabilities out.

    Attributes:
        backbone: all layers before the head.
        head: the last layer.
        batch_size: images that pass through the network at once.
    """

    backbone: Backbone
    head: Head
    batch_size: int = 32

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """An embedding has none."""
        return ()

    def predict_images(self, images: Sequence[Pixels] | Pixels) -> Floats:
        """Return class probabilities, (n, classes) float32, of raw images, each (height, width, channels) uint8."""
        starts = range(0, len(images), self.batch_size)
        batches = (images[start : start + self.batch_size] for start in starts)
        return np.concatenate([self.head.predict_proba(self.backbone.embed(batch)) for batch in batches])

    def extract(self, images: Sequence[Pixels] | Pixels) -> Floats:
        """Return the embeddings of raw images, (n, dimension) float32."""
        starts = range(0, len(images), self.batch_size)
        return np.concatenate([self.backbone.embed(images[start : start + self.batch_size]) for start in starts])

    def classify(self, features: Floats) -> Floats:
        """Return class probabilities, (n, classes) float32, of embeddings."""
        return self.head.predict_proba(features)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the trunk and the head to a folder; return what else `load` needs, as JSON values."""
        trunk = {key: value.contiguous() for key, value in self.backbone.trunk.state_dict().items()}
        save_file(trunk, folder / TRUNK_FILE)
        save_file(self.head.linear.state_dict(), folder / HEAD_FILE)
        return {**self.backbone.as_json(), "batch_size": self.batch_size}

    @classmethod
    def load(cls, folder: Path, description: dict[str, Any]) -> Self:
        """Return the network that `save` wrote; it is computed on a GPU if there is one."""
        with open_trunk(folder) as file, reading_model(folder):
            trunk, head = load_file(file), load_file(folder / HEAD_FILE)
        linear = wrap_weights(head["weight"], head["bias"])
        return cls(restore_backbone(description, trunk), Head(linear), description["batch_size"])


def _as_tensor(rows: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows))
