from __future__ import annotations

import gzip
import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.damages import DAMAGES
from helpers.idx import write_idx
from helpers.rights import permissions_obeyed
from triptych.data.datasets import check_source, fetch_dataset
from triptych.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, size=(30, 5, 4), dtype=np.uint8)
LABELS = np.arange(30, dtype=np.uint8) % 3
NAMES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES
# Words of libraries, not of this project.
FOREIGN = re.compile(
    r"zlib|errno|reshape|reduction|buffer|incorrect|header check|not a gzip|decompress|Traceback", re.IGNORECASE
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a gzipped training set of 20 images and a plain test set of 10."""
    write_idx(tmp_path, "train", IMAGES[:20], LABELS[:20], zipped=True)
    write_idx(tmp_path, "t10k", IMAGES[20:], LABELS[20:])
    return tmp_path


def write(
    name: str, *shape: int, content: bytes | None = None, code: int = 8, zipped: bool = False
) -> Callable[[Path], None]:
    """Return what puts a file in the place of another: a header with a shape, and as many bytes or others."""
    head = bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    whole = head + (bytes(int(np.prod(shape))) if content is None else content)
    return put(name, gzip.compress(whole) if zipped else whole)


def put(name: str, content: bytes) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return apply


def change(name: str, how: Callable[[bytes], bytes], *, inside: bool = False) -> Callable[[Path], None]:
    """Return what changes the bytes of a file, or those inside its gzip stream."""

    def apply(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(gzip.compress(how(gzip.decompress(content))) if inside else how(content))

    return apply


def every(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for one in changes:
            one(folder)

    return apply


def rename(changes: dict[str, str]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for old, new in changes.items():
            (folder / old).rename(folder / new)

    return apply


def swap(folder: Path) -> None:
    first, second = folder / TEST_IMAGES, folder / TEST_LABELS
    first.rename(folder / "held")
    second.rename(first)
    (folder / "held").rename(second)


AGAIN = r": download it again$"
BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "flipped bit in gzip": (
        lambda folder: DAMAGES["flip"](folder / TRAIN_IMAGES),
        r"cannot be read \(its gzip .*" + AGAIN,
    ),
    "gzip ends early": (change(TRAIN_IMAGES, lambda b: b[:-9]), r"\(its gzip stream ends early\)" + AGAIN),
    "gzip without its checksum": (change(TRAIN_LABELS, lambda b: b[:-8]), r"\(its gzip stream ends early\)" + AGAIN),
    "wrong checksum": (
        change(TRAIN_LABELS, lambda b: b[:-8] + b"1234" + b[-4:]),
        r"\(its gzip stream is damaged, .*" + AGAIN,
    ),
    "garbage after gzip": (
        change(TRAIN_IMAGES, lambda b: b + b"more"),
        r"\(its gzip stream is damaged, or goes on\)" + AGAIN,
    ),
    "only gzip's first bytes": (put(TRAIN_IMAGES, b"\x1f\x8b"), r"\(its gzip stream ends early\)" + AGAIN),
    "gzip of something else": (put(TRAIN_IMAGES, gzip.compress(b"hello")), r"is no IDX file" + AGAIN),
    "gzipped twice": (change(TRAIN_IMAGES, gzip.compress), r"is gzipped twice: unzip it once$"),
    "one byte few": (
        change(TEST_IMAGES, lambda b: b[:-1]),
        r"truncated: its header says 10 x 5 x 4, .*; download it again$",
    ),
    "one byte many": (change(TEST_LABELS, lambda b: b + b"\0"), r"more than the 10 bytes of its header" + AGAIN),
    "one byte few in gzip": (
        change(TRAIN_IMAGES, lambda b: b[:-1], inside=True),
        r"truncated: its header says 20 x 5 x 4",
    ),
    "one byte many in gzip": (
        change(TRAIN_IMAGES, lambda b: b + b"\0", inside=True),
        r"more than the 20 x 5 x 4 bytes",
    ),
    "cut in the header": (change(TEST_IMAGES, lambda b: b[:9]), r"is truncated in its header" + AGAIN),
    "empty file": (put(TEST_LABELS, b""), r"is empty" + AGAIN),
    "web page": (put(TEST_IMAGES, b"<!DOCTYPE html>"), r"is a web page, .*" + AGAIN),
    "pointer": (
        put(TEST_IMAGES, b"version https://git-lfs.github.com/spec/v1"),
        r"pointer of Git LFS: run `git lfs pull`$",
    ),
    "wrong magic": (change(TEST_IMAGES, lambda b: b"\1" + b[1:]), r"is no IDX file" + AGAIN),
    "16 bits": (
        write(TEST_IMAGES, 10, 5, 4, code=11),
        r"holds 16-bit integers: convert them to unsigned bytes, 0\.\.255$",
    ),
    "floats": (write(TEST_IMAGES, 10, 5, 4, code=13), r"holds 32-bit floats: convert them to unsigned bytes"),
    "flat images": (write(TEST_IMAGES, 10, 20), r"holds 10 x 20 numbers: images are number x height x width, or"),
    "channels first": (
        write(TEST_IMAGES, 10, 3, 5, 4),
        r"holds 10 x 3 x 5 x 4 numbers: images are .* width x 3 in colour$",
    ),
    "one number": (write(TEST_IMAGES, content=b"1"), r"is no IDX file" + AGAIN),
    "one-hot labels": (write(TEST_LABELS, 10, 3), r"holds 10 x 3 numbers: it needs one label for each image$"),
    "swapped": (swap, r"images.* holds labels, and .*labels.* holds images: swap their names$"),
    "counts differ": (write(TEST_LABELS, 9), r"holds 10 images, but .* holds 9 labels: download both again$"),
    "sizes differ": (
        write(TEST_IMAGES, 10, 6, 4),
        r"different sizes, 5 x 4 x 1 and 6 x 4 x 1: scale them to one size$",
    ),
    "grey and colour": (write(TEST_IMAGES, 10, 5, 4, 3), r"different sizes, 5 x 4 x 1 and 5 x 4 x 3: scale"),
    "no test images": (every(write(TEST_IMAGES, 0, 5, 4), write(TEST_LABELS, 0)), r"t10k.* holds no images: add some"),
    "no pixels": (write(TEST_IMAGES, 10, 0, 28), r"holds images of 0 x 28 pixels: an image needs one pixel or more$"),
    "absurd header": (
        write(TEST_IMAGES, 2**32 - 1, 2**31, 2**31, content=b""),
        r"truncated: its header says 4,294,967,295 x",
    ),
    "absurd header in gzip": (
        write(TRAIN_IMAGES, 2**31, 2**31, 28, content=bytes(99), zipped=True),
        r"truncated: its header says 2,147,483,648 x",
    ),
    "other names": (
        rename({TEST_IMAGES: f"emnist-digits-{TEST_IMAGES}"}),
        r"lacks t10k-images-idx3-ubyte, .*; rename its other files, such as emnist-digits-t10k-images-idx3-ubyte$",
    ),
    "file missing": (
        lambda folder: (folder / TEST_LABELS).unlink(),
        r"is incomplete: it lacks t10k-labels-idx1-ubyte, gzipped",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_damage_is_named_in_one_line_with_its_remedy(case: str, folder: Path) -> None:
    damage, message = BAD[case]
    damage(folder)
    with pytest.raises(DataError, match=message) as caught:
        fetch_dataset(f"idx:{folder}")
    text = str(caught.value)
    assert str(folder) in text
    assert "\n" not in text
    assert not FOREIGN.search(text.replace(str(folder), ""))


def test_a_file_that_unpacks_to_more_than_its_header_says_is_not_unpacked(folder: Path) -> None:
    write(TRAIN_IMAGES, 20, 5, 4, content=bytes(2**25), zipped=True)(folder)
    tracemalloc.start()
    with pytest.raises(DataError, match="more than the 20 x 5 x 4 bytes of its header"):
        fetch_dataset(f"idx:{folder}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.parametrize("name", [TRAIN_LABELS, "."])
def test_a_file_or_folder_that_may_not_be_read_is_named(name: str, folder: Path) -> None:
    (folder / name).chmod(0)
    with permissions_obeyed(), pytest.raises(DataError, match=f"{name}? may not be read: allow it with chmod a"):
        fetch_dataset(f"idx:{folder}")
    (folder / name).chmod(0o700)


@pytest.mark.parametrize("below", ["raw", "MNIST/raw", "unpacked"])
def test_files_in_a_folder_below_are_found(below: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / below).mkdir(parents=True)
    (tmp_path / "locked").mkdir(mode=0)
    for name in NAMES:
        (folder / name).rename(tmp_path / below / name)
    with (
        permissions_obeyed(),
        pytest.raises(DataError, match=f"gzipped or not; {tmp_path}/{below} has them: give that folder$"),
    ):
        check_source(f"idx:{tmp_path}")


def test_headers_and_labels_are_checked_before_anything_is_started(folder: Path) -> None:
    check_source(f"idx:{folder}")
    for name, count in {TRAIN_LABELS: 20, TEST_LABELS: 10}.items():
        write(name, count)(folder)
    with pytest.raises(DataError, match=r"all images are of one class \(0\)"):
        check_source(f"idx:{folder}")
    write(TEST_IMAGES, 10, 0, 28)(folder)
    with pytest.raises(DataError, match="holds images of 0 x 28 pixels"):
        check_source(f"idx:{folder}")


def keep(folder: Path) -> None:
    del folder


GOOD: dict[str, Callable[[Path], None]] = {
    "gzipped or not": keep,
    "gzip without .gz": rename({TRAIN_IMAGES: TRAIN_IMAGES.removesuffix(".gz")}),
    "plain with .gz": rename({TEST_IMAGES: f"{TEST_IMAGES}.gz"}),
    "dots": rename({TRAIN_IMAGES: "train-images.idx3-ubyte.gz", TEST_LABELS: "t10k-labels.idx1-ubyte"}),
    "two gzip streams": change(
        TRAIN_LABELS, lambda b: gzip.compress(gzip.decompress(b)[:11]) + gzip.compress(gzip.decompress(b)[11:])
    ),
    "zeros after gzip": change(TRAIN_IMAGES, lambda b: b + bytes(512)),
}


@pytest.mark.parametrize("case", GOOD)
def test_files_are_read_by_their_content_whatever_their_names(case: str, folder: Path) -> None:
    GOOD[case](folder)
    dataset = fetch_dataset(f"idx:{folder}")
    np.testing.assert_array_equal(np.stack([dataset.images[i] for i in range(30)])[..., 0], IMAGES)
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.classes == ("0", "1", "2")
    assert dataset.parts is not None
    assert dataset.parts.tolist() == ["train"] * 20 + ["test"] * 10


def test_images_in_colour_are_read(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 5, 4, 3), dtype=np.uint8)
    write_idx(tmp_path, "train", images[:20], LABELS[:20])
    write_idx(tmp_path, "t10k", images[20:], LABELS[20:])
    dataset = fetch_dataset(f"idx:{tmp_path}")
    np.testing.assert_array_equal(np.stack([dataset.images[i] for i in range(30)]), images)


@pytest.mark.parametrize(
    ("values", "classes"),
    [((1, 2, 3), ("1", "2", "3")), ((0, 4, 250), ("0", "4", "250")), ((7, 9, 8), ("7", "8", "9"))],
)
def test_the_classes_are_the_labels_that_occur(
    values: tuple[int, ...], classes: tuple[str, ...], tmp_path: Path
) -> None:
    labels: NDArray[np.uint8] = np.array(values, dtype=np.uint8)[LABELS]
    write_idx(tmp_path, "train", IMAGES[:20], labels[:20])
    write_idx(tmp_path, "t10k", IMAGES[20:22], labels[20:22])
    dataset = fetch_dataset(f"idx:{tmp_path}")
    assert dataset.classes == classes
    assert [int(dataset.classes[label]) for label in dataset.labels] == labels[:22].tolist()
