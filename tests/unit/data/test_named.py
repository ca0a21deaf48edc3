from __future__ import annotations

import hashlib
import pkgutil
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits

from helpers.damages import DAMAGES
from helpers.idx import write_idx
from triptych.config.names import DATASETS
from triptych.data.datasets import fetch_dataset
from triptych.errors import DamagedFileError, DataError

IMAGES = np.random.default_rng(0).integers(0, 256, size=(30, 5, 4), dtype=np.uint8)
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


def test_missing_files_are_said_to_belong_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["file:///nowhere/"])
    with pytest.raises(DataError, match=r"train-\{images-idx3,labels-idx1\}.*belong in .*mnist/MNIST/raw") as caught:
        fetch_dataset("mnist")
    assert "\n" not in str(caught.value)
