"""Two trainings on one frozen network, which their models share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow.utils.file_utils import local_file_uri_to_path

from helpers.panels import build_transfer
from triptych.data.boards import BoardData
from triptych.errors import DamagedFileError
from triptych.networks.checksums import check_checksums
from triptych.networks.saved import load_model, save_model
from triptych.networks.trunks import TRUNK_FILE, complete_trunk
from triptych.tracking.client import connect, find_or_create_experiment
from triptych.tracking.sharing.trunks import share_trunk
from triptych.training.jobs import PanelJob


def save(folder: Path, seed: int) -> Path:
    save_model("transfer", build_transfer(np.random.default_rng(seed)), ("cat", "dog", "eel"), folder)
    return folder


def test_a_frozen_network_is_stored_once_and_found_by_whatever_loads_a_model(
    digits: BoardData, own_store: str, tmp_path: Path
) -> None:
    del own_store
    client = connect()
    board = find_or_create_experiment(client, "digits")
    config = digits.prepared.config.model_copy(update={"panels": ("shufflenet_v2_x0_5", "numpy-mlp")})
    job = PanelJob(replace(digits.prepared, config=config), "shufflenet_v2_x0_5", 0)
    folders = [save(tmp_path / str(seed), seed) for seed in (0, 1)]
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    before = [load_model(folder).predict(images) for folder in folders]
    files = [sorted(file.name for file in folder.iterdir()) for folder in folders]
    share_trunk(board, replace(job, panel="numpy-mlp"), folders[0])
    assert (folders[0] / TRUNK_FILE).is_file()
    for folder in folders:
        share_trunk(board, job, folder)
        check_checksums(folder)
        assert not (folder / TRUNK_FILE).exists()
    [stored] = client.search_logged_models([board])
    for folder, probabilities in zip(folders, before, strict=True):
        np.testing.assert_array_equal(load_model(folder).predict(images), probabilities)

    complete_trunk(folders[0])
    assert sorted(file.name for file in folders[0].iterdir()) == files[0]
    np.testing.assert_array_equal(load_model(folders[0]).predict(images), before[0])
    place = Path(local_file_uri_to_path(stored.artifact_location)) / TRUNK_FILE
    place.write_bytes(b"another network")
    with pytest.raises(DamagedFileError, match="the SHA-256 of its frozen network is another"):
        load_model(folders[1])
    place.unlink()
    with pytest.raises(DamagedFileError, match="its frozen network is missing"):
        load_model(folders[1])
    client.delete_logged_model(stored.model_id)
    with pytest.raises(DamagedFileError, match=r"cannot be read.*`triptych compare --fresh` stores it again"):
        load_model(folders[1])
    # The next night stores it again, for the models of earlier nights as well.
    share_trunk(board, job, folders[0])
    for folder, probabilities in zip(folders, before, strict=True):
        np.testing.assert_array_equal(load_model(folder).predict(images), probabilities)

    # Likewise where a bit of it has changed.
    complete_trunk(folders[1])
    for model in client.search_logged_models([board]):
        place = Path(local_file_uri_to_path(model.artifact_location)) / TRUNK_FILE
        place.write_bytes(place.read_bytes()[:-1] + b"!")
    share_trunk(board, job, folders[1])
    for folder, probabilities in zip(folders, before, strict=True):
        np.testing.assert_array_equal(load_model(folder).predict(images), probabilities)
