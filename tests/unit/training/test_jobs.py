from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from triptych.config.schema import BoardConfig
from triptych.training.jobs import PanelJob


@pytest.mark.parametrize(
    ("panel", "label"),
    [
        ("numpy-mlp", "numpy-mlp"),
        ("resnet18", "resnet18 (random weights)"),
        ("vgg16", "vgg16"),
        ("resnet18+resnet18@layer2", "resnet18+resnet18@layer2 (random weights)"),
        ("vgg16+resnet18@layer2", "vgg16+resnet18@layer2 (resnet18@layer2 with random weights)"),
    ],
)
def test_random_weights_are_labelled_as_such(panel: str, label: str) -> None:
    prepared: Any = SimpleNamespace(config=BoardConfig(panels=(panel,), networks={"resnet18": {"weights": "random"}}))
    assert PanelJob(prepared, panel, 0).label == label
