"""Training steps that are recorded once and replayed, which saves starting every kernel of every step.

The kernels of a small network take less time on a GPU than Python needs to start them. A CUDA graph starts those of
many steps at once: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

Step = Callable[..., Tensor]
# Steps of the recordings, the longest first: each begins with a copy of its batches.
LENGTHS = (64, 1)
# Steps before the first recording: libraries allocate their workspaces, and the optimizer its buffers.
WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Recording:
    """Recorded steps.

    Attributes:
        inputs: the rows of their batches; each replay reads them.
        losses: (steps,), what each replay writes.
        replay: takes the steps.
    """

    inputs: list[Tensor]
    losses: Tensor
    replay: Callable[[], object]


class ReplayedSteps:
    """Takes the steps of an epoch from recordings, which are made when they are first needed."""

    def __init__(self) -> None:
        """Start without recordings."""
        self._recordings: dict[tuple[int, int], Recording] = {}

    def forget(self) -> None:
        """Discard the recordings: a tensor that they read or write, or another argument of a kernel, has changed."""
        self._recordings.clear()

    def run(self, step: Step, tensors: Sequence[Tensor], batch_size: int) -> NDArray[Any]:
        """Take a step on each batch of rows, in order; return the losses, (steps,).

        Args:
            step: takes a step on the tensors of a batch, and returns its loss. It is the same in every call until
                `forget`, calls only kernels, and leaves tensors where they are in memory.
            tensors: arguments of the step, each (n, ...), shuffled.
            batch_size: rows of a batch; the last one may be smaller.
        """
        rows = len(tensors[0])
        losses: list[Tensor] = []
        done = 0
        while done * batch_size < rows:
            warm = bool(self._recordings) or done >= WARM_UP_STEPS
            length = next((length for length in LENGTHS if warm and (done + length) * batch_size <= rows), 0)
            batches = [tensor[done * batch_size : (done + max(1, length)) * batch_size] for tensor in tensors]
            losses.append(self._replay(step, batches, length) if length else step(*batches)[None])
            done += max(1, length)
        found: NDArray[Any] = torch.cat(losses).cpu().numpy()
        return found

    def _replay(self, step: Step, tensors: Sequence[Tensor], length: int) -> Tensor:
        key = length, len(tensors[0])
        if key not in self._recordings:
            self._recordings[key] = record(step, tensors, length)
        recording = self._recordings[key]
        for kept, tensor in zip(recording.inputs, tensors, strict=True):
            kept.copy_(tensor)
        recording.replay()
        return recording.losses.clone()


def record(step: Step, tensors: Sequence[Tensor], length: int) -> Recording:
    """Record steps on tensors like these, without taking them; on the CPU they are taken one by one when replayed."""
    inputs = [torch.empty_like(tensor) for tensor in tensors]
    losses = torch.empty(length, dtype=tensors[0].dtype, device=tensors[0].device)

    def take() -> None:
        batches = zip(*(kept.chunk(length) for kept in inputs), strict=True)
        torch.stack([step(*batch) for batch in batches], out=losses)

    if losses.device.type == "cpu":
        return Recording(inputs, losses, take)
    graph = torch.cuda.CUDAGraph()
    # Other threads may use the GPU meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        take()
    return Recording(inputs, losses, graph.replay)
