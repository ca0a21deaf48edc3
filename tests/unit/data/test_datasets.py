from __future__ import annotations

import gzip
import hashlib
import pkgutil
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits

from triptych.config.names import DATASETS
from triptych.config.resolve import resolve_config
from triptych.config.schema import BoardConfig, DataConfig
from triptych.data.boards import load_board, prepare_board
from triptych.data.datasets import fetch_dataset
from triptych.errors import DataError
from triptych.images.decoding import decode_image
from triptych.images.pixels import make_thumbnail, scale_pixels, stack_as

MakePhotos = Callable[..., Path]


def write_idx(folder: Path, prefix: str, images: np.ndarray, labels: np.ndarray, *, zipped: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
        suffix = ".gz" if zipped else ""
        (folder / f"{prefix}-{name}-ubyte{suffix}").write_bytes(gzip.compress(content) if zipped else content)


@pytest.fixture
def idx(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(30, 5, 4), dtype=np.uint8)
    labels = np.arange(30, dtype=np.uint8) % 3
    write_idx(tmp_path, "train", images[:20], labels[:20], zipped=True)
    write_idx(tmp_path, "t10k", images[20:], labels[20:], zipped=False)
    return tmp_path, images, labels


def test_digits_keep_their_seventeen_gray_levels() -> None:
    dataset = fetch_dataset("digits")
    original = load_digits()
    assert dataset.images[7].shape == (8, 8, 1)
    restored = np.rint(np.stack([dataset.images[i][:, :, 0] for i in range(1797)]) * (16 / 255))
    np.testing.assert_array_equal(restored, original.images)
    np.testing.assert_array_equal(dataset.labels, original.target)


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


def test_mnist_is_found_in_the_data_home(
    idx: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, images, labels = idx
    raw = tmp_path / "home" / "mnist" / "MNIST" / "raw"
    write_idx(raw, "train", images[:20], labels[:20], zipped=False)
    write_idx(raw, "t10k", images[20:], labels[20:], zipped=True)
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path / "home"))
    assert fetch_dataset("mnist").name == "mnist"
    assert len(fetch_dataset("mnist").images) == len(fetch_dataset(f"idx:{folder}").images)


def test_the_real_mnist_has_the_known_counts(data_home: Path) -> None:
    dataset = fetch_dataset(f"idx:{data_home / 'mnist' / 'MNIST' / 'raw'}")
    # Images of each digit in both parts together, from the original publication's files.
    assert np.bincount(dataset.labels).tolist() == [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]


def test_flowers_come_with_their_own_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import Flowers102

    root = tmp_path / "flowers102" / "flowers-102"
    (root / "jpg").mkdir(parents=True)
    for number in range(1, 9):
        Image.new("RGB", (30, 20), (number, 0, 0)).save(root / "jpg" / f"image_{number:05d}.jpg")
    savemat(root / "imagelabels.mat", {"labels": np.array([[1, 2, 1, 2, 1, 2, 1, 2]])})
    savemat(root / "setid.mat", {"trnid": [[1, 2]], "valid": [[3, 4]], "tstid": [[5, 6, 7, 8]]})
    digests = {key: hashlib.md5((root / f"{key}.mat").read_bytes()).hexdigest() for key in ("imagelabels", "setid")}
    files = {**Flowers102._file_dict}
    files |= {"label": ("imagelabels.mat", digests["imagelabels"]), "setid": ("setid.mat", digests["setid"])}
    monkeypatch.setattr(Flowers102, "_file_dict", files)
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path))
    dataset = fetch_dataset("flowers102")
    assert dataset.parts is not None
    assert dataset.parts.tolist() == ["train"] * 2 + ["validation"] * 2 + ["test"] * 4
    assert dataset.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("name", DATASETS)
