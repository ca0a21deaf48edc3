from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from triptych.transfer.overview.networks import describe_network


@pytest.mark.parametrize(
    ("name", "dimension"),
    [("resnet18", 512), ("shufflenet_v2_x0_5", 1024), ("regnet_y_128gf", 7392), ("timm:resnet10t", 512)],
)
def test_the_figures_are_those_of_the_network(name: str, dimension: int) -> None:
    network = describe_network(name)
    trunk, side = network.outline.trunk, network.outline.preprocessing.crop_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        output = trunk(torch.zeros(1, 3, side, side, device="meta"))
    assert output.shape == (1, dimension) == (1, network.outline.dimension)
    assert counter.get_total_flops() == pytest.approx(network.operations, rel=0.05)
    last_layer = 1000 * (dimension + 1)
    assert network.parameters == sum(one.numel() for one in trunk.parameters()) + last_layer


def test_weights_are_at_hand_where_their_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "shufflenetv2_x0.5-f707e7126e.pth").touch()
    assert [(one.name, one.at_hand) for one in describe_network("shufflenet_v2_x0_5").weights] == [
        ("bundled", True),
        ("imagenet", True),
    ]
    assert [(one.name, one.at_hand) for one in describe_network("resnet50").weights] == [
        ("imagenet", False),
        ("IMAGENET1K_V2", False),
    ]
