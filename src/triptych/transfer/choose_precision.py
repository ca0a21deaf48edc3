"""Choose the number format of a frozen network by measuring: the fastest one that is close enough to the exact one."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from triptych.images.sources import ImageSource
from triptych.networks.precision import EXACT, FORMATS
from triptych.system.files import write_atomically
from triptych.system.paths import cache_home
from triptych.system.threads import count_cores
from triptych.transfer.store import EmbeddingSpace, list_shards

if TYPE_CHECKING:
    from triptych.images.pixels import Pixels
    from triptych.networks.backbones import Backbone

# How far a faster format may turn an embedding away from the exact one, for the worst image looked at.
LEAST_COSINE = 0.999
# Exactness is worth something: another format must be at least this much faster.
LEAST_GAIN = 1.2
# With fewer floating-point operations to do, some seconds' worth, the first format is taken unmeasured. They are
# counted, not timed: a small comparison gives the same bits whatever else the machine is doing.
OPERATIONS_WORTH_MEASURING = {"cpu": 1e11, "cuda": 1e13}
# Below this many seconds of work no compiler is started: it takes half a minute or more for a deep network.
SECONDS_WORTH_COMPILING = 600.0
SAMPLE_IMAGES, TIMED_PASSES = 16, 2


@dataclass(frozen=True)
class MeasuredFormat:
    """What a trial of a format has shown.

    Attributes:
        name: of the format.
        images_per_second: images through the network alone, from memory.
        cosine: cosine similarity to the exact embedding, of the worst image.
    """

    name: str
    images_per_second: float
    cosine: float

    def describe(self) -> str:
        """Return the figures in a few words."""
        return f"{self.name} {self.images_per_second:.0f} images/s (cosine {self.cosine:.5f})"


def choose_format_for(backbone: Backbone, images: ImageSource, allowed: Sequence[str]) -> tuple[str, str]:
    """Return the number format in which a network embeds some images, and why.

    What is stored already is used; else what was found to be fastest on this machine before; else it is measured.
    """
    if len(allowed) == 1:
        return allowed[0], "as configured"
    place = cache_home() / "number-formats" / f"{_identify_machine(backbone, allowed)}.json"
    remembered = json.loads(place.read_text(encoding="utf-8"))["chosen"] if place.is_file() else allowed[0]
    for name in dict.fromkeys((allowed[0], remembered)):
        if _is_stored(backbone.in_format(name), images):
            return name, "stored already"
    if place.is_file():
        return remembered, "the fastest here, as measured before"
    if not is_worth_measuring(backbone, len(images)):
        return allowed[0], "too few images to look for a faster one"
    chosen_images = np.linspace(0, len(images) - 1, min(SAMPLE_IMAGES, len(images)), dtype=int).tolist()
    sample = np.stack([backbone.preprocessing.crop(images[index]) for index in chosen_images])
    chosen, measured = measure_formats(backbone, sample, len(images), allowed)
    content = {"chosen": chosen, "measured": [asdict(one) for one in measured]}
    write_atomically(place, (json.dumps(content, indent=2) + "\n").encode())
    return chosen, "measured: " + ", ".join(one.describe() for one in measured)


def _is_stored(backbone: Backbone, images: ImageSource) -> bool:
    """Return whether the store holds every embedding; whether each is sound is seen when they are used."""
    space = EmbeddingSpace.of(backbone)
    return space.folder.is_dir() and all(shard.file.is_file() for shard in list_shards([space], images))


def _identify_machine(backbone: Backbone, allowed: Sequence[str]) -> str:
    """Return a name for this network on this processor with these libraries."""
    device = torch.cuda.get_device_name() if backbone.device == "cuda" else platform.processor() or platform.machine()
    capability = torch.backends.cpu.get_cpu_capability()
    machine = (device, capability, count_cores(), torch.__version__, backbone.name, asdict(backbone.preprocessing))
    formats = {name: str(FORMATS[name]) for name in (EXACT, *allowed)}
    return f"{backbone.name}-{hashlib.sha256(repr((machine, formats)).encode()).hexdigest()[:16]}"


def is_worth_measuring(backbone: Backbone, images: int) -> bool:
    """Return whether there is so much to compute that looking for a faster format can pay."""
    return images * count_operations(backbone) >= OPERATIONS_WORTH_MEASURING[backbone.device]


@torch.inference_mode()
def count_operations(backbone: Backbone) -> int:
    """Return the floating-point operations that one image takes: a multiplication and an addition count as two."""
    side = backbone.preprocessing.crop_size
    with FlopCounterMode(display=False) as counter:
        backbone.trunk(torch.zeros(1, 3, side, side))
    operations: int = counter.get_total_flops()
    return operations


def measure_formats(
    backbone: Backbone, sample: Pixels, images: int, allowed: Sequence[str]
) -> tuple[str, list[MeasuredFormat]]:
    """Try the formats on a few images, and return the one to use with what was measured.

    Args:
        backbone: the frozen network.
        sample: (n, crop, crop, 3) uint8, some of the images to embed.
        images: how many there are to embed.
        allowed: names of formats.
    """
    measured = [_measure(backbone, EXACT, sample, None)]
    exact = backbone.in_format(EXACT).embed_crops(sample)
    for name in allowed:
        tried = FORMATS[name]
        if name == EXACT or backbone.device not in tried.devices:
            continue
        if tried.compiled and not _is_worth_compiling(measured, images):
            continue
        # A compiler may be missing, or the processor may lack a type: then that format is out of the question.
        with suppress(Exception):
            measured.append(_measure(backbone, name, sample, exact))
    return choose_format(measured, allowed), measured


def choose_format(measured: Sequence[MeasuredFormat], allowed: Sequence[str]) -> str:
    """Return the fastest of the formats that come near enough to the exact one; the exact one unless it pays.

    >>> exact = MeasuredFormat("float32", 100.0, 1.0)
    >>> choose_format([exact, MeasuredFormat("bfloat16-folded", 300.0, 0.9999)], tuple(FORMATS))
    'bfloat16-folded'
    >>> choose_format([exact, MeasuredFormat("bfloat16-folded", 300.0, 0.99)], tuple(FORMATS))
    'float32'
    >>> choose_format([exact, MeasuredFormat("bfloat16-folded", 110.0, 1.0)], tuple(FORMATS))
    'float32'
    """
    near = [one for one in measured if one.name in allowed and one.cosine >= LEAST_COSINE]
    fastest = max(near, key=lambda one: one.images_per_second, default=None)
    if fastest is None:
        return allowed[0]
    exact = next((one for one in near if one.name == EXACT), None)
    pays = exact is None or fastest.images_per_second >= LEAST_GAIN * exact.images_per_second
    return fastest.name if pays else EXACT


def _measure(backbone: Backbone, name: str, sample: Pixels, exact: np.ndarray | None) -> MeasuredFormat:
    """Return speed and nearness of a format; the first pass, which prepares things, is not timed."""
    tried = backbone.in_format(name)
    embeddings = tried.embed_crops(sample)
    seconds = min(_time(lambda: tried.embed_crops(sample)) for _ in range(TIMED_PASSES))
    cosine = 1.0 if exact is None else worst_cosine(embeddings, exact)
    return MeasuredFormat(name, len(sample) / seconds, cosine)


def _time(job: Callable[[], object]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def _is_worth_compiling(measured: Sequence[MeasuredFormat], images: int) -> bool:
    return images / max(one.images_per_second for one in measured) >= SECONDS_WORTH_COMPILING


def worst_cosine(some: np.ndarray, others: np.ndarray) -> float:
    """Return the smallest cosine similarity between rows of two arrays (n, dimension)."""
    a, b = (torch.from_numpy(np.asarray(rows, dtype=np.float64)) for rows in (some, others))
    return float(nn.functional.cosine_similarity(a, b, dim=1).min())
