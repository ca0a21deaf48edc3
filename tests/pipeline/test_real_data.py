from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from triptych.data.datasets import fetch_dataset
from triptych.transfer.embed import store_embeddings
from triptych.transfer.records import load_embeddings
from triptych.transfer.weights import load_backbone


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


def test_the_real_mnist_has_the_known_counts(data_home: Path) -> None:
    dataset = fetch_dataset(f"idx:{data_home / 'mnist' / 'MNIST' / 'raw'}")
    # Images of each digit in both parts together, from the original publication's files.
    assert np.bincount(dataset.labels).tolist() == [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
