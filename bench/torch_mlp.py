"""The PyTorch network against the training loop of PyTorch's tutorials: `DataLoader(TensorDataset(...))`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from examples import CLASSES, load_examples
from measure import PAIRS, QUICK_PAIRS, Figure, compare_times, publish, time_by_turns
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from triptych.config.trainers import MLPConfig
from triptych.networks.initialisation import initialise_layers
from triptych.networks.minibatches import Examples
from triptych.networks.torch_mlp import TorchMLP, build_network

SECTION = "torch_mlp"
BATCH, LEARNING_RATE, MOMENTUM, THREADS = 100, 0.01, 0.9, 1
TARGETS: dict[tuple[int, ...], float] = {(50, 50): 1.5, (500, 500): 1.1}
# Both start from the same weights and see each image once per epoch, so their final losses must be close.
LOSS_TOLERANCE = 0.05


def build_usual_loop(network: nn.Sequential, train: Examples) -> Callable[[], None]:
    """Return a function that trains for one epoch as PyTorch's tutorials do."""
    data = TensorDataset(torch.from_numpy(train.features), torch.from_numpy(train.labels))
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    criterion = nn.MSELoss()

    def run() -> None:
        for x, labels in loader:
            optimizer.zero_grad()
            targets = nn.functional.one_hot(labels, CLASSES).float()
            criterion(network(x), targets).backward()
            optimizer.step()

    return run


def measure(hidden: tuple[int, ...], train: Examples, pairs: int) -> Figure:
    """Return the ratio of time for a network with these hidden layers, after checking that both losses agree."""
    layers = initialise_layers((784, *hidden, CLASSES), "normal", "float32", np.random.default_rng(0))
    ours = TorchMLP(layers, loss_reduction="mean")
    usual = TorchMLP(layers, loss_reduction="mean")
    usual.network = build_network(layers, "sigmoid", "squared_error")
    settings = MLPConfig(loss_reduction="mean", batch_size=BATCH, momentum=MOMENTUM, threads=THREADS)
    rng = np.random.default_rng(0)
    seconds = time_by_turns(
        {
            "usual": build_usual_loop(usual.network, train),
            "ours": lambda: ours.train_epoch(train, settings, LEARNING_RATE, rng),
        },
        pairs,
    )
    losses = [network.measure(train)[0] for network in (ours, usual)]
    if abs(losses[0] - losses[1]) > LOSS_TOLERANCE * losses[1]:
        raise SystemExit(f"the two loops end with different losses: {losses}")
    return compare_times(
        SECTION, f"DataLoader loop / ours {hidden}, CPU", seconds["usual"], seconds["ours"], TARGETS[hidden]
    )


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, only the small network")
    quick = parser.parse_args().quick
    torch.set_num_threads(THREADS)
    train, _, description = load_examples()
    shapes = list(TARGETS)[: 1 if quick else None]
    figures = [measure(hidden, train, QUICK_PAIRS if quick else PAIRS) for hidden in shapes]
    publish(SECTION, figures, f"{description}, {len(train):,} x 784, batch {BATCH}, {THREADS} thread each")


if __name__ == "__main__":
    main()
