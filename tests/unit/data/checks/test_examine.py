from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.idx import write_idx
from helpers.photos import draw_scene, make_layout, write_photos, write_scenes
from helpers.rights import permissions_obeyed
from triptych.config.schema import BoardConfig, DataConfig, SplitConfig
from triptych.data.boards import prepare_board
from triptych.data.checks.examine import examine
from triptych.data.checks.findings import Examination, Finding
from triptych.errors import DataError
from triptych.images.formats import FORMATS


def kinds(examination: Examination) -> set[str]:
    return {finding.kind for finding in examination.findings}


def find(examination: Examination, kind: str) -> Finding:
    [finding] = [finding for finding in examination.findings if finding.kind == kind]
    return finding


def names(finding: Finding) -> list[list[str]]:
    return [[image.name for image in example.images] for example in finding.examples]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def divided(scenes: Path, tmp_path: Path) -> Path:
    """A folder with a train and a test set of two classes, no picture like another."""
    return shutil.copytree(scenes, tmp_path / "divided")


def test_sound_data_have_no_error_and_their_classes_are_counted(divided: Path) -> None:
    examination = examine(str(divided))
    assert examination.can_train
    assert examination.images == 25
    assert kinds(examination) == {"few_images", "resolution"}
    assert {part: examination.classes["a"][part] + examination.classes["b"][part] for part in ("train", "test")} == {
        "train": 13,
        "test": 7,
    }


