from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from triptych.config.schema import BoardConfig, DataConfig, SplitConfig
from triptych.data.boards import load_board, prepare_board
from triptych.data.splits import assign_parts, check_classes, draw_split, identify_split, load_split, save_split
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


def grow(folder: Path, night: int, names: str, rng: np.random.Generator) -> None:
    """Add two images to each class, or forty to a new one; rename one, delete one, and move one to another class."""
    for name in names:
        new = 2 if (folder / name).exists() else 40
        (folder / name).mkdir(exist_ok=True)
        for number in range(new):
            pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{night}-{number}.png")
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        renamed, deleted, moved = sorted((folder / name).iterdir())[:3]
        renamed.rename(renamed.with_name(f"z{night}.png"))
        deleted.unlink()
        moved.rename(folder / other / f"moved-{night}.png")


@pytest.mark.parametrize(("top", "nights"), [(".", 30), ("train", 6)], ids=["parts are drawn", "own test part"])
def test_no_image_changes_its_part_while_a_folder_grows(
    top: str, nights: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a new class appears halfway through."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    rng, photos = np.random.default_rng(0), tmp_path / "photos"
    tops = {photos / top, photos / "test"} if top == "train" else {photos}
    seen: dict[bytes, str] = {}
    for night in range(nights):
        names = "ab" if night < nights // 2 else "abc"
        for folder in sorted(tops):
            folder.mkdir(parents=True, exist_ok=True)
            grow(folder, night, names, rng)
        data = load_board(prepare_board(BoardConfig(data=DataConfig(source=str(photos)))))
        tonight = dict(zip(data.image_ids.tolist(), data.split.parts().tolist(), strict=True))
        kept = seen.keys() & tonight.keys()
        assert {image: tonight[image] for image in kept} == {image: seen[image] for image in kept}
        assert "".join(data.prepared.classes) == names
        seen |= tonight
    assert len(seen) > 120 + 4 * nights


def test_fractions_hold_in_expectation_and_a_new_fraction_moves_only_what_it_must() -> None:
    keys = np.array([hashlib.sha256(b"%d" % number).hexdigest()[:32] for number in range(20_000)], dtype="S32")
    parts = assign_parts(keys, None, SplitConfig())
    shares = [float((parts == part).mean()) for part in ("train", "validation", "test")]
    assert shares == pytest.approx([0.7 * 0.8, 0.7 * 0.2, 0.3], abs=0.01)
    more = assign_parts(keys, None, SplitConfig(validation_fraction=0.3))
    np.testing.assert_array_equal(more == "test", parts == "test")
    assert not ((parts == "validation") & (more == "train")).any()
    other = assign_parts(keys, None, SplitConfig(seed=1))
    assert float((other == parts).mean()) == pytest.approx(0.56**2 + 0.14**2 + 0.3**2, abs=0.01)


def test_fixed_data_sets_are_divided_as_ever() -> None:
    """The ids and indices of version 0.1.0, on which the figures of the report stand."""
    labels = np.arange(50) % 3
    split = draw_split(labels, None, ("a", "b", "c"), "data", SplitConfig())
    assert split.split_id == "f324e95d033a6855"
    assert split.test.tolist() == [0, 2, 4, 8, 9, 11, 15, 19, 22, 25, 26, 33, 43, 45, 47]
    assert split.validation.tolist() == [3, 18, 24, 37, 38, 41, 46]


def test_own_parts_are_used_or_drawn_over() -> None:
    labels = np.array([0, 1] * 10)
    parts = np.array(["train"] * 12 + ["validation"] * 2 + ["test"] * 6)
    kept = draw_split(labels, parts, ("a", "b"), "data", SplitConfig())
    assert (kept.validation.tolist(), kept.test.tolist()) == ([12, 13], list(range(14, 20)))
    drawn = draw_split(labels, parts, ("a", "b"), "data", SplitConfig(keep_own_parts=False))
    assert set(drawn.test.tolist()) != set(kept.test.tolist())


def test_own_parts_that_are_complete_are_taken_as_they_are() -> None:
    labels, parts = np.array([0, 1, 0, 1, 2]), np.array(["train"] * 2 + ["test"] * 3)
    settings = SplitConfig(validation_fraction=0.0)
    check_classes(labels, parts, ("a", "b", "c"), settings)
    assert draw_split(labels, parts, ("a", "b", "c"), "data", settings).sizes()["test"] == 3
    with pytest.raises(DataError, match="class 'c' has 0 training image"):
        check_classes(labels, parts, ("a", "b", "c"), SplitConfig())


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
