"""The blocks that a pretrained network consists of, from the image's side to the head's, for training the last few."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.vision_transformer import Encoder

from triptych.errors import ConfigError

# Modules that only hold others, and run them in turn; everything else that has parameters is one block.
CONTAINERS = (nn.Sequential, nn.ModuleList, Encoder)
# These belong to the layer before them.
NORMALISATIONS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Block:
    """A piece of a network that is frozen or trained as a whole.

    Attributes:
        name: PyTorch's name of its first module.
        modules: its layer or layers, in order.
        loose: parameters that no layer owns, such as a transformer's positions.
    """

    name: str
    modules: tuple[nn.Module, ...]
    loose: tuple[nn.Parameter, ...] = ()

    def parameters(self) -> list[nn.Parameter]:
        """Return all its parameters."""
        return [*self.loose, *(parameter for module in self.modules for parameter in module.parameters())]

    def batch_norms(self) -> list[nn.Module]:
        """Return its BatchNorm layers."""
        inside = (layer for module in self.modules for layer in module.modules())
        return [layer for layer in inside if isinstance(layer, _BatchNorm)]


def list_blocks(trunk: nn.Module, pixels: int) -> list[Block]:
    """Return the blocks of a network in the order in which an image passes them.

    The network and whatever is a plain `nn.Sequential`, an `nn.ModuleList` or a transformer's encoder is opened;
    what lies in it is a block: a bottleneck of ResNet, a convolution of VGG, an inverted residual of MobileNet.
    Normalisation joins the block before it. What an image doesn't pass, such as GoogLeNet's auxiliary
    classifiers, is no block.

    Args:
        trunk: the network without its last layer, in eval mode.
        pixels: side of its inputs.
    """
    pieces = dict(_open(trunk, ""))
    loose = tuple(parameter for container in _list_opened(trunk) for parameter in container.parameters(recurse=False))
    blocks: list[Block] = []
    for name in _trace(trunk, pieces, pixels):
        if blocks and isinstance(pieces[name], NORMALISATIONS):
            blocks[-1] = Block(blocks[-1].name, (*blocks[-1].modules, pieces[name]), blocks[-1].loose)
        else:
            blocks.append(Block(name, (pieces[name],), () if blocks else loose))
    return blocks


def select_last(blocks: list[Block], wanted: int, network: str) -> list[Block]:
    """Return the last blocks, from the image's side to the head's.

    Raises:
        ConfigError: there are fewer.
    """
    if wanted > len(blocks):
        raise ConfigError(
            f"transfer.unfreeze_blocks = {wanted} is more than the {len(blocks)} blocks of {network}: "
            f"set at most {len(blocks)}, which trains it all"
        )
    return blocks[len(blocks) - wanted :]


def _is_opened(module: nn.Module) -> bool:
    """Return whether a module is one of the containers themselves; a subclass may do more than run its parts."""
    return type(module) in CONTAINERS


def _open(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield name and module of what is not opened and has parameters."""
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        if _is_opened(child):
            yield from _open(child, path)
        elif next(child.parameters(), None) is not None:
            yield path, child


def _list_opened(module: nn.Module) -> Iterator[nn.Module]:
    yield module
    for child in module.children():
        if _is_opened(child):
            yield from _list_opened(child)


def _trace(trunk: nn.Module, pieces: dict[str, nn.Module], pixels: int) -> list[str]:
    """Return the names of the pieces that an image passes, in that order."""
    passed: dict[str, None] = {}
    hooks = [
        piece.register_forward_pre_hook(lambda module, entering, name=name: passed.setdefault(name))
        for name, piece in pieces.items()
    ]
    device = next(trunk.parameters()).device
    with torch.no_grad():
        trunk(torch.zeros(1, 3, pixels, pixels, device=device))
    for hook in hooks:
        hook.remove()
    return list(passed)


class WholeNetwork(nn.Module):
    """The network and its head: inputs (n, 3, height, width) to logits (n, classes).

    Attributes:
        trunk: the network without its last layer.
        linear: the head.
        blocks: what is trained of the trunk, from the image's side; the rest is frozen.
        trains_batch_norm: whether BatchNorm in these blocks is in training mode during the steps.
    """

    def __init__(
        self, trunk: nn.Module, linear: nn.Linear, blocks: Sequence[Block], *, trains_batch_norm: bool
    ) -> None:
        """Take over a frozen trunk and a head, and unfreeze the blocks."""
        super().__init__()
        self.trunk = trunk
        self.linear = linear
        self.blocks = tuple(blocks)
        self.trains_batch_norm = trains_batch_norm
        for block in blocks:
            for parameter in block.parameters():
                parameter.requires_grad = True

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the logits, float32; `mask` (n, dimension) is multiplied with what enters the head."""
        embeddings = self.trunk(inputs)
        logits: Tensor = self.linear(embeddings if mask is None else embeddings * mask)
        return logits.float()

    def group_parameters(self, decay: float) -> list[dict[str, Any]]:
        """Return what is trained as groups for an optimizer, each with its part of the step size.

        The head comes first, with 1; each block below it has `decay` of the one above.
        """
        groups = [list(self.linear.parameters()), *(block.parameters() for block in reversed(self.blocks))]
        return [{"params": group, "part": decay**depth} for depth, group in enumerate(groups)]

    def set_batch_norms(self, *, training: bool) -> None:
        """Put BatchNorm in the blocks into training mode, if it is trained at all, or back into eval mode."""
        for block in self.blocks:
            for layer in block.batch_norms():
                layer.train(training and self.trains_batch_norm)

    def changing_buffers(self) -> dict[str, Tensor]:
        """Return the statistics that training changes, by name."""
        if not self.trains_batch_norm:
            return {}
        changing = {id(buffer) for block in self.blocks for layer in block.batch_norms() for buffer in layer.buffers()}
        return {name: buffer for name, buffer in self.named_buffers() if id(buffer) in changing}

    def count_trained(self) -> int:
        """Return how many parameters are trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    @torch.no_grad()
    def digest_frozen(self) -> str:
        """Return the SHA-256 of all parameters and buffers that must not change, hexadecimal."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        changing = trained | self.changing_buffers().keys()
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            if name not in changing:
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
