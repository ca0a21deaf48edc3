"""What a GPU adds: epochs of the small network against the usual loop, and images per second of ResNet50."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import torch
from embedding import draw_crops
from examples import load_examples
from measure import PAIRS, Figure, compare_times, publish
from torch_mlp import BATCH, TARGETS, THREADS, measure

from triptych.data.shards.files import IMAGES_PER_SHARD
from triptych.networks.backbones import Backbone, fetch
from triptych.networks.precision import PRECISIONS, find_device
from triptych.transfer.choose_precision import MIN_COSINE, measure_formats, worst_cosine
from triptych.transfer.weights import load_backbone

SECTION = "gpu"
LOOP_TARGET, IMAGES_TARGET = 20.0, 8000.0
NETWORK, BATCHES, SAMPLE = "resnet50", 40, 16
# The format is chosen as for this many images: for the larger number the compilers are tried, too.
IMAGES = (100_000, 1_281_167)


def measure_epochs(card: str) -> Iterator[Figure]:
    """Yield the ratios of time for two shapes of the small network."""
    torch.set_num_threads(THREADS)
    train, _, description = load_examples()
    for hidden in TARGETS:
        seconds = measure(hidden, train, PAIRS, "cuda")
        name = f"{card}: DataLoader loop / ours {hidden}, {description}, batch {BATCH}"
        yield compare_times(SECTION, name, *seconds, LOOP_TARGET)


def measure_throughput(card: str) -> Iterator[Figure]:
    """Yield images per second from memory, uint8, in the formats that are chosen, and their cosine similarities."""
    exact = load_backbone(NETWORK, "random")
    batches = [draw_crops(exact, IMAGES_PER_SHARD) for _ in range(2)]
    sample = batches[0][:SAMPLE]
    expected = exact.embed_crops(sample)
    for images in IMAGES:
        chosen, measured = measure_formats(exact.on_device("cuda"), sample, images, PRECISIONS["auto"])
        print(f"for {images:,} images:", *(one.describe() for one in measured), sep="\n  ")
        backbone = exact.on_device("cuda").in_format(chosen)
        cosine = worst_cosine(backbone.embed_crops(batches[0])[:SAMPLE], expected)
        rates = [time_pass(backbone, batches) for _ in range(PAIRS)]
        name = f"{card}: {NETWORK}, images/s from memory, format for {images:,} images ({chosen})"
        yield Figure(SECTION, name, median(rates), min(rates), max(rates), IMAGES_TARGET)
        name = f"{card}: cosine similarity to float32 on the CPU, worst of {SAMPLE} images ({chosen})"
        yield Figure(SECTION, name, cosine, cosine, cosine, MIN_COSINE)


def time_pass(backbone: Backbone, batches: list[np.ndarray]) -> float:
    """Return images per second: batches are launched one after the other and fetched at the end, as for a file."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    fetch(torch.cat([backbone.launch_each(batches[number % len(batches)])[0] for number in range(BATCHES)]))
    return BATCHES * IMAGES_PER_SHARD / (time.perf_counter() - started)


def main() -> None:
    """Measure and publish."""
    if find_device() == "cpu":
        raise SystemExit("bench/gpu.py needs a GPU, and PyTorch finds none")
    card = torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    figures = list(measure_epochs(card))
    torch.set_num_threads(threads)
    figures += measure_throughput(card)
    publish(SECTION, figures, f"{card}, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
