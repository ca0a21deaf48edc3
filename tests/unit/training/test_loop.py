from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.config.trainers import MLPConfig, TrainingConfig, TransferConfig
from triptych.errors import CheckpointError, ConfigError, DivergenceError
from triptych.networks.minibatches import Examples
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.training.loop import SCHEDULES, choose_epoch, is_over
from triptych.training.mlp import NETWORKS, train_mlp
from triptych.transfer.heads import train_head

KINDS = tuple(NETWORKS)
# Everything that a checkpoint has to bring back: momentum, what is drawn, the schedule and the best epoch.
DEMANDING = MLPConfig(
    hidden_units=(8, 5),
    activation="relu",
    loss="cross_entropy",
    momentum=0.9,
    weight_decay=1e-3,
    dropout=0.2,
    input_dropout=0.1,
    schedule="cosine",
    batch_size=13,
    epochs=8,
    keep_best_epoch=True,
)


def draw_examples(rows: int = 120, seed: int = 0, dtype: str = "float32") -> Examples:
    """Return three overlapping classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size=rows)
    features = np.eye(6)[labels] + rng.normal(size=(rows, 6)) * 0.7
    return Examples(features.astype(dtype), labels)


def flatten(network: Any) -> np.ndarray:
    return np.concatenate([array.ravel() for layer in network.layers for array in layer])


class StoppedError(Exception):
    """Stands for whatever ends a training early."""


def stop_after(epoch: int) -> Any:
    def on_epoch(metrics: EpochMetrics) -> None:
        if metrics.epoch == epoch:
            raise StoppedError

    return on_epoch


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"weight_decay": 1e-3},
        {"momentum": 0.9, "weight_decay": 1e-3, "schedule": "cosine"},
        {"momentum": 0.5, "dropout": 0.3, "input_dropout": 0.2, "activation": "relu"},
    ],
    ids=lambda settings: "-".join(settings) or "plain",
)
def test_the_twins_agree_to_a_billionth_after_a_thousand_steps(loss: str, settings: dict[str, Any]) -> None:
    config = MLPConfig.model_validate(
        {"hidden_units": (8, 5), "loss": loss, "batch_size": 10, "epochs": 100, "dtype": "float64", **settings}
    )
    examples = draw_examples(100, dtype="float64")  # ten steps an epoch
    ours, theirs = (flatten(train_mlp(kind, config, examples, classes=3, seed=5)) for kind in KINDS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(kind: str) -> None:
    one, same, other = (
        flatten(train_mlp(kind, DEMANDING, draw_examples(), draw_examples(40, 1), classes=3, seed=seed))
        for seed in (9, 9, 10)
    )
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interrupted_after", [1, 4, 7])
def test_a_training_continues_from_its_checkpoint_bit_for_bit(
    kind: str, interrupted_after: int, tmp_path: Path
) -> None:
    parts = draw_examples(), draw_examples(40, 1)
    undisturbed: list[EpochMetrics] = []
    expected = train_mlp(kind, DEMANDING, *parts, classes=3, seed=2, on_epoch=undisturbed.append)
    checkpoint = CheckpointFile(tmp_path / "state.npz", "this training", every_epochs=2)
    with pytest.raises(StoppedError):
        train_mlp(
            kind, DEMANDING, *parts, classes=3, seed=2, on_epoch=stop_after(interrupted_after), checkpoint=checkpoint
        )
    assert checkpoint.count_epochs() == interrupted_after // 2 * 2
    heard: list[EpochMetrics] = []
    continued = train_mlp(kind, DEMANDING, *parts, classes=3, seed=2, on_epoch=heard.append, checkpoint=checkpoint)
    assert flatten(continued).tobytes() == flatten(expected).tobytes()
    assert [replace(metrics, epoch_seconds=0.0) for metrics in heard] == [
        replace(metrics, epoch_seconds=0.0) for metrics in undisturbed
    ]
    # Once more: the training is over, nothing is computed.
    again = train_mlp(kind, DEMANDING, *parts, classes=3, seed=2, checkpoint=checkpoint)
    assert flatten(again).tobytes() == flatten(expected).tobytes()


def test_a_head_continues_from_its_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    settings = TransferConfig(epochs=5, batch_size=7)
    checkpoint = CheckpointFile(tmp_path / "state.npz", "head")
    given_data: dict[str, Any] = {"classes": 3, "dropout": 0.5, "seed": 0}
    expected = train_head(settings, draw_examples(), None, **given_data, on_epoch=lambda metrics: None)
    with pytest.raises(StoppedError):
        train_head(settings, draw_examples(), None, **given_data, on_epoch=stop_after(3), checkpoint=checkpoint)
    head = train_head(
        settings, draw_examples(), None, **given_data, on_epoch=lambda metrics: None, checkpoint=checkpoint
    )
    assert head.linear.weight.detach().numpy().tobytes() == expected.linear.weight.detach().numpy().tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kills"), [("numpy_mlp", 3), ("torch_mlp", 1)])
def test_a_training_killed_at_any_moment_ends_in_the_same_bits(kind: str, kills: int, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).parents[2] / "helpers" / "train_until_killed.py"), kind]
    expected = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[-1]
    command.append(str(tmp_path / "state.npz"))
    checkpoint = CheckpointFile(tmp_path / "state.npz", "killed")
    moments = random.Random(0)  # noqa: S311 - any moments will do
    for _ in range(kills):
        before = checkpoint.count_epochs()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(before + moments.randrange(1, 30)):
                process.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.01))
            process.kill()
        assert before < checkpoint.count_epochs() < 100
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[-1] == expected


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def change_a_byte(content: bytes) -> bytes:
    return content[:900] + bytes([content[900] ^ 1]) + content[901:]


def test_a_damaged_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path / "state.npz", "key")
    expected = train_mlp("numpy_mlp", DEMANDING, draw_examples(), draw_examples(40, 1), classes=3, seed=2)
    for damage in (cut_off, change_a_byte):
        train_mlp(
            "numpy_mlp", DEMANDING, draw_examples(), draw_examples(40, 1), classes=3, seed=2, checkpoint=checkpoint
        )
        checkpoint.file.write_bytes(damage(checkpoint.file.read_bytes()))
        assert checkpoint.load() is None
        again = train_mlp(
            "numpy_mlp", DEMANDING, draw_examples(), draw_examples(40, 1), classes=3, seed=2, checkpoint=checkpoint
        )
        assert flatten(again).tobytes() == flatten(expected).tobytes()


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    settings = DEMANDING.model_copy(update={"keep_best_epoch": False})
    theirs, ours = (CheckpointFile(tmp_path / "state.npz", key) for key in ("theirs", "ours"))
    train_mlp("numpy_mlp", settings, draw_examples(), classes=3, seed=2, checkpoint=theirs)
    with pytest.raises(CheckpointError, match=r"state\.npz belongs to a training with other data, settings or seed"):
        train_mlp("numpy_mlp", settings, draw_examples(), classes=3, seed=2, checkpoint=ours)


def draw_curve(losses: list[float]) -> list[EpochMetrics]:
    return [
        EpochMetrics(epoch, 10, 1.0, 0.5, 0.1, val_loss=loss, val_accuracy=1.0 - loss)
        for epoch, loss in enumerate(losses, start=1)
    ]


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_the_first_of_the_best_epochs_on_validation_is_chosen(monitor: str) -> None:
    settings = TrainingConfig.model_validate({"monitor": monitor, "keep_best_epoch": True})
    assert choose_epoch(draw_curve([0.5, 0.3, 0.4, 0.3]), settings) == 2
    assert choose_epoch(draw_curve([0.5, 0.3, 0.4, 0.3]), settings.model_copy(update={"keep_best_epoch": False})) == 4


def test_patience_counts_epochs_without_an_improvement() -> None:
    settings = TrainingConfig(epochs=10, patience=2)
    assert [is_over(draw_curve([0.5, 0.3, 0.4, 0.3, 0.2][:epochs]), settings) for epochs in range(6)] == [
        *(False, False, False, False),
        True,  # the third and the fourth were no better than the second
        False,
    ]
    assert not is_over(draw_curve([0.5, 0.6, 0.7, 0.8]), TrainingConfig(epochs=10))
    assert is_over(draw_curve([0.5] * 10), TrainingConfig(epochs=10))


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_stops_early_with_the_weights_of_its_best_epoch(kind: str) -> None:
    train, validation = draw_examples(30), draw_examples(200, 1)
    settings = MLPConfig(
        hidden_units=(30,),
        activation="relu",
        loss="cross_entropy",
        learning_rate=0.5,
        momentum=0.9,
        batch_size=5,
        patience=3,
        keep_best_epoch=True,
    )
    curve: list[EpochMetrics] = []
    network = train_mlp(kind, settings, train, validation, classes=3, seed=0, on_epoch=curve.append)
    losses = [metrics.val_loss for metrics in curve]
    best = losses.index(min(losses, key=lambda loss: loss or 0.0)) + 1
    assert len(curve) == best + 3 < settings.epochs
    assert curve[-1].epochs == len(curve)
    assert network.measure(validation) == (curve[best - 1].val_loss, curve[best - 1].val_accuracy)


def test_choosing_needs_a_validation_part() -> None:
    with pytest.raises(ConfigError, match="need a validation part, which is empty"):
        train_mlp("numpy_mlp", DEMANDING, draw_examples(), None, classes=3, seed=0)


def test_schedules_begin_at_the_step_size_and_fall() -> None:
    for name, schedule in SCHEDULES.items():
        shares = [schedule(epoch / 10) for epoch in range(10)]
        assert shares[0] == 1.0
        assert shares == sorted(shares, reverse=True)
        assert (shares[-1] < 0.15) == (name != "constant")
    assert SCHEDULES["cosine"](0.5) == pytest.approx(0.5)
    assert SCHEDULES["linear"](0.25) == 0.75


@pytest.mark.parametrize("kind", KINDS)
def test_divergence_names_step_epoch_and_learning_rate(kind: str) -> None:
    settings = MLPConfig(
        hidden_units=(5,), activation="relu", loss="cross_entropy", learning_rate=1e30, batch_size=20, epochs=9
    )
    with pytest.raises(
        DivergenceError,
        match=r"the gradient is no finite number in step [2-4] of epoch 1 of 9: the learning rate 1e\+30 is too large",
    ):
        train_mlp(kind, settings, draw_examples(), classes=3, seed=0)


def test_a_divergence_in_the_last_step_is_noticed_too() -> None:
    settings = MLPConfig(hidden_units=(5,), activation="relu", loss="cross_entropy", learning_rate=1e30, epochs=9)
    with pytest.raises(DivergenceError, match=r"training loss is .* after the last step of epoch 1 of 9"):
        train_mlp("numpy_mlp", settings, draw_examples(20), classes=3, seed=0)
