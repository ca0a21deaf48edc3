from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.config.schema import SplitConfig
from triptych.data.splits import draw_split, identify_split, load_split, save_split
from triptych.errors import DataError


@given(
    counts=st.lists(st.integers(10, 40), min_size=2, max_size=5),
    test_fraction=st.floats(0.2, 0.5),
    validation_fraction=st.sampled_from([0.0, 0.2, 0.4]),
    seed=st.integers(0, 2**31),
)
def test_every_image_is_in_one_part_and_classes_keep_their_shares(
    counts: list[int], test_fraction: float, validation_fraction: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    settings = SplitConfig(test_fraction=test_fraction, validation_fraction=validation_fraction, seed=seed)
    split = draw_split(labels, None, tuple(map(str, range(len(counts)))), "data", settings)
    together = np.concatenate([split.train, split.validation, split.test])
    assert sorted(together.tolist()) == list(range(len(labels)))
    expected = np.array(counts) * len(split.test) / len(labels)
    assert np.abs(np.bincount(labels[split.test], minlength=len(counts)) - expected).max() <= 1.0
    assert (len(split.validation) == 0) == (validation_fraction == 0.0)


def test_seventy_thirty_of_mnist_is_exact() -> None:
    labels = np.repeat(np.arange(10), 7000)
    settings = SplitConfig(test_fraction=0.3, validation_fraction=0.0)
    split = draw_split(labels, None, tuple("0123456789"), "data", settings)
    assert split.sizes() == {"train": 49_000, "validation": 0, "test": 21_000}


def test_the_id_follows_data_fractions_and_seed() -> None:
    settings = SplitConfig()
    ids = {
        identify_split("a", settings),
        identify_split("b", settings),
        identify_split("a", settings.model_copy(update={"seed": 1})),
        identify_split("a", settings.model_copy(update={"test_fraction": 0.4})),
    }
    assert len(ids) == 4
    assert identify_split("a", SplitConfig()) in ids


def test_own_parts_are_used_or_drawn_over() -> None:
    labels = np.array([0, 1] * 10)
    parts = np.array(["train"] * 12 + ["validation"] * 2 + ["test"] * 6)
    kept = draw_split(labels, parts, ("a", "b"), "data", SplitConfig())
    assert (kept.validation.tolist(), kept.test.tolist()) == ([12, 13], list(range(14, 20)))
    drawn = draw_split(labels, parts, ("a", "b"), "data", SplitConfig(keep_own_parts=False))
    assert set(drawn.test.tolist()) != set(kept.test.tolist())


def test_a_fraction_too_small_for_the_classes_is_refused() -> None:
    labels = np.repeat(np.arange(10), 2)
    with pytest.raises(DataError, match="too small to contain all 10 classes"):
        draw_split(labels, None, tuple("0123456789"), "data", SplitConfig(test_fraction=0.1))


def test_a_split_survives_the_disk(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(2), 10)
    split = draw_split(labels, None, ("a", "b"), "data", SplitConfig())
    save_split(split, tmp_path / "split.json")
    loaded = load_split(tmp_path / "split.json")
    assert loaded.split_id == split.split_id
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(loaded, part), getattr(split, part))
