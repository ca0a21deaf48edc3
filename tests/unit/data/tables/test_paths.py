from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from triptych.data.tables.paths import explain_missing, find_file


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths") / "photos"
    for name in ("images/1.png", "train/1.png", "loop/2.png", "back\\slash.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    (folder / "1.png").symlink_to("gone")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    return folder


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("images/1.png", "images/1.png"),
        (" ./images/1.png ", "images/1.png"),
        ("images\\1.png", "images/1.png"),
        ("back\\slash.png", "back\\slash.png"),
        ("../photos/train/1.png", "../photos/train/1.png"),
    ],
)
def test_a_path_means_a_file_as_people_write_it(text: str, name: str, root: Path) -> None:
    assert find_file(root, text) == root / name
    assert find_file(root, str(root / name)) == root / name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        # As in a table of ids beside a folder of images, or one that was made in the folder above.
        ("1", "does not exist in .*; did you mean 'images/1.png'"),
        ("1.PNG", "does not exist in .*; did you mean 'images/1.png'"),
        ("photos/train/1.png", r"does not exist in .*; did you mean 'train/1.png'"),
        ("3.png", "'3.png' does not exist in .*: correct the path, which is relative to the table$"),
        ("/gone/3.png", "'/gone/3.png' does not exist in"),
        ("loop.png", r"cannot be found in .* \(Too many levels of symbolic links\): correct the path"),
        ("pipe.png", "'pipe.png' is no file in .*: name an image"),
        ("loop", "'loop' is a folder in .*: name an image"),
    ],
)
def test_what_is_no_file_is_explained(text: str, problem: str, root: Path) -> None:
    assert find_file(root, text) is None
    assert re.search(problem, explain_missing(root, text))
