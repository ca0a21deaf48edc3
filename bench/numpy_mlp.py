"""The NumPy network against a textbook implementation, its matrix products alone, and scikit-learn."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
from examples import CLASSES, load_examples
from measure import PAIRS, QUICK_PAIRS, Figure, compare_times, publish, time_by_turns
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from textbook import TextbookMLP
from threadpoolctl import threadpool_limits

from triptych.config.trainers import MLPConfig
from triptych.networks.initialisation import Layer, initialise_layers
from triptych.networks.minibatches import Examples
from triptych.networks.numpy_functions import Floats
from triptych.networks.numpy_mlp import NumpyMLP

SECTION = "numpy_mlp"
BATCH, LEARNING_RATE, THREADS = 100, 0.1, 1
# Hidden layers: targets of textbook / ours, ours / matrix products, scikit-learn / ours.
TARGETS: dict[tuple[int, ...], tuple[float, float, float]] = {
    (50, 50): (2.5, 1.35, 1.75),
    (500, 500): (2.0, 1.12, 1.35),
}
ACCURACY_EPOCHS: dict[tuple[int, ...], int] = {(50, 50): 10, (500, 500): 2}
# Largest difference in accuracy, in points.
ACCURACY_TOLERANCE = 0.3


def multiply_matrices(layers: list[Layer], features: Floats) -> Callable[[], None]:
    """Return a function that computes only the matrix products of one epoch, in float32.

    It takes the training examples in their order, without shuffling or copying.
    """
    weights = [weight.copy() for weight, _ in layers]
    gradients = [np.empty_like(weight) for weight in weights]
    sizes = [weights[0].shape[1], *(len(weight) for weight in weights)]
    activations = [np.full((BATCH, size), 0.5, np.float32) for size in sizes]
    deltas = [np.full((BATCH, size), 1e-3, np.float32) for size in sizes]
    products = [np.empty_like(activation) for activation in activations]

    def run() -> None:
        for start in range(0, len(features), BATCH):
            activations[0] = features[start : start + BATCH]
            for layer, weight in enumerate(weights):
                np.matmul(activations[layer], weight.T, out=products[layer + 1])
            for layer in reversed(range(len(weights))):
                np.matmul(deltas[layer + 1].T, activations[layer], out=gradients[layer])
                if layer:
                    np.matmul(deltas[layer + 1], weights[layer], out=products[layer])

    return run


def build_sklearn(hidden: tuple[int, ...], train: Examples) -> Callable[[], object]:
    """Return a function that trains scikit-learn's network for one epoch with the same batch size."""
    network = MLPClassifier(
        hidden,
        activation="logistic",
        solver="sgd",
        batch_size=BATCH,
        learning_rate_init=LEARNING_RATE,
        momentum=0.0,
        alpha=0.0,
        random_state=0,
    )
    classes = np.arange(CLASSES)
    return lambda: network.partial_fit(train.features, train.labels, classes=classes)


def measure_speed(hidden: tuple[int, ...], train: Examples, pairs: int) -> list[Figure]:
    """Return the three ratios of time for a network with these hidden layers."""
    layers = initialise_layers((784, *hidden, CLASSES), "normal", "float32", np.random.default_rng(0))
    ours = NumpyMLP([(weight.copy(), bias.copy()) for weight, bias in layers])
    settings = MLPConfig(hidden_units=hidden, batch_size=BATCH)
    book = TextbookMLP(layers)
    features = np.asarray(train.features)
    wide = features.astype(np.float64)
    order = np.random.default_rng(0).permutation(len(train))
    seconds = time_by_turns(
        {
            "ours": lambda: ours.train_epoch(train, settings, LEARNING_RATE, np.random.default_rng(0)),
            "products": multiply_matrices(layers, features),
            "textbook": lambda: book.train_epoch(wide, train.labels, order, BATCH, LEARNING_RATE),
            "sklearn": build_sklearn(hidden, train),
        },
        pairs,
    )
    of_book, of_products, of_sklearn = TARGETS[hidden]
    return [
        compare_times(SECTION, f"textbook / ours {hidden}", seconds["textbook"], seconds["ours"], of_book),
        compare_times(
            SECTION, f"ours / matrix products {hidden}", seconds["ours"], seconds["products"], of_products, at_most=True
        ),
        compare_times(SECTION, f"scikit-learn / ours {hidden}", seconds["sklearn"], seconds["ours"], of_sklearn),
    ]


def measure_accuracy(hidden: tuple[int, ...], train: Examples, test: Examples) -> Figure:
    """Return the difference in test accuracy from the textbook in float64, in points, with the same seed and epochs."""
    layers = initialise_layers((784, *hidden, CLASSES), "normal", "float64", np.random.default_rng(0))
    ours = NumpyMLP([(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers])
    settings = MLPConfig(hidden_units=hidden, batch_size=BATCH)
    book = TextbookMLP(layers)
    wide = np.asarray(train.features, dtype=np.float64)
    for epoch in range(ACCURACY_EPOCHS[hidden]):
        ours.train_epoch(train, settings, LEARNING_RATE, np.random.default_rng(epoch))
        order = np.random.default_rng(epoch).permutation(len(train))
        book.train_epoch(wide, train.labels, order, BATCH, LEARNING_RATE)
    points = 100.0 * abs(ours.measure(test)[1] - book.score(np.asarray(test.features, dtype=np.float64), test.labels))
    return Figure(
        SECTION, f"accuracy, points from textbook {hidden}", points, points, points, ACCURACY_TOLERANCE, at_most=True
    )


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, only the small network")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore", ConvergenceWarning)
    train, test, description = load_examples()
    figures = []
    with threadpool_limits(THREADS):
        for hidden in list(TARGETS)[: 1 if quick else None]:
            figures += measure_speed(hidden, train, QUICK_PAIRS if quick else PAIRS)
            figures.append(measure_accuracy(hidden, train, test))
    publish(SECTION, figures, f"{description}, {len(train):,} x 784, batch {BATCH}, {THREADS} thread each")


if __name__ == "__main__":
    main()
