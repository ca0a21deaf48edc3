from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.photos import write_photos
from triptych.config.schema import BoardConfig, DataConfig
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.data.checks.examine import examine
from triptych.data.duplicates import identify_pixels
from triptych.errors import DataError, UnreadableImageError
from triptych.images.pixels import make_thumbnail


def test_an_image_is_known_by_its_pixels_in_arrays_and_in_any_file(digits: BoardData, tmp_path: Path) -> None:
    assert digits.image_ids.dtype == "S32"
    assert digits.image_ids[7].decode() == identify_pixels(digits.images[7]).hex()[:32]
    folder = write_photos(tmp_path / "photos", {"a": 8, "b": 8})
    with Image.open(folder / "a" / "0.jpg") as image:
        image.save(folder / "b" / "copy.png")
    data = load_board(prepare_board(BoardConfig(data=DataConfig(source=str(folder)))))
    names = data.prepared.classes
    assert [names[label] for label in data.labels[data.image_ids == data.image_ids[0]]] == ["a", "b"]
    assert len(np.unique(data.image_ids)) == 16


def test_a_test_set_is_the_same_whatever_else_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    source = DataConfig(source=str(tmp_path / "photos"))
    for seed, part in enumerate(("test", "train")):
        write_photos(tmp_path / "photos" / part, {"a": 8, "b": 8}, seed=7 * seed)
    first = prepare_board(BoardConfig(data=source))
    train, test = tmp_path / "photos" / "train", tmp_path / "photos" / "test"
    (train / "a" / "0.jpg").unlink()
    (test / "a" / "0.jpg").rename(test / "a" / "moved.jpg")
    later = prepare_board(BoardConfig.model_validate({"data": source.model_dump(), "split": {"seed": 5}}))
    assert later.split_id != first.split_id
    assert later.test_set_id == first.test_set_id
    (test / "a" / "moved.jpg").rename(test / "b" / "moved.jpg")
    assert prepare_board(BoardConfig(data=source)).test_set_id != first.test_set_id


@pytest.fixture
def dark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of 12 bits in 16-bit files, and one of 8 bits."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    folder = write_photos(tmp_path / "photos", {"a": 8, "b": 8})
    for file in sorted(folder.rglob("*.jpg"))[1:]:
        with Image.open(file) as image:
            Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 16).save(file.with_suffix(".tif"))
        file.unlink()
    return folder


def test_dark_sixteen_bits_are_refused_unless_the_white_level_is_known(dark: Path) -> None:
    def prepare(white_level: int | None) -> BoardData:
        return load_board(prepare_board(BoardConfig(data=DataConfig(source=str(dark), white_level=white_level))))

    kept, scaled = prepare(65535), prepare(4095)
    # What another white level has stored is not found, nor does it keep the question from being asked.
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"no value above [0-9,]+ of 65,535.*: set data\.white_level=4095 \(12 bits\), or"
        ):
            prepare(None)
    assert kept.pixels[1:].max() < 16
    assert scaled.pixels[1:].max() > 100
    np.testing.assert_array_equal(kept.pixels[0], scaled.pixels[0])
    for data in (kept, scaled):
        np.testing.assert_array_equal(data.pixels[5], make_thumbnail(data.images[5], 32))
        assert data.image_ids[5].decode() == identify_pixels(data.images[5]).hex()[:32]
    assert kept.images.identify(5) != scaled.images.identify(5)
    assert kept.prepared.data_digest != scaled.prepared.data_digest
    assert kept.prepared.dataset_folder != scaled.prepared.dataset_folder
    assert kept.prepared.split_id != scaled.prepared.split_id
    with pytest.raises(UnreadableImageError, match=r"above data\.white_level=1023"):
        prepare(1023)


def test_check_refuses_what_the_preparation_would(dark: Path) -> None:
    assert [finding.kind for finding in examine(str(dark)).of("error")] == ["dark"]
    assert examine(DataConfig(source=str(dark), white_level=1023)).of("error")[0].kind == "unreadable"
    for white_level in (4095, 65535):
        assert examine(DataConfig(source=str(dark), white_level=white_level)).can_train
    [finding] = examine(str(dark)).of("error")
    assert len(finding.examples) == 15
    assert finding.examples[0].images[0].name == "a/1.tif"


def test_a_broken_pixel_hides_no_dark_images_and_each_class_is_looked_at(dark: Path) -> None:
    def brighten(files: list[Path], factor: int) -> None:
        for file in files:
            with Image.open(file) as image:
                values = np.asarray(image) * np.uint16(factor)
            values[0, 0] = 65535
            Image.fromarray(values).save(file)

    brighten([dark / "b" / "3.tif"], 1)
    message = r"14 of the 15 16-bit grey images have no value above .* the highest value of the others is 65,535"
    with pytest.raises(DataError, match=message):
        prepare_board(BoardConfig(data=DataConfig(source=str(dark))))
    assert [finding.kind for finding in examine(str(dark)).of("error")] == ["dark"]
    brighten(sorted((dark / "b").glob("*.tif")), 16)
    examination = examine(str(dark))
    assert examination.can_train
    [message] = [finding.message for finding in examination.findings if finding.kind == "mixed_depth"]
    assert "class 'b' reach 65,535, those of class 'a' only 2,208:" in message
    prepare_board(BoardConfig(data=DataConfig(source=str(dark))))
    known = examine(DataConfig(source=str(dark), white_level=65535))
    assert "mixed_depth" not in {finding.kind for finding in known.findings}
