"""Train and measure the bundled backbone; its bytes depend on every random draw and on the number of threads."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.images.preprocessing import Preprocessing
from triptych.networks.light_torchvision import models
from triptych.system.slices import iterate_slices
from triptych.transfer.bundled.augment import augment_batch, find_ink_boxes
from triptych.transfer.bundled.digits import Digits, prepare_batch

CLASSES = 10
MEASURING_BATCH = 500  # images
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a training.

    Attributes:
        epochs: passes over the training images.
        seed: seed of the split, the initial weights, the order of the images and the augmentation.
        threads: threads of PyTorch; they change the last bits of sums, and so the bytes of the result.
        batch_size: images per step.
        peak_learning_rate: maximum of the one-cycle schedule.
        momentum: Nesterov momentum of SGD.
        weight_decay: L2 coefficient on every parameter.
        plain_fraction: fraction of a batch that is left unchanged.
        coarse_fraction: fraction of a batch that is downsampled to 8 x 8 cells.
    """

    epochs: int = 10
    seed: int = 0
    threads: int = 2
    batch_size: int = 128
    peak_learning_rate: float = 0.15
    momentum: float = 0.9
    weight_decay: float = 5e-4
    plain_fraction: float = 0.1
    coarse_fraction: float = 0.5


def build_network(seed: int) -> nn.Module:
    """Return the untrained network in training mode; its initial weights depend only on `seed`."""
    # torchvision draws them from the global generator, whose state `fork_rng` restores.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = models.shufflenet_v2_x0_5(num_classes=CLASSES)
    return network.to(memory_format=torch.channels_last)


def count_batches(digits: Digits, recipe: Recipe) -> int:
    """Return the number of batches per epoch; their sizes differ by at most one image."""
    return math.ceil(len(digits.labels) / recipe.batch_size)


def draw_batches(
    digits: Digits, preprocessing: Preprocessing, recipe: Recipe, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of augmented batches: inputs (n, 3, side, side) float32 and labels (n,) int64."""
    images, labels = torch.tensor(digits.images[..., 0]), torch.tensor(digits.labels)
    boxes = find_ink_boxes(images)
    order = torch.randperm(len(labels), generator=rng)
    for rows in torch.tensor_split(order, count_batches(digits, recipe)):
        pieces = augment_batch(images[rows], boxes[rows], recipe.plain_fraction, recipe.coarse_fraction, rng)
        yield torch.cat([prepare_batch(piece, preprocessing) for piece in pieces]), labels[rows]


def build_optimizer(
    network: nn.Module, recipe: Recipe, steps_per_epoch: int
) -> tuple[torch.optim.SGD, torch.optim.lr_scheduler.OneCycleLR]:
    """Return SGD with Nesterov momentum, and its one-cycle schedule, which steps after every batch."""
    peak = recipe.peak_learning_rate
    optimizer = torch.optim.SGD(
        network.parameters(), peak, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    steps = recipe.epochs * steps_per_epoch
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)


def train_network(digits: Digits, held_out: Digits, preprocessing: Preprocessing, recipe: Recipe) -> nn.Module:
    """Train a new network on `digits`, and log its accuracy on `held_out` after each epoch.

    The result is always the network of the last epoch: no epoch is chosen on `held_out`.
    """
    network = build_network(recipe.seed)
    rng = torch.Generator().manual_seed(recipe.seed)
    optimizer, schedule = build_optimizer(network, recipe, count_batches(digits, recipe))
    for epoch in range(1, recipe.epochs + 1):
        started = time.perf_counter()
        network.train()
        for inputs, labels in draw_batches(digits, preprocessing, recipe, rng):
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(inputs), labels)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        seconds = time.perf_counter() - started
        accuracy = measure_accuracy(network, held_out, preprocessing)
        log.info("epoch %d of %d: validation accuracy %.4f, %.1f s", epoch, recipe.epochs, accuracy, seconds)
    return network


def measure_accuracy(network: nn.Module, digits: Digits, preprocessing: Preprocessing) -> float:
    """Return the accuracy on all `digits`, 0..1; the network is left in eval mode."""
    transform = preprocessing.build()
    network.eval()
    right = 0
    with torch.inference_mode():
        for part in iterate_slices(len(digits.labels), MEASURING_BATCH):
            inputs = torch.stack([transform(image) for image in digits.images[part]])
            predicted = network(inputs.to(memory_format=torch.channels_last)).argmax(1)
            right += int((predicted == torch.tensor(digits.labels[part])).sum())
    return right / len(digits.labels)


@contextmanager
def deterministic_torch(threads: int) -> Iterator[None]:
    """Make PyTorch use only deterministic algorithms and this number of threads while the block runs."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(mode=before[1])
