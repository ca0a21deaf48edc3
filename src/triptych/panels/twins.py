"""Twins: `numpy-mlp` and `torch-mlp` with equal settings, and how far their weights drift apart."""

from __future__ import annotations

from functools import partial

import numpy as np

from triptych.config.names import NUMPY_MLP, TORCH_MLP
from triptych.config.schema import BoardConfig
from triptych.data.boards import PreparedBoard
from triptych.panels.identity import weights_file
from triptych.system.checked import recall
from triptych.training.checkpoints import load_weights
from triptych.training.jobs import PanelJob


def are_compared(config: BoardConfig) -> bool:
    """Return whether the weights of the two networks are compared after every epoch."""
    both = {NUMPY_MLP, TORCH_MLP} <= set(config.panels)
    return both and config.evaluate.compare_twins and config.numpy_mlp == config.torch_mlp


def keeps_weights(config: BoardConfig, panel: str) -> bool:
    """Return whether the weights of a panel are kept after every epoch."""
    return panel in {NUMPY_MLP, TORCH_MLP} and are_compared(config)


def measure_drift(prepared: PreparedBoard, repeat: int) -> list[float]:
    """Return the largest difference between the weights and biases of the twins after every epoch.

    Args:
        prepared: a board whose twins have been trained.
        repeat: which of their trainings.

    Returns:
        One difference per epoch that both have trained, up to the first file that is missing or damaged; empty if twins
        are not compared.
    """
    if not are_compared(prepared.config):
        return []
    twins = [PanelJob(prepared, panel, repeat) for panel in (NUMPY_MLP, TORCH_MLP)]
    drift: list[float] = []
    for epoch in range(1, prepared.config.numpy_mlp.epochs + 1):
        ours, theirs = (recall(partial(load_weights, weights_file(twin, epoch))) for twin in twins)
        if ours is None or theirs is None:  # one of them stopped early, or its file was damaged
            break
        drift.append(max(float(np.abs(one - other).max()) for one, other in zip(ours, theirs, strict=True)))
    return drift


def explain_twins(config: BoardConfig) -> list[str]:
    """Return as sentences how the settings of `numpy-mlp` and `torch-mlp` differ; empty if they are twins.

    >>> explain_twins(BoardConfig())
    []
    """
    ours, theirs = config.numpy_mlp, config.torch_mlp
    if ours == theirs:
        return []
    caveats = []
    if len(ours.hidden_units) != len(theirs.hidden_units):
        caveats.append(
            f"{NUMPY_MLP} and {TORCH_MLP} are not twins: {len(ours.hidden_units)} hidden layers "
            f"against {len(theirs.hidden_units)}"
        )
    if ours.loss == theirs.loss == "squared_error" and ours.loss_reduction != theirs.loss_reduction:
        caveats.append(
            f"{NUMPY_MLP} and {TORCH_MLP} are not twins: one takes the {ours.loss_reduction} of the squared error over "
            f"the outputs, the other the {theirs.loss_reduction}, so the gradients differ by the number of classes"
        )
    fields = [name for name in type(ours).model_fields if getattr(ours, name) != getattr(theirs, name)]
    caveats.append(f"{NUMPY_MLP} and {TORCH_MLP} differ in: {', '.join(fields)}")
    return caveats
