from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest
from typer.testing import CliRunner

from triptych.cli import app
from triptych.config.schema import BoardConfig, DataConfig
from triptych.data.boards import prepare_board
from triptych.data.checks.examine import examine
from triptych.data.checks.findings import Examination, Finding
from triptych.data.checks.inspection import inspect_file
from triptych.data.checks.rules import count_decisive_images, explain_resolution
from triptych.data.duplicates import group_similar, shrink_for_hash
from triptych.errors import DataError
from triptych.images.decoding import decode_image
from triptych.images.pixels import Pixels

MakePhotos = Callable[..., Path]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("triptych")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def kinds(examination: Examination) -> set[str]:
    return {finding.kind for finding in examination.findings}


def find(examination: Examination, kind: str) -> Finding:
    [finding] = [finding for finding in examination.findings if finding.kind == kind]
    return finding


def names(finding: Finding) -> list[list[str]]:
    return [[image.name for image in example.images] for example in finding.examples]


def draw_scene(seed: int, height: int = 240, width: int = 320) -> Image.Image:
    """Return a picture with large forms, as a photo has, unlike noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(12, 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """A folder with a train and a test part of two classes, no picture like another."""
    for number in range(24):
        part, label = ("test" if number % 4 == 0 else "train"), "ab"[number % 2]
        (tmp_path / part / "a").mkdir(parents=True, exist_ok=True)
        (tmp_path / part / "b").mkdir(parents=True, exist_ok=True)
        draw_scene(number).save(tmp_path / part / label / f"{number:02}.png", compress_level=1)
    draw_scene(99).save(tmp_path / "test" / "b" / "99.png")
    return tmp_path


def test_sound_data_have_no_error_and_their_classes_are_counted(divided: Path) -> None:
    examination = examine(str(divided))
    assert examination.can_train
    assert examination.images == 25
    assert kinds(examination) == {"few_images", "resolution"}
    assert {part: examination.classes["a"][part] + examination.classes["b"][part] for part in ("train", "test")} == {
        "train": 14,
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
        "train/b/03.png": "no image format that Pillow knows",
        "train/b/float.tiff": "pixels of mode 'F', whose range is unknown",
    }


def test_the_same_pixels_are_found_across_parts_classes_and_file_formats(divided: Path) -> None:
    with Image.open(divided / "train" / "a" / "02.png") as image:
        image.save(divided / "test" / "a" / "copy.bmp")
        image.save(divided / "train" / "b" / "wrong.png", compress_level=0)
    with Image.open(divided / "test" / "b" / "99.png") as image:
        image.save(divided / "test" / "b" / "again.png")
    examination = examine(str(divided))
    trio = ["test/a/copy.bmp", "train/a/02.png", "train/b/wrong.png"]
    assert [sorted(group) for group in names(find(examination, "same_in_parts"))] == [trio]
    assert [sorted(group) for group in names(find(examination, "same_in_classes"))] == [trio]
    assert names(find(examination, "same")) == [["test/b/99.png", "test/b/again.png"]]
    assert "1 test image(s)" in find(examination, "same_in_parts").message
    assert not {"similar", "similar_in_parts"} & kinds(examination)


def test_smaller_and_compressed_copies_look_alike(divided: Path) -> None:
    with Image.open(divided / "train" / "a" / "02.png") as image:
        image.resize((160, 120)).save(divided / "test" / "a" / "small.jpg", quality=50)
    with Image.open(divided / "test" / "b" / "99.png") as image:
        image.crop((3, 3, 317, 237)).save(divided / "test" / "b" / "cropped.png")
    examination = examine(str(divided))
    [across] = names(find(examination, "similar_in_parts"))
    assert sorted(across) == ["test/a/small.jpg", "train/a/02.png"]
    assert names(find(examination, "similar")) == [["test/b/99.png", "test/b/cropped.png"]]
    assert names(find(examination, "small_images")) == [["test/a/small.jpg"]]


def test_plain_areas_of_different_colours_are_not_alike() -> None:
    colours = [(250, 250, 250), (10, 10, 10), (250, 10, 10), (250, 249, 250)]
    shrunk = [shrink_for_hash(np.full((64, 64, 3), colour, np.uint8)) for colour in colours]
    assert group_similar(np.stack([picture for picture in shrunk if picture is not None])) == [(0, 3)]


def test_groups_are_those_of_every_pair_compared_in_full() -> None:
    rng = np.random.default_rng(0)
    scenes: list[Pixels] = [np.asarray(draw_scene(seed).resize((64, 48))) for seed in range(30)]
    scenes += [np.clip(scene + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8) for scene in scenes[:9:2]]
    shrunk = np.stack([picture for scene in scenes if (picture := shrink_for_hash(scene)) is not None])
    bits = np.diff(shrunk.astype(int).sum(axis=3), axis=2) > 0
    expected = [(i, j) for i in range(35) for j in range(i + 1, 35) if (bits[i] != bits[j]).sum() <= 26]
    assert sorted(group_similar(shrunk)) == expected == [(0, 30), (2, 31), (4, 32), (6, 33), (8, 34)]


def test_empty_and_scarce_classes_prevent_training(tmp_path: Path, make_photos: MakePhotos) -> None:
    folder = make_photos(tmp_path / "empty", {"a": 5, "b": 5, "c": 0})
    examination = examine(str(folder))
    assert [finding.kind for finding in examination.of("error")] == ["empty_class"]
    with pytest.raises(DataError) as refused:
        prepare_board(BoardConfig(data=DataConfig(source=str(folder))))
    assert find(examination, "empty_class").message == str(refused.value)
    folder = make_photos(tmp_path / "scarce", {"a": 30, "b": 1})
    shutil.copy(folder / "a" / "0.jpg", folder / "a" / "again.jpg")
    examination = examine(str(folder))
    assert "class 'b' has 1 image" in find(examination, "no_split").message
    assert "not split yet" in find(examination, "same").message


def test_few_images_and_imbalance_are_warned_of(tmp_path: Path, make_photos: MakePhotos) -> None:
    examination = examine(str(make_photos(tmp_path / "photos", {"many": 60, "some": 12})))
    train = examination.classes["some"]["train"]
    assert [example.detail for example in find(examination, "few_images").examples] == [f"some: {train} in train"]
    assert "'many' has 5 times" in find(examination, "imbalance").message
    assert "83%" in find(examination, "imbalance").message
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


@pytest.mark.parametrize("kind", ODD_FILES)
def test_odd_files_are_said_to_be(divided: Path, kind: str) -> None:
    ODD_FILES[kind](divided / "train" / "a" / "odd.png")
    examination = examine(str(divided))
    [[name]] = names(find(examination, kind))
    assert name.startswith("train/a/odd.")
    expected = {"few_images", "resolution", kind} | ({"grey"} if kind == "sixteen_bits" else set())
    assert kinds(examination) == expected


def test_sixteen_bits_of_colour_are_known_although_pillow_shows_eight(tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    row = b"\0" + struct.pack(">3H", 0x80FF, 0, 0xFFFF)
    header = struct.pack(">2I5B", 1, 1, 16, 2, 0, 0, 0)
    content = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row)), chunk(b"IEND", b"")]
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    assert inspect_file(tmp_path / "deep.png").traits == ("sixteen_bits",)
    assert decode_image(tmp_path / "deep.png").tolist() == [[[0x80, 0, 0xFF]]]


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


def test_training_refuses_a_bomb_in_one_line(divided: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(divided / "train" / "a" / "bomb.png")
    done = run("compare", "--data", divided, "--panel", "numpy-mlp")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "10000 x 10000 pixels, a decompression bomb" in done.stderr


def test_what_a_test_part_can_tell_apart() -> None:
    # By hand: 2 * 0.5**6 = 0.03125 is below 5 %, 2 * 0.5**5 = 0.0625 is not.
    assert count_decisive_images(0.05) == 6
    assert binomtest(0, 6).pvalue == pytest.approx(0.03125)
    # Wilson, 90 of 100: 0.8256 to 0.9448.
    assert "about 6.0 points" in explain_resolution(100)
    assert "the smallest significant difference between two models is 6 points: 6 images" in explain_resolution(100)
    assert "no difference between two models can be significant" in explain_resolution(5)


def write_idx(folder: Path, prefix: str, images: Pixels, labels: Pixels) -> None:
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"{prefix}-{name}-ubyte").write_bytes(header + array.tobytes())


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
    assert note.startswith("1 of 20 test images are also in train or validation, pixel by pixel")


def test_a_comparison_is_told_of_test_images_that_were_trained_on(divided: Path) -> None:
    config = BoardConfig(data=DataConfig(source=str(divided)))
    assert prepare_board(config).notes == ()
    with Image.open(divided / "train" / "a" / "02.png") as image:
        image.save(divided / "test" / "a" / "copy.bmp")
    [note] = prepare_board(config).notes
    assert note.startswith("1 of 8 test images")
    assert prepare_board(config, on_image=lambda done, total: pytest.fail("decoded again")).notes == (note,)


def test_the_command_prints_ten_examples_or_all_or_json(divided: Path) -> None:
    for number in range(12):
        (divided / "train" / "a" / f"broken{number:02}.jpg").write_bytes(b"")
    runner = CliRunner()
    done = runner.invoke(app, ["check", str(divided)])
    assert done.exit_code == 2
    assert done.stdout.count("the file is empty") == 10
    assert "and 2 more (--all)" in done.stdout
    assert "training would refuse the data" in done.stdout
    assert runner.invoke(app, ["check", str(divided), "--all"]).stdout.count("the file is empty") == 12
    done = runner.invoke(app, ["check", str(divided), "--json"])
    assert done.exit_code == 2
    content = json.loads(done.stdout)
    assert content["can_train"] is False
    assert len(content["findings"][0]["examples"]) == 12


def test_a_wrong_name_is_one_line(tmp_path: Path) -> None:
    done = run("check", tmp_path / "nowhere")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "is neither a directory nor the name of a data set" in done.stderr
