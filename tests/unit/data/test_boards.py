"""A board is prepared once on each machine, from the same data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.idx import write_idx
from helpers.photos import write_photos
from triptych.config.resolve import resolve_config
from triptych.config.schema import BoardConfig, DataConfig, SplitConfig
from triptych.config.trainers import MLPConfig
from triptych.data.boards import load_board, open_board, prepare_board
from triptych.errors import ConfigError, DataError, SplitSeedError
from triptych.images.pixels import make_thumbnail


def test_a_machine_without_the_shared_cache_prepares_the_board_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write_photos(tmp_path / "photos", {"a": 8, "b": 8})
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "head"))
    prepared = prepare_board(resolve_config("photos", data=str(photos)).boards[0])
    there = load_board(prepared)
    pixels, split = np.array(there.pixels), there.split
    shutil.rmtree(tmp_path / "head")
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "worker"))
    here = open_board(prepared)
    assert here.prepared.split_file.is_relative_to(tmp_path / "worker")
    np.testing.assert_array_equal(here.pixels, pixels)
    np.testing.assert_array_equal(here.split.test, split.test)
    (photos / "a" / "0.jpg").unlink()
    shutil.rmtree(tmp_path / "worker")
    with pytest.raises(DataError, match="is not the data of the comparison"):
        open_board(prepared)


def test_val_becomes_the_test_part_where_there_is_no_test(tmp_path: Path) -> None:
    write_photos(tmp_path / "train", {"a": 6, "b": 6}, seed=1)
    write_photos(tmp_path / "val", {"a": 3, "b": 2})
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    config = BoardConfig(data=DataConfig(source=str(tmp_path)))
    prepared = prepare_board(config)
    assert prepared.sizes == {"train": 10, "validation": 2, "test": 5}
    assert "val/ is used as the test set" in prepared.notes[0]
    assert "train/a/notes.txt" in prepared.notes[1]


def test_given_parts_are_kept(tmp_path: Path) -> None:
    for seed, (part, count) in enumerate({"train": 4, "valid": 3, "test": 2}.items()):
        write_photos(tmp_path / part, {"a": count, "b": count}, seed=seed)
    assert prepare_board(BoardConfig(data=DataConfig(source=str(tmp_path)))).sizes == {
        "train": 8,
        "validation": 6,
        "test": 4,
    }


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"only": 3}, "has 1 class.*at least two classes"),
        ({}, "has 0 class"),
        ({"a": 3, "empty": 0}, "class 'empty' has no images: add some"),
        ({"a": 30, "b": 1}, "class 'b' has 1 image.*add images"),
        ({"a": 30, "b": 2}, "class 'b' has 2 image.*add images"),
        ({"a": 9, "b": 3}, r"class 'b' has no image in the .* set.*split\.seed=0.*, or set split\.seed=\d+"),
    ],
    ids=["single class", "no class", "empty class", "too few to divide", "too few for three", "by chance"],
)
def test_folders_that_cannot_be_compared_on_are_refused(tmp_path: Path, classes: dict[str, int], message: str) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    write_photos(folder, classes)
    with pytest.raises(DataError, match=message):
        prepare_board(BoardConfig(data=DataConfig(source=str(folder))))


@pytest.mark.parametrize("damage", [b"", b"not an image", None], ids=["empty", "text", "truncated"])
def test_a_broken_image_is_named(tmp_path: Path, damage: bytes | None) -> None:
    folder = write_photos(tmp_path / "photos", {"a": 5, "b": 5})
    file = folder / "b" / "3.jpg"
    file.write_bytes(file.read_bytes()[:-200] if damage is None else damage)
    with pytest.raises(DataError, match=r"b/3\.jpg cannot be read .*: replace or remove the file") as caught:
        prepare_board(BoardConfig(data=DataConfig(source=str(folder))))
    assert "\n" not in str(caught.value)


def test_the_seed_that_the_error_names_puts_every_class_in_every_part(tmp_path: Path) -> None:
    source = {"source": str(write_photos(tmp_path / "photos", {"a": 9, "b": 3}))}
    with pytest.raises(SplitSeedError) as refused:
        prepare_board(BoardConfig.model_validate({"data": source}))
    settings = {"data": source, "split": {"seed": refused.value.seed}}
    data = load_board(prepare_board(BoardConfig.model_validate(settings)))
    for part in ("train", "validation", "test"):
        assert set(data.labels[data.split.parts() == part]) == {0, 1}


def test_images_stay_eight_bit_until_a_model_asks(photos: Path) -> None:
    data = load_board(prepare_board(resolve_config("photos", data=str(photos)).boards[0]))
    assert data.images[0].dtype == data.pixels.dtype == np.uint8
    assert data.pixels.shape == (40, 32, 32, 3)
    np.testing.assert_array_equal(data.pixels[5], make_thumbnail(data.images[5], 32))


def test_a_prepared_board_is_found_again(photos: Path) -> None:
    config = resolve_config("photos", data=str(photos)).boards[0]
    first = prepare_board(config)
    decoded: list[int] = []
    assert prepare_board(config, on_image=lambda done, total: decoded.append(done)) == first
    assert decoded == []


def test_the_split_follows_the_parts_that_the_data_comes_with(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, size=(60, 4, 4), dtype=np.uint8), np.arange(60, dtype=np.uint8) % 2
    records = []
    for name, cut in (("a", 40), ("b", 20)):
        write_idx(tmp_path / name, "train", images[:cut], labels[:cut])
        write_idx(tmp_path / name, "t10k", images[cut:], labels[cut:])
        records.append(prepare_board(BoardConfig(data=DataConfig(source=f"idx:{tmp_path / name}"))))
    assert [record.sizes["test"] for record in records] == [20, 40]
    assert records[0].split_id != records[1].split_id


def test_a_note_says_that_own_parts_were_not_used(tmp_path: Path) -> None:
    write_photos(tmp_path / "train", {"a": 6, "b": 6})
    write_photos(tmp_path / "val", {"a": 3, "b": 3}, seed=1)
    config = BoardConfig.model_validate({"data": {"source": str(tmp_path)}, "split": {"keep_own_parts": False}})
    [note] = prepare_board(config).notes
    assert "were drawn at random" in note


def test_a_photo_that_is_changed_while_it_is_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is stored under the hash that the photo had before."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    photos = write_photos(tmp_path / "photos", {"a": 8, "b": 8})
    config = resolve_config("photos", data=str(photos)).boards[0]
    file, other = photos / "a" / "1.jpg", photos / "b" / "2.jpg"

    def edit(done: int, total: int) -> None:
        del total
        if done == 1:
            file.write_bytes(other.read_bytes())

    message = r"a/1\.jpg was changed after its data set was read: run the same command again"
    with pytest.raises(DataError, match=message):
        prepare_board(config, on_image=edit)
    assert list((tmp_path / "cache").rglob("dataset.json")) == []
    prepared = prepare_board(config)
    data = open_board(prepared)
    np.testing.assert_array_equal(data.pixels[1], make_thumbnail(data.images[1], 32))
    file.write_bytes((photos / "a" / "3.jpg").read_bytes())
    with pytest.raises(DataError, match=message):
        data.images.identify(1)
    file.unlink()
    with pytest.raises(DataError, match=r"a/1\.jpg cannot be read \(No such file or directory\): restore it"):
        data.images.identify(1)


FOLDS = SplitConfig(folds=4)


@pytest.mark.parametrize(
    ("classes", "group_by", "message"),
    [
        ({"a": 9, "b": 3}, "none", r"class 'b' has 3 image.*one for each fold: add images, set split\.folds=3, or"),
        ({"a": 9, "b": 1}, "none", "class 'b' has 1 image.*one for each fold: add images, or remove"),
        ({"a": 9, "b": 9}, r"name:(\d)", None),
        ({"a": 9, "b": 9}, "name:photo", "class 'a' has 1 different image.*or groups to divide"),
    ],
    ids=["too few", "one", "groups", "one group"],
)
def test_folds_need_an_image_or_a_group_of_each_class(
    tmp_path: Path, classes: dict[str, int], group_by: str, message: str | None
) -> None:
    folder = tmp_path / "photos"
    for file in write_photos(folder, classes).rglob("*.jpg"):
        file.rename(file.with_stem(f"photo-{file.stem}"))
    split = FOLDS.model_copy(update={"group_by": group_by})
    config = BoardConfig(data=DataConfig(source=str(folder)), split=split)
    if message:
        with pytest.raises(DataError, match=message):
            prepare_board(config)
    else:
        assert prepare_board(config).sizes == {"train": 0, "validation": 0, "test": 18}


def test_folds_are_refused_where_parts_are_kept_and_pool_them_where_not(tmp_path: Path) -> None:
    for seed, (part, count) in enumerate({"train": 5, "test": 3}.items()):
        write_photos(tmp_path / part, {"a": count, "b": count}, seed=seed)
    config = BoardConfig(data=DataConfig(source=str(tmp_path)), split=FOLDS)
    with pytest.raises(DataError, match=r"set split\.keep_own_parts=false to pool them, or split\.folds=0"):
        prepare_board(config)
    pooled = config.model_copy(update={"split": FOLDS.model_copy(update={"keep_own_parts": False})})
    data = load_board(prepare_board(pooled))
    folds = data.draw_folds(0)
    assert sorted(np.concatenate([fold.split.test for fold in folds]).tolist()) == list(range(16))
    assert folds[1].prepared.sizes == {"train": 10, "validation": 2, "test": 4}
    assert folds[1].prepared.split_id == f"{data.prepared.split_id}-0.1"


def test_folds_may_be_too_small_for_a_validation_part(tmp_path: Path) -> None:
    write_photos(tmp_path, {"a": 2, "b": 2})
    chooses = MLPConfig(patience=3)
    config = BoardConfig(data=DataConfig(source=str(tmp_path)), split=SplitConfig(folds=2), numpy_mlp=chooses)
    with pytest.raises(ConfigError, match="need a validation set, which is empty"):
        prepare_board(config)


def test_images_that_look_alike_are_counted_where_folds_may_part_them(tmp_path: Path) -> None:
    folder = write_photos(tmp_path, {"a": 6, "b": 6})
    with Image.open(folder / "a" / "0.jpg") as photo:
        photo.save(folder / "a" / "again.jpg", quality=60)
    config = BoardConfig(data=DataConfig(source=str(folder)), split=FOLDS)
    [note] = [note for note in prepare_board(config).notes if "look like another one" in note]
    assert note.startswith("2 of 13 images")
    grouped = config.model_copy(update={"split": FOLDS.model_copy(update={"group_by": "similar"})})
    assert not [note for note in prepare_board(grouped).notes if "look like" in note]
