from __future__ import annotations

import pytest
import torch

from triptych.errors import ConfigError
from triptych.transfer.finetuning.unfreezing import list_blocks, select_last
from triptych.transfer.weights import load_backbone


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("mobilenet_v2", 19, ["features.17", "features.18"]),
        ("resnet18", 9, ["layer4.0", "layer4.1"]),
        ("resnet50", 17, ["layer4.1", "layer4.2"]),
        ("vgg16", 15, ["classifier.0", "classifier.3"]),
        ("vit_b_16", 13, ["encoder.layers.encoder_layer_10", "encoder.layers.encoder_layer_11"]),
    ],
)
def test_blocks_hold_every_parameter_once(name: str, count: int, last: list[str]) -> None:
    with torch.device("meta"):
        backbone = load_backbone(name, "random")
    blocks = list_blocks(backbone.trunk, backbone.preprocessing.crop_size)
    held = [id(parameter) for block in blocks for parameter in block.parameters()]
    assert sorted(held) == sorted(id(parameter) for parameter in backbone.trunk.parameters())
    assert len(blocks) == count
    assert [block.name for block in select_last(blocks, 2, name)] == last
    assert select_last(blocks, 0, name) == []


def test_what_an_image_does_not_pass_through_is_no_block() -> None:
    with torch.device("meta"):
        blocks = list_blocks(load_backbone("googlenet", "random").trunk, 224)
    assert blocks[-1].name == "inception5b"


def test_more_blocks_than_there_are_are_refused() -> None:
    with torch.device("meta"):
        blocks = list_blocks(load_backbone("resnet18", "random").trunk, 224)
    with pytest.raises(ConfigError, match="unfreeze_blocks = 10 is more than the 9 blocks of resnet18: set at most 9"):
        select_last(blocks, 10, "resnet18")
