"""The embeddings of a board: choose the number format of each backbone, compute the shards, find them again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from triptych.data.boards import BoardData
from triptych.networks.precision import PRECISIONS, find_device
from triptych.system.threads import count_threads
from triptych.transfer.choose_precision import choose_format_for
from triptych.transfer.embed import OnImages, store_embeddings
from triptych.transfer.records import EmbeddingPlan, EmbeddingRecord, PlannedNetwork
from triptych.transfer.weights import fetch_backbone


def plan_board(data: BoardData, panels: Sequence[str]) -> EmbeddingPlan:
    """Choose the number format of each backbone.

    Args:
        data: the board.
        panels: those of its panels that have a backbone.

    Raises:
        WeightsError: the weights are unknown, missing, or those of another network.
    """
    settings = data.prepared.config.transfer
    torch.set_num_threads(settings.embedding_threads or count_threads())
    planned = {}
    for panel in panels:
        started = time.perf_counter()
        backbone = fetch_backbone(panel, settings.weights).on_device(find_device())
        number_format, reason = choose_format_for(backbone, data.images, PRECISIONS[settings.precision])
        planned[panel] = PlannedNetwork(number_format, reason, time.perf_counter() - started)
    return EmbeddingPlan(planned)


def embed_board(
    data: BoardData, plan: EmbeddingPlan, numbers: range, on_images: OnImages
) -> dict[str, EmbeddingRecord]:
    """Compute and store some shards of the embeddings of a board, for every backbone; return a record by panel.

    Args:
        data: the board.
        plan: the number format of each backbone.
        numbers: indices of the shards.
        on_images: called with the number of embeddings done so far and their total.

    Raises:
        WeightsError: the weights are unknown, missing, or those of another network.
    """
    settings = data.prepared.config.transfer
    backbones = [
        fetch_backbone(panel, settings.weights).on_device(find_device()).in_format(planned.number_format)
        for panel, planned in plan.networks.items()
    ]
    records = store_embeddings(
        backbones,
        data.images,
        batch_size=settings.embedding_batch_size,
        threads=settings.embedding_threads or count_threads(),
        numbers=numbers,
        on_images=on_images,
    )
    return dict(zip(plan.networks, records, strict=True))


def provide_embeddings(data: BoardData, panel: str, record: EmbeddingRecord) -> EmbeddingRecord:
    """Return the record of a panel's embeddings on this machine.

    They are computed again if another machine stored them in a cache that this one does not share.

    Args:
        data: the board.
        panel: the panel.
        record: the record from the machine that stored them.

    Raises:
        WeightsError: the weights are missing on this machine.
    """
    if all(shard.is_file() for shard in record.shards):
        return record
    plan = EmbeddingPlan({panel: PlannedNetwork(record.number_format, record.reason, 0.0)})
    found = embed_board(data, plan, range(len(record.shards)), on_images=lambda done, total: None)[panel]
    return replace(found, reason=record.reason)
