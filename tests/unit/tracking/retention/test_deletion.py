from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.utils.file_utils import local_file_uri_to_path

from helpers.commands import run
from triptych.tracking.client import find_or_create_experiment
from triptych.tracking.retention.deletion import PRUNED
from triptych.tracking.retention.entries import list_entries
from triptych.tracking.retention.selection import Keep, select_old
from triptych.tracking.retention.sizes import measure_addresses
from triptych.tracking.tags import COMPARISON, CREATION, PREVIOUS, ROLE, SINCE, STUDY, own_tags

BOARD = "board"
# Of each comparison: its age in days, and the tags of its registered version if it has one.
NIGHTS: dict[str, tuple[int, dict[str, str] | None]] = {
    "first-champion": (100, {}),
    "former-champion": (95, {SINCE: "2026-01-01"}),
    "refused": (90, {}),
    "nothing-new": (80, None),
    "running": (70, None),
    "champion": (60, {SINCE: "2026-02-01", PREVIOUS: "1"}),
    "newest-version": (50, {}),
    "last-week": (7, None),
    "tonight": (0, None),
}


class Store:
    """A store with a few nights, each with a panel, its artifact and its logged model; made without any training."""

    def __init__(self) -> None:
        self.client = MlflowClient()
        self.board = find_or_create_experiment(self.client, BOARD)
        self.files: dict[str, list[Path]] = {}
        for name, (days, tags) in NIGHTS.items():
            self.write_night(name, days, tags)
        for name, days in (("old-study", 40), ("new-study", 39)):
            self.write_run(name, "study", STUDY, days)
            self.write_run(name, "trial", STUDY, days)
        for name, days in (("old-curve", 40), ("new-curve", 39)):
            self.write_run(name, "amount", CREATION, days)
        self.client.set_registered_model_alias(BOARD, "champion", "4")
        self.trashed = self.write_run("mine", "", "name", 200)
        self.client.delete_run(self.trashed)
        self.client.delete_experiment(self.client.create_experiment("trashed"))

    def write_night(self, name: str, days: int, tags: dict[str, str] | None) -> None:
        panel = self.write_run(name, "panel", COMPARISON, days)
        self.write_run(name, "comparison", COMPARISON, days, running=name == "running")
        model = self.client.create_logged_model(self.board, "panel", source_run_id=panel)
        place = Path(local_file_uri_to_path(model.artifact_location))
        place.mkdir(parents=True)
        (place / "MLmodel").write_text("a model")
        self.files[name].append(place / "MLmodel")
        if tags is not None:
            if name == "first-champion":
                self.client.create_registered_model(BOARD)
            self.client.create_model_version(BOARD, f"models:/{model.model_id}", tags=own_tags(tags))

    def write_run(self, name: str, role: str, named_by: str, days: int, *, running: bool = False) -> str:
        moment = int(time.time() * 1000) - days * 86_400_000
        written = self.client.create_run(self.board, moment, own_tags({ROLE: role, named_by: name}))
        self.client.log_text(written.info.run_id, "x" * 1000, "file.txt")
        if not running:
            self.client.set_terminated(written.info.run_id, end_time=moment)
        self.files.setdefault(name, []).append(Path(local_file_uri_to_path(written.info.artifact_uri)) / "file.txt")
        return str(written.info.run_id)

    def left(self) -> set[str]:
        """The entries of which all files are there; of the others there must be none, not even a folder."""
        left = {name for name, files in self.files.items() if all(file.is_file() for file in files)}
        gone = [file for name, files in self.files.items() if name not in left for file in files]
        assert not [file for file in gone if file.parent.parent.exists()]
        return left


@pytest.fixture
def store(own_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    del own_store
    for name in ("TRIPTYCH_CACHE_HOME", "PREFECT_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "PREFECT_HOME").mkdir()
    (tmp_path / "PREFECT_HOME" / "prefect.db").write_bytes(b"x" * 5000)
    return Store()


def test_what_is_kept_and_what_is_not(store: Store) -> None:
    """Before anything is deleted, and after it: old ones are gone for good, with all their files."""
    quiet = {"nothing-new", "last-week", "old-study", "old-curve"}
    entries = list_entries(store.client)
    assert {entry.name for entry in entries} == {*NIGHTS, "old-study", "new-study", "old-curve", "new-curve"}
    assert [measure_addresses(entry.addresses) for entry in entries if entry.name == "tonight"] == [2007]
    for keep, expected in (
        (Keep(1), quiet),
        (Keep(2), {"nothing-new"}),
        (Keep(1, timedelta(days=85)), set()),
        (Keep(1, versions=False), quiet | {"refused"}),
        (Keep(1, timedelta(days=30), versions=False), {"nothing-new", "old-study", "old-curve", "refused"}),
        (Keep(100, versions=False), set()),
    ):
        assert {old.entry.name for old in select_old(store.client, entries, keep)} == expected
    sizes = json.loads(run("store", "--json").stdout)
    assert sizes["bytes_a_night"] == {BOARD: 2007}
    assert sizes["bytes"]["MLflow, models"] == 7 * len(NIGHTS)
    assert sizes["bytes"]["Prefect's home"] == 5000
    assert "a comparison adds 0.0 MiB of artifacts" in run("store").stdout

    before = store.left()
    arguments = ("store", "prune", "--keep-last", "1", "--keep", "champions", "--keep", "30d")
    listed = run(*arguments).stdout
    assert "board, comparison refused of" in listed
    assert "2 run(s), version 3 of board" in listed
    assert (
        "4 old comparisons, studies and learning curves, 0.0 MiB of artifacts; nothing is deleted without --yes"
        in listed
    )
    assert store.left() == before
    # As an interruption leaves it.
    [interrupted] = [old for old in entries if old.name == "old-study"]
    trial = next(iter(interrupted.runs))
    store.client.set_tag(trial, f"triptych.{PRUNED}", "true")
    store.client.delete_run(trial)

    assert "4 deleted" in run(*arguments, "--yes").stdout
    assert store.left() == before - {"nothing-new", "old-study", "old-curve", "refused"}
    assert "0 old comparisons" in run(*arguments).stdout
    assert {str(version.version) for version in store.client.search_model_versions(f"name = '{BOARD}'")} == {
        "1",
        "2",
        "4",
        "5",
    }
    assert str(store.client.get_model_version_by_alias(BOARD, "champion").version) == "4"
    # What a user has put into the trash stays there.
    trash = store.client.search_runs([store.board], run_view_type=ViewType.DELETED_ONLY)
    assert [one.info.run_id for one in trash] == [store.trashed]
    assert [one.name for one in store.client.search_experiments(ViewType.DELETED_ONLY)] == ["trashed"]


def test_a_word_that_keeps_nothing_is_named() -> None:
    refused = run("store", "prune", "--keep", "champion")
    assert refused.returncode == 2
    assert "--keep 'champion' is not allowed: give champions, versions or a span such as 90d" in refused.stderr
