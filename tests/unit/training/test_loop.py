from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from helpers.mlps import DEMANDING, MLPS, NUMPY_MLP, draw_examples, draw_weighted
from triptych.config.trainers import MLPConfig, TrainingConfig
from triptych.errors import ConfigError, DivergenceError
from triptych.networks.numpy_functions import LOSSES
from triptych.training.epochs import EpochMetrics
from triptych.training.loop import SCHEDULES, choose_epoch, is_over
from triptych.training.mlp import train_mlp


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


@pytest.mark.parametrize("network", MLPS)
def test_a_training_stops_early_with_the_weights_of_its_best_epoch(network: str) -> None:
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
    trained = train_mlp(network, settings, train, validation, classes=3, seed=0, on_epoch=curve.append)
    losses = [metrics.val_loss for metrics in curve]
    best = losses.index(min(losses, key=lambda loss: loss or 0.0)) + 1
    assert len(curve) == best + 3 < settings.epochs
    assert curve[-1].epochs == len(curve)
    chosen = curve[best - 1]
    assert trained.measure(validation) == (chosen.val_loss, chosen.val_accuracy, chosen.val_log_loss)


@pytest.mark.parametrize("network", MLPS)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_log_loss_on_validation_is_that_of_the_probabilities_whatever_the_loss(network: str, loss: str) -> None:
    settings = MLPConfig.model_validate({"hidden_units": (5,), "loss": loss, "epochs": 1, "learning_rate": 0.5})
    train, validation = draw_weighted(), draw_examples(200, 1)
    curve: list[EpochMetrics] = []
    trained = train_mlp(network, settings, train, validation, classes=3, seed=0, on_epoch=curve.append)
    probabilities = trained.predict_proba(validation.features).astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert curve[0].val_log_loss == pytest.approx(log_loss(validation.labels, probabilities), rel=1e-6)
    assert (curve[0].val_log_loss == curve[0].val_loss) == (loss == "cross_entropy")
    train_mlp(network, settings, train, None, classes=3, seed=0, on_epoch=curve.append)
    assert "val_log_loss" not in curve[1].values()


def test_choosing_needs_a_validation_part() -> None:
    with pytest.raises(ConfigError, match="need a validation set, but it is empty"):
        train_mlp(NUMPY_MLP, DEMANDING, draw_examples(), None, classes=3, seed=0)


def test_schedules_begin_at_the_step_size_and_fall() -> None:
    for name, schedule in SCHEDULES.items():
        shares = [schedule(epoch / 10) for epoch in range(10)]
        assert shares[0] == 1.0
        assert shares == sorted(shares, reverse=True)
        assert (shares[-1] < 0.15) == (name != "constant")
    assert SCHEDULES["cosine"](0.5) == pytest.approx(0.5)
    assert SCHEDULES["linear"](0.25) == 0.75


@pytest.mark.parametrize("network", MLPS)
def test_divergence_names_step_epoch_and_learning_rate(network: str) -> None:
    settings = MLPConfig(
        hidden_units=(5,), activation="relu", loss="cross_entropy", learning_rate=1e30, batch_size=20, epochs=9
    )
    with pytest.raises(
        DivergenceError,
        match=r"the gradient is not finite in step [2-4] of epoch 1 of 9: the learning rate 1e\+30 is too large",
    ):
        train_mlp(network, settings, draw_examples(), classes=3, seed=0)


def test_a_divergence_in_the_last_step_is_noticed_too() -> None:
    settings = MLPConfig(hidden_units=(5,), activation="relu", loss="cross_entropy", learning_rate=1e30, epochs=9)
    with pytest.raises(DivergenceError, match=r"training loss is .* after the last step of epoch 1 of 9"):
        train_mlp(NUMPY_MLP, settings, draw_examples(20), classes=3, seed=0)
