from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.backbones import FAMILIES, check_trunk
from triptych.networks.backbones import assemble_backbone, build_network
from triptych.transfer.weights import default_preprocessing, load_backbone

# Quickly drawn: one that transforms its input, one with dropout, one that computes its widths, a plain one.
SMALL = ("googlenet", "mobilenet_v3_small", "regnet_y_400mf", "resnet18")


@pytest.mark.parametrize("name", SMALL)
def test_the_trunk_gives_what_enters_the_last_layer(name: str) -> None:
    check_trunk(name)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_network_of_each_family_is_cut_before_its_last_layer(name: str) -> None:
    shapes = build_network(name, empty=True).state_dict()
    assert all(value.is_meta for value in shapes.values() if value.is_floating_point())
    backbone = assemble_backbone(name, "random", default_preprocessing(name), shapes)
    embedding = backbone.trunk.to("meta")(torch.empty(2, 3, 224, 224, device="meta"))
    assert embedding.shape == (2, backbone.dimension)
    assert backbone.head_dropout == FAMILIES[name]
    assert isinstance(backbone.trunk.get_submodule(backbone.cut_layer), torch.nn.Identity)


def test_squeezenets_new_layer_is_its_convolution_averaged() -> None:
    image = np.random.default_rng(0).integers(0, 256, size=(40, 50, 3), dtype=np.uint8)
    backbone = load_backbone("squeezenet1_1", "random")
    whole = build_network("squeezenet1_1").eval()
    convolution = whole.get_submodule("classifier.1")
    inputs = torch.stack([default_preprocessing("squeezenet1_1").build()(image)])
    with torch.inference_mode():
        expected = convolution(whole.get_submodule("features")(inputs)).mean(dim=(2, 3))
        weight = convolution.get_parameter("weight").flatten(1)
        scores = torch.from_numpy(backbone.embed([image])) @ weight.T + convolution.get_parameter("bias")
    np.testing.assert_allclose(scores.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
