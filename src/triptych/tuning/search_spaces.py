"""Search spaces in Optuna's format, and settings from its suggestions."""

from __future__ import annotations

import json
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from triptych.config.schema import BoardConfig
from triptych.config.trainers import PanelConfig
from triptych.errors import ConfigError
from triptych.panels.kinds import find_kind
from triptych.panels.spaces import Choice, Range

Space = dict[str, BaseDistribution]

# A trial is scored by its best epoch, so its setting must keep the weights of that epoch.
FIXED_FOR_TRIALS = {"keep_best_epoch": True}


def find_space(config: BoardConfig, panel: str, images: int) -> Space:
    """Return the search space of a panel.

    Args:
        config: the board.
        panel: the panel.
        images: number of training images.

    Raises:
        ConfigError: the panel has nothing to tune.
    """
    space = find_kind(config, panel).space(config.settings_of(panel))
    if not space:
        raise ConfigError(f"{panel} has nothing to tune: choose another panel")
    return {name: build_distribution(values, images) for name, values in space.items()}


def build_distribution(values: Range | Choice, images: int) -> BaseDistribution:
    """Return one dimension of a search space as Optuna's distribution.

    Args:
        values: the dimension.
        images: number of training images.

    >>> build_distribution(Range(1, 15, counts_images=True), images=6)
    IntDistribution(high=6, log=False, low=1, step=1)
    >>> build_distribution(Choice(((50,), (100, 50))), images=6)
    CategoricalDistribution(choices=('[50]', '[100, 50]'))
    """
    if isinstance(values, Choice):
        return CategoricalDistribution(tuple(_encode(value) for value in values.values))
    high = min(values.high, images) if values.counts_images else values.high
    if isinstance(values.low, int) and isinstance(high, int):
        return IntDistribution(values.low, high, log=values.log)
    return FloatDistribution(values.low, high, log=values.log)


def select_known(space: Space, settings: PanelConfig) -> dict[str, Any]:
    """Return the fields of a setting that lie in the search space, encoded for Optuna."""
    return {
        name: value
        for name, distribution in space.items()
        if _holds(distribution, value := _encode(getattr(settings, name)))
    }


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return bool(distribution.low <= value <= distribution.high)
    return isinstance(distribution, CategoricalDistribution) and value in distribution.choices


def _encode(value: Any) -> Any:
    """Return a value in a type that Optuna stores: lists are not allowed as choices, so they become JSON."""
    return json.dumps(value) if isinstance(value, tuple) else value


def decode_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that Optuna suggested as fields of a section.

    >>> decode_parameters({"batch_size": 16, "hidden_units": "[100, 50]", "vote": "uniform"})
    {'batch_size': 16, 'hidden_units': [100, 50], 'vote': 'uniform'}
    """
    return {name: json.loads(value) if _is_list(value) else value for name, value in parameters.items()}


def _is_list(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("[")


def apply_parameters(settings: PanelConfig, parameters: dict[str, Any]) -> PanelConfig:
    """Return a section with the parameters that Optuna suggested and the fields that are fixed for every trial."""
    fields = settings.model_dump() | select_fixed(settings) | decode_parameters(parameters)
    return type(settings).model_validate(fields)


def select_fixed(settings: PanelConfig) -> dict[str, Any]:
    """Return the fields of a section that are fixed for every trial."""
    return {name: value for name, value in FIXED_FOR_TRIALS.items() if name in type(settings).model_fields}
