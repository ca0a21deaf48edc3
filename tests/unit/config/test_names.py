from __future__ import annotations

import pytest

from triptych.config.names import BACKBONE_NAMES, spell_safely


def test_backbone_names_are_torchvisions() -> None:
    import torchvision.models

    assert sorted(BACKBONE_NAMES) == sorted(torchvision.models.list_models(module=torchvision.models))


@pytest.mark.parametrize(
    "panel", ["regnet_x_400mf@trunk_output.block4.block4-11.f.c", "timm:resnet18.a1_in1k@layer3", "hf:a.b+resnet18"]
)
def test_mlflow_takes_the_safe_spelling_of_a_panel_everywhere(panel: str) -> None:
    from mlflow.utils import validation

    spelt = spell_safely(panel)
    assert not set(":/.@") & set(spelt)
    validation._validate_logged_model_name(spelt)
    validation._validate_model_name(f"photos-{spelt}")
    validation._validate_metric_name(f"{spelt}/test_accuracy")
    validation._validate_tag_name(f"triptych.shared.{spelt}.0")
