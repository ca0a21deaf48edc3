"""Training steps on images for the head and the last blocks of a pretrained network.

The settings choose the augmentation, how many blocks are unfrozen and their learning rates, the mode of BatchNorm in
them, the number format, and how many processes share each batch. Dropout and stochastic depth inside the network stay
off, as in the frozen network; the head has its own dropout.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from triptych.errors import FrozenError
from triptych.images.augmentation import augment
from triptych.images.pixels import Pixels
from triptych.images.prefetch import load_batches
from triptych.images.sources import ImageSource
from triptych.networks import light_torch
from triptych.networks.backbones import Backbone
from triptych.networks.head import Head, TransferNetwork
from triptych.networks.light_torch import build_linear, sum_cross_entropy
from triptych.networks.minibatches import (
    Examples,
    Measured,
    Weights,
    check_step,
    inplace_draw_mask,
    shuffle_minibatches,
)
from triptych.networks.precision import find_device, multiplying, normalise
from triptych.system.slices import iterate_slices
from triptych.system.threads import count_cores
from triptych.training.examples import ImageRows
from triptych.transfer.finetuning.ranks import ALONE, Rank
from triptych.transfer.finetuning.unfreezing import WholeNetwork, list_blocks, select_last

if TYPE_CHECKING:
    from triptych.config.trainers import TransferConfig

State = dict[str, NDArray[Any]]
EPOCH = "epoch"
BUFFER = "buffer of "


class FineTuning:
    """Trains the head and the last blocks; a network for `triptych.training.loop.fit_network`.

    Several processes give the same result as one, up to rounding, unless `batch_norm` is `train`. In that case,
    BatchNorm sees the whole batch on GPUs (SyncBatchNorm), but on the CPU each process normalises by the statistics
    of its own share of the batch, and the first process's running statistics are kept.

    Attributes:
        network: trained in place.
        total_blocks: how many blocks the network has.
        rng: draws the initial head, then the order of the images and the dropout.
        frozen_before: SHA-256 of the frozen part before training, hexadecimal.
        threads: number of CPU threads.
        device: where the network is computed, "cpu" or "cuda".
    """

    def __init__(
        self, backbone: Backbone, settings: TransferConfig, classes: int, seed: int, rank: Rank = ALONE
    ) -> None:
        """Copy a pretrained network and give it a new head.

        Args:
            backbone: the pretrained network; not changed.
            settings: what is trained, and how.
            classes: number of classes.
            seed: for the initial weights of the head, the order of the images, the dropout and the augmentation.
            rank: which of several processes this is.

        Raises:
            ConfigError: the settings unfreeze more blocks than the network has.
        """
        self._backbone, self._settings, self._seed, self._rank = backbone, settings, seed, rank
        self._epoch = 0
        self.rng = np.random.default_rng(seed)
        self.threads = max(1, (settings.embedding_threads or count_cores()) // rank.size)
        self.device = find_device()
        self.network = self._build_network(classes).to(self.device)
        self._optimizer = torch.optim.SGD(self.network.group_parameters(settings.block_learning_rate_decay), lr=0.0)
        # In several processes, a step averages the gradients over them.
        self._forward: nn.Module = self.network
        if rank.size > 1:
            self._forward = DistributedDataParallel(self.network, broadcast_buffers=False)
        self.frozen_before = self.network.digest_frozen()

    def _build_network(self, classes: int) -> WholeNetwork:
        """Return a copy of the network with a new head, its last blocks unfrozen."""
        trains_batch_norm = self._settings.batch_norm == "train"
        trunk = copy.deepcopy(self._backbone.trunk)
        if trains_batch_norm and self.device == "cuda" and self._rank.size > 1:
            trunk = nn.SyncBatchNorm.convert_sync_batchnorm(trunk)
        blocks = list_blocks(trunk, self._backbone.preprocessing.crop_size)
        self.total_blocks = len(blocks)
        trained = select_last(blocks, self._settings.unfreeze_blocks, self._backbone.describe())
        linear = build_linear(self._backbone.dimension, classes, self.rng)
        return WholeNetwork(trunk, linear, trained, trains_batch_norm=trains_batch_norm)

    def train_epoch(
        self, train: Examples, settings: TransferConfig, learning_rate: float, rng: np.random.Generator
    ) -> None:
        """Shuffle and augment the images, and take one step per batch on the cross-entropy of the logits.

        Args:
            train: images (`ImageRows`), labels (n,) int64, and perhaps weights (n,).
            settings: batch size, momentum and weight decay.
            learning_rate: of the head.
            rng: draws the order, then the dropout mask of each whole batch.

        Raises:
            NonFiniteStepError: the loss is infinite or not a number in any of the processes.
        """
        self._epoch += 1
        torch.set_num_threads(self.threads)
        self._set_steps(settings, learning_rate)
        self.network.set_batch_norms(training=True)
        batches = list(shuffle_minibatches(len(train), settings.batch_size, rng))
        shares = [self._take_share(batch) for batch in batches]
        with closing(self._load_crops(train, shares, self._epoch)) as crops:
            for step, (batch, share) in enumerate(zip(batches, crops, strict=True), start=1):
                self._optimizer.zero_grad()
                with multiplying(self.device, rounded=False):
                    mask = self._draw_mask(len(batch), rng)
                    loss = self._measure_step(share, train.labels[batch], mask, train.weights_of(batch))
                    loss.backward()
                self._optimizer.step()
                check_step(self._rank.sum_over_processes(loss).item(), step)
        self.network.set_batch_norms(training=False)
        self._rank.inplace_broadcast(self.network.changing_buffers().values())

    def _measure_step(
        self,
        crops: Pixels,
        labels: NDArray[np.int64],
        mask: NDArray[np.float32] | None,
        weights: Weights | None = None,
    ) -> Tensor:
        """Return the loss of this process's share of a batch, times the number of processes.

        Gradients are averaged over the processes, so each process sums over its share and divides by the size of the
        whole batch. The average is the gradient of the whole batch, even if the last one can't be shared evenly. A
        process without a share computes an image and multiplies its loss by 0.

        Args:
            crops: (share, height, width, 3) uint8; one image where the share is empty.
            labels: (batch,) int64, of the whole batch.
            mask: (batch, dimension), the dropout mask of the whole batch, or None.
            weights: (batch,), by which the losses of the images are multiplied, or None.
        """
        share = self._rank.share(len(labels))
        factor = float(share.stop > share.start)
        share = share if factor else slice(0, 1)
        with torch.autocast(self.device, torch.bfloat16, enabled=self._settings.training_precision == "bfloat16"):
            logits = self._forward(self._prepare(crops), None if mask is None else self._send(mask[share]))
        summed = sum_cross_entropy(logits, self._send(labels[share]), None if weights is None else weights[share])
        return summed * (factor * self._rank.size / len(labels))

    @torch.inference_mode()
    def measure(self, examples: Examples) -> Measured:
        """Return loss and accuracy; the log loss is the loss itself, the cross-entropy.

        They are measured without augmentation and dropout, with BatchNorm in eval mode.
        """
        torch.set_num_threads(self.threads)
        mine = np.arange(len(examples))[self._rank.share(len(examples))]
        batches = [mine[part] for part in iterate_slices(len(mine), self._settings.embedding_batch_size)]
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        loading = closing(self._load_crops(examples, batches, None))
        with loading as loaded, multiplying(self.device, rounded=False):
            for rows, crops in zip(batches, loaded, strict=True):
                logits, labels = self.network(self._prepare(crops)), self._send(examples.labels[rows])
                sums[0] += sum_cross_entropy(logits, labels, examples.weights_of(rows))
                sums[1] += (logits.argmax(dim=1) == labels).sum()
        loss, correct = self._rank.sum_over_processes(sums).tolist()
        return Measured(loss / len(examples), correct / len(examples), loss / len(examples))

    def copy_state(self) -> State:
        """Return copies of the trained parameters, their momentum, changing BatchNorm statistics, and the epoch."""
        buffers = {
            f"{BUFFER}{name}": value.cpu().numpy().copy() for name, value in self.network.changing_buffers().items()
        }
        return light_torch.copy_state(self.network, self._optimizer) | buffers | {EPOCH: np.asarray(self._epoch)}

    def restore_state(self, state: State) -> None:
        """Restore a state from `copy_state`."""
        light_torch.restore_state(self.network, self._optimizer, state)
        for name, buffer in self.network.changing_buffers().items():
            buffer.copy_(torch.from_numpy(state[f"{BUFFER}{name}"]))
        self._epoch = int(state[EPOCH])

    def check_frozen(self) -> None:
        """Check that the frozen part has not changed.

        Raises:
            FrozenError: it has.
        """
        if self.network.digest_frozen() != self.frozen_before:
            raise FrozenError(f"the frozen part of {self._backbone.name} changed while the rest was trained")

    def finish(self) -> TransferNetwork:
        """Return the trained network; like every backbone, it is kept on the CPU, even if it is computed on a GPU.

        Raises:
            FrozenError: the frozen part has changed.
        """
        self.check_frozen()
        whole = copy.deepcopy(self.network).cpu()
        trunk = whole.trunk.requires_grad_(requires_grad=False)
        backbone = replace(self._backbone, trunk=trunk, device=self.device)
        head = Head(whole.linear, self._backbone.head_dropout)
        return TransferNetwork(backbone, head, self._settings.embedding_batch_size)

    def _set_steps(self, settings: TransferConfig, learning_rate: float) -> None:
        for group in self._optimizer.param_groups:
            group |= {"lr": learning_rate * group["part"], "momentum": settings.momentum}
            group["weight_decay"] = settings.weight_decay

    def _take_share(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's share of a batch; its first image where the share would be empty."""
        share = batch[self._rank.share(len(batch))]
        return share if len(share) else batch[:1]

    def _draw_mask(self, length: int, rng: np.random.Generator) -> NDArray[np.float32] | None:
        """Return the dropout mask of a whole batch's embeddings, (length, dimension) float32; None without dropout."""
        if not self._backbone.head_dropout:
            return None
        mask = np.empty((length, self._backbone.dimension), dtype=np.float32)
        inplace_draw_mask(mask, self._backbone.head_dropout, rng)
        return mask

    def _load_crops(
        self, examples: Examples, batches: list[NDArray[np.int64]], epoch: int | None
    ) -> Generator[Pixels, None, None]:
        """Yield the crops of each batch of rows, (batch, height, width, 3) uint8; augmented if there is an epoch."""
        rows = cast("ImageRows", examples.features)
        return load_batches(
            partial(self._load_crop, rows.images, epoch),
            [rows.indices[batch] for batch in batches],
            max(2, self.threads),
        )

    def _load_crop(self, images: ImageSource, epoch: int | None, index: int) -> Pixels:
        preprocessing, how = self._backbone.preprocessing, self._settings.augmentation
        if epoch is None:
            return images.apply(index, preprocessing.crop)
        return images.apply(
            index, lambda image: augment(image, preprocessing, how, seed=self._seed, epoch=epoch, index=index)
        )

    def _prepare(self, crops: Pixels) -> Tensor:
        """Return crops (n, height, width, 3) uint8 as inputs (n, 3, height, width) float32."""
        preprocessing = self._backbone.preprocessing
        return normalise(self._send(crops), preprocessing.mean, preprocessing.std)

    def _send(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)