def test_every_named_data_set_is_fetched_by_a_function_and_a_class_that_exist(name: str) -> None:
    import torchvision.datasets

    assert callable(pkgutil.resolve_name(DATASETS[name].function))
    wanted = DATASETS[name].torchvision_class
    assert not wanted or issubclass(getattr(torchvision.datasets, wanted), torchvision.datasets.VisionDataset)


def test_missing_files_are_said_to_belong_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["file:///nowhere/"])
    with pytest.raises(DataError, match=r"train-\{images-idx3,labels-idx1\}.*belong in .*mnist/MNIST/raw") as caught:
        fetch_dataset("mnist")
    assert "\n" not in str(caught.value)


def test_a_folder_has_one_class_per_directory(photos: Path) -> None:
    dataset = fetch_dataset(f"folder:{photos}")
    assert dataset.classes == ("green", "red")
    assert np.bincount(dataset.labels).tolist() == [20, 20]
    assert dataset.parts is None


def test_val_becomes_the_test_part_where_there_is_no_test(tmp_path: Path, make_photos: MakePhotos) -> None:
    make_photos(tmp_path / "train", {"a": 6, "b": 6})
    make_photos(tmp_path / "val", {"a": 3, "b": 2}, seed=1)
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    config = BoardConfig(data=DataConfig(source=str(tmp_path)))
    prepared = prepare_board(config)
    assert prepared.sizes == {"train": 9, "validation": 3, "test": 5}
    assert "val/ is used as the test set" in prepared.notes[0]
    assert "train/a/notes.txt" in prepared.notes[1]


def test_given_parts_are_kept(tmp_path: Path, make_photos: MakePhotos) -> None:
    for seed, (part, count) in enumerate({"train": 4, "valid": 3, "test": 2}.items()):
        make_photos(tmp_path / part, {"a": count, "b": count}, seed=seed)
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
        ({"a": 30, "b": 2}, "class 'b' has .*add images"),
    ],
    ids=["single class", "no class", "empty class", "too few to divide", "too few for three"],
)
def test_folders_that_cannot_be_compared_on_are_refused(
    tmp_path: Path, classes: dict[str, int], message: str, make_photos: MakePhotos
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    make_photos(folder, classes)
    with pytest.raises(DataError, match=message):
        prepare_board(BoardConfig(data=DataConfig(source=str(folder))))


@pytest.mark.parametrize("damage", [b"", b"not an image", None], ids=["empty", "text", "truncated"])
def test_a_broken_image_is_named(tmp_path: Path, damage: bytes | None, make_photos: MakePhotos) -> None:
    folder = make_photos(tmp_path / "photos", {"a": 5, "b": 5})
    file = folder / "b" / "3.jpg"
    file.write_bytes(file.read_bytes()[:-200] if damage is None else damage)
    with pytest.raises(DataError, match=r"b/3\.jpg cannot be read .*: replace or remove the file") as caught:
        prepare_board(BoardConfig(data=DataConfig(source=str(folder))))
    assert "\n" not in str(caught.value)


def test_classes_must_agree_between_parts(tmp_path: Path, make_photos: MakePhotos) -> None:
    make_photos(tmp_path / "train", {"a": 3, "b": 3})
    make_photos(tmp_path / "test", {"a": 3, "c": 3})
    with pytest.raises(DataError, match="b, c are not in every part"):
        fetch_dataset(f"folder:{tmp_path}")


def test_the_digest_follows_every_byte_of_the_data(tmp_path: Path, make_photos: MakePhotos) -> None:
    folder = make_photos(tmp_path / "photos", {"a": 3, "b": 3})
    before = fetch_dataset(f"folder:{folder}").digest
    assert fetch_dataset(f"folder:{folder}").digest == before
    file = folder / "a" / "0.jpg"
    file.write_bytes(file.read_bytes() + b"\0")
    assert fetch_dataset(f"folder:{folder}").digest != before


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


def test_exif_turned_photos_are_read_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert decode_image(tmp_path / "turned.jpg").shape == (40, 20, 3)


RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (16, 1))


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.fromarray(RAMP), id="gray"),
        pytest.param(Image.fromarray(RAMP.astype(np.uint16) * 257), id="16 bits"),
        pytest.param(Image.merge("LA", [Image.new("L", (64, 16), 0), Image.fromarray(255 - RAMP)]), id="alpha"),
        pytest.param(Image.fromarray(RAMP).convert("P"), id="palette"),
    ],
)
def test_a_ramp_is_a_ramp_in_every_mode(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "ramp.png")
    decoded = decode_image(tmp_path / "ramp.png")
    assert decoded.shape == (16, 64, 3)
    assert np.abs(decoded.astype(int) - RAMP[:, :, None]).max() <= 1