def test_every_unreadable_file_is_named_with_its_reason(divided: Path) -> None:
    whole = (divided / "train" / "a" / "02.png").read_bytes()
    (divided / "train" / "a" / "02.png").write_bytes(b"")
    (divided / "train" / "b" / "01.png").write_bytes(whole[: len(whole) // 2])
    (divided / "train" / "b" / "03.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((40, 40), np.float32)).save(divided / "train" / "b" / "float.tiff")
    examination = examine(str(divided))
    finding = find(examination, "unreadable")
    assert not examination.can_train
    assert {example.images[0].name: example.detail.partition(":")[0] for example in finding.examples} == {
        "train/a/02.png": "the file is empty",
        "train/b/01.png": "image file is truncated",
        "train/b/03.png": f"it is damaged, or none of {', '.join(FORMATS)}",
        "train/b/float.tiff": "pixels of mode 'F', whose range is unknown",
    }


def test_files_that_may_not_be_read_are_named_beside_the_other_unreadable_ones(divided: Path) -> None:
    (divided / "train" / "a" / "02.png").chmod(0)
    (divided / "train" / "b" / "01.png").write_bytes(b"")
    (divided / "train" / "b" / "03.png").chmod(0)
    with permissions_obeyed():
        finding = find(examine(str(divided)), "unreadable")
        with pytest.raises(DataError) as caught:
            prepare_board(BoardConfig(data=DataConfig(source=str(divided))))
    assert {example.images[0].name: example.detail for example in finding.examples} == {
        "train/a/02.png": "it may not be read: allow it with chmod a+r",
        "train/b/01.png": "the file is empty: replace or remove the file",
        "train/b/03.png": "it may not be read: allow it with chmod a+r",
    }
    refused = f"image {divided}/train/a/02.png cannot be read (it may not be read): allow it with chmod a+r"
    assert str(caught.value) == refused


def test_the_same_pixels_are_found_across_parts_classes_and_file_formats(divided: Path) -> None:
    with Image.open(divided / "train" / "a" / "02.png") as image:
        image.save(divided / "test" / "a" / "copy.bmp")
        image.save(divided / "train" / "b" / "wrong.png", compress_level=0)
    with Image.open(divided / "test" / "b" / "24.png") as image:
        image.save(divided / "test" / "b" / "again.png")
    examination = examine(str(divided))
    trio = ["test/a/copy.bmp", "train/a/02.png", "train/b/wrong.png"]
    assert [sorted(group) for group in names(find(examination, "same_in_parts"))] == [trio]
    assert [sorted(group) for group in names(find(examination, "same_in_classes"))] == [trio]
    assert names(find(examination, "same")) == [["test/b/24.png", "test/b/again.png"]]
    assert "1 test image is also" in find(examination, "same_in_parts").message
    assert not {"similar", "similar_in_parts"} & kinds(examination)


def test_smaller_and_compressed_copies_look_alike(divided: Path) -> None:
    with Image.open(divided / "train" / "a" / "02.png") as image:
        image.resize((160, 120)).save(divided / "test" / "a" / "small.jpg", quality=50)
    with Image.open(divided / "test" / "b" / "24.png") as image:
        image.crop((3, 3, 317, 237)).save(divided / "test" / "b" / "cropped.png")
    examination = examine(str(divided))
    [across] = names(find(examination, "similar_in_parts"))
    assert sorted(across) == ["test/a/small.jpg", "train/a/02.png"]
    assert names(find(examination, "similar")) == [["test/b/24.png", "test/b/cropped.png"]]
    assert names(find(examination, "small_images")) == [["test/a/small.jpg"]]


def test_empty_and_scarce_classes_prevent_training(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "empty", {"a": 5, "b": 5, "c": 0})
    examination = examine(str(folder))
    assert [finding.kind for finding in examination.of("error")] == ["empty_class"]
    with pytest.raises(DataError) as refused:
        prepare_board(BoardConfig(data=DataConfig(source=str(folder))))
    assert find(examination, "empty_class").message == str(refused.value)
    folder = write_photos(tmp_path / "scarce", {"a": 30, "b": 1})
    shutil.copy(folder / "a" / "0.jpg", folder / "a" / "again.jpg")
    examination = examine(str(folder))
    assert "class 'b' has 1 image" in find(examination, "no_split").message
    assert "not split yet" in find(examination, "same").message


def test_a_seed_that_does_not_do_is_refused_as_compare_does_and_one_that_does_is_named(tmp_path: Path) -> None:
    photos = str(write_photos(tmp_path / "photos", {"a": 9, "b": 3}))
    examination = examine(photos)
    assert not examination.can_train
    found = re.search(r"the parts shown here are those of split\.seed=(\d+)", find(examination, "split_seed").message)
    assert found is not None
    assert examine(photos, SplitConfig(seed=int(found[1]))).can_train
    assert min(count for counts in examination.classes.values() for count in counts.values()) > 0


def test_few_images_and_imbalance_are_warned_of(tmp_path: Path) -> None:
    examination = examine(str(write_photos(tmp_path / "photos", {"many": 60, "some": 12})))
    train = examination.classes["some"]["train"]
    assert [example.detail for example in find(examination, "few_images").examples] == [f"some: {train} in train"]
    assert "'many' has 5 times" in find(examination, "imbalance").message
    assert "83 %, so compare macro F1 too, and try class_weights=balanced" in find(examination, "imbalance").message
    assert "small_images" in kinds(examination)


def save_cmyk(file: Path) -> None:
    draw_scene(200).convert("CMYK").save(file.with_suffix(".jpg"))


def save_sixteen_bits(file: Path) -> None:
    Image.fromarray(np.arange(240 * 320, dtype=np.uint16).reshape(240, 320)).save(file)


def save_alpha(file: Path) -> None:
    image = draw_scene(201)
    image.putalpha(128)
    image.save(file)


def save_turned(file: Path) -> None:
    image = draw_scene(202)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(file.with_suffix(".jpg"), exif=exif)


def save_animated(file: Path) -> None:
    draw_scene(203).save(file.with_suffix(".webp"), save_all=True, append_images=[draw_scene(204)])


def save_palette(file: Path) -> None:
    draw_scene(205).quantize(64).save(file)


ODD_FILES = {
    "cmyk": save_cmyk,
    "sixteen_bits": save_sixteen_bits,
    "alpha": save_alpha,
    "turned": save_turned,
    "several_pictures": save_animated,
    "palette": save_palette,
}


def test_odd_files_are_said_to_be(divided: Path) -> None:
    for kind, save in ODD_FILES.items():
        save(divided / "train" / "a" / f"{kind}.png")
    examination = examine(str(divided))
    for kind in ODD_FILES:
        [[name]] = names(find(examination, kind))
        assert name.startswith(f"train/a/{kind}.")
    assert kinds(examination) == {"few_images", "resolution", "grey", *ODD_FILES}
    assert names(find(examination, "grey")) == [["train/a/sixteen_bits.png"]]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("factor", [0.6, 3.0], ids=["Pillow would only warn", "Pillow refuses"])
def test_decompression_bombs_are_refused(divided: Path, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = divided / "train" / "a" / "bomb.png"
    Image.new("RGB", (1000, 1000)).save(bomb)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(1_000_000 / (2 * factor)))
    finding = find(examine(str(divided)), "unreadable")
    assert names(finding) == [["train/a/bomb.png"]]
    assert "decompression bomb" in finding.examples[0].detail
    with pytest.raises(DataError, match=r"a/bomb\.png cannot be read .*decompression bomb"):
        prepare_board(BoardConfig(data=DataConfig(source=str(divided))))


def test_arrays_are_examined_too(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(80, 6, 6), dtype=np.uint8)
    images[70], images[66] = images[3], images[65]
    labels = (np.arange(80) % 2).astype(np.uint8)
    write_idx(tmp_path, "train", images[:60], labels[:60])
    write_idx(tmp_path, "t10k", images[60:], labels[60:])
    examination = examine(f"idx:{tmp_path}")
    assert names(find(examination, "same_in_parts")) == [["image 3", "image 70"]]
    assert names(find(examination, "same_in_classes")) == [["image 3", "image 70"], ["image 65", "image 66"]]
    assert {"similar_not_checked", "small_images", "resolution"} <= kinds(examination)
    [note] = prepare_board(BoardConfig(data=DataConfig(source=f"idx:{tmp_path}"))).notes
    assert note.startswith("1 of 20 test images is also in train or validation, pixel by pixel")


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0] * 20, [0] * 20, r"all images are of one class \(0\)"),
        ([0] * 10 + [1] * 10, [0] * 19 + [2], "class '2' has 0 training image"),
        ([0] * 19 + [1], [0] * 20, "class '1' has 1 training image"),
    ],
    ids=["one class", "a class in the test set only", "a class of one image"],
)
def test_what_a_comparison_refuses_is_an_error_here(
    train: list[int], test: list[int], message: str, tmp_path: Path
) -> None:
    for prefix, labels in (("train", train), ("t10k", test)):
        write_idx(tmp_path, prefix, np.zeros((20, 6, 6), np.uint8), np.array(labels, np.uint8))
    assert re.search(message, find(examine(f"idx:{tmp_path}"), "no_split").message)
    with pytest.raises(DataError, match=message):
        prepare_board(BoardConfig(data=DataConfig(source=f"idx:{tmp_path}")))


