"""MNIST, the photos and the weights of the data home: known counts and accuracies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from helpers.embeddings import check_faster_is_near, check_stored_is_live
from triptych.config.resolve import resolve_config
from triptych.data.boards import load_board, prepare_board
from triptych.data.datasets import fetch_dataset
from triptych.transfer.bundled.card import read_card
from triptych.transfer.bundled.digits import load_digits
from triptych.transfer.bundled.fitting import build_network, measure_accuracy
from triptych.transfer.embed import store_embeddings
from triptych.transfer.records import load_embeddings
from triptych.transfer.weights import load_backbone, load_bundled_weights


def test_real_weights_keep_their_accuracy(data_home: Path) -> None:
    """Logistic regression on frozen features of the tutorial's photos, by the book: 148 of 153."""
    weights = data_home / "weights" / "mobilenet_v2-imagenet-dequantised-ptq-bnstats.pth"
    data = load_board(prepare_board(resolve_config("photos", data=str(data_home / "hymenoptera")).boards[0]))
    backbone = load_backbone("mobilenet_v2", str(weights))
    stored = load_embeddings(store_embeddings([backbone], data.images, batch_size=32, threads=1)[0])
    training = np.concatenate([data.split.train, data.split.validation])
    probe = LogisticRegression(max_iter=2000).fit(stored[training], data.labels[training])
    right = int((probe.predict(stored[data.split.test]) == data.labels[data.split.test]).sum())
    assert right >= 146


def test_the_real_mnist_has_the_known_counts(data_home: Path) -> None:
    dataset = fetch_dataset(f"idx:{data_home / 'mnist' / 'MNIST' / 'raw'}")
    # Images of each digit in both parts together, from the original publication's files.
    assert np.bincount(dataset.labels).tolist() == [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]


@pytest.fixture
def _small_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store, in files of four images."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("triptych.data.shards.files.IMAGES_PER_SHARD", 4)


@pytest.mark.usefixtures("_small_shards")
def test_of_the_real_mnist_the_store_holds_what_the_network_gives(data_home: Path) -> None:
    backbone = load_backbone("shufflenet_v2_x0_5", "bundled")
    check_stored_is_live(backbone, fetch_dataset(f"idx:{data_home / 'mnist' / 'MNIST' / 'raw'}").images)


@pytest.mark.usefixtures("_small_shards")
def test_of_real_photos_the_store_holds_what_a_real_network_gives(data_home: Path) -> None:
    weights = data_home / "weights" / "mobilenet_v2-imagenet-dequantised-ptq-bnstats.pth"
    images = fetch_dataset(f"folder:{data_home / 'hymenoptera'}").images
    backbone = load_backbone("mobilenet_v2", str(weights))
    check_stored_is_live(backbone, images, range(60, 62))
    check_faster_is_near(backbone, images, range(60, 62))


def test_the_bundled_network_has_the_accuracy_of_its_card(data_home: Path) -> None:
    training, test = load_digits(data_home / "mnist" / "MNIST" / "raw")
    assert (len(training.labels), len(test.labels)) == (60_000, 10_000)
    card = read_card()
    state, preprocessing = load_bundled_weights(card["architecture"])
    network = build_network(seed=1)
    network.load_state_dict(state, strict=True)
    accuracy = measure_accuracy(network.eval(), test.take(np.arange(2000)), preprocessing)
    assert accuracy == pytest.approx(card["test_accuracy"], abs=0.015)