def test_floating_point_images_are_refused(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.float32) / 255).save(tmp_path / "float.tiff")
    with pytest.raises(DataError, match=r"float\.tiff cannot be read \(pixels of mode 'F'.*save it with 8 bits"):
        decode_image(tmp_path / "float.tiff")


def test_the_split_follows_the_parts_that_the_data_comes_with(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, size=(60, 4, 4), dtype=np.uint8), np.arange(60, dtype=np.uint8) % 2
    records = []
    for name, cut in (("a", 40), ("b", 20)):
        write_idx(tmp_path / name, "train", images[:cut], labels[:cut], zipped=False)
        write_idx(tmp_path / name, "t10k", images[cut:], labels[cut:], zipped=False)
        records.append(prepare_board(BoardConfig(data=DataConfig(source=f"idx:{tmp_path / name}"))))
    assert [record.sizes["test"] for record in records] == [20, 40]
    assert records[0].split_id != records[1].split_id


def test_parts_are_known_in_any_case_and_may_not_be_doubled(tmp_path: Path, make_photos: MakePhotos) -> None:
    for seed, part in enumerate(("Training", "TEST")):
        make_photos(tmp_path / part, {"a": 3, "b": 3}, seed=seed)
    (tmp_path / "__MACOSX").mkdir()
    parts = fetch_dataset(f"folder:{tmp_path}").parts
    assert parts is not None
    assert set(parts.tolist()) == {"train", "test"}
    make_photos(tmp_path / "extra", {"a": 3}, seed=3)
    with pytest.raises(DataError, match="has extra next to train, val or test"):
        fetch_dataset(f"folder:{tmp_path}")
    (tmp_path / "extra").rename(tmp_path / "testing")
    with pytest.raises(DataError, match="are both the test set: keep one"):
        fetch_dataset(f"folder:{tmp_path}")
    (tmp_path / "Training").rename(tmp_path / "validation")
    shutil.rmtree(tmp_path / "testing")
    with pytest.raises(DataError, match="but no train: add one"):
        fetch_dataset(f"folder:{tmp_path}")


def test_parts_that_are_drawn_anew_are_said_to_be(tmp_path: Path, make_photos: MakePhotos) -> None:
    make_photos(tmp_path / "train", {"a": 6, "b": 6})
    make_photos(tmp_path / "val", {"a": 3, "b": 3}, seed=1)
    config = BoardConfig.model_validate({"data": {"source": str(tmp_path)}, "split": {"keep_own_parts": False}})
    [note] = prepare_board(config).notes
    assert "were drawn anew" in note


def test_pixels_are_scaled_to_minus_one_and_one() -> None:
    pixels = np.array([0, 255, 51], dtype=np.uint8).reshape(1, 1, 3, 1)
    np.testing.assert_allclose(scale_pixels(pixels, "float64"), [[-1.0, 1.0, -0.6]], rtol=1e-12)


def test_images_of_any_size_and_colour_are_brought_to_one_shape() -> None:
    images = [np.zeros((10, 20, 3), np.uint8), np.full((8, 8, 1), 9, np.uint8)]
    stacked = stack_as(images, (8, 8, 1))
    assert stacked.shape == (2, 8, 8, 1)
    assert stacked[1].min() == stacked[1].max() == 9
