"""Splitting a pretrained network into blocks, in the order of its layers, and unfreezing the last of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from triptych.config.names import name_network
from triptych.errors import ConfigError
from triptych.networks.cuts.nodes import Cut
from triptych.networks.light_torchvision import models
from triptych.transfer.weights import check_weights

if TYPE_CHECKING:
    from triptych.config.trainers import TransferConfig

# Modules that only run their children in turn; any other module with parameters is one block. The modules around a cut
# are plain `nn.Module`s.
CONTAINERS = (nn.Sequential, nn.ModuleList, models.vision_transformer.Encoder, nn.Module)
# Each of these joins the block of the layer before it.
NORMALISATIONS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Block:
    """A part of a network that is frozen or trained as a whole.

    Attributes:
        name: PyTorch's name of its first module.
        modules: its modules, in order.
        loose: parameters that belong to no module of a block, such as a transformer's position embeddings.
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
    """Return the blocks of a network in the order in which an image passes through them.

    The network itself, and each plain `nn.Sequential`, `nn.ModuleList` or transformer encoder in it, is split into
    its children. Each child is a block: a bottleneck of ResNet, a convolution of VGG, an inverted residual of
    MobileNet. Normalisation joins the block before it. Modules that an image doesn't pass through, such as the
    auxiliary classifiers of GoogLeNet, are not blocks.

    Args:
        trunk: the network without its last layer, in eval mode.
        pixels: side of its input images.
    """
    pieces = dict(_list_pieces(trunk, ""))
    loose = tuple(parameter for container in _list_split(trunk) for parameter in container.parameters(recurse=False))
    blocks: list[Block] = []
    for name in _trace(trunk, pieces, pixels):
        if blocks and isinstance(pieces[name], NORMALISATIONS):
            blocks[-1] = Block(blocks[-1].name, (*blocks[-1].modules, pieces[name]), blocks[-1].loose)
        else:
            blocks.append(Block(name, (pieces[name],), () if blocks else loose))
    return blocks


def select_last(blocks: list[Block], wanted: int, network: str) -> list[Block]:
    """Return the last `wanted` blocks, in order.

    Args:
        blocks: all blocks of a network.
        wanted: how many.
        network: its name, for the error.

    Raises:
        ConfigError: the network has fewer.
    """
    if wanted > len(blocks):
        number = f"{len(blocks)} block{'s' * (len(blocks) != 1)}"
        raise ConfigError(
            f"transfer.unfreeze_blocks = {wanted} is more than the {number} of {network}: "
            f"set at most {len(blocks)}, which trains all of it"
        )
    return blocks[len(blocks) - wanted :]


def check_backbone(panel: str, settings: TransferConfig) -> None:
    """Check the weights of a panel, the cut of its network and the number of unfrozen blocks, without reading values.

    Args:
        panel: the panel.
        settings: its section `transfer`.

    Raises:
        ConfigError: the network cannot be cut there, or has fewer blocks.
        WeightsError: the weights are unknown, or the file is missing, damaged, or of another network.
    """
    backbone = check_weights(name_network(panel), settings.weights, Cut(settings.cut, settings.pooling))
    if backbone and settings.unfreeze_blocks:
        blocks = list_blocks(backbone.trunk, backbone.preprocessing.crop_size)
        select_last(blocks, settings.unfreeze_blocks, backbone.describe())


def _is_split(module: nn.Module) -> bool:
    """Return whether a module is split into its children; a subclass may do more than run them."""
    return type(module) in CONTAINERS


def _list_pieces(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield name and module of each child with parameters that is not split further."""
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        if _is_split(child):
            yield from _list_pieces(child, path)
        elif next(child.parameters(), None) is not None:
            yield path, child


def _list_split(module: nn.Module) -> Iterator[nn.Module]:
    yield module
    for child in module.children():
        if _is_split(child):
            yield from _list_split(child)


def _trace(trunk: nn.Module, pieces: dict[str, nn.Module], pixels: int) -> list[str]:
    """Return the names of the modules that an image passes through, in that order."""
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
    """A network and its head: inputs (n, 3, height, width) float32 to logits (n, classes) float32.

    Attributes:
        trunk: the network without its last layer.
        linear: the head.
        blocks: the blocks of the trunk that are trained, in order; the rest is frozen.
        trains_batch_norm: whether BatchNorm in these blocks is in training mode during the steps.
    """

    def __init__(
        self, trunk: nn.Module, linear: nn.Linear, blocks: Sequence[Block], *, trains_batch_norm: bool
    ) -> None:
        """Join a frozen trunk and a head, and unfreeze the blocks."""
        super().__init__()
        self.trunk = trunk
        self.linear = linear
        self.blocks = tuple(blocks)
        self.trains_batch_norm = trains_batch_norm
        for block in blocks:
            for parameter in block.parameters():
                parameter.requires_grad = True

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the logits; the input of the head is multiplied by `mask`, (n, dimension) float32."""
        embeddings = self.trunk(inputs)
        logits: Tensor = self.linear(embeddings if mask is None else embeddings * mask)
        return logits.float()

    def group_parameters(self, decay: float) -> list[dict[str, Any]]:
        """Return the trained parameters in groups for an optimizer, each with its part of the learning rate.

        The head comes first, with 1.0. Each block has the part of the block above it, times `decay`.
        """
        groups = [list(self.linear.parameters()), *(block.parameters() for block in reversed(self.blocks))]
        return [{"params": group, "part": decay**depth} for depth, group in enumerate(groups)]

    def set_batch_norms(self, *, training: bool) -> None:
        """Put BatchNorm in the trained blocks into training mode, if it is trained, or back into eval mode."""
        for block in self.blocks:
            for layer in block.batch_norms():
                layer.train(training and self.trains_batch_norm)

    def changing_buffers(self) -> dict[str, Tensor]:
        """Return the BatchNorm statistics that training changes, by name."""
        if not self.trains_batch_norm:
            return {}
        changing = {id(buffer) for block in self.blocks for layer in block.batch_norms() for buffer in layer.buffers()}
        return {name: buffer for name, buffer in self.named_buffers() if id(buffer) in changing}

    def count_trained(self) -> int:
        """Return the number of parameters that are trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    @torch.no_grad()
    def digest_frozen(self) -> str:
        """Return the SHA-256 of all frozen parameters and buffers, hexadecimal."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        changing = trained | self.changing_buffers().keys()
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            if name not in changing:
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
