from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.utils.file_utils import local_file_uri_to_path

from triptych.tracking.client import find_or_create_experiment
from triptych.tracking.retention.deletion import delete_trunks
from triptych.tracking.retention.entries import list_entries
from triptych.tracking.retention.selection import Keep, list_needs, select_old
from triptych.tracking.retention.trunks import find_unused_trunks
from triptych.tracking.tags import COMPARISON, ROLE, TRUNK, own_tags


class Board:
    """A board whose two last nights used one frozen network, and the night before them another one."""

    def __init__(self) -> None:
        self.client = MlflowClient()
        self.experiment = find_or_create_experiment(self.client, "board")
        for name in ("backbone-a", "backbone-b"):
            self.place(self.client.create_logged_model(self.experiment, name, tags=own_tags({ROLE: TRUNK})))
        for day, trunk in enumerate(("backbone-a", "backbone-b", "backbone-b"), start=1):
            tags = own_tags({ROLE: "comparison", COMPARISON: f"night-{day}"})
            run_id = self.client.create_run(self.experiment, 1000 * day, tags).info.run_id
            self.log_model(own_tags({TRUNK: trunk}), run_id)
            self.log_model(own_tags({TRUNK: ""}), run_id)
            self.client.set_terminated(run_id, end_time=1000 * day)

    def place(self, model: LoggedModel) -> None:
        folder = Path(local_file_uri_to_path(model.artifact_location))
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


def test_what_users_named_or_registered_themselves_is_kept(board: Board) -> None:
    elsewhere = board.client.create_experiment("mine")
    board.client.create_logged_model(elsewhere, "backbone-mine")
    [network] = board.client.search_logged_models([board.experiment], "name = 'backbone-a'")
    board.client.create_registered_model("mine")
    board.client.create_model_version("mine", f"models:/{network.model_id}")
    assert board.find(Keep(2)) == []


def test_a_version_that_was_registered_from_another_needs_what_that_one_does(board: Board) -> None:
    model = board.log_model({})
    for name, source in (("one", f"models:/{model}"), ("two", "models:/one/1"), ("three", "models:/two/1")):
        board.client.create_registered_model(name)
        board.client.create_model_version(name, source)
    versions = [board.client.get_model_version(name, "1") for name in ("one", "two", "three")]
    assert all(model.removeprefix("m-") in needs for needs in list_needs(versions))
