"""The place of a process among those that train one network together, each on its share of every batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Rank:
    """A process among those that train together.

    Attributes:
        number: from 0; the first process reports and writes checkpoints.
        size: how many processes there are.
    """

    number: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reports."""
        return self.number == 0

    def share(self, length: int) -> slice:
        """Return which of `length` rows this process takes; the shares differ by one row at most.

        >>> [Rank(number, 3).share(8) for number in range(3)]
        [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
        """
        each, left = divmod(length, self.size)
        start = self.number * each + min(self.number, left)
        return slice(start, start + each + (self.number < left))

    def sum_over_processes(self, values: Tensor) -> Tensor:
        """Return the sum of the values of all processes, of the same shape; the bits are the same in each process."""
        values = values.detach().clone()
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    @torch.no_grad()
    def inplace_broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of the first process."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)


ALONE = Rank()
