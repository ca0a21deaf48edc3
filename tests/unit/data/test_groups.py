from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from helpers.idx import write_idx
from helpers.photos import draw_scene
from triptych.config.schema import BoardConfig
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.errors import DataError, SplitSeedError
from triptych.images.sources import FileImages

PHOTOS, FRAMES = 24, 3


def write_bursts(folder: Path) -> Path:
    """Write bursts of three frames of 24 scenes, half of them in each of two classes.

    The burst of each is in its name, its minute and its folder; and the frames look alike.
    """
    for photo in range(PHOTOS):
        scene = draw_scene(photo, 48, 64)
        for frame in range(FRAMES):
            place = folder / "ab"[photo % 2] / f"day{photo}"
            place.mkdir(parents=True, exist_ok=True)
            exif = Image.Exif()
            exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: f"2026:05:01 12:{photo:02}:{frame:02}"}
            scene.crop((frame, 0, 62 + frame, 48)).save(place / f"IMG{photo}_{frame}.png", exif=exif)
    return folder


@pytest.fixture(scope="module")
def bursts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bursts(tmp_path_factory.mktemp("bursts") / "photos")


def open_grouped(folder: Path | str, group_by: str, **split: object) -> BoardData:
    """Return a board; with so few groups, the seed of its split may have to be the one that the error names."""
    settings = {"data": {"source": str(folder)}, "split": {"group_by": group_by, **split}}
    try:
        return load_board(prepare_board(BoardConfig.model_validate(settings)))
    except SplitSeedError as error:
        return open_grouped(folder, group_by, **split, seed=error.seed)


def name_files(data: BoardData) -> list[str]:
    assert isinstance(data.images, FileImages)
    return [file.name for file in data.images.files]


@pytest.mark.parametrize("group_by", [r"name:(.+)_\d", r"name:^IMG\d+", "minute", "folder", "similar"])
def test_a_burst_is_a_group_and_in_one_part(bursts: Path, group_by: str) -> None:
    data = open_grouped(bursts, group_by)
    assert data.groups is not None
    names = [name.partition("_")[0] for name in name_files(data)]
    assert len({*zip(names, data.groups.tolist(), strict=True)}) == PHOTOS
    assert len(np.unique(data.groups)) == PHOTOS
    np.testing.assert_array_equal(data.group_part(data.split.test), data.groups[data.split.test])
    parts = data.split.parts().tolist()
    assert len({*zip(names, parts, strict=True)}) == PHOTOS
    assert set(parts) == {"train", "validation", "test"}
    assert data.prepared.notes == (f"split.group_by={group_by} makes 24 groups of 72 images, the largest of 3",)


