"""Train the bundled backbone: a shufflenet_v2_x0_5 on MNIST that transfers to coarse 8 x 8 digits.

    python -m triptych.bundled.train --mnist DIR

DIR holds MNIST's four IDX files, gzipped or not. Half of the training views are cropped towards the ink and
averaged down to 8 x 8 cells, because so were scikit-learn's digits made. The same command on the same
machine writes the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import logging
import math
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import shufflenet_v2_x0_5
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

Uint8Array = npt.NDArray[np.uint8]
Preprocessing = dict[str, Any]  # as in the card: the arguments of torchvision's ImageClassification

log = logging.getLogger(__name__)

ARCHITECTURE = "shufflenet_v2_x0_5"
WEIGHTS_FILE = "shufflenet_v2_x0_5-mnist.safetensors"
CARD_FILE = "card.json"
CLASSES = 10
SIDE_PIXELS = 48
HELD_OUT_FRACTION = 1 / 12  # 5,000 of MNIST's 60,000
INK_LEVEL = 64  # 0..255: what is darker is paper to the bounding box

IDX_STEMS = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class Recipe:
    """How one training goes.

    Attributes:
        epochs: passes over the training images.
        seed: of the split, the initial weights, the order and the augmentation.
        threads: of torch; sums depend on it in the last bit, and so do the bytes of the result.
        batch_size: images a step.
        peak_learning_rate: the top of the one-cycle schedule.
        momentum: of SGD, in Nesterov's form.
        weight_decay: L2 penalty on every parameter.
        plain_fraction: share of a batch that is shown as it is.
        coarse_fraction: share of a batch that is averaged down to 8 x 8 cells.
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


@dataclass(frozen=True)
class Digits:
    """Images of handwritten digits and what they show.

    Attributes:
        images: (n, height, width) uint8, 0..255, ink is bright.
        labels: (n,) int64, 0..9.
    """

    images: Uint8Array
    labels: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.int64]) -> Digits:
        """Select the images at `rows`, (k,) int64."""
        return Digits(self.images[rows], self.labels[rows])


# Reading


def read_idx(path: Path) -> Uint8Array:
    """Read one IDX file of unsigned bytes; where only `path`.gz lies, that one.

    The file starts with two zero bytes, the type (8: uint8), the number of axes, and each axis' length as
    a big-endian uint32.
    """
    zipped = path.with_name(path.name + ".gz")
    if not path.exists() and not zipped.exists():
        message = f"{path.name} is missing, gzipped or not: put MNIST's four IDX files into {path.parent}."
        raise FileNotFoundError(message)
    content = path.read_bytes() if path.exists() else gzip.decompress(zipped.read_bytes())
    if content[:3] != b"\0\0\x08":
        message = f"{path} is no IDX file of unsigned bytes: it starts with {content[:4].hex()}, not 000008."
        raise ValueError(message)
    axes = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=axes, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def load_digits(folder: Path, part: str) -> Digits:
    """Load the `part` "train" or "test" of the IDX set in `folder`."""
    images = read_idx(folder / IDX_STEMS[f"{part}_images"])
    labels = read_idx(folder / IDX_STEMS[f"{part}_labels"])
    return Digits(images, labels.astype(np.int64))


def split_digits(digits: Digits, rng: np.random.Generator) -> tuple[Digits, Digits]:
    """Split into a training and a held-out part, drawn at random, each in the original order."""
    order = rng.permutation(len(digits.labels))
    held_out = round(len(order) * HELD_OUT_FRACTION)
    return digits.take(np.sort(order[held_out:])), digits.take(np.sort(order[:held_out]))


# Preprocessing and augmentation


def describe_preprocessing(images: Uint8Array) -> Preprocessing:
    """Describe what turns a raw image into the network's input.

    Args:
        images: (n, height, width) uint8, whose mean and deviation (of 0..1) are taken.
    """
    levels = np.bincount(images.reshape(-1), minlength=256) / images.size
    values = np.arange(256) / 255
    mean = float(levels @ values)
    std = math.sqrt(float(levels @ (values - mean) ** 2))
    return {
        "resize_size": SIDE_PIXELS,
        "crop_size": SIDE_PIXELS,
        "mean": [round(mean, 4)] * 3,
        "std": [round(std, 4)] * 3,
        "interpolation": "bilinear",
    }


