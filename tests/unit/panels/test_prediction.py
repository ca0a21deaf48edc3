from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from helpers.photos import write_photos
from triptych.config.resolve import resolve_config
from triptych.data.boards import open_board, prepare_board
from triptych.errors import DataError
from triptych.images.pixels import Pixels
from triptych.networks.saved import PixelNetwork
from triptych.panels.prediction import predict_raw


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
