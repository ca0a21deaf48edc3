from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path

from triptych.tracking.client import find_or_create_experiment
from triptych.tracking.retention.deletion import delete_trunks
from triptych.tracking.retention.entries import list_entries
from triptych.tracking.retention.selection import Keep, select_old
from triptych.tracking.retention.trunks import find_unused_trunks
from triptych.tracking.tags import COMPARISON, ROLE, TRUNK, own_tags


class Board:
    """A board whose two last nights used one frozen network, and the night before them another one."""

    def __init__(self) -> None:
        self.client = MlflowClient()
        self.experiment = find_or_create_experiment(self.client, "board")
        for name in ("backbone-a", "backbone-b"):
            self.place(self.client.create_logged_model(self.experiment, name).artifact_location)
        for day, trunk in enumerate(("backbone-a", "backbone-b", "backbone-b"), start=1):
            tags = own_tags({ROLE: "comparison", COMPARISON: f"night-{day}"})
            run_id = self.client.create_run(self.experiment, 1000 * day, tags).info.run_id
            self.log_model(own_tags({TRUNK: trunk}), run_id)
            self.log_model(own_tags({TRUNK: ""}), run_id)
            self.client.set_terminated(run_id, end_time=1000 * day)

    def place(self, address: str) -> None:
        folder = Path(local_file_uri_to_path(address))
        folder.mkdir(parents=True)
        (folder / "backbone.safetensors").write_bytes(b"weights")

    def log_model(self, tags: dict[str, str], run_id: str | None = None) -> str:
        return str(self.client.create_logged_model(self.experiment, "panel", run_id, tags=tags).model_id)

    def find(self, keep: Keep) -> list[str]:
        old = select_old(self.client, list_entries(self.client), keep)
        return [model.name for model in find_unused_trunks(self.client, old)]


@pytest.fixture
def board(own_store: str) -> Board:
    del own_store
    return Board()


def test_a_frozen_network_goes_with_the_last_model_that_refers_to_it(board: Board) -> None:
    assert board.find(Keep(3)) == []
    assert board.find(Keep(2)) == ["backbone-a"]
    running = board.client.create_run(board.experiment, tags=own_tags({ROLE: "comparison", COMPARISON: "tonight"}))
    assert board.find(Keep(2)) == []
    board.client.set_terminated(running.info.run_id)
    # A model of an earlier version may refer to either.
    earlier = board.log_model({})
    assert board.find(Keep(2)) == []
    board.client.delete_logged_model(earlier)

    [unused] = find_unused_trunks(board.client, select_old(board.client, list_entries(board.client), Keep(2)))
    file = Path(local_file_uri_to_path(unused.artifact_location)) / "backbone.safetensors"
    assert file.is_file()
    delete_trunks(board.client, [unused])
    assert not file.parent.exists()
    assert board.find(Keep(2)) == []
