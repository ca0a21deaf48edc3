from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.idx import write_idx
from triptych.data.idx import IDX_PREFIXES
from triptych.transfer.bundled import train


def write_idx_set(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Write a set of `count` images for each part; an image of class k is a bar k pixels from the left."""
    for prefix in IDX_PREFIXES.values():
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 40, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4:24, 6 + label : 10 + label] += 200
        write_idx(folder, prefix, images, labels)


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


def test_missing_files_are_named_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.main(["--mnist", str(tmp_path)])
    [record] = caplog.records
    assert str(tmp_path) in record.message
    assert "train-images-idx3-ubyte" in record.message
    assert "\n" not in record.message
