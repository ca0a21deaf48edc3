"""The embeddings of a board: choose the number format of each backbone, compute what is missing, find it again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch

from triptych.config.names import list_parts, name_network
from triptych.config.schema import BoardConfig
from triptych.data.boards import BoardData
from triptych.data.shards.files import are_sound
from triptych.errors import WeightsError
from triptych.networks.backbones import Backbone, join
from triptych.networks.cuts.nodes import Cut
from triptych.networks.precision import PRECISIONS, find_device
from triptych.system.threads import count_threads
from triptych.transfer.choose_precision import choose_format_for, find_stored_format
from triptych.transfer.embed import OnImages, store_embeddings
from triptych.transfer.records import BoardEmbeddings, EmbeddingPlan, EmbeddingRecord, PlannedNetwork, count_shards
from triptych.transfer.weights import fetch_backbones

# What concerns one backbone alone; PyTorch raises the second where memory is short or a layer does not fit.
BACKBONE_ERRORS = (WeightsError, RuntimeError, MemoryError)


def plan_board(data: BoardData, panels: Sequence[str]) -> EmbeddingPlan:
    """Choose the number format of each backbone; one that cannot be used is left out, with its error.

    Args:
        data: the board.
        panels: those of its panels that have a backbone; one that combines several is planned as these.
    """
    config = data.prepared.config
    torch.set_num_threads(config.transfer.embedding_threads or count_threads())
    planned: dict[str, PlannedNetwork] = {}
    failures: dict[str, Exception] = {}
    parts = list(dict.fromkeys(part for panel in panels for part in list_parts(panel)))
    waiting = _group_by_network(config, parts)
    while waiting:
        group = waiting.pop(0)
        try:
            planned |= _plan_network(data, group)
        except BACKBONE_ERRORS as error:
            if len(group) == 1:
                failures[group[0]] = error
            else:
                waiting = [*([panel] for panel in group), *waiting]
    return EmbeddingPlan({part: planned[part] for part in parts if part in planned}, failures)


def _plan_network(data: BoardData, panels: Sequence[str]) -> dict[str, PlannedNetwork]:
    """Choose the number format of the cuts of one network: the same for all whose embeddings are not stored yet."""
    config = data.prepared.config
    started = time.perf_counter()
    backbones, allowed = _fetch_cuts(config, panels), PRECISIONS[config.transfer.precision]
    lacking: list[Backbone] = []
    if len(panels) > 1 and len(allowed) > 1:
        lacking = [backbone for backbone in backbones if not find_stored_format(backbone, data.images, allowed)]
    joint = join(lacking) if len(lacking) > 1 else None
    together = choose_format_for(joint, data.images, allowed) if joint else None
    choices = [
        together if together and backbone in lacking else choose_format_for(backbone, data.images, allowed)
        for backbone in backbones
    ]
    seconds = (time.perf_counter() - started) / len(panels)
    return {panel: PlannedNetwork(*choice, seconds) for panel, choice in zip(panels, choices, strict=True)}


def _group_by_network(config: BoardConfig, panels: Iterable[str]) -> list[list[str]]:
    """Return the panels of each network with its weights, which differ in the cut."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for panel in panels:
        groups.setdefault((name_network(panel), *config.list_weights(panel)), []).append(panel)
    return list(groups.values())


def _fetch_cuts(config: BoardConfig, panels: Sequence[str]) -> list[Backbone]:
    """Return the backbones of panels that have one network with the same weights, on the device."""
    settings = [config.for_panel(panel).transfer for panel in panels]
    cuts = [Cut(one.cut, one.pooling) for one in settings]
    backbones = fetch_backbones(name_network(panels[0]), settings[0].weights, cuts)
    return [backbone.on_device(find_device()) for backbone in backbones]


def embed_board(data: BoardData, plan: EmbeddingPlan, numbers: range, on_images: OnImages) -> BoardEmbeddings:
    """Compute and store the embeddings of some images of a board, for every backbone that is planned.

    The backbones share one pass over the images. If that fails because of one of them, each is computed by itself.

    Args:
        data: the board.
        plan: the number format of each backbone.
        numbers: the parts of 256 images.
        on_images: called with the number of embeddings done so far and their total.
    """
    try:
        return BoardEmbeddings(_embed_together(data, plan.networks, numbers, on_images))
    except BACKBONE_ERRORS as error:
        if len(plan.networks) == 1:
            return BoardEmbeddings({}, dict.fromkeys(plan.networks, error))
    alone = [
        embed_board(data, EmbeddingPlan({panel: planned}), numbers, on_images)
        for panel, planned in plan.networks.items()
    ]
    return BoardEmbeddings(
        {panel: record for part in alone for panel, record in part.records.items()},
        {panel: error for part in alone for panel, error in part.failures.items()},
    )


def _embed_together(
    data: BoardData, networks: Mapping[str, PlannedNetwork], numbers: range, on_images: OnImages
) -> dict[str, EmbeddingRecord]:
    settings = data.prepared.config.transfer
    groups = _group_by_network(data.prepared.config, networks)
    fetched = {
        panel: backbone
        for group in groups
        for panel, backbone in zip(group, _fetch_cuts(data.prepared.config, group), strict=True)
    }
    backbones = [fetched[panel].in_format(planned.number_format) for panel, planned in networks.items()]
    records = store_embeddings(
        backbones,
        data.images,
        batch_size=settings.embedding_batch_size,
        threads=settings.embedding_threads or count_threads(),
        numbers=numbers,
        on_images=on_images,
    )
    return {panel: replace(record, panel=panel) for panel, record in zip(networks, records, strict=True)}


def provide_embeddings(data: BoardData, panel: str, record: EmbeddingRecord) -> EmbeddingRecord:
    """Return the record of a panel's embeddings on this machine.

    They are computed again if another machine stored them in a cache that this one does not share, or if a file was
    damaged since.

    Args:
        data: the board.
        panel: the panel.
        record: the record from the machine that stored them.

    Raises:
        WeightsError: the weights are missing on this machine.
    """
    if are_sound(record.shards):
        return record
    if record.parts:
        return EmbeddingRecord.combine(panel, [provide_embeddings(data, one.panel, one) for one in record.parts])
    plan = EmbeddingPlan({panel: PlannedNetwork(record.number_format, record.reason, 0.0)})
    found = embed_board(data, plan, range(count_shards(record.images)), on_images=lambda done, total: None)
    return replace(found.record_of(panel), reason=record.reason)
