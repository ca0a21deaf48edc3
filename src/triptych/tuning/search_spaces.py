"""What may be chosen for a panel: the search spaces, and how a suggestion becomes settings."""

from __future__ import annotations

import json
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from triptych.config.schema import BoardConfig
from triptych.config.trainers import TrainingConfig, TransferConfig, kind_of_panel

Space = dict[str, BaseDistribution]
# The choices hold what the presets use, so that their own setting can be the first trial.
BATCH_SIZES = CategoricalDistribution((16, 32, 64, 100))
MLP_SPACE: Space = {
    "learning_rate": FloatDistribution(1e-3, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.95),
    "weight_decay": FloatDistribution(0.0, 1e-3),
    "batch_size": BATCH_SIZES,
    # Optuna stores no lists as choices: JSON stands for them.
    "hidden_units": CategoricalDistribution(("[50]", "[300]", "[50, 50]", "[100, 50]", "[128, 64]")),
}
SEARCH_SPACES: dict[str, Space] = {
    "numpy_mlp": MLP_SPACE,
    "torch_mlp": MLP_SPACE,
    "transfer": {
        "learning_rate": FloatDistribution(1e-4, 1.0, log=True),
        "momentum": FloatDistribution(0.0, 0.95),
        "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
        "batch_size": BATCH_SIZES,
        "epochs": IntDistribution(5, 50),
    },
    # A last layer that is solved for takes no steps.
    "transfer_lbfgs": {"weight_decay": FloatDistribution(1e-6, 1.0, log=True)},
}
# A trial is worth what its best epoch is, so that epoch's weights are what it must end with.
FIXED_FOR_TRIALS = {"keep_best_epoch": True}


def find_settings(config: BoardConfig, panel: str) -> TrainingConfig:
    """Return the section that a panel is trained by, before anything is tuned."""
    settings: TrainingConfig = getattr(config.for_panel(panel), kind_of_panel(panel))
    return settings


def find_space(config: BoardConfig, panel: str) -> Space:
    """Return what may be chosen for a panel."""
    settings = find_settings(config, panel)
    solved = isinstance(settings, TransferConfig) and settings.head == "lbfgs"
    return SEARCH_SPACES["transfer_lbfgs" if solved else kind_of_panel(panel)]


def select_known(space: Space, settings: TrainingConfig) -> dict[str, Any]:
    """Return the fields of a setting that lie within the search space, as Optuna writes them."""
    return {
        name: value
        for name, distribution in space.items()
        if _holds(distribution, value := _encode(getattr(settings, name)))
    }


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)  # noqa: S101 - there are no other kinds
    return bool(distribution.low <= value <= distribution.high)


def _encode(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, tuple) else value


def decode_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what Optuna suggested as fields of a section.

    >>> decode_parameters({"batch_size": 16, "hidden_units": "[100, 50]"})
    {'batch_size': 16, 'hidden_units': [100, 50]}
    """
    return {name: json.loads(value) if isinstance(value, str) else value for name, value in parameters.items()}


def lay_over(settings: TrainingConfig, parameters: dict[str, Any]) -> TrainingConfig:
    """Return a section with the fields that Optuna suggested, and what is fixed for every trial."""
    fields = settings.model_dump() | FIXED_FOR_TRIALS | decode_parameters(parameters)
    return type(settings).model_validate(fields)
