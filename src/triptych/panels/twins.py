"""Twins: `numpy-mlp` and `torch-mlp` with equal settings, and how far their weights drift apart."""

from __future__ import annotations

from functools import partial

import numpy as np

from triptych.config.names import NUMPY_MLP, TORCH_MLP
from triptych.config.schema import BoardConfig
from triptych.data.boards import PreparedBoard
from triptych.panels.identity import has_weights, weights_file
from triptych.system.checked import recall
from triptych.training.checkpoints import load_weights
from triptych.training.jobs import PanelJob


def are_compared(config: BoardConfig) -> bool:
    """Return whether the weights of the two networks are compared after every epoch."""
    both = {NUMPY_MLP, TORCH_MLP} <= set(config.panels)
    wanted = config.evaluate.compare_twins and not config.split.folds
    return both and wanted and config.numpy_mlp == config.torch_mlp


def keeps_weights(config: BoardConfig, panel: str) -> bool:
    """Return whether the weights of a panel are kept after every epoch."""
    return panel in {NUMPY_MLP, TORCH_MLP} and are_compared(config)


def lacks_weights(job: PanelJob, epochs: int) -> bool:
    """Return whether the weights of a training would be compared, but are not kept for each of its epochs."""
    return keeps_weights(job.prepared.config, job.panel) and not has_weights(job, epochs)


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
    """Return as sentences the settings in which `numpy-mlp` and `torch-mlp` differ; empty if they are twins.

    >>> explain_twins(BoardConfig())
    []
    """
    ours, theirs = (settings.model_dump(mode="json") for settings in (config.numpy_mlp, config.torch_mlp))
    fields = [f"{name}: {ours[name]} against {theirs[name]}" for name in ours if ours[name] != theirs[name]]
    if not fields:
        return []
    caveats = [f"{NUMPY_MLP} and {TORCH_MLP} are not twins; they differ in {'; '.join(fields)}"]
    if ours["loss"] == theirs["loss"] == "squared_error" and ours["loss_reduction"] != theirs["loss_reduction"]:
        caveats.append("the mean of the squared error has a smaller gradient than its sum, by the number of classes")
    if len(fields) > 1:
        caveats.append("which difference matters, only one change at a time can show, as in the preset ladder")
    return caveats
