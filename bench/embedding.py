"""Benchmarks of embedding: the forward pass against eager PyTorch, the pass from files against its two halves."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from measure import PAIRS, QUICK_PAIRS, Figure, compare_times, time_by_turns

from triptych.data.boards import BoardData
from triptych.images.pixels import Pixels
from triptych.images.prefetch import crop_image
from triptych.networks.backbones import Backbone, build_network
from triptych.networks.precision import PRECISIONS, normalise
from triptych.system.paths import cache_home
from triptych.system.threads import count_cores
from triptych.transfer.choose_precision import MIN_COSINE, measure_formats, worst_cosine
from triptych.transfer.embed import store_embeddings
from triptych.transfer.records import load_embeddings
from triptych.transfer.weights import load_backbone

SECTION = "transfer"
BATCH, FORWARD_BATCH = 32, 16
FORWARD_TARGET, BOUND_TARGET = 2.0, 0.9
# The number format is chosen as for this many images: for a few, only the exact format would be tried; for many more,
# the compilers as well, which takes minutes.
MANY_IMAGES = 500


def measure_forward(name: str, *, quick: bool) -> Figure:
    """Compare the throughput from memory with that of the network as torchvision builds it, in float32."""
    torch.set_num_threads(count_cores())
    backbone = load_backbone(name, "random")
    crops = draw_crops(backbone, FORWARD_BATCH)
    chosen, _ = measure_formats(backbone, crops, MANY_IMAGES, PRECISIONS["auto"])
    ours, eager = backbone.in_format(chosen), build_eager_forward(name, backbone)
    if worst_cosine(ours.embed_crops(crops), eager(crops)) < MIN_COSINE:
        raise SystemExit(f"the embeddings of {name} in {chosen} differ from those in plain float32")
    jobs: dict[str, Callable[[], object]] = {"eager": lambda: eager(crops), "ours": lambda: ours.embed_crops(crops)}
    seconds = time_by_turns(jobs, QUICK_PAIRS if quick else PAIRS)
    figure = f"{name}, images/s from memory, ours ({chosen}) / plain eager float32"
    return compare_times(SECTION, figure, seconds["eager"], seconds["ours"], FORWARD_TARGET)


def draw_crops(backbone: Backbone, count: int) -> Pixels:
    """Return random inputs, (count, crop, crop, 3) uint8."""
    side = backbone.preprocessing.crop_size
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def build_eager_forward(name: str, backbone: Backbone) -> Callable[[Pixels], np.ndarray]:
    """Return a plain forward pass up to the last layer: torchvision's network in float32 and its default layout."""
    network = build_network(name).eval()
    parent, _, last = backbone.cut_layer.rpartition(".")
    setattr(network.get_submodule(parent), last, torch.nn.Identity())

    @torch.inference_mode()
    def forward(crops: Pixels) -> np.ndarray:
        inputs = normalise(torch.from_numpy(crops), backbone.preprocessing.mean, backbone.preprocessing.std)
        embeddings: np.ndarray = network(inputs.contiguous()).numpy()
        return embeddings

    return forward


def measure_files(data: BoardData, backbone: Backbone, *, quick: bool) -> Figure:
    """Compare the pass from files with the sum of reading alone and computing alone, which share the same cores."""
    torch.set_num_threads(count_cores())
    images = range(len(data.images))

    def read_alone() -> list[Pixels]:
        with ThreadPoolExecutor(count_cores()) as pool:
            return list(pool.map(lambda index: crop_image(data.images.locate(index), backbone.preprocessing), images))

    crops = np.stack(read_alone())

    def forward_alone() -> None:
        for start in range(0, len(crops), BATCH):
            backbone.embed_crops(crops[start : start + BATCH])

    def whole() -> None:
        shutil.rmtree(cache_home() / "embeddings", ignore_errors=True)
        store_embeddings([backbone], data.images, batch_size=BATCH, threads=count_cores())

    jobs: dict[str, Callable[[], object]] = {"read": read_alone, "forward": forward_alone, "whole": whole}
    seconds = time_by_turns(jobs, QUICK_PAIRS if quick else PAIRS)
    bound = [read + forward for read, forward in zip(seconds["read"], seconds["forward"], strict=True)]
    figure = "ants and bees from files, ours / the bound 1 / (1/reading alone + 1/forward alone)"
    return compare_times(SECTION, figure, bound, seconds["whole"], BOUND_TARGET)


def measure_similarity(data: BoardData, exact: Backbone, chosen: str) -> Figure:
    """Return the lowest cosine similarity, over all photos, of our embeddings and those of eager PyTorch in float32.

    The reference shares no code with ours: torchvision's transforms, PyTorch's default layout, no store.
    """
    [record] = store_embeddings([exact.in_format(chosen)], data.images, batch_size=BATCH, threads=count_cores())
    trunk = copy.deepcopy(exact.trunk).to(memory_format=torch.contiguous_format)
    transform = exact.preprocessing.build()
    with torch.inference_mode():
        theirs = np.concatenate(
            [
                trunk(torch.stack([transform(data.images[index]) for index in indices])).numpy()
                for indices in np.array_split(np.arange(len(data.images)), -(-len(data.images) // BATCH))
            ]
        )
    cosine = worst_cosine(np.asarray(load_embeddings(record)), theirs)
    figure = f"cosine similarity of our embeddings ({chosen}) to plain eager float32's, worst photo"
    return Figure(SECTION, figure, cosine, cosine, cosine, MIN_COSINE)
