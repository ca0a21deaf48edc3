from __future__ import annotations

import shutil
import sqlite3
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import mlflow
import pytest

from helpers.comparisons import Recorded
from triptych.errors import ConfigError
from triptych.tracking.client import connect
from triptych.tracking.registry.fetching import fetch_model
from triptych.tracking.store import check_store, create_store, find_moved, move_store


def test_a_store_is_created_with_all_its_tables(tmp_path: Path) -> None:
    file = tmp_path / "new" / "mlflow.db"
    file.parent.mkdir()
    file.touch()  # as a program does that only looks for an SQLite file
    create_store(file)
    assert list(file.parent.glob("*.db")) == [file]
    with sqlite3.connect(file) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"experiments", "runs", "registered_models", "alembic_version"} <= tables
    before = file.read_bytes()
    create_store(file)
    assert file.read_bytes() == before


def test_a_store_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, own_store: str) -> None:
    (tmp_path / "junk.db").write_bytes(b"no database, but a file of some length" * 100)
    with sqlite3.connect(own_store.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'of the future'")
    for uri, message in {
        f"sqlite:///{tmp_path}": "unable to open database file",
        f"sqlite:///{tmp_path / 'junk.db'}": "file is not a database",
        f"sqlite:///{tmp_path / 'junk.db' / 'mlflow.db'}": "cannot be created",
        own_store: "of the future",
    }.items():
        with pytest.raises(ConfigError, match=message) as caught:
            check_store(uri)
        assert "\n" not in str(caught.value)
        assert "SQL:" not in str(caught.value)


class Refusal(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def test_a_server_that_refuses_the_call_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Refusal) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI=http://.* cannot be used: .*401"):
            connect()
        server.shutdown()


@pytest.fixture
def moved(recorded_once: tuple[Path, Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of a comparison, with its artifacts, in another folder than the one where it was recorded."""
    store, recorded = recorded_once
    folder = tmp_path / "Büro #2, 100 %"
    folder.mkdir()
    file = Path(shutil.copy(store, folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    connect()
    mlflow.register_model(recorded.panel.model_uri, "digits-numpy-mlp")
    shutil.copytree(store.parent / "artifacts", folder / "artifacts")
    return file


def test_a_moved_store_is_refused_and_repaired(moved: Path, tmp_path: Path) -> None:
    check_store.cache_clear()
    with pytest.raises(ConfigError, match=r"was moved or copied: .*/artifacts/digits; `triptych store move`"):
        connect()
    found = move_store(moved)
    assert list(found.values()) == [moved.parent / "artifacts" / "digits"]
    assert find_moved(moved.with_name("mlflow.db.before-move")) == found
    assert move_store(moved) == find_moved(moved) == {}
    client = connect()
    [run] = client.search_runs(["1"], "tags.`triptych.role` = 'panel'")
    [model] = client.search_logged_models(["1"])
    for address in (run.info.artifact_uri, model.artifact_location):
        assert address.startswith((moved.parent / "artifacts").as_uri())
    assert mlflow.pyfunc.load_model(str(fetch_model("digits-numpy-mlp/1", tmp_path / "fetched")))


def test_two_stores_may_share_artifacts(recorded: Recorded, tmp_path: Path) -> None:
    del recorded
    assert find_moved(tmp_path / "mlflow.db") == {}


def test_artifacts_that_are_gone_are_recorded_beside_the_store(own_store: str, tmp_path: Path) -> None:
    gone = (tmp_path / "gone" / "artifacts" / "board").as_uri()
    mlflow.MlflowClient(own_store).create_experiment("board", artifact_location=gone)
    assert find_moved(tmp_path / "mlflow.db") == {gone: tmp_path / "artifacts" / "board"}
