"""The histories of boards, and MLflow's chart of each."""

from __future__ import annotations

import json
from collections.abc import Sequence

from triptych.config.names import spell_safely
from triptych.errors import ConfigError
from triptych.evaluation.history.changes import list_changes, summarise
from triptych.evaluation.history.nights import Night
from triptych.evaluation.history.page import BoardHistory
from triptych.tracking.client import connect
from triptych.tracking.history.nights import HISTORY, find_history_run, load_nights, merge_nights
from triptych.tracking.links import page_address
from triptych.tracking.tags import ROLE, search


def find_histories(board: str | None = None) -> list[BoardHistory]:
    """Return the history of each board that has a night.

    Args:
        board: only this one; None means all.

    Raises:
        ConfigError: there is no such board, or none has a night.
    """
    histories = []
    for name, experiment_id in find_boards(board).items():
        nights = merge_nights(*load_nights(experiment_id))
        if nights:
            changes = list_changes(nights)
            link = link_to_trend(experiment_id, nights)
            histories.append(BoardHistory(name, summarise(name, nights, changes), nights, changes, link))
    if not histories:
        raise ConfigError("the first comparison is running: see `triptych show`")
    return histories


def find_boards(board: str | None = None) -> dict[str, str]:
    """Return MLflow's ids of the experiments of boards with a comparison, by name.

    Args:
        board: only this one; None means all.

    Raises:
        ConfigError: there is no such board, or none at all.
    """
    client = connect()
    found = {}
    for one in sorted(client.search_experiments(), key=lambda experiment: str(experiment.name)):
        if board in {None, one.name} and any(
            search(client, [one.experiment_id], {ROLE: role}, most=1) for role in ("comparison", HISTORY)
        ):
            found[str(one.name)] = str(one.experiment_id)
    if found:
        return found
    if board is None or not (boards := find_boards()):
        raise ConfigError("no comparison yet: run `triptych compare`")
    raise ConfigError(f"no board {board!r} has a comparison: name one of {', '.join(boards)}")


def link_to_trend(experiment_id: str, nights: Sequence[Night]) -> str:
    """Return the address of MLflow's page that draws the accuracies of all panels of the last night together.

    Without a run that keeps the nights there is none, and it is empty.
    """
    run = find_history_run(connect(), experiment_id)
    measured = next((night.panels for night in reversed(nights) if night.panels), ())
    if run is None or not measured:
        return ""

    def quote(names: Sequence[str]) -> str:
        return json.dumps(list(names), separators=(",", ":")).replace('"', "%22")

    keys = [f"test_accuracy.{spell_safely(one.panel)}" for one in measured]
    return (
        f"{page_address()}/#/metric?runs={quote([run.info.run_id])}&metric={quote(keys[:1]).strip('[]')}"
        f"&experiments={quote([experiment_id])}&plot_metric_keys={quote(keys)}&x_axis=step"
    )
