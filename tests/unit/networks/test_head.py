from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from triptych.networks.cuts.nodes import Cut
from triptych.networks.head import Head, TransferNetwork
from triptych.networks.light_torch import build_linear
from triptych.networks.trunks import TRUNK_FILE
from triptych.transfer.weights import load_backbone


def test_an_evaluated_network_is_frozen_and_without_dropout() -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(6, 40, 50, 3), dtype=np.uint8)
    backbone = load_backbone("mobilenet_v3_small", "random")
    assert not any(parameter.requires_grad for parameter in backbone.trunk.parameters())
    assert not any(module.training for module in backbone.trunk.modules())
    head = Head(build_linear(backbone.dimension, 3, np.random.default_rng(0)), dropout=0.5)
    network = TransferNetwork(backbone, head, batch_size=4)
    one, other = network.predict_images(images), network.predict_images(images)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one.sum(axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("cut", [Cut(), Cut("features"), Cut("features.3", "max"), Cut("features.5.block.0.0")])
def test_a_network_is_saved_with_its_cut_and_without_what_lies_above(cut: Cut, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(1, 40, 50, 3), dtype=np.uint8)
    backbone = load_backbone("mobilenet_v3_small", "random", cut)
    head = Head(build_linear(backbone.dimension, 3, np.random.default_rng(0)))
    network = TransferNetwork(backbone, head)
    loaded = TransferNetwork.load(tmp_path, network.save(tmp_path))
    assert (loaded.backbone.cut, loaded.backbone.digest()) == (cut, backbone.digest())
    np.testing.assert_array_equal(loaded.predict_images(images), network.predict_images(images))
    assert any(key.startswith("classifier") for key in load_file(tmp_path / TRUNK_FILE)) == cut.is_penultimate