def test_a_comparison_says_which_test_images_are_also_elsewhere(divided: Path) -> None:
    config = BoardConfig(data=DataConfig(source=str(divided)))
    assert prepare_board(config).notes == ()
    with Image.open(divided / "train" / "a" / "02.png") as image:
        image.save(divided / "test" / "a" / "copy.bmp")
    [note] = prepare_board(config).notes
    assert note.startswith("1 of 8 test images")
    assert prepare_board(config, on_image=lambda done, total: pytest.fail("decoded again")).notes == (note,)


def test_a_comparison_says_how_many_test_images_look_like_others(divided: Path) -> None:
    with Image.open(divided / "train" / "a" / "02.png") as image:
        image.save(divided / "test" / "a" / "copy.bmp")
        image.crop((2, 1, 318, 239)).save(divided / "test" / "b" / "frame.jpg")
    leaked, similar = prepare_board(BoardConfig(data=DataConfig(source=str(divided)))).notes
    assert leaked.startswith("1 of 9 test images is also")
    assert similar.startswith("1 of 9 test images looks like an image in train or validation")


def test_groups_are_kept_together_as_compare_does(tmp_path: Path) -> None:
    days = make_layout(tmp_path, " ".join(f"{name}/day{day}/{day}{name}" for name in "ab" for day in range(12)))
    with pytest.raises(DataError, match=r"set split\.group_by=folder"):
        examine(str(days))
    examination = examine(str(days), SplitConfig(group_by="folder", seed=1))
    assert examination.can_train
    assert examination.classes["a"] == examination.classes["b"]  # the same days


@pytest.mark.parametrize("group_by", ["none", "group"])
def test_a_column_of_groups_is_called_unused_only_where_it_is(tmp_path: Path, group_by: str) -> None:
    make_layout(tmp_path, " ".join(f"{name}/{number}" for name in "ab" for number in range(20)))
    rows = [f"{name}/{number}.png,{name},{number}" for name in "ab" for number in range(20)]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,group", *rows]))
    findings = examine(str(tmp_path / "table.csv"), SplitConfig(group_by=group_by, seed=1)).findings
    assert any("a column of groups, which is not used" in finding.message for finding in findings) is (
        group_by == "none"
    )
