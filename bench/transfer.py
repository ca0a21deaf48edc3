"""Transfer on the ants and bees with MobileNetV2's weights: the tutorial's loop against one embedding pass.

The loop is that of PyTorch's transfer-learning tutorial for a fixed feature extractor: every image is decoded and
sent through the frozen network again in each epoch. One of its epochs is timed and multiplied.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from examples import find_photos
from measure import Figure, publish
from torch import nn
from torch.utils.data import DataLoader, Dataset

from triptych.backbones import Backbone, load_backbone
from triptych.boards import Board, load_board, prepare_board
from triptych.config import resolve_config
from triptych.embedding_record import load_embeddings
from triptych.embeddings import store_embeddings
from triptych.sections import TransferConfig
from triptych.threads import count_cores
from triptych.training import Examples
from triptych.transfer import Head, build_linear, train_head

SECTION = "transfer"
PANEL, REPEATS, EPOCHS = "mobilenet_v2", 2, 25
# The tutorial's: batches of 4 there, of 32 here as in ours; four workers there, as many as cores here.
BATCH, LEARNING_RATE, MOMENTUM = 32, 0.01, 0.9
COLD_TARGET, WARM_TARGET = 30.0, 300.0
PAIRS, QUICK_PAIRS = 5, 1
LEAST_ACCURACY = 0.9


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """The photos of a part, decoded and transformed each time."""

    def __init__(self, board: Board, backbone: Backbone, indices: np.ndarray) -> None:
        """Remember which."""
        self._board, self._preprocess, self._indices = board, backbone.preprocessing.build(), indices

    def __len__(self) -> int:
        """Return how many."""
        return len(self._indices)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        """Return an input (3, crop, crop) and its class."""
        index = int(self._indices[position])
        return self._preprocess(self._board.images[index]), int(self._board.labels[index])


def build_tutorial_epoch(board: Board, backbone: Backbone) -> Callable[[], None]:
    """Return a function that trains and validates for one epoch as the tutorial does."""
    head = build_linear(backbone.dimension, len(board.record.classes), np.random.default_rng(0))
    network = nn.Sequential(backbone.trunk, nn.Dropout(backbone.head_dropout), head)
    optimizer = torch.optim.SGD(head.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    loaders = [
        DataLoader(Photos(board, backbone, indices), BATCH, shuffle=True, num_workers=count_cores())
        for indices in (board.split.train, board.split.validation)
    ]

    def run() -> None:
        torch.set_num_threads(count_cores())
        for x, labels in loaders[0]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), labels).backward()
            optimizer.step()
        with torch.inference_mode():
            for x, _ in loaders[1]:
                network(x)

    return run


def check_answer(board: Board, backbone: Backbone) -> None:
    """Raise unless the heads name most of the test photos rightly: what is timed must be the real thing."""
    record = store_embeddings([backbone], board.images, batch_size=BATCH, threads=count_cores())[0]
    test = board.split.test
    embeddings = np.asarray(load_embeddings(record)[test])
    for head in run_ours(board, backbone):
        accuracy = float((head.predict_proba(embeddings).argmax(axis=1) == board.labels[test]).mean())
        if accuracy < LEAST_ACCURACY:
            raise SystemExit(f"a head gets {accuracy:.3f} of the test photos right: at least {LEAST_ACCURACY} is known")


def run_ours(board: Board, backbone: Backbone) -> list[Head]:
    """Embed what the store lacks, and train the head of every repeat."""
    settings = TransferConfig(epochs=EPOCHS, batch_size=BATCH, learning_rate=LEARNING_RATE, momentum=MOMENTUM)
    record = store_embeddings([backbone], board.images, batch_size=BATCH, threads=count_cores())[0]
    stored = load_embeddings(record)
    parts = [
        Examples(stored.select(indices), board.labels[indices])  # type: ignore[arg-type]  # taken like an array
        for indices in (board.split.train, board.split.validation)
    ]
    return [
        train_head(
            settings,
            parts[0],
            parts[1],
            classes=len(board.record.classes),
            dropout=backbone.head_dropout,
            seed=repeat,
            on_epoch=lambda metrics: None,
        )
        for repeat in range(REPEATS)
    ]


def time_once(job: Callable[[], object]) -> float:
    """Return the seconds of a job."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    pairs = QUICK_PAIRS if parser.parse_args().quick else PAIRS
    photos, weights = find_photos()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRIPTYCH_CACHE_HOME"] = folder
        board = load_board(prepare_board(resolve_config("photos", data=str(photos), panels=[PANEL]).boards[0]))
        backbone = load_backbone(PANEL, str(weights))
        epoch = build_tutorial_epoch(board, backbone)
        epoch()  # warm-up
        check_answer(board, backbone)
        cold, warm = [], []
        for _ in range(pairs):
            whole = time_once(epoch) * EPOCHS * REPEATS
            shutil.rmtree(Path(folder) / "embeddings")
            cold.append(whole / time_once(lambda: run_ours(board, backbone)))
            warm.append(whole / time_once(lambda: run_ours(board, backbone)))
    name = f"{REPEATS} x {EPOCHS} epochs, tutorial's loop (one epoch timed, multiplied) / ours"
    figures = [
        Figure(SECTION, f"{name}, {store} store", float(np.median(ratios)), min(ratios), max(ratios), target)
        for store, ratios, target in (("cold", cold, COLD_TARGET), ("warm", warm, WARM_TARGET))
    ]
    publish(SECTION, figures, f"ants and bees, {len(board.images)} photos, {PANEL}, {count_cores()} cores")


if __name__ == "__main__":
    main()
