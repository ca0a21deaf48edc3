"""How many images a second a pretrained network embeds on this machine: measured once, then remembered.

What is measured is the network alone, from cropped images to embeddings, with random weights, which take as long as
others. It is computed in the fastest of the formats that are exact up to rounding with any weights. Whether bfloat16 is
accurate enough depends on weights and photos: where a comparison has measured it, the speed of its choice counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from triptych.config.trainers import TransferConfig
from triptych.data.shards.files import IMAGES_PER_SHARD
from triptych.errors import describe_error
from triptych.networks.backbones import Backbone
from triptych.networks.precision import EXACT, FORMATS, PRECISIONS
from triptych.system.threads import count_threads
from triptych.transfer.choose_precision import (
    OPERATIONS_WORTH_MEASURING,
    choose_format,
    measure_formats,
    recall_measured,
    store_measured,
)
from triptych.transfer.overview.networks import Network
from triptych.transfer.weights import load_backbone

# Exact up to rounding, whatever the weights.
SAFE_FORMATS = tuple(name for name, one in FORMATS.items() if one.dtype == torch.float32 and not one.compiled)
# The images of a measurement: a whole batch, or fewer where that would take longer than this, in seconds.
SECONDS_TO_MEASURE, PASSES = 3.0, 7
# No network computes faster than a large convolution or matrix product, times this, for the noise of the measurement.
SLACK = 1.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Speed:
    """The speed of a network on this machine.

    Attributes:
        number_format: how it is computed, a row of `triptych.networks.precision.FORMATS`.
        images_per_second: throughput of the network alone, without reading images.
    """

    number_format: str
    images_per_second: float


def recall_speed(network: Network, images: int) -> Speed | None:
    """Return the speed at which a comparison would embed some images, as measured earlier; None if it was not.

    Args:
        network: the network.
        images: number of images: few are embedded in the exact format.
    """
    for allowed in (PRECISIONS["auto"], SAFE_FORMATS):
        measured = {one.name: one for one in recall_measured(network.outline, allowed)}
        if not measured:
            continue
        few = images * network.operations < OPERATIONS_WORTH_MEASURING[network.outline.device]
        name = EXACT if few and allowed == SAFE_FORMATS else choose_format([*measured.values()], allowed)
        return Speed(name, measured[name].images_per_second)
    return None


def estimate_seconds(speed: Speed, images: int, device: str) -> float:
    """Return how long embedding some images takes, in whole batches as a comparison computes them."""
    return count_computed(images, device) / speed.images_per_second


def count_computed(images: int, device: str) -> int:
    """Return the number of images in the batches of some images, the last one filled up.

    >>> count_computed(100, "cpu")
    128
    """
    size = IMAGES_PER_SHARD if device == "cuda" else TransferConfig().embedding_batch_size
    return -(-images // size) * size


def select_unmeasured(networks: Sequence[Network], images: int, seconds: float | None) -> list[Network]:
    """Return the networks to measure, the lightest first: those that were not, and may embed some images in time.

    Args:
        networks: the networks.
        images: number of images.
        seconds: the time for them; None takes every network.
    """
    unknown = [network for network in networks if recall_speed(network, images) is None]
    if unknown and seconds is not None:
        device = unknown[0].outline.device
        most = SLACK * measure_ceiling(device) * seconds / count_computed(images, device)
        unknown = [network for network in unknown if network.operations <= most]
    return sorted(unknown, key=lambda network: network.operations)


def measure_speed(network: Network) -> None:
    """Measure the speed of a network and remember it; say so if it cannot be computed here."""
    torch.set_num_threads(count_threads())
    try:
        backbone = load_backbone(network.name, "random").on_device(network.outline.device)
        chosen, measured = measure_formats(backbone, _draw_crops(backbone), 0, SAFE_FORMATS)
    except (AssertionError, MemoryError, RuntimeError) as error:
        log.warning("%s cannot be measured here: %s", network.name, describe_error(error))
    else:
        store_measured(network.outline, SAFE_FORMATS, chosen, measured)


def _draw_crops(backbone: Backbone) -> np.ndarray:
    """Return random inputs, (n, crop, crop, 3) uint8: as many as are measured in a few seconds, at most a batch."""
    side = backbone.preprocessing.crop_size
    most = TransferConfig().embedding_batch_size
    crops = np.random.default_rng(0).integers(0, 256, (most, side, side, 3), dtype=np.uint8)
    backbone.embed_crops(crops[:1])
    seconds = _time(lambda: backbone.embed_crops(crops[:1]))
    return crops[: max(1, int(SECONDS_TO_MEASURE / (PASSES * seconds)))]


@torch.inference_mode()
def measure_ceiling(device: str) -> float:
    """Return the floating-point operations per second of a large convolution or matrix product, whichever has more."""
    torch.set_num_threads(count_threads())
    images = 4 if device == "cpu" else IMAGES_PER_SHARD
    maps = torch.ones(images, 256, 28, 28).to(device, memory_format=torch.channels_last)
    convolution = nn.Conv2d(256, 256, 3, padding=1).to(device).to(memory_format=torch.channels_last)
    rows, linear = torch.ones(images * 256, 1024, device=device), nn.Linear(1024, 1024).to(device)
    work: list[tuple[Callable[[], Tensor], int]] = [
        (lambda: convolution(maps), 2 * maps.numel() * 256 * 9),
        (lambda: linear(rows), 2 * rows.numel() * 1024),
    ]
    return max(operations / min(_time_whole(run) for _ in range(5)) for run, operations in work)


def _time_whole(run: Callable[[], Tensor]) -> float:
    """Return the seconds until a result has been computed, on a GPU too."""
    return _time(lambda: run().sum().item())


def _time(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
