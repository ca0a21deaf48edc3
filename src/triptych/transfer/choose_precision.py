"""Choose the number format of a frozen backbone: the fastest whose embeddings are close enough to the exact ones."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from triptych.data.shards.files import IMAGES_PER_SHARD
from triptych.data.shards.space import identify_images
from triptych.images.sources import ImageSource
from triptych.networks.backbones import fetch
from triptych.networks.precision import EXACT, FORMATS
from triptych.system.checked import read_json, recall, write_json
from triptych.system.files import touch
from triptych.system.paths import cache_home
from triptych.system.threads import count_cores
from triptych.transfer.store import EmbeddingSpace

if TYPE_CHECKING:
    from triptych.images.pixels import Pixels
    from triptych.networks.backbones import Backbone

# Smallest cosine similarity between an embedding in a faster format and the exact one; the worst sampled image counts.
MIN_COSINE = 0.999
# An inexact format is chosen only if it is at least this many times as fast.
MIN_SPEEDUP = 1.2
# Work of fewer floating-point operations than this, a few seconds, is not measured: the first format is used.
# Operations are counted rather than timed, so that a small comparison gives the same bits under any load.
OPERATIONS_WORTH_MEASURING = {"cpu": 1e11, "cuda": 1e13}
# Compiling a deep network does not pay for less work than this: it takes half a minute or more, and less where a GPU
# is compiled for, which it nearly doubles in speed.
SECONDS_WORTH_COMPILING = {"cpu": 600.0, "cuda": 60.0}
SAMPLE_IMAGES, TIMED_PASSES = 16, 2
# A GPU is timed with as many images as are embedded at once: with few, it mostly waits for Python to start kernels.
TIMED_IMAGES = {"cpu": 1, "cuda": IMAGES_PER_SHARD}


@dataclass(frozen=True)
class MeasuredFormat:
    """The speed and the accuracy of a number format, as measured on a few images.

    Attributes:
        name: name of the format, a row of `triptych.networks.precision.FORMATS`.
        images_per_second: throughput of the backbone alone, without reading images.
        cosine: smallest cosine similarity between an image's embedding and its exact embedding.
    """

    name: str
    images_per_second: float
    cosine: float

    def describe(self) -> str:
        """Return the measurement as text.

        >>> MeasuredFormat("bfloat16", 123.4, 0.99987).describe()
        'bfloat16 123 images/s (cosine 0.99987)'
        """
        return f"{self.name} {self.images_per_second:.0f} images/s (cosine {self.cosine:.5f})"


def choose_format_for(backbone: Backbone, images: ImageSource, allowed: Sequence[str]) -> tuple[str, str]:
    """Return the number format to embed images in, and the reason for it.

    In order of preference: a format in which all embeddings are stored already, the format that was measured to be
    fastest on this machine before, the format that is measured to be fastest now. A measurement is saved in the cache.

    Args:
        backbone: the frozen network.
        images: the raw images.
        allowed: names of formats, the default first.
    """
    if len(allowed) == 1:
        return allowed[0], "as configured"
    if backbone.parts:
        # The compiler gives a network other bits if it computes several cuts.
        allowed = [name for name in allowed if not FORMATS[name].compiled]
    file = _find_file(backbone, allowed)
    touch(file)
    if stored := find_stored_format(backbone, images, allowed):
        return stored, "already stored"
    if remembered := _recall_format(file):
        return remembered, "measured earlier to be the fastest on this machine"
    if not is_worth_measuring(backbone, len(images)):
        return allowed[0], "too few images to measure the faster formats"
    chosen, measured = measure_formats(backbone, _sample_crops(backbone, images), len(images), allowed)
    store_measured(backbone, allowed, chosen, measured)
    return chosen, "measured: " + ", ".join(one.describe() for one in measured)


def find_stored_format(backbone: Backbone, images: ImageSource, allowed: Sequence[str]) -> str | None:
    """Return the format in which all embeddings of images are stored: the first one, or the one measured earlier.

    Args:
        backbone: the frozen network.
        images: the raw images.
        allowed: names of formats, the default first.
    """
    remembered = _recall_format(_find_file(backbone, allowed))
    identities = identify_images(images, range(len(images)))
    for name in dict.fromkeys((allowed[0], remembered or allowed[0])):
        if all(EmbeddingSpace.of(cut).holds(identities) for cut in backbone.in_format(name).cuts):
            return name
    return None


def _find_file(backbone: Backbone, allowed: Sequence[str]) -> Path:
    """Return the file of the measurement on this machine, which may not exist."""
    return cache_home() / "number-formats" / f"{_identify_machine(backbone, allowed)}.json"


def _recall_format(file: Path) -> str | None:
    """Return the format that was chosen earlier; None if none was measured."""
    chosen: str | None = (recall(lambda: read_json(file)) or {}).get("chosen")
    return chosen


def recall_measured(backbone: Backbone, allowed: Sequence[str]) -> list[MeasuredFormat]:
    """Return the formats that were measured on this machine; none if none was."""
    content = recall(lambda: read_json(_find_file(backbone, allowed))) or {}
    return [MeasuredFormat(**one) for one in content.get("measured", ())]


def store_measured(backbone: Backbone, allowed: Sequence[str], chosen: str, measured: Sequence[MeasuredFormat]) -> None:
    """Keep the formats that were measured on this machine, and the one that was chosen."""
    write_json(_find_file(backbone, allowed), {"chosen": chosen, "measured": [asdict(one) for one in measured]})


def _sample_crops(backbone: Backbone, images: ImageSource) -> Pixels:
    """Return evenly spaced images, cropped for the backbone: (n, crop, crop, 3) uint8."""
    indices = np.linspace(0, len(images) - 1, min(SAMPLE_IMAGES, len(images)), dtype=int).tolist()
    return np.stack([images.apply(index, backbone.preprocessing.crop) for index in indices])


def _identify_machine(backbone: Backbone, allowed: Sequence[str]) -> str:
    """Return a name that identifies the backbone, this machine's hardware and the version of PyTorch."""
    device = torch.cuda.get_device_name() if backbone.device == "cuda" else platform.processor() or platform.machine()
    capability = torch.backends.cpu.get_cpu_capability()
    machine: tuple[Any, ...]
    machine = (device, capability, count_cores(), torch.__version__, backbone.name, asdict(backbone.preprocessing))
    if backbone.parts or not backbone.cut.is_penultimate:
        machine = (*machine, backbone.cut_layer)
    formats = {name: str(FORMATS[name]) for name in (EXACT, *allowed)}
    return f"{backbone.name}-{hashlib.sha256(repr((machine, formats)).encode()).hexdigest()[:16]}"


