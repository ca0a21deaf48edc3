"""Networks of timm, cut at nodes, against its own functions and plain forward passes with hooks."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych.errors import ConfigError, WeightsError
from triptych.networks.backbones import assemble_backbone, build_network, join
from triptych.networks.cuts.nodes import Cut
from triptych.networks.families.timm_networks import TimmNetwork
from triptych.networks.head import Head, TransferNetwork
from triptych.networks.light_torch import wrap_weights
from triptych.networks.precision import fold_batch_norm, normalise
from triptych.networks.saved import list_packages, load_model, save_model

PRE_LOGITS, FEATURES = "pre_logits", "features"
SIDE = 64
# Modules whose outputs are maps or tokens, with the axes that they are averaged over.
CUTS: dict[str, dict[str, tuple[int, ...]]] = {
    "timm:mobilenetv3_small_050": {"conv_stem": (2, 3), "blocks.1.0": (2, 3), "blocks": (2, 3)},
    "timm:resnet10t": {"conv1": (2, 3), "layer1.0.bn1": (2, 3), "layer3": (2, 3)},
    "timm:convnext_atto": {"stem": (2, 3), "stages.1": (2, 3), "stages.2.blocks.1": (2, 3)},
}


@pytest.mark.parametrize("name", CUTS)
def test_cuts_are_those_of_timm_and_of_a_forward_pass_with_hooks(name: str) -> None:
    crops = np.random.default_rng(0).integers(0, 256, size=(2, SIDE, SIDE, 3), dtype=np.uint8)
    preprocessing = replace(TimmNetwork(name, {}).preprocess(), crop_size=SIDE)
    inputs = normalise(torch.from_numpy(crops), preprocessing.mean, preprocessing.std)
    whole = build_network(name).eval()
    state = {key: value.clone() for key, value in whole.state_dict().items()}
    seen: dict[str, Tensor] = {}
    for module, axes in CUTS[name].items():
        whole.get_submodule(module).register_forward_hook(
            lambda layer, entering, leaving, module=module, axes=axes: seen.update({module: leaving.mean(axes)})
        )
    with torch.inference_mode():
        features = whole.forward_features(inputs)  # type: ignore[operator]
        expected = {
            Cut(): whole.forward_head(features, pre_logits=True),  # type: ignore[operator]
            Cut(FEATURES): features.mean((2, 3)),
            **{Cut(module): seen[module] for module in CUTS[name]},
        }
    backbones = [assemble_backbone(name, "random", preprocessing, state, cut) for cut in expected]
    joint = join(backbones)
    assert joint is not None
    for backbone, wanted, together in zip(backbones, expected.values(), joint.launch_each(crops), strict=True):
        found = backbone.embed_crops(crops)
        assert found.shape == (2, backbone.dimension)
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-5, err_msg=str(backbone.cut))
        np.testing.assert_array_equal(together.numpy(), found, err_msg=str(backbone.cut))
        assert all(torch.equal(value, state[key]) for key, value in backbone.trunk.state_dict().items())
        assert not any(layer.training for layer in backbone.trunk.modules())


def test_a_cut_at_the_removed_layer_is_computed_by_itself() -> None:
    architecture = TimmNetwork("timm:resnet10t", {})
    state = build_network("timm:resnet10t").state_dict()
    cuts = (Cut(), Cut("fc"))
    backbones = [assemble_backbone("timm:resnet10t", "", architecture.preprocess(), state, cut) for cut in cuts]
    assert [one.dimension for one in backbones] == [512, 1000]
    assert join(backbones) is None


def test_images_are_prepared_as_timm_does() -> None:
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, size=(90, 130, 3), dtype=np.uint8)
    for name in ("timm:resnet10t", "timm:vit_base_patch16_siglip_224"):
        architecture = TimmNetwork(name, {})
        timm = architecture.import_timm()
        config = timm.data.resolve_data_config({}, pretrained_cfg=architecture.read_pretrained())
        expected = timm.data.create_transform(**config)(Image.fromarray(image))
        found = architecture.preprocess()
        ours = normalise(torch.from_numpy(found.crop(image)[None].copy()), found.mean, found.std)[0]
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    with pytest.raises(WeightsError, match="use a network for square images"):
        TimmNetwork(
            "timm:vit_medium_patch16_rope_reg1_gap_256",
            {"pretrained_cfg": {"input_size": (3, 8, 9)}, "architecture": "resnet10t"},
        ).preprocess()


def test_activations_inside_of_batch_norms_are_kept_when_they_are_folded() -> None:
    trunk = build_network("timm:mobilenetv3_small_050").eval()
    folded = fold_batch_norm(trunk)
    assert folded is not trunk
    images = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), trunk(images), rtol=1e-3, atol=1e-4)


def test_a_saved_network_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = TimmNetwork("timm:mobilenetv3_small_050", {})
    backbone = assemble_backbone(architecture.name, "random", architecture.preprocess(), None)
    head = Head(wrap_weights(torch.zeros(2, backbone.dimension), torch.zeros(2)))
    save_model("transfer", TransferNetwork(backbone, head), ("a", "b"), tmp_path / "model")
    assert list_packages(tmp_path / "model") == ["timm"]
    loaded = load_model(tmp_path / "model").network
    assert isinstance(loaded, TransferNetwork)
    assert loaded.backbone.digest() == backbone.digest()
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(WeightsError, match=r"needs the package timm: install it with `pip install 'triptych\[timm\]'`"):
        load_model(tmp_path / "model")


def test_names_and_cuts_that_are_none_are_refused_in_one_line() -> None:
    with pytest.raises(WeightsError, match=r"timm has no network 'resnet18.a1_in1kk'.*did you mean 'resnet18.a1_in1k'"):
        build_network("timm:resnet18.a1_in1kk")
    architecture = TimmNetwork("timm:resnet10t", {})
    with pytest.raises(ConfigError, match=r"unknown transfer.cut 'layer9' for timm:resnet10t.*'layer4'"):
        assemble_backbone("timm:resnet10t", "", architecture.preprocess(), None, Cut("layer9"))


@pytest.mark.parametrize("config", [{"model_args": {"nope": 1}}, {"model_args": "x"}, {"pretrained_cfg": [1]}])
def test_a_configuration_that_does_not_fit_is_refused_in_one_line(config: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match=r"config.json of hf:net is damaged or of another timm"):
        TimmNetwork("hf:net", {"architecture": "test_resnet", **config}).build()


@pytest.mark.parametrize(
    "own", [{"crop_pct": "x"}, {"input_size": [3, 0, 0]}, {"interpolation": "x"}, {"mean": [1]}, {"std": [0, 0, 0]}]
)
def test_images_that_cannot_be_prepared_are_refused_in_one_line(own: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match=r"config.json of hf:net is damaged or of another timm"):
        TimmNetwork("hf:net", {"architecture": "test_resnet", "pretrained_cfg": own}).preprocess()


def test_a_configuration_names_no_other_weights(tmp_path: Path) -> None:
    others = {"pretrained": True, "checkpoint_path": str(tmp_path / "gone.pth"), "cache_dir": str(tmp_path)}
    assert TimmNetwork("hf:net", {"architecture": "test_resnet", "model_args": others}).build() is not None
