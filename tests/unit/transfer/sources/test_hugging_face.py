from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from triptych.errors import InputError, WeightsError
from triptych.networks.families.hugging_face import CLASS_TOKEN
from triptych.networks.head import Head, TransferNetwork
from triptych.networks.light_torch import wrap_weights
from triptych.networks.saved import list_packages, load_model, save_model
from triptych.transfer.weights import check_weights, load_backbone


def save_vit(folder: Path) -> torch.nn.Module:
    import transformers

    transformers.logging.disable_progress_bar()
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(image_size=32, patch_size=16, **small)
    network: torch.nn.Module = transformers.ViTForImageClassification(config)
    network.save_pretrained(folder)  # type: ignore[operator]
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return network.eval()


def save_timm(folder: Path) -> torch.nn.Module:
    import timm

    network: torch.nn.Module = timm.create_model("mobilenetv3_small_050", num_classes=3)
    timm.models.save_for_hf(network, folder, safe_serialization=True)
    return network.eval()


@pytest.mark.parametrize(("save", "package"), [(save_vit, "transformers"), (save_timm, "timm")])
def test_a_folder_is_used_and_its_model_loads_without_it(save: object, package: str, tmp_path: Path) -> None:
    folder, image = tmp_path / "net", np.zeros((40, 50, 3), np.uint8)
    network = save(folder)  # type: ignore[operator]
    check_weights("hf:net", str(folder))
    backbone = load_backbone("hf:net", str(folder))
    assert backbone.packages == (package,)
    values = {value.numel(): value for value in network.state_dict().values()}
    kept = backbone.trunk.state_dict()
    assert any(torch.equal(value, values.get(value.numel(), value[:0])) for value in kept.values())
    assert backbone.source.get("pooling", CLASS_TOKEN) == CLASS_TOKEN
    head = Head(wrap_weights(torch.zeros(2, backbone.dimension), torch.zeros(2)))
    save_model("transfer", TransferNetwork(backbone, head), ("a", "b"), tmp_path / "model")
    expected = backbone.embed([image])
    shutil.rmtree(folder)
    assert list_packages(tmp_path / "model") == [package]
    np.testing.assert_array_equal(load_model(tmp_path / "model").network.extract([image]), expected)


def test_a_damaged_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    save_vit(tmp_path / "net")
    for name, content, message in (
        ("model.safetensors", "torn", "is damaged or not safetensors"),
        ("preprocessor_config.json", "{", "is missing or damaged"),
        ("config.json", '{"model_type": "nonsense"}', "preprocessor_config.json of hf:net is missing or damaged"),
    ):
        (tmp_path / "net" / name).write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=message) as caught:
            check_weights("hf:net", str(tmp_path / "net"))
        assert isinstance(caught.value, WeightsError)
        assert "\n" not in str(caught.value)
