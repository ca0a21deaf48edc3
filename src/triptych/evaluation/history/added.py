"""The images that were added since the last night, and how unlike the earlier ones they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.data.shards.files import are_sound
from triptych.data.stored import DESCRIPTION_FILE
from triptych.evaluation.history.drift import Drift, measure_drift
from triptych.system.checked import read_json, recall
from triptych.transfer.records import EmbeddingRecord, load_embeddings

SEED = 0


def find_added(data: BoardData, earlier: str) -> NDArray[np.bool_] | None:
    """Return which images of a folder were not in it at an earlier time, by their content, (n,) bool.

    Args:
        data: the board.
        earlier: SHA-256 of its data at that time.

    Returns:
        The images; None for arrays, and where the cache no longer knows what was in the folder.
    """
    prepared = data.prepared
    folder = prepared.dataset_folder
    before = folder.with_name(folder.name.replace(prepared.data_digest[:16], earlier[:16], 1))
    described = [recall(partial(read_json, place / DESCRIPTION_FILE)) for place in (folder, before)]
    now, then = ([] if one is None else one["identities"] for one in described)
    return ~np.isin(now, then) if now and then else None


def measure_added(data: BoardData, embedded: Mapping[str, EmbeddingRecord], earlier: str) -> Drift | None:
    """Return how unlike the earlier images those are that were added; None if there are none, or no embeddings.

    Args:
        data: the board.
        embedded: the embeddings of its panels; those of the first panel are used, the same from night to night.
        earlier: SHA-256 of its data at the last night; empty if there is none.
    """
    records = [embedded[panel] for panel in data.prepared.config.panels if panel in embedded]
    record = next((one for one in records if are_sound(one.shards)), None)
    if record is None or earlier in {"", data.prepared.data_digest}:
        return None
    added = find_added(data, earlier)
    if added is None or not added.any():
        return None
    rng = np.random.default_rng(SEED)
    return measure_drift(record.panel, load_embeddings(record), added, data.labels, data.groups, rng)
