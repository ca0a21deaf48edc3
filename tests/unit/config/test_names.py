from __future__ import annotations

from triptych.config.names import BACKBONE_NAMES


def test_backbone_names_are_torchvisions() -> None:
    import torchvision.models

    assert sorted(BACKBONE_NAMES) == sorted(torchvision.models.list_models(module=torchvision.models))
