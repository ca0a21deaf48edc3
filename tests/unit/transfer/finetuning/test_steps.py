from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from triptych.config.schema import BoardConfig
from triptych.config.trainers import TransferConfig
from triptych.errors import ConfigError, FrozenError
from triptych.images.sources import ArrayImages
from triptych.networks.backbones import Backbone
from triptych.networks.light_torch import build_linear
from triptych.networks.minibatches import Examples, Weights
from triptych.networks.precision import multiplying
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.training.examples import ImageRows
from triptych.training.loop import fit_network
from triptych.transfer.finetuning.ranks import Rank
from triptych.transfer.finetuning.steps import FineTuning
from triptych.transfer.heads import train_head
from triptych.transfer.weights import load_backbone

NAME, CLASSES, IMAGES = "shufflenet_v2_x0_5", 3, 11
WEIGHTS = np.linspace(0.0, 2.0, IMAGES)
BATCH_NORM = nn.modules.batchnorm._BatchNorm


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """The bundled network: its inputs are small."""
    return load_backbone(NAME, "bundled")


@pytest.fixture(scope="module")
def examples() -> Examples:
    array = np.random.default_rng(0).integers(0, 256, size=(IMAGES, 52, 60, 3), dtype=np.uint8)
    return Examples(ImageRows(ArrayImages(array), np.arange(IMAGES)), np.arange(IMAGES) % CLASSES)


def configure(**fields: Any) -> TransferConfig:
    usual = {"unfreeze_blocks": 2, "epochs": 2, "batch_size": 4, "weights": "bundled", "embedding_threads": 1}
    return TransferConfig(**{**usual, "cache_embeddings": False, **fields})


def train(backbone: Backbone, examples: Examples, settings: TransferConfig, **options: Any) -> FineTuning:
    tuning = FineTuning(backbone, settings, CLASSES, seed=5)
    usual = {"rng": tuning.rng, "on_epoch": lambda metrics: None}
    fit_network(tuning, settings, examples, None, **{**usual, **options})
    return tuning


def assert_equal_states(some: dict[str, Any], other: dict[str, Any], tolerance: float = 0.0) -> None:
    assert some.keys() == other.keys()
    for name, array in some.items():
        np.testing.assert_allclose(array, other[name], rtol=0.0, atol=tolerance, err_msg=name)


