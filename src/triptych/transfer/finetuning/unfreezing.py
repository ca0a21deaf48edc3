"""The blocks that a pretrained network consists of, from the image's side to the head's, for training the last few."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
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
