from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from torch import nn

from triptych.config.trainers import TransferConfig
from triptych.errors import ConfigError, WeightsError
from triptych.images.preprocessing import Preprocessing
from triptych.images.sources import ArrayImages
from triptych.networks.backbones import Backbone, build_network
from triptych.networks.head import Head, TransferNetwork
from triptych.networks.light_torch import build_linear
from triptych.networks.minibatches import Examples
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.transfer.embed import store_embeddings
from triptych.transfer.heads import train_head
from triptych.transfer.records import load_embeddings
from triptych.transfer.weights import default_preprocessing, load_backbone, load_weights

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


@pytest.fixture(scope="module")
def images() -> ArrayImages:
    return ArrayImages(np.random.default_rng(0).integers(0, 256, size=(6, 40, 50, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """A small network with random weights, on small inputs, to be quick."""
    full = load_backbone("mobilenet_v3_small", "random")
    return replace(full, preprocessing=Preprocessing(40, 32, (0.5,) * 3, (0.25,) * 3, "bilinear"))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_trunk_gives_what_enters_the_last_layer(name: str, images: ArrayImages) -> None:
    backbone = load_backbone(name, "random")
    whole = build_network(name).eval()
    assert getattr(whole, "transform_input", False) == (name == "googlenet")
    inputs = torch.stack([backbone.preprocessing.build()(images[0])])
    seen: list[torch.Tensor] = []
    whole.get_submodule(backbone.cut_layer).register_forward_hook(
        lambda module, entering, leaving: seen.append(entering[0])
    )
    with torch.inference_mode():
        whole(inputs)
    embedding = backbone.embed([images[0]])
    assert embedding.shape == (1, backbone.dimension)
    np.testing.assert_allclose(embedding, seen[0].flatten(1).numpy(), rtol=1e-3, atol=1e-5)
    assert backbone.head_dropout == FAMILIES[name]


def test_squeezenets_new_layer_is_its_convolution_averaged(images: ArrayImages) -> None:
    backbone = load_backbone("squeezenet1_1", "random")
    whole = build_network("squeezenet1_1").eval()
    convolution = whole.get_submodule("classifier.1")
    inputs = torch.stack([default_preprocessing("squeezenet1_1").build()(images[0])])
    with torch.inference_mode():
        expected = convolution(whole.get_submodule("features")(inputs)).mean(dim=(2, 3))
        weight = convolution.get_parameter("weight").flatten(1)
        scores = torch.from_numpy(backbone.embed([images[0]])) @ weight.T + convolution.get_parameter("bias")
    np.testing.assert_allclose(scores.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_preprocessing_is_the_reports() -> None:
    expected = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    assert default_preprocessing("vgg16") == default_preprocessing("resnet50") == expected


def test_the_head_is_torchs_own_training() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(6, 5)).astype(np.float32), np.array([0, 1, 0, 1, 0, 1])
    metrics: list[EpochMetrics] = []
    settings = TransferConfig(epochs=3, batch_size=2)
    head = train_head(
        settings, Examples(features, labels), None, classes=2, dropout=0.0, seed=4, on_epoch=metrics.append
    )
    rng = np.random.default_rng(4)
    expected = build_linear(5, 2, rng)
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.01, momentum=0.9)
    for _ in range(3):
        order = rng.permutation(6)
        for start in range(0, 6, 2):
            rows = order[start : start + 2]
            optimizer.zero_grad()
            logits = expected(torch.from_numpy(features[rows]))
            nn.functional.cross_entropy(logits, torch.from_numpy(labels[rows])).backward()
            optimizer.step()
    np.testing.assert_array_equal(head.linear.weight.detach().numpy(), expected.weight.detach().numpy())
    assert metrics[-1].train_loss < metrics[0].train_loss


def make_examples(classes: int, images: int = 60) -> Examples:
    """Clouds around points that lie apart."""
    rng = np.random.default_rng(classes)
    labels = np.arange(images) % classes
    centres = np.random.default_rng(0).normal(scale=2.0, size=(classes, 5))
    return Examples((centres[labels] + rng.normal(size=(images, 5))).astype(np.float32), labels)


def solve(classes: int, checkpoint: CheckpointFile | None = None, **fields: Any) -> tuple[Head, list[EpochMetrics]]:
    settings = TransferConfig(head="lbfgs", **fields)
    train, validation = make_examples(classes), make_examples(classes, 30)
    metrics: list[EpochMetrics] = []
    options: dict[str, Any] = {"classes": classes, "dropout": 0.5, "on_epoch": metrics.append}
    return train_head(settings, train, validation, seed=1, checkpoint=checkpoint, **options), metrics


@pytest.mark.parametrize(("weight_decay", "penalty"), [(0.0, 1.0), (0.01, 1 / 0.6)])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_logistic_head_is_scikit_learns(classes: int, weight_decay: float, penalty: float) -> None:
    head, metrics = solve(classes, weight_decay=weight_decay)
    train, validation = make_examples(classes), make_examples(classes, 30)
    expected = LogisticRegression(C=penalty, max_iter=2000).fit(train.features.astype(np.float64), train.labels)
    np.testing.assert_allclose(
        head.predict_proba(validation.features), expected.predict_proba(validation.features), atol=1e-5
    )
    assert len(metrics) == metrics[0].epoch == metrics[0].epochs == 1
    assert metrics[0].val_accuracy == pytest.approx(expected.score(validation.features, validation.labels))
    assert head.iterations == expected.n_iter_.max()
    again, _ = solve(classes, weight_decay=weight_decay)
    np.testing.assert_array_equal(again.linear.weight.detach().numpy(), head.linear.weight.detach().numpy())


def test_weight_decay_means_to_the_solver_what_it_means_to_gradient_descent() -> None:
    head, _ = solve(3, weight_decay=0.1)
    train = make_examples(3)
    loss = nn.functional.cross_entropy(head.linear(torch.from_numpy(train.features)), torch.from_numpy(train.labels))
    loss.backward()
    # Where L2 is added to the gradient as `torch.optim.SGD` does, the solution takes no further step; scikit-learn
    # leaves the bias out of it.
    assert head.linear.weight.grad is not None
    assert head.linear.bias.grad is not None
    np.testing.assert_allclose((head.linear.weight.grad + 0.1 * head.linear.weight).detach(), 0.0, atol=1e-4)
    np.testing.assert_allclose(head.linear.bias.grad, 0.0, atol=1e-4)


def test_the_logistic_head_is_at_least_as_good_as_gradient_descents() -> None:
    _, [solved] = solve(3)
    metrics: list[EpochMetrics] = []
    options: dict[str, Any] = {"classes": 3, "dropout": 0.0, "seed": 0, "on_epoch": metrics.append}
    train_head(TransferConfig(), make_examples(3), make_examples(3, 30), **options)
    assert solved.val_accuracy is not None
    assert metrics[-1].val_accuracy is not None
    assert solved.val_accuracy >= metrics[-1].val_accuracy > 0.9


def test_a_logistic_head_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = CheckpointFile(tmp_path / "checkpoint.npz", "logistic")
    head, metrics = solve(3, checkpoint)
    monkeypatch.setattr("triptych.transfer.heads.LogisticRegression", None)
    found, same = solve(3, checkpoint)
    assert same == metrics
    assert found.iterations == head.iterations
    np.testing.assert_array_equal(found.linear.weight.detach().numpy(), head.linear.weight.detach().numpy())


def test_a_logistic_head_needs_every_class() -> None:
    examples = Examples(np.zeros((4, 2), dtype=np.float32), np.array([0, 2, 0, 2]))
    options: dict[str, Any] = {"classes": 3, "dropout": 0.0, "seed": 0, "on_epoch": lambda metrics: None}
    with pytest.raises(ConfigError, match="class number 1 has none: use 'sgd'"):
        train_head(TransferConfig(head="lbfgs"), examples, None, **options)


def test_an_evaluated_network_is_frozen_and_without_dropout(backbone: Backbone, images: ArrayImages) -> None:
    assert not any(parameter.requires_grad for parameter in backbone.trunk.parameters())
    assert not any(module.training for module in backbone.trunk.modules())
    head = Head(build_linear(backbone.dimension, 3, np.random.default_rng(0)), dropout=0.5)
    network = TransferNetwork(backbone, head, batch_size=4)
    one, other = network.predict_images(images.array), network.predict_images(images.array)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one.sum(axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_local_state_dict_is_loaded_strictly(tmp_path: Path, suffix: str) -> None:
    network = build_network("shufflenet_v2_x0_5", num_classes=7)
    with torch.no_grad():
        network.get_parameter("conv1.0.weight").mul_(2.0)
    file = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(network.state_dict(), file)
    loaded = load_backbone("shufflenet_v2_x0_5", str(file))
    assert torch.equal(loaded.trunk.get_parameter("conv1.0.weight"), network.get_parameter("conv1.0.weight"))


def test_mnasnet_and_the_old_names_of_densenet_are_understood(tmp_path: Path) -> None:
    save_file(build_network("mnasnet0_5").state_dict(), tmp_path / "mnasnet.safetensors")
    assert load_backbone("mnasnet0_5", str(tmp_path / "mnasnet.safetensors")).dimension == 1280
    state = build_network("densenet121").state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d\.)", r"\1.\2", key): value for key, value in state.items()}
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "densenet.pth")
    assert load_backbone("densenet121", str(tmp_path / "densenet.pth")).dimension == 1024


def test_half_precision_weights_become_single(tmp_path: Path) -> None:
    state = build_network("shufflenet_v2_x0_5").half().state_dict()
    save_file(state, tmp_path / "half.safetensors")
    loaded = load_backbone("shufflenet_v2_x0_5", str(tmp_path / "half.safetensors"))
    assert {parameter.dtype for parameter in loaded.trunk.parameters()} == {torch.float32}


def test_random_weights_are_the_same_in_every_thread_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda _: load_backbone("shufflenet_v2_x0_5", "random").digest(), range(8)))
    assert len(digests) == 1
    assert torch.equal(torch.rand(1), expected)


