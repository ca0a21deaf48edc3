"""Transfer learning on the ants and bees with MobileNetV2: the tutorial's loop against one embedding pass.

The loop is that of PyTorch's transfer-learning tutorial with a fixed feature extractor, which decodes every image and
runs it through the frozen network in each epoch. One of its epochs is timed and multiplied. All is on the CPU;
`bench/gpu.py` measures the embedding on a GPU.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from additions import measure_additions, measure_folder_changes
from embedding import measure_files, measure_forward, measure_similarity
from examples import find_photos
from measure import Figure, publish
from memory import measure_memory
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tuning_trials import measure_trials

from triptych.config.resolve import resolve_config
from triptych.config.trainers import TransferConfig
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.networks.backbones import Backbone
from triptych.networks.head import Head
from triptych.networks.light_torch import build_linear
from triptych.networks.minibatches import Examples
from triptych.networks.precision import PRECISIONS
from triptych.system.paths import cache_home
from triptych.system.threads import count_cores
from triptych.transfer.choose_precision import choose_format_for
from triptych.transfer.embed import store_embeddings
from triptych.transfer.heads import train_head
from triptych.transfer.records import StoredRows, load_embeddings
from triptych.transfer.weights import load_backbone

SECTION = "transfer"
PANEL, REPEATS, EPOCHS = "mobilenet_v2", 2, 25
# As in the tutorial, except for the batch size (4 there) and the number of loading processes (4 there, all cores here).
BATCH, LEARNING_RATE, MOMENTUM = 32, 0.01, 0.9
COLD_TARGET, WARM_TARGET = 30.0, 300.0
PAIRS, QUICK_PAIRS = 5, 1
COMPARED_EPOCHS = 5
LEAST_ACCURACY = 0.9


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """The photos of one part, decoded and transformed on every access."""

    def __init__(self, data: BoardData, backbone: Backbone, indices: np.ndarray) -> None:
        """Keep the indices of the part, (n,) int64."""
        self._data, self._preprocess, self._indices = data, backbone.preprocessing.build(), indices

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self._indices)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        """Return an input, (3, crop, crop) float32, and its class."""
        index = int(self._indices[position])
        return self._preprocess(self._data.images[index]), int(self._data.labels[index])


def build_tutorial_epoch(data: BoardData, backbone: Backbone) -> tuple[Callable[[], None], nn.Linear]:
    """Return a function that trains and validates for one epoch as the tutorial does, and the head that it keeps.

    Like the tutorial's loop, and like ours, it keeps the weights of the epoch that is best on the validation set.
    """
    head = build_linear(backbone.dimension, len(data.prepared.classes), np.random.default_rng(0))
    # In PyTorch's default memory layout, unlike ours.
    trunk = copy.deepcopy(backbone.trunk).to(memory_format=torch.contiguous_format)
    network = nn.Sequential(trunk, nn.Dropout(backbone.head_dropout), head)
    optimizer = torch.optim.SGD(head.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    loaders = [
        DataLoader(Photos(data, backbone, indices), BATCH, shuffle=True, num_workers=count_cores())
        for indices in (data.split.train, data.split.validation)
    ]

    kept, best = copy.deepcopy(head), -1

    def run() -> None:
        nonlocal best
        torch.set_num_threads(count_cores())
        for x, labels in loaders[0]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), labels).backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            correct = sum(int((network(x).argmax(dim=1) == labels).sum()) for x, labels in loaders[1])
        network[1:].train()  # dropout and head; the trunk stays as it was frozen
        if correct > best:
            best = correct
            kept.load_state_dict(head.state_dict())

    return run, kept


def check_answer(data: BoardData, backbone: Backbone) -> None:
    """Exit unless the heads classify most test photos correctly, so that no broken code is timed."""
    for head, stored in run_ours(data, backbone):
        if (accuracy := measure_accuracy(data, head, stored)) < LEAST_ACCURACY:
            raise SystemExit(f"a head has a test accuracy of {accuracy:.3f}: at least {LEAST_ACCURACY} is expected")


def measure_accuracy(data: BoardData, head: Head, stored: StoredRows) -> float:
    """Return the accuracy of a head on the test photos."""
    test = data.split.test
    return float((head.predict_proba(np.asarray(stored[test])).argmax(axis=1) == data.labels[test]).mean())


def run_ours(
    data: BoardData, backbone: Backbone, epochs: int = EPOCHS, allowed: Sequence[str] = PRECISIONS["auto"]
) -> list[tuple[Head, StoredRows]]:
    """Choose the number format, embed the missing photos, and train the head of every repeat."""
    settings = TransferConfig(epochs=epochs, batch_size=BATCH, learning_rate=LEARNING_RATE, momentum=MOMENTUM)
    # Training a head limits this thread to one.
    torch.set_num_threads(count_cores())
    chosen, _ = choose_format_for(backbone, data.images, allowed)
    [record] = store_embeddings([backbone.in_format(chosen)], data.images, batch_size=BATCH, threads=count_cores())
    stored = load_embeddings(record)
    parts = [
        Examples(stored.select(indices), data.labels[indices]) for indices in (data.split.train, data.split.validation)
    ]
    heads = [
        train_head(
            settings,
            parts[0],
            parts[1],
            classes=len(data.prepared.classes),
            dropout=backbone.head_dropout,
            seed=repeat,
            on_epoch=lambda metrics: None,
        )
        for repeat in range(REPEATS)
    ]
    return [(head, stored) for head in heads]


def forget_embeddings() -> None:
    """Delete the embeddings and the measured number formats."""
    for folder in ("embeddings", "number-formats"):
        shutil.rmtree(cache_home() / folder, ignore_errors=True)


def time_once(job: Callable[[], object]) -> float:
    """Return the seconds of a job."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def measure_whole_job(data: BoardData, backbone: Backbone, *, quick: bool) -> list[Figure]:
    """Compare the time of the tutorial's loop with ours, starting with an empty and with a filled store."""
    epoch, _ = build_tutorial_epoch(data, backbone)
    epoch()  # warm-up
    check_answer(data, backbone)
    cold, warm = [], []
    for _ in range(QUICK_PAIRS if quick else PAIRS):
        whole = time_once(epoch) * EPOCHS * REPEATS
        forget_embeddings()
        cold.append(whole / time_once(lambda: run_ours(data, backbone)))
        warm.append(whole / time_once(lambda: run_ours(data, backbone)))
    name = f"{REPEATS} x {EPOCHS} epochs, tutorial's loop (one epoch timed, multiplied) / ours"
    return [
        Figure(SECTION, f"{name}, {store} store", float(np.median(ratios)), min(ratios), max(ratios), target)
        for store, ratios, target in (("cold", cold, COLD_TARGET), ("warm", warm, WARM_TARGET))
    ]


