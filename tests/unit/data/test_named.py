from __future__ import annotations

import hashlib
import os
import pickle
import pkgutil
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits

from helpers.damages import DAMAGES
from helpers.idx import write_idx
from triptych.config.names import DATASETS, EMNIST_SPLITS
from triptych.data.datasets import fetch_dataset
from triptych.errors import DamagedFileError, DataError

IMAGES = np.random.default_rng(0).integers(0, 256, size=(30, 5, 4), dtype=np.uint8)
COLOURED = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(30, dtype=np.uint8) % 3


def test_digits_keep_their_seventeen_gray_levels() -> None:
    dataset = fetch_dataset("digits")
    original = load_digits()
    assert dataset.images[7].shape == (8, 8, 1)
    restored = np.rint(np.stack([dataset.images[i][:, :, 0] for i in range(1797)]) * (16 / 255))
    np.testing.assert_array_equal(restored, original.images)
    np.testing.assert_array_equal(dataset.labels, original.target)


def test_mnist_is_found_in_the_data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "home" / "mnist" / "MNIST" / "raw"
    write_idx(raw, "train", IMAGES[:20], LABELS[:20])
    write_idx(raw, "t10k", IMAGES[20:], LABELS[20:], zipped=True)
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path / "home"))
    dataset = fetch_dataset("mnist")
    assert (dataset.name, dataset.classes, dataset.labels.tolist()) == ("mnist", tuple("0123456789"), LABELS.tolist())


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_download_that_was_damaged_is_named(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "mirror", "train", IMAGES[:20], LABELS[:20], zipped=True)
    write_idx(tmp_path / "mirror", "t10k", IMAGES[20:], LABELS[20:], zipped=True)
    served = [(file.name, hashlib.md5(file.read_bytes()).hexdigest()) for file in (tmp_path / "mirror").iterdir()]
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [f"{(tmp_path / 'mirror').as_uri()}/"])
    monkeypatch.setattr(
        "torchvision.datasets.utils._urlretrieve",
        lambda url, file: shutil.copyfile(tmp_path / "mirror" / Path(url).name, file),
    )
    monkeypatch.setattr("torchvision.datasets.MNIST.resources", served)
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TRIPTYCH_DATA_HOME", raising=False)
    digest = fetch_dataset("mnist").digest
    assert fetch_dataset("mnist").digest == digest
    folder = tmp_path / "cache" / "data" / "mnist"
    DAMAGES[damage](folder / "MNIST" / "raw" / "train-images-idx3-ubyte")
    message = rf"ubyte is damaged \(it is not what was downloaded\): delete {folder}, and run the same command again"
    with pytest.raises(DamagedFileError, match=message):
        fetch_dataset("mnist")
    shutil.rmtree(folder)
    assert fetch_dataset("mnist").digest == digest


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


@pytest.mark.parametrize("name", [name for name, known in DATASETS.items() if known.torchvision_class])
def test_missing_files_are_said_to_belong_somewhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", fail)
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    folder = "emnist" if name in EMNIST_SPLITS else name
    message = rf"^{name} was not found and could not be downloaded \(.*\): .* belong in {tmp_path}/{folder}/[^/ ]+"
    with pytest.raises(DataError, match=message) as caught:
        fetch_dataset(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("split", "labels", "classes"),
    [
        ("letters", (1, 2, 26), ("a", "b", "z")),
        ("balanced", (0, 36, 46), ("0", "a", "t")),
        ("byclass", (9, 10, 61), ("9", "A", "z")),
    ],
)
def test_the_characters_of_emnist_are_upright_and_named(
    split: str, labels: tuple[int, ...], classes: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path))
    given = np.resize(np.array(labels, np.uint8), 30)
    stored = IMAGES.swapaxes(1, 2)  # as in the files, across their diagonal
    for prefix, rows in {"train": slice(20), "test": slice(20, 30)}.items():
        raw = tmp_path / "emnist" / "EMNIST" / "raw"
        write_idx(raw, f"emnist-{split}-{prefix}", stored[rows], given[rows], zipped=prefix == "train")
    dataset = fetch_dataset(f"emnist-{split}")
    np.testing.assert_array_equal(np.stack([dataset.images[i] for i in range(30)])[..., 0], IMAGES)
    assert dataset.classes == classes
    assert [labels[label] for label in dataset.labels] == given.tolist()
    assert dataset.parts is not None
    assert dataset.parts.tolist() == ["train"] * 20 + ["test"] * 10


