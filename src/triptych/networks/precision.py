"""Number formats and memory layouts for computing a frozen network.

`float32` is exact: PyTorch's own layers, unchanged. The others fold each BatchNorm into the convolution before it
(Jacob et al. 2018, section 3.2), which changes only the rounding, compute in bfloat16 or float16, or use
`torch.compile`. Which one is the fastest depends on the processor.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

EXACT = "float32"
# Folding is verified on one image of this side: its two embeddings must be this close, relative to their length.
CHECKED_PIXELS, MAX_RELATIVE_DISTANCE = 96, 0.004


@dataclass(frozen=True)
class NumberFormat:
    """How a network is computed.

    Attributes:
        dtype: of matrix products and convolutions.
        folded: whether BatchNorm is folded into the convolutions.
        compiled: whether `torch.compile` is used.
        memory_format: memory layout of the inputs.
        rounded: whether a GPU may round what convolutions in float32 multiply to 10 bits (TF32, cuDNN's default).
        devices: where it is worth measuring.
    """

    dtype: torch.dtype = torch.float32
    folded: bool = True
    compiled: bool = False
    memory_format: torch.memory_format = torch.channels_last
    rounded: bool = True
    devices: tuple[str, ...] = ("cpu", "cuda")

    def prepare(self, trunk: nn.Module) -> nn.Module:
        """Return the network prepared for this format; the original is not changed."""
        prepared = fold_batch_norm(trunk) if self.folded else trunk
        return torch.compile(prepared, dynamic=False) if self.compiled else prepared  # type: ignore[return-value]

    @contextmanager
    def computing(self, device: str) -> Iterator[None]:
        """Compute in this format, without gradients, while the block runs."""
        autocast = torch.autocast(device, self.dtype, enabled=self.dtype != torch.float32)
        with torch.inference_mode(), autocast, multiplying(device, rounded=self.rounded):
            yield


# Names are part of the keys of stored embeddings. The exact format comes first: the others are compared with it.
FORMATS = {
    EXACT: NumberFormat(folded=False, rounded=False),
    "float32-folded": NumberFormat(),
    "float32-compiled": NumberFormat(compiled=True),
    "bfloat16": NumberFormat(torch.bfloat16, folded=False),
    "bfloat16-folded": NumberFormat(torch.bfloat16),
    "bfloat16-compiled": NumberFormat(torch.bfloat16, compiled=True),
    "float16-folded": NumberFormat(torch.float16, devices=("cuda",)),
    "float16-compiled": NumberFormat(torch.float16, compiled=True, devices=("cuda",)),
}

# The formats that each value of `transfer.precision` allows.
PRECISIONS = {
    "auto": tuple(FORMATS),
    "float32": (EXACT,),
    "bfloat16": ("bfloat16", "bfloat16-folded", "bfloat16-compiled"),
}


def find_device() -> str:
    """Return the device for networks: "cuda" if there is a usable GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def multiplying(device: str, *, rounded: bool) -> AbstractContextManager[None]:
    """Return a context for convolutions: the same bits every time, even on a GPU, where cuDNN would try algorithms.

    Args:
        device: "cpu" or "cuda".
        rounded: whether a GPU may round factors in float32 to 10 bits.
    """
    if device == "cpu":
        return nullcontext()
    chosen: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, deterministic=True, allow_tf32=rounded
    )
    return chosen


def fold_batch_norm(trunk: nn.Module) -> nn.Module:
    """Return a copy of a network with each BatchNorm folded into the convolution before it.

    The pairs are found by the order of the layers, and verified by computing an embedding. A network that applies its
    layers in another order is returned unchanged. (Tracing would find the order, but it patches modules in the whole
    process, including those that other threads are training.)
    """
    folded = copy.deepcopy(trunk)
    for module in folded.modules():
        children = list(module.named_children())
        for (name, first), (following, second) in pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                if first.out_channels != second.num_features:
                    return trunk
                setattr(module, name, fuse_conv_bn_eval(first, second))
                # Some BatchNorms of timm apply an activation, too.
                setattr(module, following, getattr(second, "act", nn.Identity()))
    folded.to(memory_format=torch.channels_last)
    return folded if _compute_alike(trunk, folded) else trunk


@torch.inference_mode()
def _compute_alike(some: nn.Module, other: nn.Module) -> bool:
    """Return whether two networks compute the same embedding of an image at each cut, up to rounding."""
    parameter = next(some.parameters())
    values = torch.linspace(-2.0, 2.0, 3 * CHECKED_PIXELS**2, device=parameter.device, dtype=parameter.dtype)
    image = values.view(1, 3, CHECKED_PIXELS, CHECKED_PIXELS)
    try:
        with torch.autocast(parameter.device.type, enabled=False):
            outputs = [given if isinstance(given := network(image), tuple) else (given,) for network in (some, other)]
        return all(
            bool(torch.dist(expected, found) < MAX_RELATIVE_DISTANCE * torch.linalg.vector_norm(expected))
            for expected, found in zip(*outputs, strict=True)
        )
    except (RuntimeError, AssertionError, ValueError):  # it does not take images of this size
        return False


def normalise(crops: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return crops (n, height, width, 3) uint8 as inputs (n, 3, height, width) float32, normalised as in torchvision.

    The channels stay last in memory.
    """
    inputs = crops.permute(0, 3, 1, 2).float().div_(255.0)
    shape = (1, 3, 1, 1)
    return inputs.sub_(inputs.new_tensor(mean).view(shape)).div_(inputs.new_tensor(std).view(shape))
