"""What a store holds, entry by entry: comparisons with their panels, studies with their trials, learning curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import mlflow
from mlflow.entities import Experiment, LoggedModel, Run
from mlflow.store.entities import PagedList

from triptych.tracking.queries import find_panel_runs
from triptych.tracking.tags import COMPARISON, CREATION, ROLE, STUDY, list_shared, read_tags, search

# The role of each run, the role of the entry that it belongs to, and the tag that names the entry.
ENTRIES = {
    "comparison": ("comparison", COMPARISON),
    "panel": ("comparison", COMPARISON),
    "study": ("study", STUDY),
    "trial": ("study", STUDY),
    "amount": ("amount", CREATION),
}
RUNS_ON_A_PAGE = 1000
Found = TypeVar("Found")


@dataclass(frozen=True)
class Entry:
    """A comparison with the runs of its panels, a study with those of its trials, or a learning curve with its run.

    Attributes:
        board: the board's name.
        experiment_id: MLflow's id of its experiment.
        role: "comparison", "study" or "amount".
        name: the id of the comparison or the learning curve, or the name of the study.
        runs: the addresses of the artifacts by the ids of the runs; its own run comes last.
        models: the addresses of the logged models by their ids.
        started: when the first of its runs started, in milliseconds since 1970.
        ended: when the last of its runs ended, likewise.
        running: whether one of its runs is.
        shares: the ids of runs of other comparisons that it shares.
    """

    board: str
    experiment_id: str
    role: str
    name: str
    runs: Mapping[str, str]
    models: Mapping[str, str]
    started: int
    ended: int
    running: bool
    shares: frozenset[str] = frozenset()

    @property
    def addresses(self) -> list[str]:
        """The addresses of all its artifacts."""
        return [*self.runs.values(), *self.models.values()]


def list_entries(client: mlflow.MlflowClient) -> list[Entry]:
    """Return every entry of a store, board by board, the newest first; runs of others are left out."""
    found: list[Entry] = []
    for board in _list_boards(client):
        ids = [board.experiment_id]
        runs = read_pages(partial(client.search_runs, ids, max_results=RUNS_ON_A_PAGE))
        models = read_pages(partial(client.search_logged_models, ids))
        found += _group(board, runs, models)
    return found


def list_last(client: mlflow.MlflowClient, most: int) -> list[Entry]:
    """Return the last comparisons of each board, the newest first."""
    found: list[Entry] = []
    for board in _list_boards(client):
        runs = search(client, [board.experiment_id], {ROLE: "comparison"}, most=most)
        runs += [panel for run in runs for panel in find_panel_runs(board.experiment_id, read_tags(run)[COMPARISON])]
        models = [
            model
            for run in runs
            for model in client.search_logged_models([board.experiment_id], f"source_run_id = '{run.info.run_id}'")
        ]
        found += _group(board, runs, models)
    return found


def _list_boards(client: mlflow.MlflowClient) -> list[Experiment]:
    return sorted(client.search_experiments(), key=lambda experiment: str(experiment.name))


def read_pages(search_page: Callable[..., PagedList[Found]]) -> Iterator[Found]:
    """Yield all that one of MLflow's searches finds, which returns it page by page."""
    token = None
    while True:
        page = search_page(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _group(board: Experiment, runs: Iterable[Run], models: Iterable[LoggedModel]) -> list[Entry]:
    """Return the entries that runs and logged models belong to."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        tags, info = read_tags(run), run.info
        role, named_by = ENTRIES.get(tags.get(ROLE, ""), ("", ""))
        if named_by in tags:
            # Without its metrics and parameters, of which a year of nights has too many.
            row = {"id": info.run_id, "uri": info.artifact_uri, "own": tags[ROLE] == role, "status": info.status}
            row["shares"] = list_shared(run).values()
            row |= {"start": info.start_time, "end": info.end_time or info.start_time}
            grouped.setdefault((role, tags[named_by]), []).append(row)
    placed: dict[str, dict[str, str]] = {}
    for model in models:
        placed.setdefault(str(model.source_run_id), {})[model.model_id] = model.artifact_location
    entries = []
    for (role, name), rows in grouped.items():
        found = {row["id"]: str(row["uri"]) for row in sorted(rows, key=lambda row: bool(row["own"]))}
        own = {model: uri for run_id in found for model, uri in placed.get(run_id, {}).items()}
        started, ended = min(row["start"] for row in rows), max(row["end"] for row in rows)
        running = any(row["status"] == "RUNNING" for row in rows)
        shares = frozenset(run_id for row in rows for run_id in row["shares"])
        about = (board.name, board.experiment_id, role, name, found, own, started, ended)
        entries.append(Entry(*about, running=running, shares=shares))
    return sorted(entries, key=lambda entry: -entry.started)