def test_without_groups_copies_and_what_looks_alike_belong_together(bursts: Path) -> None:
    data = open_grouped(bursts, "none")
    everything, apart = np.arange(PHOTOS * FRAMES), np.arange(0, PHOTOS * FRAMES, FRAMES)
    groups = data.group_part(everything)
    assert groups is not None
    names = [name.partition("_")[0] for name in name_files(data)]
    assert len({*zip(names, groups.tolist(), strict=True)}) == len(np.unique(groups)) == PHOTOS
    assert data.group_part(apart) is None
    copied = replace(data, similar=(), image_ids=data.image_ids[everything // 2]).group_part(everything[:4])
    assert copied is not None
    assert [copied.tolist().index(group) for group in copied] == [0, 0, 2, 2]


def test_without_groups_the_comparison_says_what_they_would_do(bursts: Path) -> None:
    data = open_grouped(bursts, "none")
    assert data.groups is None
    parts, names = data.split.parts(), [name.partition("_")[0] for name in name_files(data)]
    elsewhere = {name for name, part in zip(names, parts, strict=True) if part != "test"}
    leaked = sum(names[index] in elsewhere for index in data.split.test)
    [note] = data.prepared.notes
    assert note == (
        f"{leaked} of {len(data.split.test)} test images look like an image in train or validation, which may inflate "
        f"every accuracy: split.group_by=similar keeps them together, and `triptych check folder:{bursts}` lists them"
    )


def test_groups_stay_in_their_part_when_frames_are_added_or_deleted(tmp_path: Path) -> None:
    folder = write_bursts(tmp_path / "photos")
    before = {name: open_grouped(folder, name) for name in ("minute", "similar")}
    for photo in range(0, PHOTOS, 3):
        place = folder / "ab"[photo % 2] / f"day{photo}"
        if photo % 2:
            (place / f"IMG{photo}_1.png").unlink()
        else:
            with Image.open(place / f"IMG{photo}_1.png") as image:
                image.save(place / f"IMG{photo}_8.bmp", exif=image.getexif())
    for group_by, data in before.items():
        after = open_grouped(folder, group_by)
        was, now = (dict(zip(name_files(one), one.split.parts(), strict=True)) for one in (data, after))
        moved = {name.partition("_")[0] for name in was.keys() & now.keys() if was[name] != now[name]}
        assert len(moved) <= (0 if group_by == "minute" else 3)


def test_own_parts_stay_and_the_note_says_what_crosses_them(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_bursts(tmp_path / part)
    for file in sorted((tmp_path / "train").rglob("*_0.png"))[:12]:
        file.unlink()
    data = open_grouped(tmp_path, "similar")
    grouped, _, similar = data.prepared.notes
    assert grouped.endswith("share a group with train or validation, as these parts came with the data")
    assert "split.keep_own_parts=false with split.group_by=similar draws parts that keep them together" in similar
    drawn = open_grouped(tmp_path, "similar", keep_own_parts=False)
    assert not any("train or validation" in note for note in drawn.prepared.notes)


def write_arrays(folder: Path, side: int) -> str:
    images = np.random.default_rng(0).integers(0, 256, size=(60, side, side), dtype=np.uint8)
    for part, cut in (("train", slice(0, 40)), ("t10k", slice(40, 60))):
        write_idx(folder, part, images[cut], np.arange(60, dtype=np.uint8)[cut] % 2)
    return f"idx:{folder}"


REFUSALS: dict[str, tuple[Callable[[Path, Path], str], str, str]] = {
    "name": (lambda bursts, empty: str(bursts), r"name:\d{9}", "finds no group in photos, where no file name matches"),
    "folder": (lambda bursts, empty: str(bursts / "a"), "folder", "finds no group in a, where no class has folders"),
    "arrays": (lambda bursts, empty: "digits", "minute", "needs photos in files, which digits has not"),
    "small": (lambda bursts, empty: write_arrays(empty, 8), "similar", "needs images of 32 pixels or more"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_data_with_nothing_to_group_by_are_refused(bursts: Path, tmp_path: Path, case: str) -> None:
    make, group_by, message = REFUSALS[case]
    with pytest.raises(DataError, match=message) as refused:
        open_grouped(make(bursts, tmp_path), group_by)
    assert "\n" not in str(refused.value)


def test_photos_without_a_time_are_groups_of_their_own(tmp_path: Path) -> None:
    folder = write_bursts(tmp_path / "photos")
    for file in folder.rglob("*_2.png"):
        with Image.open(file) as image:
            image.save(file)
    data = open_grouped(folder, "minute")
    assert len(np.unique(data.groups)) == 2 * PHOTOS  # type: ignore[arg-type]
    for file in folder.rglob("*.png"):
        with Image.open(file) as image:
            image.save(file)
    with pytest.raises(DataError, match="no photo has a time in its EXIF data"):
        open_grouped(folder, "minute")


def test_large_arrays_may_be_grouped(tmp_path: Path) -> None:
    data = open_grouped(write_arrays(tmp_path, 32), "similar", keep_own_parts=False)
    assert data.groups is not None
    assert len(np.unique(data.groups)) == 60


def test_frames_in_both_parts_give_labels_away(bursts: Path) -> None:
    """The nearest neighbour's accuracy, where the labels of photos are drawn at random and 0.5 is the truth."""
    labels = np.array([np.random.default_rng(seed).permutation(np.arange(PHOTOS) % 2) for seed in range(50)])
    accuracy = {}
    for group_by in ("none", "similar"):
        data = open_grouped(bursts, group_by)
        photo = np.array([int(name.removeprefix("IMG").partition("_")[0]) for name in name_files(data)])
        rows, test = np.asarray(data.pixels).reshape(len(photo), -1).astype(float), data.split.test
        known = np.flatnonzero(data.split.parts() != "test")
        nearest = known[[int(np.square(rows[known] - row).sum(axis=1).argmin()) for row in rows[test]]]
        accuracy[group_by] = float((labels[:, photo[test]] == labels[:, photo[nearest]]).mean())
    assert accuracy["none"] > 0.8
    assert accuracy["similar"] == pytest.approx(0.5, abs=0.06)
