"""The bundled backbone is what its card says, and transfers to scikit-learn's digits."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torchvision.models import shufflenet_v2_x0_5

from triptych.data.datasets import IDX_PREFIXES, load_digits_images
from triptych.images.preprocessing import Preprocessing
from triptych.transfer.bundled import train
from triptych.transfer.bundled.augment import augment_batch, coarsen_views, find_ink_boxes
from triptych.transfer.bundled.digits import load_digits, prepare_batch
from triptych.transfer.bundled.fitting import build_network, measure_accuracy
from triptych.transfer.weights import load_bundled_weights

BUNDLED = Path(train.__file__).parent


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    return dict(json.loads((BUNDLED / "card.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def state(card: dict[str, Any]) -> dict[str, Tensor]:
    return load_file(BUNDLED / card["weights"])


@pytest.fixture(scope="module")
def preprocessing(card: dict[str, Any]) -> Preprocessing:
    return load_bundled_weights(card["architecture"])[1]


@pytest.fixture
def network(state: dict[str, Tensor]) -> nn.Module:
    network = build_network(seed=1)
    network.load_state_dict(state, strict=True)
    return network.eval()


def probe_digits(network: nn.Module, preprocessing: Preprocessing) -> float:
    """Measure a logistic regression on the frozen embeddings of the digits, on a stratified 30 % of them.

    The embeddings are standardised first: those of an untrained trunk are tiny, and should not lose by that.
    """
    digits = load_digits_images("digits")
    transform, labels = preprocessing.build(), digits.labels
    inputs = torch.stack([transform(digits.images[row]) for row in range(len(labels))])
    network.fc = nn.Identity()
    network.eval()
    with torch.inference_mode():
        embeddings = torch.cat([network(batch) for batch in inputs.split(64)]).numpy()
    assert embeddings.shape == (1797, 1024)
    parts = train_test_split(embeddings, labels, test_size=0.3, stratify=labels, random_state=0)
    fit_x, test_x, fit_y, test_y = parts
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    with threadpool_limits(1):  # products this small lose far more to waiting threads than they gain
        return float(probe.fit(fit_x, fit_y).score(test_x, test_y))


def write_idx(path: Path, array: npt.NDArray[np.uint8], *, zipped: bool) -> None:
    """Write `array` as the IDX format's description says."""
    content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()
    if zipped:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def write_idx_set(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Write a set of `count` images for each part; an image of class k is a bar k pixels from the left."""
    for prefix in IDX_PREFIXES.values():
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 40, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4:24, 6 + label : 10 + label] += 200
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images, zipped=True)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels, zipped=False)


def test_card_names_the_bytes_of_the_weights(card: dict[str, Any]) -> None:
    content = (BUNDLED / card["weights"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == card["sha256"]


def test_weights_load_strictly_into_the_network(card: dict[str, Any], state: dict[str, Tensor]) -> None:
    network = shufflenet_v2_x0_5(num_classes=card["classes"])
    network.load_state_dict(state, strict=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == card["parameters"]
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float32}
    assert all(value.isfinite().all() for value in state.values())


def test_texts_agree_with_the_card(card: dict[str, Any]) -> None:
    text = (BUNDLED / "CARD.md").read_text(encoding="utf-8")
    assert card["sha256"] in text
    assert card["command"] in text
    assert f"{card['test_accuracy']:.2%}" in text
    assert f"{card['validation_accuracy']:.2%}" in text


def test_frozen_trunk_transfers_to_digits_and_an_untrained_one_does_not(
    preprocessing: Preprocessing, network: nn.Module
) -> None:
    trained = probe_digits(network, preprocessing)
    untrained = probe_digits(build_network(seed=1), preprocessing)
    assert trained >= 0.97
    assert trained - untrained >= 0.1


def test_mnist_accuracy_is_the_cards(card: dict[str, Any], preprocessing: Preprocessing, network: nn.Module) -> None:
    home = os.environ.get("TRIPTYCH_DATA_HOME")
    if not home:
        pytest.skip("TRIPTYCH_DATA_HOME is not set: no MNIST to measure on")
    folder = Path(home) / "mnist" / "MNIST" / "raw"
    if not folder.is_dir():
        pytest.skip(f"TRIPTYCH_DATA_HOME holds no {folder.relative_to(home)}")
    training, test = load_digits(folder)
    assert (len(training.labels), len(test.labels)) == (60_000, 10_000)
    accuracy = measure_accuracy(network, test.take(np.arange(2000)), preprocessing)
    assert accuracy == pytest.approx(card["test_accuracy"], abs=0.015)


def test_the_same_command_writes_the_same_bytes_and_leaves_torch_as_it_was(tmp_path: Path) -> None:
    write_idx_set(tmp_path, 256, np.random.default_rng(0))
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        train.main(["--mnist", str(tmp_path), "--out", str(out), "--epochs", "1", "--threads", "1"])
    first, second = [(out / train.WEIGHTS_FILE).read_bytes() for out in outs]
    assert first == second
    written = json.loads((outs[0] / train.CARD_FILE).read_text(encoding="utf-8"))
    assert written["sha256"] == hashlib.sha256(first).hexdigest()
    assert (written["trained_on"]["images"], written["trained_on"]["held_out_images"]) == (235, 21)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_digits_are_loaded_in_the_order_of_their_files(tmp_path: Path) -> None:
    images = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
    labels = np.array([3, 1, 9, 0], dtype=np.uint8)
    for prefix, rows in (("train", slice(3)), ("t10k", slice(3, 4))):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", images[rows], zipped=False)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", labels[rows], zipped=True)
    training, test = load_digits(tmp_path)
    assert np.array_equal(training.images, images[:3, :, :, None])
    assert np.array_equal(test.images, images[3:, :, :, None])
    assert (training.labels.tolist(), test.labels.tolist()) == ([3, 1, 9], [0])


def test_missing_files_are_named_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.main(["--mnist", str(tmp_path)])
    [record] = caplog.records
    assert str(tmp_path) in record.message
    assert "train-images-idx3-ubyte" in record.message
    assert "\n" not in record.message


def test_batches_are_prepared_as_the_card_prepares_one_image(preprocessing: Preprocessing) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 1)).astype(np.uint8)
    transform = preprocessing.build()
    expected = torch.stack([transform(image) for image in images])
    prepared = prepare_batch(torch.tensor(images).permute(0, 3, 1, 2).float() / 255, preprocessing)
    level = 1 / 255 / preprocessing.std[0]  # PIL's fixed point may round to the next one
    torch.testing.assert_close(prepared, expected, rtol=0, atol=1.01 * level)


def test_ink_box_by_hand() -> None:
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    image[0, 7:21, 14:28] = 255  # rows of the middle half, columns of the right half
    assert find_ink_boxes(image).tolist() == [[0.5, 0.0, 0.5, 0.5]]


def test_coarse_views_keep_paper_and_ink() -> None:
    views = torch.zeros(64, 1, 32, 32)
    views[:, :, :, 14:] = 1  # the edge lies in the middle of a cell
    cells = coarsen_views(views, torch.Generator().manual_seed(0))
    assert cells.shape == (64, 1, 8, 8)
    assert torch.equal(cells, torch.tensor([0, 0, 0, 0.5, 1, 1, 1, 1]).expand(64, 1, 8, 8))


def test_plain_views_are_the_images_themselves() -> None:
    images = torch.tensor(np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8))
    rng = torch.Generator().manual_seed(0)
    plain, moved, coarse = augment_batch(images, find_ink_boxes(images), 0.1, 0.5, rng)
    assert torch.equal((plain * 255).round().to(torch.uint8)[:, 0], images[:2])
    assert moved.shape == (8, 1, 28, 28)
    assert coarse.shape == (10, 1, 8, 8)