class Rude:
    """Something that would run code if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("unpickled",))


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet18", "missing.pth", r"missing\.pth does not exist"),
        ("resnet18", "text.safetensors", r"text\.safetensors cannot be read"),
        ("resnet18", "rude.pth", r"rude\.pth cannot be read"),
        ("resnet18", "shuffle.pth", "do not fit resnet18: Missing key"),
        ("resnet18", "bundled", "'bundled' are those of shufflenet_v2_x0_5, not of resnet18"),
        ("resnet18", "imagnet", "unknown weights 'imagnet'.*did you mean 'imagenet'"),
        ("resnet18", "IMAGENET1K_V2", "unknown weights 'IMAGENET1K_V2' for resnet18"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, weights: str, message: str
) -> None:
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save(Rude(), tmp_path / "rude.pth")
    torch.save(build_network("shufflenet_v2_x0_5").state_dict(), tmp_path / "shuffle.pth")
    given = str(tmp_path / weights) if "." in weights else weights
    with pytest.raises(WeightsError, match=message) as caught:
        load_backbone(name, given)
    assert "\n" not in str(caught.value)
    assert "unpickled" not in capsys.readouterr().out


def test_imagenet_weights_are_looked_for_in_torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    monkeypatch.setattr("torch.hub.download_url_to_file", _refuse)
    with pytest.raises(WeightsError, match=f"are not at {place} and could not be downloaded"):
        load_weights("resnet18", "imagenet")
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(build_network("resnet18").state_dict(), place)
    state, preprocessing = load_weights("resnet18", "IMAGENET1K_V1")
    assert state is not None
    assert preprocessing.resize_size == 256


def _refuse(*_: object, **__: object) -> None:
    raise OSError("no network")


def test_real_weights_keep_their_accuracy(data_home: Path) -> None:
    """Logistic regression on frozen features of the tutorial's photos, by the book: 148 of 153."""
    from triptych.config.resolve import resolve_config
    from triptych.data.boards import load_board, prepare_board

    weights = data_home / "weights" / "mobilenet_v2-imagenet-dequantised-ptq-bnstats.pth"
    data = load_board(prepare_board(resolve_config("photos", data=str(data_home / "hymenoptera")).boards[0]))
    backbone = load_backbone("mobilenet_v2", str(weights))
    stored = load_embeddings(store_embeddings([backbone], data.images, batch_size=32, threads=2)[0])
    training = np.concatenate([data.split.train, data.split.validation])
    probe = LogisticRegression(max_iter=2000).fit(stored[training], data.labels[training])
    right = int((probe.predict(stored[data.split.test]) == data.labels[data.split.test]).sum())
    assert right >= 146
