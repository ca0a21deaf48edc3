from __future__ import annotations

from triptych.commands.options import complete_panel, complete_preset


def test_presets_and_panels_are_completed() -> None:
    assert complete_preset("di") == ["digits"]
    assert complete_panel("resnet1") == ["resnet18", "resnet101", "resnet152"]
    assert complete_panel("numpy") == ["numpy-mlp"]
    assert complete_panel("nothing") == []
