from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.data.shards.places import Run
from triptych.evaluation.history.added import find_added, measure_added
from triptych.transfer.records import EmbeddingRecord
from triptych.transfer.shards import write_shard


def load(folder: Path) -> BoardData:
    return load_board(prepare_board(resolve_config("photos", data=str(folder), panels=["vgg16"]).boards[0]))


def store(folder: Path, rows: NDArray[np.float32]) -> EmbeddingRecord:
    """Return the record of embeddings that are stored in one file."""
    identities = np.array([f"{number:032x}" for number in range(len(rows))], dtype="S32")
    write_shard(folder / "rows.npy", identities, rows)
    return EmbeddingRecord((Run(folder / "rows.npy", 0, len(rows)),), "", len(rows), 0, 0.0, panel="vgg16")


def test_the_photos_that_were_added_are_found_and_compared(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    moved = [folder / "green" / f"{number}.jpg" for number in (3, 5)]
    for file in moved:
        file.rename(tmp_path / file.name)
    before = load(folder).prepared.data_digest
    for file in moved:
        (tmp_path / file.name).rename(file)
    data = load(folder)
    found = find_added(data, before)
    assert found is not None
    assert [data.images.files[row].name for row in np.flatnonzero(found)] == ["3.jpg", "5.jpg"]  # type: ignore[attr-defined]
    rows = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    rows[found] += 9.0
    drift = measure_added(data, {"vgg16": store(tmp_path, rows)}, before)
    assert drift is not None
    assert (drift.panel, drift.added, drift.earlier) == ("vgg16", 2, 18)
    assert drift.p_value <= 0.02
    # Nothing is known of another night, nothing was added, and nothing is stored.
    assert measure_added(data, {"vgg16": store(tmp_path, rows)}, "0" * 64) is None
    assert measure_added(data, {"vgg16": store(tmp_path, rows)}, data.prepared.data_digest) is None
    assert measure_added(data, {}, before) is None
