"""How the networks of a board are to be computed, decided once before they are, and remembered for this machine."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch

from triptych.data.boards import Board
from triptych.images.pixels import ImageSource
from triptych.networks.backbones import Backbone, load_backbone
from triptych.networks.precision import (
    EXACT,
    FORMATS,
    PRECISIONS,
    SAMPLE_IMAGES,
    find_device,
    is_worth_measuring,
    measure_formats,
)
from triptych.system.files import write_atomically
from triptych.system.paths import cache_home
from triptych.system.threads import count_cores, count_threads
from triptych.transfer.embed import OnImages, store_embeddings
from triptych.transfer.records import EmbeddingPlan, EmbeddingRecord, PlannedNetwork
from triptych.transfer.store import EmbeddingSpace, list_shards


def plan_board(board: Board, panels: Sequence[str]) -> EmbeddingPlan:
    """Return the number formats of pretrained networks.

    Args:
        board: the board.
        panels: which of its pretrained networks.

    Raises:
        WeightsError: the weights are unknown, missing or another network's.
    """
    settings = board.record.config.transfer
    torch.set_num_threads(settings.embedding_threads or count_threads())
    planned = {}
    for panel in panels:
        started = time.perf_counter()
        backbone = load_backbone(panel, settings.weights).on_device(find_device())
        number_format, reason = choose_format_for(backbone, board.images, PRECISIONS[settings.precision])
        planned[panel] = PlannedNetwork(number_format, reason, time.perf_counter() - started)
    return EmbeddingPlan(planned)


def embed_board(board: Board, plan: EmbeddingPlan, numbers: range, on_images: OnImages) -> dict[str, EmbeddingRecord]:
    """Compute and store what enters the last layers of a board's pretrained networks, for some of the shards.

    Args:
        board: the board.
        plan: how each network is computed.
        numbers: which shards.
        on_images: called with the number of embeddings done and the number of all.

    Raises:
        WeightsError: the weights are unknown, missing or another network's.
    """
    settings = board.record.config.transfer
    backbones = [
        load_backbone(panel, settings.weights).on_device(find_device()).in_format(planned.number_format)
        for panel, planned in plan.networks.items()
    ]
    records = store_embeddings(
        backbones,
        board.images,
        batch_size=settings.embedding_batch_size,
        threads=settings.embedding_threads or count_threads(),
        numbers=numbers,
        on_images=on_images,
    )
    return dict(zip(plan.networks, records, strict=True))


def find_embeddings(board: Board, panel: str, record: EmbeddingRecord) -> EmbeddingRecord:
    """Return where the embeddings of a panel lie on this machine.

    They are computed again where another machine has stored them on a path that is not shared.
    """
    if all(shard.is_file() for shard in record.shards):
        return record
    plan = EmbeddingPlan({panel: PlannedNetwork(record.number_format, record.reason, 0.0)})
    found = embed_board(board, plan, range(len(record.shards)), on_images=lambda done, total: None)[panel]
    return replace(found, reason=record.reason)


def choose_format_for(backbone: Backbone, images: ImageSource, allowed: Sequence[str]) -> tuple[str, str]:
    """Return the number format in which a network embeds some images, and why.

    What is stored already is used; else what was found to be fastest on this machine before; else it is measured.
    """
    if len(allowed) == 1:
        return allowed[0], "as configured"
    place = cache_home() / "number-formats" / f"{_identify_machine(backbone, allowed)}.json"
    remembered = json.loads(place.read_text(encoding="utf-8"))["chosen"] if place.is_file() else allowed[0]
    for name in dict.fromkeys((allowed[0], remembered)):
        if _is_stored(backbone.in_format(name), images):
            return name, "stored already"
    if place.is_file():
        return remembered, "the fastest here, as measured before"
    if not is_worth_measuring(backbone, len(images)):
        return allowed[0], "too few images to look for a faster one"
    chosen_images = np.linspace(0, len(images) - 1, min(SAMPLE_IMAGES, len(images)), dtype=int).tolist()
    sample = np.stack([backbone.preprocessing.crop(images[index]) for index in chosen_images])
    chosen, measured = measure_formats(backbone, sample, len(images), allowed)
    content = {"chosen": chosen, "measured": [asdict(one) for one in measured]}
    write_atomically(place, (json.dumps(content, indent=2) + "\n").encode())
    return chosen, "measured: " + ", ".join(one.describe() for one in measured)


def _is_stored(backbone: Backbone, images: ImageSource) -> bool:
    """Return whether the store holds every embedding; whether each is sound is seen when they are used."""
    space = EmbeddingSpace.of(backbone)
    return space.folder.is_dir() and all(shard.file.is_file() for shard in list_shards([space], images))


def _identify_machine(backbone: Backbone, allowed: Sequence[str]) -> str:
    """Return a name for this network on this processor with these libraries."""
    device = torch.cuda.get_device_name() if backbone.device == "cuda" else platform.processor() or platform.machine()
    capability = torch.backends.cpu.get_cpu_capability()
    machine = (device, capability, count_cores(), torch.__version__, backbone.name, asdict(backbone.preprocessing))
    formats = {name: str(FORMATS[name]) for name in (EXACT, *allowed)}
    return f"{backbone.name}-{hashlib.sha256(repr((machine, formats)).encode()).hexdigest()[:16]}"
