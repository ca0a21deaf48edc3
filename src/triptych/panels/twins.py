"""`numpy-mlp` and `torch-mlp` as twins: whether they are, and how far their weights drift apart."""

from __future__ import annotations

import numpy as np

from triptych.config.names import NUMPY_MLP, TORCH_MLP
from triptych.config.schema import BoardConfig
from triptych.data.boards import PreparedBoard
from triptych.panels.identity import weights_file
from triptych.training.checkpoints import load_weights
from triptych.training.jobs import PanelJob


def are_compared(config: BoardConfig) -> bool:
    """Return whether the weights of the two networks are to be compared after every epoch."""
    both = {NUMPY_MLP, TORCH_MLP} <= set(config.panels)
    return both and config.evaluate.compare_twins and config.numpy_mlp == config.torch_mlp


def measure_drift(prepared: PreparedBoard, repeat: int) -> list[float]:
    """Return after every epoch the largest difference between a weight or bias of the twins.

    Args:
        prepared: a board whose twins have been trained; empty where they are not compared.
        repeat: which of their trainings.
    """
    if not are_compared(prepared.config):
        return []
    twins = [PanelJob(prepared, panel, repeat) for panel in (NUMPY_MLP, TORCH_MLP)]
    drift: list[float] = []
    for epoch in range(1, prepared.config.numpy_mlp.epochs + 1):
        files = [weights_file(twin, epoch) for twin in twins]
        if not all(file.is_file() for file in files):  # one of them has stopped early
            break
        ours, theirs = (load_weights(file) for file in files)
        drift.append(max(float(np.abs(one - other).max()) for one, other in zip(ours, theirs, strict=True)))
    return drift


def explain_twins(config: BoardConfig) -> list[str]:
    """Return in what `numpy-mlp` and `torch-mlp` differ as configured; nothing where they are twins."""
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
            f"{NUMPY_MLP} and {TORCH_MLP} are not twins: the squared error is a {ours.loss_reduction} over the outputs "
            f"in the one and a {theirs.loss_reduction} in the other, so the gradient differs by the number of classes"
        )
    fields = [name for name in type(ours).model_fields if getattr(ours, name) != getattr(theirs, name)]
    caveats.append(f"{NUMPY_MLP} and {TORCH_MLP} differ in: {', '.join(fields)}")
    return caveats
