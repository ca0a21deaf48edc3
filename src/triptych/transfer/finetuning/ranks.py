"""One of several processes that train one network together, each on its share of every batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Rank:
    """A process among those that train together.

    Attributes:
        number: from 0; the first one reports and writes checkpoints.
        size: how many there are.
    """

    number: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reports."""
        return self.number == 0

    def share(self, length: int) -> slice:
        """Return which of `length` rows are this process's: as many as the others', or one more.

        >>> [Rank(number, 3).share(8) for number in range(3)]
        [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
        """
        each, left = divmod(length, self.size)
        start = self.number * each + min(self.number, left)
        return slice(start, start + each + (self.number < left))

    def add_up(self, values: Tensor) -> Tensor:
        """Return the sum of all processes' values, the same bits in each of them."""
        values = values.detach().clone()
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    @torch.no_grad()
    def inplace_take_firsts(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of the first process."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)


ALONE = Rank()
