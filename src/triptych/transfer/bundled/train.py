"""Train the bundled backbone: a shufflenet_v2_x0_5 on MNIST that transfers to coarse 8 x 8 digits.

    python -m triptych.transfer.bundled.train --mnist DIR

DIR holds MNIST's four IDX files, gzipped or not. Half of the training images are cropped towards the ink and
downsampled to 8 x 8 cells, as scikit-learn's digits were. The same command on the same machine writes the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from safetensors.torch import save
from torch import nn

from triptych.errors import DataError
from triptych.system.files import write_atomically
from triptych.transfer.bundled.digits import Digits, load_digits, measure_preprocessing, split_digits
from triptych.transfer.bundled.fitting import CLASSES, Recipe, deterministic_torch, measure_accuracy, train_network

ARCHITECTURE = "shufflenet_v2_x0_5"
WEIGHTS_FILE = "shufflenet_v2_x0_5-mnist.safetensors"
CARD_FILE = "card.json"

log = logging.getLogger(__name__)


def save_weights(network: nn.Module, file: Path) -> str:
    """Write the state dict to a safetensors file; return the SHA-256 of the file, hexadecimal."""
    content = save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})
    write_atomically(file, content)
    return hashlib.sha256(content).hexdigest()


def describe_run(recipe: Recipe) -> dict[str, Any]:
    """Return everything besides the data that the bytes of the result depend on."""
    options = f"--epochs {recipe.epochs} --seed {recipe.seed} --threads {recipe.threads}"
    return {
        "command": f"python -m triptych.transfer.bundled.train --mnist DIR {options}",
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
    """Return a description of the training file, and the number of images that were trained on."""
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
    """Train on `training`, measure once on `test`, write weights and card to `out`, and return the card."""
    started = time.perf_counter()
    kept, held_out = split_digits(training, np.random.default_rng(recipe.seed))
    preprocessing = measure_preprocessing(kept.images)
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
            "preprocessing": preprocessing.as_json(),
            "trained_on": describe_data(training, kept, held_out),
            "validation_accuracy": round(measure_accuracy(network, held_out, preprocessing), 4),
            "test_accuracy": round(measure_accuracy(network, test, preprocessing), 4),
            "seconds": round(seconds, 1),
            **describe_run(recipe),
        }
    write_atomically(out / CARD_FILE, (json.dumps(card, indent=2) + "\n").encode())
    return card


def parse_count(text: str) -> int:
    """Return a positive integer.

    Raises:
        argparse.ArgumentTypeError: the text is not a positive integer.

    >>> parse_count("10")
    10
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line, or `arguments`."""
    recipe = Recipe()
    parser = argparse.ArgumentParser(description="Train the bundled backbone on MNIST.")
    add = parser.add_argument
    add("--mnist", type=Path, required=True, metavar="DIR", help="folder of the four IDX files")
    add("--out", type=Path, default=Path(), metavar="DIR", help="folder for weights and card (default: .)")
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
        training, test = load_digits(given.mnist)
    except DataError as error:
        log.error("%s", error)  # noqa: TRY400 - a mistake of the user, for whom a traceback is no help
        sys.exit(2)
    card = train_backbone(training, test, given.out, recipe)
    log.info("test accuracy %.4f, sha256 %s", card["test_accuracy"], card["sha256"])


if __name__ == "__main__":
    main()
