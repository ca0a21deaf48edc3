from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.mlps import draw_batch, draw_layers
from triptych.config.trainers import MLPConfig
from triptych.networks.minibatches import Examples
from triptych.networks.replayed.steps import ReplayedSteps
from triptych.networks.torch_mlp import TorchMLP

# On a GPU if there is one; without, recordings are steps that are taken one by one.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(("rows", "batch_size"), [(1, 4), (11, 4), (20, 4), (4 * 70 + 1, 4), (64, 1)])
def test_each_batch_is_taken_once_and_in_order(rows: int, batch_size: int) -> None:
    total = torch.zeros((), device=DEVICE)

    def step(x: Tensor, factor: Tensor) -> Tensor:
        return total.mul_(1.01).add_((x * factor).mean()).clone()

    x = torch.arange(float(rows), device=DEVICE)
    steps, expected, summed = ReplayedSteps(), [], 0.0
    for _ in range(2):
        for start in range(0, rows, batch_size):
            summed = 1.01 * summed + 2.0 * np.arange(start, min(start + batch_size, rows)).mean()
            expected.append(summed)
    found = [steps.run(step, [x, torch.full_like(x, 2.0)], batch_size) for _ in range(2)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_replayed_epochs_are_those_of_steps_one_by_one(loss: str, weighted: bool) -> None:  # noqa: FBT001
    x, labels = draw_batch(rows=7 * 70 + 3)
    train = Examples(x, labels, np.linspace(0.0, 2.0, len(x)) if weighted else None)
    settings = MLPConfig(batch_size=7, momentum=0.9, weight_decay=1e-3, device="auto")
    networks = [TorchMLP(draw_layers((5, 4)), loss=loss) for _ in range(2)]
    for epoch in range(3):
        rngs = [np.random.default_rng(epoch) for _ in networks]
        for network, rng in zip(networks, rngs, strict=True):
            network._prepare_epoch(settings, 0.1 / (1 + epoch), rng)
        networks[0]._replay_epoch(train, settings, rngs[0])
        networks[1]._step_through_epoch(train, settings, rngs[1])
        if epoch == 1:
            networks[0].restore_state(networks[0].copy_state())
    tolerance = 0.0 if DEVICE == "cpu" else 1e-6
    for some, other in zip(networks[0].arrays().values(), networks[1].arrays().values(), strict=True):
        np.testing.assert_allclose(some, other, rtol=tolerance, atol=tolerance)
    assert networks[0].measure(train) == pytest.approx(networks[1].measure(train), rel=1e-6)