def build_transform(preprocessing: Preprocessing) -> ImageClassification:
    """Build the transform from an RGB PIL image to (3, side, side) float32."""
    named = {**preprocessing, "interpolation": InterpolationMode(preprocessing["interpolation"])}
    return ImageClassification(**named)


def prepare_batch(views: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Do to a batch of gray views what the card's preprocessing does to one image.

    Args:
        views: (n, 1, height, width) float32, 0..1.
        preprocessing: as in the card.

    Returns:
        (n, 3, side, side) float32, channels last, which trains twice as fast.
    """
    side = preprocessing["resize_size"]
    resized = functional.interpolate(views, (side, side), mode="bilinear", antialias=True)
    rounded = (resized * 255).round() / 255  # as PIL stores it
    scaled: Tensor = (rounded - preprocessing["mean"][0]) / preprocessing["std"][0]
    return scaled.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def find_ink_boxes(images: Tensor) -> Tensor:
    """Find the bounding box of the ink.

    Args:
        images: (n, height, width) uint8.

    Returns:
        (n, 4) float32: centre x, centre y, half width, half height, where the image spans -1..1.
    """
    ink = images > INK_LEVEL
    spans = []
    for crossed in (1, 2):
        line = ink.any(crossed).float()  # (n, width), then (n, height)
        length = line.shape[1]
        first, last = line.argmax(1), length - line.flip(1).argmax(1)
        spans.append(((first + last) / length - 1, (last - first) / length))
    (centre_x, half_x), (centre_y, half_y) = spans
    return torch.stack([centre_x, centre_y, half_x, half_y], dim=1)


def draw_uniform(count: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """Draw (count,) float32 from low..high."""
    return low + (high - low) * torch.rand(count, generator=rng)


def draw_windows(boxes: Tensor, rng: torch.Generator) -> Tensor:
    """Draw for every image a window between the whole and its ink's box, turned, scaled, sheared, shifted.

    Args:
        boxes: (n, 4) float32, from `find_ink_boxes`.
        rng: the source of the draws.

    Returns:
        (n, 2, 3) float32: affine maps from the view's coordinates to the image's.
    """
    n = len(boxes)
    tightness = draw_uniform(n, 0, 2, rng).clamp(max=1)
    centre, half = boxes[:, :2], boxes[:, 2:]
    tall = half[:, 1]
    wide = torch.maximum(half[:, 0], tall * draw_uniform(n, 0.8, 1.3, rng))
    size = torch.lerp(torch.ones(n, 2), torch.stack([wide, tall], 1), tightness[:, None])
    size = size * torch.stack([draw_uniform(n, 0.85, 1.15, rng), draw_uniform(n, 0.9, 1.1, rng)], 1)
    shift = centre * tightness[:, None] + size * (0.3 * torch.rand(n, 2, generator=rng) - 0.15)
    angle = draw_uniform(n, -0.25, 0.25, rng)  # radians
    shear = draw_uniform(n, -0.2, 0.2, rng)
    turn = torch.stack([angle.cos(), shear - angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    return torch.cat([size[:, :, None] * turn, shift[:, :, None]], 2)


def view_windows(images: Tensor, windows: Tensor, side: int) -> Tensor:
    """Look at the images, (n, 1, h, w) float32, through `windows`: (n, 1, side, side) float32."""
    grid = functional.affine_grid(windows, [len(images), 1, side, side], align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def coarsen_views(views: Tensor, rng: torch.Generator) -> Tensor:
    """Scan 32 x 32 views as scikit-learn's digits were: sharpen to ink or paper, average 4 x 4 cells.

    Args:
        views: (n, 1, 32, 32) float32, 0..1.
        rng: the source of each view's threshold and sharpness, and of whether it has 17 levels.

    Returns:
        (n, 1, 8, 8) float32, 0..1.
    """
    n = len(views)
    # Within these bounds paper stays 0 and full ink stays 1.
    threshold, gain = draw_uniform(n, 0.25, 0.75, rng), draw_uniform(n, 2, 8, rng)
    sharp = ((views - threshold.view(n, 1, 1, 1)) * gain.view(n, 1, 1, 1) + 0.5).clamp(0, 1)
    cells = functional.avg_pool2d(sharp, 4)
    quantised = torch.rand(n, generator=rng) < 0.5
    return torch.where(quantised.view(n, 1, 1, 1), (cells * 16).round() / 16, cells)


def augment_batch(images: Tensor, boxes: Tensor, recipe: Recipe, rng: torch.Generator) -> Iterator[Tensor]:
    """Yield a shuffled batch in three pieces of different side: as it is, seen through windows, coarse.

    Args:
        images: (n, h, w) uint8.
        boxes: (n, 4) float32, from `find_ink_boxes`.
        recipe: names the pieces' shares.
        rng: the source of all draws.

    Yields:
        (k, 1, side, side) float32, 0..1; together n views in the images' order.
    """
    gray = images[:, None].float() / 255
    plain = round(len(gray) * recipe.plain_fraction)
    coarse = len(gray) - round(len(gray) * recipe.coarse_fraction)
    windows = draw_windows(boxes, rng)
    yield gray[:plain]
    yield view_windows(gray[plain:coarse], windows[plain:coarse], gray.shape[2])
    yield coarsen_views(view_windows(gray[coarse:], windows[coarse:], 32), rng)


# Training


def build_network(seed: int) -> nn.Module:
    """Build the untrained network, in training mode; its initial weights depend on `seed` alone."""
    # torchvision draws them from the global generator: fork_rng puts that back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = shufflenet_v2_x0_5(num_classes=CLASSES)
    return network.to(memory_format=torch.channels_last)


def count_batches(digits: Digits, recipe: Recipe) -> int:
    """Count an epoch's batches, which are all of one size, give or take an image."""
    return math.ceil(len(digits.labels) / recipe.batch_size)


def draw_batches(
    digits: Digits, preprocessing: Preprocessing, recipe: Recipe, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw one epoch of augmented batches: inputs (n, 3, side, side) float32 and labels (n,) int64."""
    images, labels = torch.tensor(digits.images), torch.tensor(digits.labels)
    boxes = find_ink_boxes(images)
    order = torch.randperm(len(labels), generator=rng)
    for rows in torch.tensor_split(order, count_batches(digits, recipe)):
        pieces = augment_batch(images[rows], boxes[rows], recipe, rng)
        yield torch.cat([prepare_batch(piece, preprocessing) for piece in pieces]), labels[rows]


def build_optimizer(
    network: nn.Module, recipe: Recipe, steps_per_epoch: int
) -> tuple[torch.optim.SGD, torch.optim.lr_scheduler.OneCycleLR]:
    """Build SGD with Nesterov's momentum and its schedule, which steps with every batch."""
    peak = recipe.peak_learning_rate
    optimizer = torch.optim.SGD(
        network.parameters(), peak, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    steps = recipe.epochs * steps_per_epoch
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)


def train_network(
    digits: Digits,
    held_out: Digits,
    preprocessing: Preprocessing,
    recipe: Recipe,
) -> nn.Module:
    """Train a new network on `digits`; after each epoch log its accuracy on `held_out`.

    The network of the last epoch is the result, however `held_out` fared before.
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


def predict_labels(network: nn.Module, images: Uint8Array, preprocessing: Preprocessing) -> Tensor:
    """Predict (n,) int64 for (n, h, w) uint8 images, by the card's own preprocessing of RGB PIL images."""
    transform = build_transform(preprocessing)
    network.eval()
    predicted = []
    with torch.inference_mode():
        for start in range(0, len(images), 500):
            colour = [Image.fromarray(image).convert("RGB") for image in images[start : start + 500]]
            inputs = torch.stack([transform(image) for image in colour])
            predicted.append(network(inputs.to(memory_format=torch.channels_last)).argmax(1))
    return torch.cat(predicted)


def measure_accuracy(network: nn.Module, digits: Digits, preprocessing: Preprocessing) -> float:
    """Measure the share of all `digits` that the network names rightly, 0..1."""
    predicted = predict_labels(network, digits.images, preprocessing).numpy()
    return float((predicted == digits.labels).mean())


# The result


@contextmanager
def deterministic_torch(threads: int) -> Iterator[None]:
    """Let torch use `threads` threads and deterministic algorithms alone, and undo both at the end."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(mode=before[1])


def save_weights(network: nn.Module, path: Path) -> str:
    """Save the strict state dict to `path` (safetensors) and return the file's sha256."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    content = save(state)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def describe_run(recipe: Recipe) -> dict[str, Any]:
    """Describe what the bytes of the result depend on, besides the data."""
    options = f"--epochs {recipe.epochs} --seed {recipe.seed} --threads {recipe.threads}"
    return {
        "command": f"python -m triptych.bundled.train --mnist DIR {options}",
        **asdict(recipe),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "numpy": np.__version__,
        },
    }


def describe_data(everything: Digits, training: Digits, held_out: Digits) -> dict[str, Any]:
    """Describe the images of the training file, and how many of them were trained on."""
    return {
        "dataset": "MNIST",
        "images": len(training.labels),
        "held_out_images": len(held_out.labels),
        "file_images": len(everything.labels),
        "file_pixels_sha256": hashlib.sha256(everything.images.tobytes()).hexdigest(),
        "licence": "MNIST as distributed by Yann LeCun, Corinna Cortes and Christopher J.C. Burges; "
        "no image of it is contained here.",
    }


def train_backbone(training: Digits, test: Digits, out: Path, recipe: Recipe) -> dict[str, Any]:
    """Train on `training`, measure on `test` once, write weights and card to `out`, return the card."""
    started = time.perf_counter()
    kept, held_out = split_digits(training, np.random.default_rng(recipe.seed))
    preprocessing = describe_preprocessing(kept.images)
    out.mkdir(parents=True, exist_ok=True)
    with deterministic_torch(recipe.threads):
        network = train_network(kept, held_out, preprocessing, recipe)
        seconds = time.perf_counter() - started
        card = {
            "architecture": ARCHITECTURE,
            "weights": WEIGHTS_FILE,
            "sha256": save_weights(network, out / WEIGHTS_FILE),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "classes": CLASSES,
            "preprocessing": preprocessing,
            "trained_on": describe_data(training, kept, held_out),
            "validation_accuracy": round(measure_accuracy(network, held_out, preprocessing), 4),
            "test_accuracy": round(measure_accuracy(network, test, preprocessing), 4),
            "seconds": round(seconds, 1),
            **describe_run(recipe),
        }
    (out / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def parse_count(text: str) -> int:
    """Parse a number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        message = f"{text!r} is no whole number of at least 1"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line, or `arguments`."""
    recipe = Recipe()
    parser = argparse.ArgumentParser(description="Train the bundled backbone on MNIST.")
    add = parser.add_argument
    add("--mnist", type=Path, required=True, metavar="DIR", help="the folder of the four IDX files")
    add("--out", type=Path, default=Path(), metavar="DIR", help="where weights and card go (default: here)")
    add("--epochs", type=parse_count, default=recipe.epochs, metavar="N")
    add("--seed", type=int, default=recipe.seed, metavar="N")
    add("--threads", type=parse_count, default=recipe.threads, metavar="N")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = parse_arguments(arguments)
    recipe = Recipe(epochs=given.epochs, seed=given.seed, threads=given.threads)
    try:
        training, test = load_digits(given.mnist, "train"), load_digits(given.mnist, "test")
    except (OSError, EOFError, ValueError) as error:
        log.error("--mnist: %s", error)  # noqa: TRY400 - the user's to mend, and no traceback helps
        sys.exit(2)
    card = train_backbone(training, test, given.out, recipe)
    log.info("test accuracy %.4f, sha256 %s", card["test_accuracy"], card["sha256"])


if __name__ == "__main__":
    main()
