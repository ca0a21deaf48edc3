from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from helpers.photos import write_photos
from triptych.config.resolve import resolve_config
from triptych.data.boards import open_board, prepare_board
from triptych.errors import ConfigError, DataError
from triptych.images.pixels import Pixels
from triptych.networks.saved import PixelNetwork
from triptych.panels.prediction import find_images, predict_raw


class EditingNetwork(PixelNetwork):
    """A network that is slow enough for a user to edit a photo meanwhile."""

    file: Path

    def predict_images(self, images: Sequence[Pixels] | Pixels) -> np.ndarray:
        self.file.write_bytes(self.file.with_name("1.jpg").read_bytes())
        return np.full((len(images), 2), 0.5)


def test_a_photo_that_is_changed_meanwhile_is_named(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", {"a": 8, "b": 8})
    data = open_board(prepare_board(resolve_config("photos", data=str(photos)).boards[0]))
    network = EditingNetwork.__new__(EditingNetwork)
    EditingNetwork.file = photos / "b" / "0.jpg"
    with pytest.raises(DataError, match=r"b/0\.jpg was changed after its data set was read"):
        predict_raw(network, data, None, data.split.test)


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
