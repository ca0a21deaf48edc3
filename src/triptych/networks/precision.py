"""The number formats and memory layouts that a frozen network can compute in; the fastest is chosen by measuring.

`float32` is exact: PyTorch's own layers, one after the other. The others fold each BatchNorm into the
convolution before it (Jacob et al. 2018, section 3.2), which changes nothing but the rounding, and compute in
bfloat16 or compiled where that pays. Which of them is fastest differs from processor to processor by factors.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    pass

EXACT = "float32"
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


def normalise(crops: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return crops (n, height, width, 3) uint8 as inputs (n, 3, height, width) float32, as torchvision computes them.

    The result has its channels last in memory, as the crops have.
    """
    inputs = crops.permute(0, 3, 1, 2).float().div_(255.0)
    shape = (1, 3, 1, 1)
    return inputs.sub_(inputs.new_tensor(mean).view(shape)).div_(inputs.new_tensor(std).view(shape))
