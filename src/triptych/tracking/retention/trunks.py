"""Frozen networks of a board that no model refers to any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import mlflow
from mlflow.entities import LoggedModel

from triptych.tracking.retention.entries import read_pages
from triptych.tracking.retention.selection import Old, list_needs
from triptych.tracking.tags import ROLE, RUNNING, TRUNK, read_tags, search


def find_unused_trunks(client: mlflow.MlflowClient, old: Iterable[Old] = ()) -> Iterator[LoggedModel]:
    """Yield the logged models of frozen networks that none of the other models refers to.

    Those that a registered version is stay. A board is left alone while one of its comparisons is running, which may be
    about to refer to one, and as long as it has a model that does not say what it refers to.

    Args:
        client: of the tracking store.
        old: what will be deleted; its models do not count.
    """
    registered = {needs for needed in list_needs(list(read_pages(client.search_model_versions))) for needs in needed}
    ignored = {model for one in old for model in one.entry.models}
    for board in (experiment.experiment_id for experiment in client.search_experiments()):
        models = list(read_pages(partial(client.search_logged_models, [board])))
        trunks = [model for model in models if read_tags(model).get(ROLE) == TRUNK]
        others = {model.model_id for model in models} - ignored - {model.model_id for model in trunks}
        referring = [read_tags(model).get(TRUNK) for model in models if model.model_id in others]
        if None in referring or not trunks or search(client, [board], {ROLE: "comparison"}, where=RUNNING):
            continue
        unused = (model for model in trunks if model.name not in referring)
        yield from (model for model in unused if model.model_id.removeprefix("m-") not in registered)
