"""Networks of torchvision's families, and what holds for each."""

from __future__ import annotations

import numpy as np
import torch

from triptych.networks.backbones import build_network
from triptych.transfer.weights import load_backbone

# One network of each family that is small enough to be built here, with the dropout in front of its last layer.
FAMILIES = {
    "alexnet": 0.0,
    "convnext_tiny": 0.0,
    "densenet121": 0.0,
    "efficientnet_b0": 0.2,
    "googlenet": 0.2,
    "mnasnet0_5": 0.2,
    "mobilenet_v2": 0.2,
    "mobilenet_v3_small": 0.2,
    "regnet_y_400mf": 0.0,
    "resnet18": 0.0,
    "resnet50": 0.0,
    "shufflenet_v2_x0_5": 0.0,
    "swin_t": 0.0,
    "vgg11": 0.5,
}


def check_trunk(name: str) -> None:
    """Assert that the embedding of an image is what enters the last layer of the whole network."""
    image = np.random.default_rng(0).integers(0, 256, size=(40, 50, 3), dtype=np.uint8)
    backbone = load_backbone(name, "random")
    whole = build_network(name).eval()
    assert getattr(whole, "transform_input", False) == (name == "googlenet")
    inputs = torch.stack([backbone.preprocessing.build()(image)])
    seen: list[torch.Tensor] = []
    whole.get_submodule(backbone.cut_layer).register_forward_hook(
        lambda module, entering, leaving: seen.append(entering[0])
    )
    with torch.inference_mode():
        whole(inputs)
    embedding = backbone.embed([image])
    assert embedding.shape == (1, backbone.dimension)
    np.testing.assert_allclose(embedding, seen[0].flatten(1).numpy(), rtol=1e-3, atol=1e-5)
