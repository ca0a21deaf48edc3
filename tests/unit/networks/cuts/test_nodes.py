"""Networks of several families, cut at nodes, against plain forward passes with hooks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych.errors import ConfigError
from triptych.networks.backbones import assemble_backbone, build_network, join
from triptych.networks.cuts.nodes import FEATURE_MAPS, Cut, Tap, cut_network, measure_embedding
from triptych.networks.precision import EXACT, normalise
from triptych.transfer.weights import check_weights, default_preprocessing

CHANNELS_FIRST, CHANNELS_LAST, TOKENS, ROWS = (2, 3), (1, 2), (1,), ()
# For each network some modules, their pooling, and the axes that it is over. The last is what enters the last layer.
CUTS: dict[str, dict[Cut, tuple[str, tuple[int, ...]]]] = {
    "mobilenet_v3_small": {
        Cut("features.0.0"): ("features.0.0", CHANNELS_FIRST),
        Cut("features.4.block.1", "max"): ("features.4.block.1", CHANNELS_FIRST),
        Cut("features"): ("features", CHANNELS_FIRST),
        Cut("classifier.0"): ("classifier.0", ROWS),
        Cut(): ("classifier.2", ROWS),
    },
    "resnet18": {
        Cut("conv1", "max"): ("conv1", CHANNELS_FIRST),
        Cut("layer1.0.bn1"): ("layer1.0.bn1", CHANNELS_FIRST),
        Cut("layer3", "flatten"): ("layer3", CHANNELS_FIRST),
        Cut("features"): ("layer4", CHANNELS_FIRST),
        Cut(): ("avgpool", ROWS),
    },
    "shufflenet_v2_x0_5": {
        Cut("maxpool"): ("maxpool", CHANNELS_FIRST),
        Cut("stage2.1.branch2.3"): ("stage2.1.branch2.3", CHANNELS_FIRST),
        Cut("stage3", "max"): ("stage3", CHANNELS_FIRST),
        Cut("features"): ("conv5", CHANNELS_FIRST),
        Cut("conv5.0"): ("conv5.0", CHANNELS_FIRST),
    },
    "squeezenet1_1": {
        Cut("features.0"): ("features.0", CHANNELS_FIRST),
        Cut("features.3.squeeze"): ("features.3.squeeze", CHANNELS_FIRST),
        Cut("features.7", "flatten"): ("features.7", CHANNELS_FIRST),
        Cut("features", "max"): ("features", CHANNELS_FIRST),
        Cut(): ("features", CHANNELS_FIRST),
    },
    "swin_t": {
        Cut("features.0"): ("features.0", CHANNELS_LAST),
        Cut("features.1.0.mlp"): ("features.1.0.mlp", CHANNELS_LAST),
        Cut("features.3", "max"): ("features.3", CHANNELS_LAST),
        Cut("norm"): ("norm", CHANNELS_LAST),
        Cut("features"): ("permute", CHANNELS_FIRST),
    },
}
POOLED: dict[str, Any] = {
    "average": lambda given, axes: given.mean(axes),
    "max": lambda given, axes: given.amax(axes),
    "flatten": lambda given, axes: given.flatten(1),
}


@pytest.mark.parametrize("name", CUTS)
def test_cuts_are_those_of_a_forward_pass_with_hooks(name: str) -> None:
    crops = np.random.default_rng(0).integers(0, 256, size=(2, 64, 64, 3), dtype=np.uint8)
    preprocessing = replace(default_preprocessing(name), crop_size=64)
    whole = build_network(name).eval()
    seen: dict[str, Tensor] = {}
    for module in {module for module, _ in CUTS[name].values()} - {"permute"}:
        whole.get_submodule(module).register_forward_hook(
            # Layers that follow may change the output in place.
            lambda layer, entering, leaving, module=module: seen.update({module: leaving.clone()})
        )
    with torch.inference_mode():
        whole(normalise(torch.from_numpy(crops), preprocessing.mean, preprocessing.std))
    if name == "swin_t":
        seen["permute"] = seen["norm"].permute(0, 3, 1, 2)
    state = build_network(name).state_dict()
    backbones = [assemble_backbone(name, "random", preprocessing, state, cut) for cut in CUTS[name]]
    joint = join(backbones)
    assert joint is not None
    for (cut, (module, axes)), backbone, together in zip(
        CUTS[name].items(), backbones, joint.launch_each(crops), strict=True
    ):
        expected = POOLED[cut.pooling](seen[module], axes) if axes else seen[module].flatten(1)
        found = backbone.embed_crops(crops)
        assert found.shape == (2, backbone.dimension)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5, err_msg=str(cut))
        np.testing.assert_array_equal(together.numpy(), found, err_msg=str(cut))
        kept = backbone.trunk.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in kept.items())
        assert not any(parameter.requires_grad for parameter in backbone.trunk.parameters())
        assert not any(layer.training for layer in backbone.trunk.modules())


def test_each_family_has_its_last_feature_map() -> None:
    import torchvision.models

    classes = {one for one in vars(torchvision.models).values() if isinstance(one, type)}
    families = {one for one in classes if issubclass(one, torch.nn.Module)}
    assert families - FEATURE_MAPS.keys() == {torchvision.models.VisionTransformer}


def test_several_cuts_are_not_folded_where_one_would_change() -> None:
    preprocessing = replace(default_preprocessing("resnet18"), crop_size=32)
    state = build_network("resnet18").state_dict()
    state["bn1.running_var"] += 3.0
    cuts = (Cut("conv1"), Cut("bn1"), Cut("layer1"))
    alone = {cut.node: assemble_backbone("resnet18", "", preprocessing, state, cut) for cut in cuts}
    for nodes, number_format, can_be_joined in (
        (("bn1", "layer1"), "float32-folded", True),
        (("conv1", "layer1"), "float32-folded", False),
        (("conv1", "layer1"), EXACT, True),
    ):
        backbones = [alone[node].in_format(number_format) for node in nodes]
        assert (join(backbones) is not None) == can_be_joined, nodes


@pytest.mark.parametrize(
    ("name", "cut", "message"),
    [
        ("resnet18", Cut("layer9"), r"unknown transfer.cut 'layer9' for resnet18.*; did you mean 'layer[1-4]' or "),
        ("resnet18", Cut("penultimat"), "did you mean 'penultimate'"),
        ("resnet18", Cut("x"), "'x' leaves no layer with weights"),
        ("resnet18", Cut("conv1", "flatten"), "'conv1' gives 802,816 numbers for each image"),
        ("shufflenet_v2_x0_5", Cut("stage2.1.size"), "'stage2.1.size' gives no numbers for each image"),
        ("vit_b_16", Cut("features"), "vit_b_16 has no feature map"),
    ],
)
def test_a_cut_that_is_none_is_refused_in_one_line(name: str, cut: Cut, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_weights(name, "random", cut)
    assert "\n" not in str(caught.value)


def test_tokens_are_averaged() -> None:
    network = build_network("vit_b_16", empty=True).eval()
    trunk = cut_network(network, [Tap(*Cut("encoder"))], "vit_b_16")
    assert measure_embedding(trunk, 224, "encoder") == 768
    assert not any(key.startswith("heads") for key in trunk.state_dict())
