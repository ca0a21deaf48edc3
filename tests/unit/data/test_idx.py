from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.damages import DAMAGES
from helpers.idx import write_idx
from triptych.data.datasets import fetch_dataset
from triptych.errors import DataError


@pytest.fixture
def idx(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(30, 5, 4), dtype=np.uint8)
    labels = np.arange(30, dtype=np.uint8) % 3
    write_idx(tmp_path, "train", images[:20], labels[:20], zipped=True)
    write_idx(tmp_path, "t10k", images[20:], labels[20:])
    return tmp_path, images, labels


def test_idx_files_are_read_zipped_or_not(idx: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, images, labels = idx
    dataset = fetch_dataset(f"idx:{folder}")
    np.testing.assert_array_equal(np.stack([dataset.images[i] for i in range(30)])[..., 0], images)
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.parts is not None
    assert dataset.parts.tolist() == ["train"] * 20 + ["test"] * 10


def test_a_truncated_idx_file_is_named(idx: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, _, _ = idx
    file = folder / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte is truncated"):
        fetch_dataset(f"idx:{folder}")


def test_a_damaged_zipped_file_is_named(idx: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, _, _ = idx
    DAMAGES["flip"](folder / "train-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match=r"ubyte\.gz cannot be read .*: download it again"):
        fetch_dataset(f"idx:{folder}")
