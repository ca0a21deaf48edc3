from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from triptych.errors import ConfigError, WeightsError
from triptych.networks.backbones import assemble_backbone, build_network
from triptych.networks.cuts.nodes import Cut
from triptych.networks.families.hugging_face import AVERAGE, CLASS_TOKEN, POOLER, TransformersNetwork

VIT = {
    "model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "image_size": 32, "patch_size": 16,
}  # fmt: skip
SQUARE: dict[str, Any] = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5] * 3,
}
SQUARE |= {"image_std": [0.25] * 3, "do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 2}


def describe(pooling: str = POOLER, **changes: object) -> TransformersNetwork:
    source = {"config": VIT | changes, "preprocessor": SQUARE, "pooling": pooling}
    return TransformersNetwork("hf:net", source)


def test_an_embedding_is_that_of_the_network_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, size=(40, 50, 3), dtype=np.uint8)
    for pooling in (POOLER, CLASS_TOKEN, AVERAGE):
        network = describe(pooling)
        backbone = assemble_backbone("hf:net", "", network.preprocess(), None, source=network.source)
        pixels = network.import_transformers().ViTImageProcessor(**SQUARE)(image.copy(), return_tensors="pt")
        with torch.inference_mode():
            outputs = backbone.trunk.model(**pixels)  # type: ignore[operator]
        last = outputs.last_hidden_state
        expected = {POOLER: outputs.pooler_output, CLASS_TOKEN: last[:, 0], AVERAGE: last.mean(1)}[pooling]
        # Its own processor rounds resized pixels differently.
        np.testing.assert_allclose(backbone.embed([image]), expected.numpy(), atol=0.05)
        assert backbone.dimension == 16
        assert any("pooler" in key for key in backbone.trunk.state_dict()) == (pooling == POOLER)


def test_a_pooler_without_weights_is_not_used() -> None:
    network = describe()
    model = network.build_model()
    assert network.find_pooling(model, {"vit.pooler.dense.weight"}) == POOLER
    assert network.find_pooling(model, {"vit.layernorm.weight"}) == CLASS_TOKEN


def test_what_cannot_be_used_is_refused_in_one_line() -> None:
    for network, message in (
        (describe(model_type="nonsense"), "is of model_type 'nonsense', but transformers does not know it"),
        (describe(model_type="bert"), "takes no images alone"),
    ):
        with pytest.raises(WeightsError, match=message):
            build_network(network.name, empty=True, source=network.source)
    for changes in ({"do_rescale": False, "do_normalize": False}, {"size": {"longest_edge": 9}}):
        strange = TransformersNetwork("hf:net", {"config": VIT, "preprocessor": SQUARE | changes, "pooling": POOLER})
        if "size" in changes:
            with pytest.raises(WeightsError, match=r"cannot be prepared as its preprocessor_config.json says"):
                strange.preprocess()
        else:
            assert strange.preprocess().std == (1 / 255,) * 3
    with pytest.raises(ConfigError, match="is a network of transformers, which is cut in front of its head only"):
        assemble_backbone("hf:net", "", describe().preprocess(), None, Cut("encoder"), describe().source)


@pytest.mark.parametrize(
    ("config", "preprocessor", "message"),
    [
        ({"hidden_size": "16"}, {}, "its config.json does not fit"),
        ({"hidden_size": 0}, {}, "its config.json does not fit"),
        ({"model_type": "timm_backbone", "backbone": "hf-hub:some/body"}, {}, "its config.json does not fit"),
        ({}, {"size": {"height": -3, "width": -3}}, "cannot be prepared"),
        ({}, {"image_mean": [0.5]}, "cannot be prepared"),
        ({}, {"rescale_factor": 0}, "cannot be prepared"),
        ({}, {"image_processor_type": "pipeline", "model": "some/body"}, "pipeline is no image processor"),
    ],
)
def test_whatever_a_folder_says_is_refused_in_one_line_without_code_and_network(
    config: dict[str, Any], preprocessor: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("asks the network"))
    source = {"config": VIT | config, "preprocessor": SQUARE | preprocessor, "pooling": POOLER}
    network = TransformersNetwork("hf:net", source)
    with pytest.raises(WeightsError, match=message) as caught:
        _ = network.build_model(), network.preprocess()
    assert "\n" not in str(caught.value)


def test_code_that_a_configuration_names_is_left_out() -> None:
    kernel = "some/kernel"
    network = describe(auto_map={"AutoModel": "mine.Model"}, attn_implementation=kernel, _attn_implementation=kernel)
    assert network.describe().hidden_size == VIT["hidden_size"]
    assert network.build_model() is not None