def measure_accuracy_beside_tutorial(data: BoardData, backbone: Backbone) -> Figure:
    """Train both for a few epochs with one seed, and compare how many test photos they classify correctly.

    Nothing may differ from one run to the next: the loop's order and dropout are drawn from PyTorch's global generator,
    and a number format that is chosen by its speed would give other embeddings whenever the machine is busy.
    """
    epoch, tutorials_head = build_tutorial_epoch(data, backbone)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(COMPARED_EPOCHS):
            epoch()
    head, stored = run_ours(data, backbone, COMPARED_EPOCHS, PRECISIONS["float32"])[0]
    accuracies = [measure_accuracy(data, one, stored) for one in (Head(tutorials_head), head)]
    images = abs(round((accuracies[1] - accuracies[0]) * len(data.split.test)))
    of_all = f"of {len(data.split.test)} test photos"
    name = f"difference in correct predictions {of_all}, our head and the tutorial's, {COMPARED_EPOCHS} epochs"
    return Figure(SECTION, name, images, images, images, 1, at_most=True)


def measure_all(data: BoardData, backbone: Backbone, *, quick: bool) -> list[Figure]:
    """Return all figures, those of the whole job first."""
    figures = measure_whole_job(data, backbone, quick=quick)
    chosen, _ = choose_format_for(backbone, data.images, PRECISIONS["auto"])
    figures.append(measure_files(data, backbone.in_format(chosen), quick=quick))
    figures.append(measure_similarity(data, backbone, chosen))
    if not quick:
        figures.append(measure_accuracy_beside_tutorial(data, backbone))
    figures.append(measure_trials(data, PANEL, forget_embeddings, quick=quick))
    # A pass of VGG16 takes seconds in plain float32.
    figures += [measure_forward(name, quick=quick) for name in ("resnet50", *(() if quick else ("vgg16",)))]
    figures.append(measure_memory(quick=quick))
    figures += measure_additions(SECTION) + measure_folder_changes(SECTION)
    return figures


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    quick = parser.parse_args().quick
    photos, weights = find_photos()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRIPTYCH_CACHE_HOME"] = folder
        settings = [f"transfer.weights={weights}"]
        config = resolve_config("photos", data=str(photos), panels=[PANEL], settings=settings)
        data = load_board(prepare_board(config.boards[0]))
        backbone = load_backbone(PANEL, str(weights))
        figures = measure_all(data, backbone, quick=quick)
    publish(SECTION, figures, f"ants and bees, {len(data.images)} photos, {PANEL}, {count_cores()} cores")


if __name__ == "__main__":
    main()
