from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from helpers.idx import write_idx
from triptych.images.preprocessing import Preprocessing
from triptych.transfer.bundled.card import read_card
from triptych.transfer.bundled.digits import load_digits, prepare_batch


def test_digits_are_loaded_in_the_order_of_their_files(tmp_path: Path) -> None:
    images = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
    labels = np.array([3, 1, 9, 0], dtype=np.uint8)
    for prefix, rows in (("train", slice(3)), ("t10k", slice(3, 4))):
        write_idx(tmp_path, prefix, images[rows], labels[rows], zipped=prefix == "train")
    training, test = load_digits(tmp_path)
    assert np.array_equal(training.images, images[:3, :, :, None])
    assert np.array_equal(test.images, images[3:, :, :, None])
    assert (training.labels.tolist(), test.labels.tolist()) == ([2, 1, 3], [0])  # indices into the classes


def test_batches_are_prepared_as_the_card_prepares_one_image() -> None:
    preprocessing = Preprocessing.from_json(read_card()["preprocessing"])
    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 1)).astype(np.uint8)
    transform = preprocessing.build()
    expected = torch.stack([transform(image) for image in images])
    prepared = prepare_batch(torch.tensor(images).permute(0, 3, 1, 2).float() / 255, preprocessing)
    level = 1 / 255 / preprocessing.std[0]  # PIL's fixed point may round to the next one
    torch.testing.assert_close(prepared, expected, rtol=0, atol=1.01 * level)
