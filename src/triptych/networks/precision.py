"""The number formats and memory layouts that a frozen network can compute in; the fastest is chosen by measuring.

`float32` is exact: PyTorch's own layers, one after the other. The others fold each BatchNorm into the
convolution before it (Jacob et al. 2018, section 3.2), which changes nothing but the rounding, and compute in
bfloat16 or compiled where that pays. Which of them is fastest differs from processor to processor by factors.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from triptych.images.pixels import Pixels
    from triptych.networks.backbones import Backbone

EXACT = "float32"
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
# What folding is proved with: one small image, and how far apart its two embeddings may be, relative to their length.
PROBE_PIXELS, MOST_APART = 96, 0.004


@dataclass(frozen=True)
class NumberFormat:
    """How a network is computed.

    Attributes:
        dtype: what matrix products and convolutions are computed in.
        folded: whether BatchNorm is folded into the convolutions.
        compiled: whether `torch.compile` is used.
        memory_format: the order of an image's values in memory.
        devices: where it is worth a trial.
    """

    dtype: torch.dtype = torch.float32
    folded: bool = True
    compiled: bool = False
    memory_format: torch.memory_format = torch.channels_last
    devices: tuple[str, ...] = ("cpu", "cuda")

    def prepare(self, trunk: nn.Module) -> nn.Module:
        """Return the network ready to be computed in this format; the given one stays as it is."""
        prepared = fold_batch_norm(trunk) if self.folded else trunk
        return torch.compile(prepared, dynamic=False) if self.compiled else prepared  # type: ignore[return-value]

    @contextmanager
    def computing(self, device: str) -> Iterator[None]:
        """Compute in this format while the block runs."""
        with torch.inference_mode(), torch.autocast(device, self.dtype, enabled=self.dtype != torch.float32):
            yield


# The name is part of the store's key. The exact one stays first: it is what the others are held against.
FORMATS = {
    EXACT: NumberFormat(folded=False),
    "float32-folded": NumberFormat(),
    "float32-compiled": NumberFormat(compiled=True),
    "bfloat16": NumberFormat(torch.bfloat16, folded=False),
    "bfloat16-folded": NumberFormat(torch.bfloat16),
    "bfloat16-compiled": NumberFormat(torch.bfloat16, compiled=True),
    "float16-folded": NumberFormat(torch.float16, devices=("cuda",)),
    "float16-compiled": NumberFormat(torch.float16, compiled=True, devices=("cuda",)),
}
# What `transfer.precision` allows.
PRECISIONS = {
    "auto": tuple(FORMATS),
    "float32": (EXACT,),
    "bfloat16": ("bfloat16", "bfloat16-folded", "bfloat16-compiled"),
}


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


def find_device() -> str:
    """Return where networks are computed: "cuda" where there is a usable GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def fold_batch_norm(trunk: nn.Module) -> nn.Module:
    """Return a copy in which each BatchNorm is folded into the convolution before it.

    Which convolution that is, is read from the order of the layers, and proved by computing: a network that is
    put together otherwise is returned as it is. (Tracing would know, but it changes every module of the process
    while it lasts, also those that other threads are training.)
    """
    folded = copy.deepcopy(trunk)
    for module in folded.modules():
        children = list(module.named_children())
        for (name, first), (following, second) in pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                if first.out_channels != second.num_features:
                    return trunk
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, following, nn.Identity())
    folded.to(memory_format=torch.channels_last)
    return folded if _compute_alike(trunk, folded) else trunk


@torch.inference_mode()
def _compute_alike(some: nn.Module, other: nn.Module) -> bool:
    """Return whether two networks give one image the same embedding, but for rounding."""
    parameter = next(some.parameters())
    values = torch.linspace(-2.0, 2.0, 3 * PROBE_PIXELS**2, device=parameter.device, dtype=parameter.dtype)
    probe = values.view(1, 3, PROBE_PIXELS, PROBE_PIXELS)
    try:
        with torch.autocast(parameter.device.type, enabled=False):
            expected, found = some(probe), other(probe)
        return bool(torch.dist(expected, found) < MOST_APART * torch.linalg.vector_norm(expected))
    except (RuntimeError, AssertionError):  # inputs of this size do not suit it
        return False


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


def normalise(crops: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return crops (n, height, width, 3) uint8 as inputs (n, 3, height, width) float32, as torchvision computes them.

    The result has its channels last in memory, as the crops have.
    """
    inputs = crops.permute(0, 3, 1, 2).float().div_(255.0)
    shape = (1, 3, 1, 1)
    return inputs.sub_(inputs.new_tensor(mean).view(shape)).div_(inputs.new_tensor(std).view(shape))
