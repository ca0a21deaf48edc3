"""How the networks of a board are to be computed, decided once before they are, and remembered for this machine."""

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
from triptych.transfer.weights import load_backbone


def plan_board(data: BoardData, panels: Sequence[str]) -> EmbeddingPlan:
    """Return the number formats of pretrained networks.

    Args:
        data: the board.
        panels: which of its pretrained networks.

    Raises:
        WeightsError: the weights are unknown, missing or another network's.
    """
    settings = data.prepared.config.transfer
    torch.set_num_threads(settings.embedding_threads or count_threads())
    planned = {}
    for panel in panels:
        started = time.perf_counter()
        backbone = load_backbone(panel, settings.weights).on_device(find_device())
        number_format, reason = choose_format_for(backbone, data.images, PRECISIONS[settings.precision])
        planned[panel] = PlannedNetwork(number_format, reason, time.perf_counter() - started)
    return EmbeddingPlan(planned)


def embed_board(
    data: BoardData, plan: EmbeddingPlan, numbers: range, on_images: OnImages
) -> dict[str, EmbeddingRecord]:
    """Compute and store what enters the last layers of a board's pretrained networks, for some of the shards.

    Args:
        data: the board.
        plan: how each network is computed.
        numbers: which shards.
        on_images: called with the number of embeddings done and the number of all.

    Raises:
        WeightsError: the weights are unknown, missing or another network's.
    """
    settings = data.prepared.config.transfer
    backbones = [
        load_backbone(panel, settings.weights).on_device(find_device()).in_format(planned.number_format)
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
    """Return where the embeddings of a panel lie on this machine.

    They are computed again where another machine has stored them on a path that is not shared.
    """
    if all(shard.is_file() for shard in record.shards):
        return record
    plan = EmbeddingPlan({panel: PlannedNetwork(record.number_format, record.reason, 0.0)})
    found = embed_board(data, plan, range(len(record.shards)), on_images=lambda done, total: None)[panel]
    return replace(found, reason=record.reason)