def test_a_label_that_mnist_does_not_have_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path))
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / "mnist" / "MNIST" / "raw", prefix, IMAGES, LABELS + np.uint8(8))
    with pytest.raises(DataError, match="has the labels 8 to 10, and its 10 classes are 0 to 9: delete the folder"):
        fetch_dataset("mnist")


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10's layout with two batches of 4 pictures, whose checksums torchvision takes for the right ones."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pictures = COLOURED.transpose(0, 3, 1, 2).reshape(12, -1)
    written: dict[str, dict[str, object]] = {
        name: {"data": pictures[4 * row : 4 * row + 4], "labels": [0, 1, 0, 1]}
        for row, name in enumerate(("data_batch_1", "data_batch_2", "test_batch"))
    }
    written["batches.meta"] = {"label_names": ["airplane", "automobile"]}
    for name, content in written.items():
        (folder / name).write_bytes(pickle.dumps(content))
    listed = [[name, hashlib.md5((folder / name).read_bytes()).hexdigest()] for name in written]
    monkeypatch.setattr(CIFAR10, "train_list", listed[:2])
    monkeypatch.setattr(CIFAR10, "test_list", listed[2:3])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": listed[3][1]})
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path))
    return folder


@pytest.mark.usefixtures("cifar")
def test_cifar_is_read_in_colour_with_its_own_parts() -> None:
    dataset = fetch_dataset("cifar10")
    assert dataset.classes == ("airplane", "automobile")
    assert dataset.labels.tolist() == [0, 1] * 6
    assert dataset.parts is not None
    assert dataset.parts.tolist() == ["train"] * 8 + ["test"] * 4
    np.testing.assert_array_equal(np.stack([dataset.images[i] for i in range(12)]), COLOURED)


class Planted:
    """What a pickle can do: run something when it is opened."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("planted",)


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
@pytest.mark.parametrize("damage", ["planted", "missing"])
def test_a_pickle_is_not_opened_unless_torchvision_knows_its_checksum(
    name: str, damage: str, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (cifar / name).unlink() if damage == "missing" else (cifar / name).write_bytes(pickle.dumps(Planted()))
    message = (
        rf"^cifar10 in {cifar.parent} is incomplete or damaged: data_batch_1, .*batches\.meta .*belong in {cifar}$"
    )
    with pytest.raises(DataError, match=message):
        fetch_dataset("cifar10")
    assert not Path("planted").exists()


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "oxford-pets" / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    names = [f"{breed}_{number}" for breed in ("Abyssinian", "american_bulldog") for number in range(3)]
    for row, name in enumerate(names):
        Image.new("RGB", (30, 20), (row, 0, 0)).save(folder / "images" / f"{name}.jpg")
    for part, numbers in {"trainval": (0, 1), "test": (2,)}.items():
        lines = [f"{names[3 * breed + number]} {breed + 1} 1 1\n" for breed in (0, 1) for number in numbers]
        (folder / "annotations" / f"{part}.txt").write_text("".join(lines))
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path))
    return folder


def test_pets_come_with_their_breeds_and_parts(pets: Path) -> None:
    dataset = fetch_dataset("oxford-pets")
    assert dataset.classes == ("Abyssinian", "American Bulldog")
    assert dataset.labels.tolist() == [0, 0, 1, 1, 0, 1]
    assert dataset.parts is not None
    assert dataset.parts.tolist() == ["train"] * 4 + ["test"] * 2
    assert dataset.root == pets
    assert dataset.images[0].shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("images/Abyssinian_2.jpg", None, r"is incomplete: .*/images/Abyssinian_2\.jpg is missing; images/ and annot"),
        ("annotations/test.txt", None, "is incomplete or damaged: images/ and annotations/"),
        ("annotations/test.txt", "Abyssinian_2 1", "is incomplete or damaged: images/ and annotations/"),
        ("annotations/test.txt", "Abyssinian_2 one 1 1", "is incomplete or damaged: images/ and annotations/"),
        ("annotations/test.txt", "", "is incomplete or damaged: images/ and annotations/"),
        ("annotations/test.txt", "Abyssinian_2 9 1 1", "has the labels 0 to 8, and its 2 classes are 0 to 1"),
    ],
)
def test_damaged_pets_are_named(file: str, content: str | None, message: str, pets: Path) -> None:
    (pets / file).unlink() if content is None else (pets / file).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        fetch_dataset("oxford-pets")
    assert "\n" not in str(caught.value)
