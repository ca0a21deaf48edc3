from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.photos import write_photos
from triptych.config.resolve import resolve_config
from triptych.data.boards import open_board, prepare_board
from triptych.errors import DataError
from triptych.images.pixels import Pixels
from triptych.networks.familiar.distances import Familiarity
from triptych.networks.numpy_mlp import NumpyMLP
from triptych.networks.saved import PixelNetwork
from triptych.panels.prediction import Caution, predict_files, predict_raw


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


def test_files_are_read_with_the_white_level_of_the_training(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 4095, dtype=np.uint16)).save(tmp_path / "white.png")
    Image.fromarray(np.full((2, 2), 9000, dtype=np.uint16)).save(tmp_path / "above.png")
    # The sum of the pixels, from -1 to 1, decides between the two classes.
    network = PixelNetwork(NumpyMLP([(np.array([[-1.0] * 4, [1.0] * 4]), np.zeros(2))]), (2, 2, 1))
    files = [tmp_path / "white.png", tmp_path / "above.png"]
    [row], [unreadable] = predict_files(network, ("dark", "light"), files, 1, white_level=4095)
    assert row["classes"][0]["class"] == "light"
    assert unreadable.file == tmp_path / "above.png"
    assert unreadable.reason == "it has the value 9000, above data.white_level=4095 of the training"
    assert unreadable.remedy == "train with data.white_level=9000 or more, or save it with values up to 4095"
    rows, _ = predict_files(network, ("dark", "light"), files, 1)
    assert [found["classes"][0]["class"] for found in rows] == ["dark", "dark"]


def test_an_image_is_answered_or_unsure_or_foreign(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = {"sure": [255, 255, 255, 255], "torn": [128, 128, 128, 128], "striped": [255, 0, 255, 0]}
    for name, values in pixels.items():
        Image.fromarray(np.array(values, dtype=np.uint8).reshape(2, 2)).save(tmp_path / f"{name}.png")
    network = PixelNetwork(NumpyMLP([(np.array([[-1.0] * 4, [1.0] * 4]), np.zeros(2))]), (2, 2, 1))
    # All training images are of one colour.
    rows = np.repeat(rng.uniform(-1, 1, (200, 1)), 4, axis=1) + rng.normal(0, 0.01, (200, 4))
    caution = Caution(0.9, Familiarity.fit(rows[:100], rows[100:]))
    files = [tmp_path / f"{name}.png" for name in pixels]
    found, _ = predict_files(network, ("dark", "light"), files, 1, caution=caution)
    assert [row.pop("answer") for row in found] == ["light", "not sure", "foreign"]
    assert found == predict_files(network, ("dark", "light"), files, 1)[0]