def is_worth_measuring(backbone: Backbone, images: int) -> bool:
    """Return whether embedding this many images takes long enough for measuring the formats to pay."""
    return images * count_operations(backbone) >= OPERATIONS_WORTH_MEASURING[backbone.device]


@torch.inference_mode()
def count_operations(backbone: Backbone) -> int:
    """Return the floating-point operations per image; a multiplication and an addition count as two."""
    side = backbone.preprocessing.crop_size
    with FlopCounterMode(display=False) as counter:
        backbone.trunk(torch.zeros(1, 3, side, side))
    operations: int = counter.get_total_flops()
    return operations


def measure_formats(
    backbone: Backbone, sample: Pixels, images: int, allowed: Sequence[str]
) -> tuple[str, list[MeasuredFormat]]:
    """Measure the formats on a few images; return the name of the one to use, and the measurements.

    Args:
        backbone: the frozen network.
        sample: (n, crop, crop, 3) uint8, some of the images to embed.
        images: total number of images to embed.
        allowed: names of formats.
    """
    measured = [_measure(backbone, EXACT, sample, None)]
    exact = _embed_each(backbone.in_format(EXACT), sample)
    for name in allowed:
        tried = FORMATS[name]
        if name == EXACT or backbone.device not in tried.devices:
            continue
        if tried.compiled and not _is_worth_compiling(measured, images, backbone.device):
            continue
        # A format fails where there is no compiler, or where the processor does not support its dtype: skip it.
        with suppress(Exception):
            measured.append(_measure(backbone, name, sample, exact))
    return choose_format(measured, allowed), measured


def choose_format(measured: Sequence[MeasuredFormat], allowed: Sequence[str]) -> str:
    """Return the fastest format that is accurate enough; the exact one if no other is sufficiently faster.

    Args:
        measured: the measured formats.
        allowed: names of formats; the first is returned if none of them was measured to be accurate enough.

    >>> exact = MeasuredFormat("float32", 100.0, 1.0)
    >>> choose_format([exact, MeasuredFormat("bfloat16-folded", 300.0, 0.9999)], tuple(FORMATS))
    'bfloat16-folded'
    >>> choose_format([exact, MeasuredFormat("bfloat16-folded", 300.0, 0.99)], tuple(FORMATS))
    'float32'
    >>> choose_format([exact, MeasuredFormat("bfloat16-folded", 110.0, 1.0)], tuple(FORMATS))
    'float32'
    """
    accurate = [one for one in measured if one.name in allowed and one.cosine >= MIN_COSINE]
    fastest = max(accurate, key=lambda one: one.images_per_second, default=None)
    if fastest is None:
        return allowed[0]
    exact = next((one for one in accurate if one.name == EXACT), None)
    pays = exact is None or fastest.images_per_second >= MIN_SPEEDUP * exact.images_per_second
    return fastest.name if pays else EXACT


def _measure(backbone: Backbone, name: str, sample: Pixels, exact: list[np.ndarray] | None) -> MeasuredFormat:
    """Return the speed and the accuracy of a format; the first pass warms up and is not timed.

    The accuracy is that at the worst cut.
    """
    tried = backbone.in_format(name)
    sample = np.concatenate([sample] * -(-TIMED_IMAGES[backbone.device] // len(sample)))
    embeddings = _embed_each(tried, sample)
    seconds = min(_time(lambda: _embed_each(tried, sample)) for _ in range(TIMED_PASSES))
    pairs = zip(embeddings, exact or (), strict=exact is not None)
    cosine = min((worst_cosine(some[: len(others)], others) for some, others in pairs), default=1.0)
    return MeasuredFormat(name, len(sample) / seconds, cosine)


def _embed_each(backbone: Backbone, sample: Pixels) -> list[np.ndarray]:
    """Return the embeddings of crops at each cut, each (n, dimension) float32."""
    return [fetch(embeddings) for embeddings in backbone.launch_each(sample)]


def _time(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _is_worth_compiling(measured: Sequence[MeasuredFormat], images: int, device: str) -> bool:
    return images / max(one.images_per_second for one in measured) >= SECONDS_WORTH_COMPILING[device]


def worst_cosine(some: np.ndarray, others: np.ndarray) -> float:
    """Return the smallest cosine similarity between corresponding rows of two arrays (n, dimension).

    >>> worst_cosine(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[2.0, 0.0], [4.0, 3.0]]))
    0.96
    """
    a, b = (torch.from_numpy(np.asarray(rows, dtype=np.float64)) for rows in (some, others))
    return float(nn.functional.cosine_similarity(a, b, dim=1).min())