def test_more_blocks_than_there_are_is_refused(backbone: Backbone) -> None:
    with pytest.raises(ConfigError, match=f"unfreeze_blocks = 19 is more than the 18 blocks of {NAME}: set at most 18"):
        FineTuning(backbone, configure(unfreeze_blocks=19), CLASSES, seed=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unfreeze_blocks": 2}, "transfer.unfreeze_blocks = 2 needs .*: set transfer.cache_embeddings=false"),
        ({"augmentation": "flip"}, "transfer.augmentation = flip needs"),
        ({"training_precision": "bfloat16"}, "transfer.training_precision = bfloat16 needs"),
        ({"processes": 2}, "transfer.processes = 2 needs"),
        ({"unfreeze_blocks": 1, "cache_embeddings": False, "head": "lbfgs"}, "set transfer.head=sgd"),
        ({"batch_norm": "train", "cache_embeddings": False}, "set transfer.unfreeze_blocks"),
        ({"block_learning_rate_decay": 0.0}, "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransferConfig(**fields)


def test_a_frozen_network_with_stored_embeddings_is_not_fine_tuned() -> None:
    assert not TransferConfig(cache_embeddings=False, processes=1).fine_tunes
    assert TransferConfig(cache_embeddings=False, processes=2).fine_tunes
    own = BoardConfig(transfer=TransferConfig(cache_embeddings=False), networks={"resnet18": {"unfreeze_blocks": 1}})
    assert own.for_panel("resnet18").transfer.fine_tunes
    assert not own.for_panel("resnet50").transfer.fine_tunes


def train_by_hand(backbone: Backbone, examples: Examples, *, batch_norm: bool = False) -> nn.Module:
    """Two epochs as in the tutorials of PyTorch; the last two blocks of ShuffleNet are conv5 and stage4.3."""
    trunk = load_backbone(NAME, "bundled").trunk
    rng = np.random.default_rng(5)
    linear = build_linear(backbone.dimension, CLASSES, rng)
    groups: list[dict[str, Any]] = [{"params": linear.parameters(), "lr": 0.1}]
    for depth, block in enumerate((trunk.get_submodule("conv5"), trunk.get_submodule("stage4.3")), start=1):
        block.requires_grad_(requires_grad=True)
        groups.append({"params": block.parameters(), "lr": 0.1 * 0.5**depth})
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=0.01)
    rows: Any = examples.features
    inputs = torch.stack([backbone.preprocessing.build()(image) for image in rows.images.array])
    inputs, labels = inputs.to(memory_format=torch.channels_last), torch.from_numpy(examples.labels)
    weights = torch.ones(IMAGES) if examples.weights is None else torch.from_numpy(examples.weights).float()
    for _ in range(2):
        order = torch.from_numpy(rng.permutation(IMAGES))
        trunk.get_submodule("conv5").train(batch_norm)
        trunk.get_submodule("stage4.3").train(batch_norm)
        for batch in order.split(4):
            optimizer.zero_grad()
            losses = nn.functional.cross_entropy(linear(trunk(inputs[batch])), labels[batch], reduction="none")
            (losses * weights[batch]).mean().backward()
            optimizer.step()
    return trunk.eval()


@pytest.mark.parametrize(("batch_norm", "weights"), [("eval", WEIGHTS), ("train", None)])
def test_fine_tuning_is_the_loop_written_by_hand(
    backbone: Backbone, examples: Examples, batch_norm: str, weights: Weights | None
) -> None:
    before = backbone.digest()
    examples = replace(examples, weights=weights)
    settings = configure(learning_rate=0.1, weight_decay=0.01, block_learning_rate_decay=0.5, batch_norm=batch_norm)
    tuned = train(backbone, examples, settings).finish().backbone.trunk.state_dict()
    expected = train_by_hand(backbone, examples, batch_norm=batch_norm == "train").state_dict()
    assert_equal_states(tuned, expected, tolerance=1e-4)
    original = backbone.trunk.state_dict()
    changed = {name for name, value in tuned.items() if not torch.equal(value, original[name])}
    assert {name.partition(".")[0] for name in changed} == {"conv5", "stage4"}
    assert {name for name in changed if name.startswith("stage4")} == {n for n in changed if n.startswith("stage4.3")}
    assert any("running_mean" in name for name in changed) == (batch_norm == "train")
    assert backbone.digest() == before


def test_only_batch_norm_in_trained_blocks_is_ever_in_training_mode(backbone: Backbone, examples: Examples) -> None:
    tuning = FineTuning(backbone, configure(batch_norm="train"), CLASSES, seed=0)
    seen: dict[str, set[bool]] = {}
    for name, module in tuning.network.trunk.named_modules():
        module.register_forward_pre_hook(lambda m, _, name=name: seen.setdefault(name, set()).add(m.training))
    fit_network(tuning, configure(epochs=1), examples, None, rng=tuning.rng, on_epoch=lambda metrics: None)
    kinds = dict(tuning.network.trunk.named_modules())
    expected = {n for n in seen if n.startswith(("conv5", "stage4.3")) and isinstance(kinds[n], BATCH_NORM)}
    assert {name for name, modes in seen.items() if True in modes} == expected
    assert all(False in modes for modes in seen.values())


def test_a_frozen_part_that_changes_is_noticed(backbone: Backbone, examples: Examples) -> None:
    tuning = train(backbone, examples, configure(epochs=1))
    with torch.no_grad():
        tuning.network.get_buffer("trunk.conv1.1.running_mean").add_(1e-6)
    with pytest.raises(FrozenError, match=f"frozen part of {NAME} changed"):
        tuning.finish()


def test_without_unfrozen_blocks_it_is_training_on_embeddings(backbone: Backbone, examples: Examples) -> None:
    dropping = replace(backbone, head_dropout=0.5)
    settings = configure(unfreeze_blocks=0, epochs=3)
    rows: Any = examples.features
    stored = Examples(dropping.embed(rows.images.array), examples.labels, WEIGHTS)
    metrics: dict[str, list[EpochMetrics]] = {"stored": [], "live": []}
    options: dict[str, Any] = {"classes": CLASSES, "dropout": 0.5, "seed": 5, "on_epoch": metrics["stored"].append}
    head = train_head(settings, stored, None, **options)
    live = replace(examples, weights=WEIGHTS)
    tuned = train(dropping, live, settings, on_epoch=metrics["live"].append).finish()
    np.testing.assert_allclose(tuned.head.linear.weight.detach(), head.linear.weight.detach(), rtol=1e-4, atol=1e-5)
    assert metrics["live"][-1].train_loss == pytest.approx(metrics["stored"][-1].train_loss, rel=1e-4)
    assert tuned.backbone.digest() == backbone.digest()


def test_mixed_precision_is_near_the_exact_one(backbone: Backbone, examples: Examples) -> None:
    exact, mixed = (train(backbone, examples, configure(training_precision=p)) for p in ("float32", "bfloat16"))
    a, b = exact.network.linear.weight.detach(), mixed.network.linear.weight.detach()
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    assert nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99


class PowerCutError(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("batch_norm", ["eval", "train"])
def test_an_interrupted_training_ends_with_the_same_bits(
    backbone: Backbone, examples: Examples, batch_norm: str, tmp_path: Path
) -> None:
    dropping, examples = replace(backbone, head_dropout=0.3), replace(examples, weights=WEIGHTS)
    settings = configure(epochs=3, batch_norm=batch_norm, augmentation="crop_and_flip", schedule="cosine")
    checkpoint = CheckpointFile(tmp_path / "checkpoint.npz", "some", every_epochs=1)
    expected = train(dropping, examples, settings).copy_state()

    def interrupt(metrics: EpochMetrics) -> None:
        if metrics.epoch == 2:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        train(dropping, examples, settings, on_epoch=interrupt, checkpoint=checkpoint)
    repeated: list[EpochMetrics] = []
    ended = train(dropping, examples, settings, on_epoch=repeated.append, checkpoint=checkpoint)
    assert [metrics.epoch for metrics in repeated] == [1, 2, 3]
    assert_equal_states(ended.copy_state(), expected)


def test_the_best_epoch_is_kept(backbone: Backbone, examples: Examples) -> None:
    settings = configure(epochs=3, keep_best_epoch=True, learning_rate=0.5)
    tuning, states = FineTuning(backbone, settings, CLASSES, seed=0), []
    losses: list[float] = []

    def note(metrics: EpochMetrics) -> None:
        states.append(tuning.copy_state())
        losses.append(metrics.val_loss or math.inf)

    fit_network(tuning, settings, examples, examples, rng=tuning.rng, on_epoch=note)
    assert_equal_states(tuning.copy_state(), states[int(np.argmin(losses))])


@pytest.mark.parametrize(("length", "weights"), [(7, None), (7, WEIGHTS[:7]), (1, None)])
def test_the_losses_of_all_processes_average_to_that_of_one(
    backbone: Backbone, examples: Examples, length: int, weights: Weights | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "triptych.transfer.finetuning.steps.DistributedDataParallel", lambda network, **options: network
    )
    dropping = replace(backbone, head_dropout=0.5)
    rows: Any = examples.features
    labels, indices = examples.labels[:length], np.arange(length)

    def measure(number: int, size: int) -> torch.Tensor:
        tuning = FineTuning(dropping, configure(), CLASSES, 0, Rank(number, size))
        mask = tuning._draw_mask(length, np.random.default_rng(1))
        crops = np.stack([backbone.preprocessing.crop(rows.images[i]) for i in tuning._take_share(indices)])
        with multiplying(tuning.device, rounded=False):
            loss = tuning._measure_step(crops, labels, mask, weights)
            loss.backward()
        gradient = tuning.network.linear.weight.grad
        assert gradient is not None
        return torch.cat([loss.detach()[None], gradient.flatten()])

    shares = torch.stack([measure(number, 3) for number in range(3)]).mean(dim=0)
    torch.testing.assert_close(shares, measure(0, 1), rtol=1e-4, atol=1e-5)
