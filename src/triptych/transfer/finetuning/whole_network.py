"""A pretrained network with its head, of which the head and the last blocks are trained."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from triptych.transfer.finetuning.unfreezing import Block


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
