from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from helpers.photos import write_photos
from triptych.errors import ConfigError
from triptych.images.walk import REASONS, describe_left_out, find_images, list_folders, walk_images


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_what_systems_and_tools_keep_for_themselves_is_left_out_at_every_depth(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "day/2.JPG", "day/night/3.png", "day/Thumbs.db", ".DS_Store")
    service = ["@eaDir/1.jpg", "day/#recycle/1.jpg", "day/$RECYCLE.BIN/1.jpg", "__MACOSX/1.jpg", "lost+found/1.jpg"]
    hidden = [".ipynb_checkpoints/1.jpg", "day/.Trash-1000/files/1.jpg", "day/.thumbnails/1.jpg", "day/._2.jpg"]
    touch(tmp_path, *service, *hidden)
    walk = walk_images(tmp_path)
    assert [image.relative_to(tmp_path).as_posix() for image in walk.images] == [
        "1.jpg",
        "day/2.JPG",
        "day/night/3.png",
    ]
    lines = describe_left_out(walk.left_out, tmp_path)
    assert [line[: line.index(":")] for line in lines] == [
        "left out 4 hidden by the dot in front of the name",
        "left out 5 of a system or a tool",
    ]


def test_links_are_followed_once_and_dead_ones_are_named(tmp_path: Path) -> None:
    top, far = tmp_path / "ants", tmp_path / "far"
    touch(top, "day/1.jpg")
    touch(far, "2.jpg", "inner/3.jpg")
    for name, target in {
        "more": far,  # read
        "again": far / "inner",  # read already
        "day/loop": top,
        "self": top / "self",
        "gone.jpg": tmp_path / "nothing.jpg",
        "4.jpg": far / "2.jpg",  # read, as ImageFolder does
    }.items():
        (top / name).symlink_to(target)
    walk = walk_images(top)
    # `again` comes first by name and is read; the same folder is then left out below `more`.
    found = [image.relative_to(top).as_posix() for image in walk.images]
    assert found == ["4.jpg", "again/3.jpg", "day/1.jpg", "more/2.jpg"]
    reasons = {one.path.relative_to(top).as_posix(): one.reason for one in walk.left_out}
    assert reasons == {"day/loop": "crossing", "more/inner": "seen", "gone.jpg": "broken_link", "self": "broken_link"}


def test_files_that_are_no_images_are_counted_by_ending_and_class(tmp_path: Path) -> None:
    touch(tmp_path, "ants/1.txt", "ants/2.txt", "ants/README", "bees/1.heic")
    os.mkfifo(tmp_path / "bees" / "pipe.jpg")
    left_out = [one for name in ("ants", "bees") for one in walk_images(tmp_path / name).left_out]
    ending, special = describe_left_out(left_out, tmp_path)
    counts = ".txt 2, no ending 1, .heic 1; ants 3, bees 1"
    assert ending == f"left out 4 without an image's ending ({counts}): ants/1.txt, ants/2.txt, ants/README, ..."
    assert special == "left out 1 that are no regular files (bees 1): bees/pipe.jpg"


def test_a_hidden_folder_may_be_given_by_name(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/a/1.jpg", ".cache/@eaDir/2.jpg")
    assert len(walk_images(tmp_path / ".cache").images) == 1
    assert list_folders(tmp_path / ".cache") == ["a"]


@pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0, reason="needs root, who gives up the right to read all"
)
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "1.jpg")
    (tmp_path / "locked").mkdir(mode=0)
    code = (
        "import sys; from pathlib import Path; from triptych.images.walk import walk_images;"
        "print([one.reason for one in walk_images(Path(sys.argv[1])).left_out])"
    )
    caps = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}", sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "['locked']\n"


def test_every_reason_has_its_words() -> None:
    assert all(words == words.strip() for words in REASONS.values())


def test_a_folder_is_predicted_without_what_systems_keep_in_it_and_that_is_named(tmp_path: Path) -> None:
    photos = write_photos(tmp_path, {"a": 2, ".ipynb_checkpoints": 1, "notes": 1})
    (photos / "notes" / "0.jpg").rename(photos / "notes" / "0.txt")
    files, notes = find_images([photos, photos / "notes" / "0.txt"])
    assert files == [photos / "a" / "0.jpg", photos / "a" / "1.jpg", photos / "notes" / "0.txt"]
    assert notes == [
        f"{photos}: left out 1 without an image's ending (.txt 1): notes/0.txt",
        f"{photos}: left out 1 hidden by the dot in front of the name: .ipynb_checkpoints",
    ]
    with pytest.raises(ConfigError, match=r"contains no image: .*; left out 1 without an image's ending"):
        find_images([photos / "notes"])


def test_links_to_a_folder_above_or_to_another_class_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "train/ants/1.jpg", "train/bees/2.jpg", "test/ants/3.jpg")
    for name, target in {"up": "..", "top": "../..", "bees": "../bees", "other": "../../test/ants"}.items():
        (tmp_path / "train" / "ants" / name).symlink_to(target)
    walk = walk_images(tmp_path / "train" / "ants", tmp_path)
    assert walk.images == [tmp_path / "train" / "ants" / "1.jpg"]
    reasons = {one.path.name: one.reason for one in walk.left_out}
    assert reasons == dict.fromkeys(["up", "top", "bees", "other"], "crossing")


def test_a_link_to_a_folder_above_or_beside_is_no_folder_of_its_own(tmp_path: Path) -> None:
    touch(tmp_path, "data/ants/1.jpg", "far/2.jpg")
    for name, target in {"up": "..", "here": ".", "bees": "ants", "wasps": "../far"}.items():
        (tmp_path / "data" / name).symlink_to(target)
    assert list_folders(tmp_path / "data") == ["ants", "wasps"]
