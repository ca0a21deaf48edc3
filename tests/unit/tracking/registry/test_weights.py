from __future__ import annotations

import pytest

from helpers.comparisons import Recorded
from triptych.config.resolve import resolve_config
from triptych.config.schema import BoardConfig
from triptych.errors import ConfigError, WeightsError
from triptych.tracking.registry.champions import register_panel
from triptych.tracking.registry.weights import pin_weights

PANEL = "shufflenet_v2_x0_5"


def choose(weights: str, panel: str = PANEL) -> BoardConfig:
    return resolve_config("digits", panels=[panel], settings=[f"transfer.weights={weights}"]).boards[0]


def test_other_weights_and_boards_without_backbones_stay_as_they_are() -> None:
    for config in (choose("bundled"), choose("models:/digits@champion", "numpy-mlp")):
        assert pin_weights(config) is config


def test_a_model_without_a_pretrained_network_is_refused(recorded: Recorded) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    with pytest.raises(WeightsError, match="models:/digits-numpy-mlp/1' hold no pretrained network"):
        pin_weights(choose("models:/digits-numpy-mlp/1"))
    with pytest.raises(ConfigError, match="no registered model"):
        pin_weights(choose("models:/nothing@champion"))
