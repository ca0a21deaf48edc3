from __future__ import annotations

import pytest

from triptych.config.resolve import resolve_config
from triptych.errors import ConfigError
from triptych.panels.spaces import MLP_SPACE, Choice, Range
from triptych.tuning.search_spaces import (
    apply_parameters,
    build_distribution,
    decode_parameters,
    find_space,
    select_known,
)


def test_of_a_layer_that_is_solved_for_only_the_penalty_is_searched() -> None:
    config = resolve_config("digits", settings=["transfer.head=lbfgs"]).boards[0]
    assert set(find_space(config, "shufflenet_v2_x0_5", images=100)) == {"weight_decay"}


def test_a_panel_without_settings_has_nothing_to_tune() -> None:
    with pytest.raises(ConfigError, match="most-frequent has nothing to tune"):
        find_space(resolve_config("digits").boards[0], "most-frequent", images=100)


def test_layers_survive_the_way_to_optuna_and_back() -> None:
    config = resolve_config("digits", panels=["numpy-mlp"], settings=["numpy_mlp.hidden_units=[50, 50]"]).boards[0]
    known = select_known(find_space(config, "numpy-mlp", images=100), config.numpy_mlp)
    assert known["hidden_units"] == "[50, 50]"
    assert decode_parameters(known)["hidden_units"] == [50, 50]
    assert apply_parameters(config.numpy_mlp, known).hidden_units == (50, 50)  # type: ignore[attr-defined]


def test_a_setting_outside_of_the_space_is_not_known() -> None:
    config = resolve_config("digits", settings=["numpy_mlp.hidden_units=[7]", "numpy_mlp.learning_rate=5"]).boards[0]
    known = select_known(find_space(config, "numpy-mlp", images=100), config.numpy_mlp)
    assert set(MLP_SPACE) - set(known) == {"hidden_units", "learning_rate"}


def test_what_optuna_suggests_lies_in_the_space() -> None:
    assert build_distribution(Range(1e-3, 1.0, log=True), images=100).to_internal_repr(0.5) == 0.5
    assert build_distribution(Choice(("a", (1, 2))), images=100).to_external_repr(1) == "[1, 2]"
