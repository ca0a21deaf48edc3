from __future__ import annotations

import numpy as np

from triptych.networks.head import Head, TransferNetwork
from triptych.networks.light_torch import build_linear
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
