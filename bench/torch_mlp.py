"""The PyTorch network against the training loop of PyTorch's tutorials: `DataLoader(TensorDataset(...))`.

`bench/gpu.py` measures the same on a GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from examples import CLASSES, load_examples
from measure import PAIRS, QUICK_PAIRS, compare_times, publish, time_by_turns
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


def build_usual_loop(network: nn.Sequential, train: Examples, device: str) -> Callable[[], None]:
    """Return a function that trains for one epoch as PyTorch's tutorials do, on a GPU to the end of the last step."""
    data = TensorDataset(torch.from_numpy(train.features), torch.from_numpy(train.labels))
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    criterion = nn.MSELoss()

    def run() -> None:
        for images, classes in loader:
            x, labels = images.to(device), classes.to(device)
            optimizer.zero_grad()
            targets = nn.functional.one_hot(labels, CLASSES).float()
            criterion(network(x), targets).backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def measure(hidden: tuple[int, ...], train: Examples, pairs: int, device: str) -> tuple[list[float], list[float]]:
    """Return the seconds of the usual epochs and of ours, after checking that both losses agree.

    Args:
        hidden: units of each hidden layer.
        train: the training set.
        pairs: epochs of each.
        device: "cpu" or "cuda".
    """
    layers = initialise_layers((784, *hidden, CLASSES), "normal", "float32", np.random.default_rng(0))
    ours = TorchMLP(layers, loss_reduction="mean")
    usual = TorchMLP(layers, loss_reduction="mean")
    usual.network = build_network(layers, "sigmoid", "squared_error").to(device)
    settings = MLPConfig(
        loss_reduction="mean",
        batch_size=BATCH,
        momentum=MOMENTUM,
        threads=THREADS,
        device="auto" if device == "cuda" else "cpu",
    )
    rng = np.random.default_rng(0)
    seconds = time_by_turns(
        {
            "usual": build_usual_loop(usual.network, train, device),
            "ours": lambda: ours.train_epoch(train, settings, LEARNING_RATE, rng),
        },
        pairs,
    )
    losses = [network.measure(train)[0] for network in (ours, usual)]
    if abs(losses[0] - losses[1]) > LOSS_TOLERANCE * losses[1]:
        raise SystemExit(f"the two loops end with different losses: {losses}")
    return seconds["usual"], seconds["ours"]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, only the small network")
    quick = parser.parse_args().quick
    torch.set_num_threads(THREADS)
    train, _, description = load_examples()
    shapes = list(TARGETS)[: 1 if quick else None]
    figures = [
        compare_times(
            SECTION,
            f"DataLoader loop / ours {hidden}, CPU",
            *measure(hidden, train, QUICK_PAIRS if quick else PAIRS, "cpu"),
            TARGETS[hidden],
        )
        for hidden in shapes
    ]
    publish(SECTION, figures, f"{description}, {len(train):,} x 784, batch {BATCH}, {THREADS} thread each")


if __name__ == "__main__":
    main()
