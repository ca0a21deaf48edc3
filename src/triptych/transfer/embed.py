"""Embeddings, the outputs of a frozen backbone, computed once per image and stored.

A space (a folder) is named by the hash of weights, transform, cut layer and number format. Its files are never changed:
images that none of them holds are embedded and written to new files, 256 in each, wherever in a data set they are. A
killed run continues at the first missing file, a damaged file is computed again, and concurrent runs divide the missing
files among themselves.

Several cuts of one network share one pass through it, which gives the same bits as a pass for each.

Networks add up in another order in small batches, so that the last bits of an embedding depend on the size of its
batch, but not on the other images in it. Therefore every batch has the same size: one that is not full is padded.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from triptych.data.shards import files as shard_files
from triptych.data.shards.files import POLL_SECONDS, Identities, try_lock
from triptych.data.shards.places import Places, find_first
from triptych.data.shards.space import identify_images, name_shard
from triptych.errors import DataError
from triptych.images.pixels import Pixels
from triptych.images.prefetch import AHEAD, crop_each, crop_image, map_ahead, open_readers
from triptych.images.preprocessing import Preprocessing
from triptych.images.sources import ImageSource
from triptych.networks.backbones import Backbone, fetch, join
from triptych.networks.precision import FORMATS
from triptych.system.own_memory import taking_memory
from triptych.system.slices import iterate_slices
from triptych.system.threads import count_cores
from triptych.transfer.records import EmbeddingRecord, Embeddings
from triptych.transfer.store import EmbeddingSpace, list_indices

OnImages = Callable[[int, int], None]


@taking_memory()
def store_embeddings(
    backbones: Sequence[Backbone],
    images: ImageSource,
    *,
    batch_size: int,
    threads: int,
    numbers: range | None = None,
    on_images: OnImages = lambda done, total: None,
) -> list[EmbeddingRecord]:
    """Compute the embeddings that are missing or damaged, and verify the checksums of the others.

    All backbones share one pass over the images: each is decoded once, and cropped for each preprocessing. A file that
    another process is computing is waited for, not computed twice.

    Args:
        backbones: the frozen backbones, each in the number format to compute it in.
        images: the raw images.
        batch_size: images per batch on the CPU; on a GPU a batch is as large as a file.
        threads: threads of PyTorch; sets the global number.
        numbers: the parts of 256 images to provide; None means all.
        on_images: called with the number of embeddings done so far and their total.

    Returns:
        One record for each backbone, of the requested images.
    """
    started = time.perf_counter()
    torch.set_num_threads(threads)
    spaces = [EmbeddingSpace.of(backbone) for backbone in backbones]
    indices = list_indices(images, numbers)
    identities = identify_images(images, indices.tolist())
    found = provide_embeddings(spaces, indices, identities, images, batch_size, on_images)
    for space in spaces:
        space.merge()
    # The rest of the time, mostly spent on reading images, is divided equally among the backbones.
    shared = (time.perf_counter() - started - sum(space.seconds for space in spaces)) / len(spaces)
    return [_record(space, places, shared) for space, places in zip(spaces, found, strict=True)]


def _record(space: EmbeddingSpace, places: Places, shared_seconds: float) -> EmbeddingRecord:
    parts = iterate_slices(len(places.rows), shard_files.IMAGES_PER_SHARD)
    return EmbeddingRecord(
        runs=tuple(places.list_runs()),
        contents=tuple(hashlib.sha256(places.marks["content"][part].tobytes()).hexdigest() for part in parts),
        backbone_digest=space.digest,
        images=len(places.rows),
        computed_images=space.computed,
        seconds=space.seconds + shared_seconds,
        damaged_shards=tuple(space.damaged),
        number_format=space.backbone.number_format,
        panel=space.backbone.name,
    )


def provide_embeddings(
    spaces: Sequence[EmbeddingSpace],
    indices: NDArray[np.int64],
    identities: Identities,
    images: ImageSource,
    batch_size: int,
    on_images: OnImages,
) -> list[Places]:
    """Verify or compute embeddings, and wait for those that another process is computing.

    Args:
        spaces: the spaces, one for each backbone.
        indices: (n,) the images.
        identities: (n,) their SHA-256.
        images: the raw images.
        batch_size: images per batch on the CPU.
        on_images: called with the number of embeddings done so far and their total.

    Returns:
        For each space where the embeddings are.
    """
    total = len(indices) * len(spaces)
    while True:
        found = [space.find(identities) for space in spaces]
        lacking = [find_first(identities, places.missing) for places in found]
        done = total - sum(map(len, lacking))
        if done:
            on_images(done, total)
        if done == total:
            return found

        def report(begun: int, done: int = done) -> None:
            on_images(done + begun, total)

        pieces = _divide(spaces, lacking, indices, identities)
        if not _compute_free(pieces, images, batch_size, report):
            time.sleep(POLL_SECONDS)


@dataclass(frozen=True, eq=False)
class Piece:
    """Images that some spaces lack, to be written to a file of each.

    Attributes:
        spaces: the spaces.
        indices: (n,) the images.
        identities: (n,) their SHA-256.
    """

    spaces: tuple[EmbeddingSpace, ...]
    indices: NDArray[np.int64]
    identities: Identities

    def file_in(self, space: EmbeddingSpace) -> Path:
        """Return the path of the file in a space."""
        return space.folder / name_shard(self.identities)


def _divide(
    spaces: Sequence[EmbeddingSpace],
    lacking: Sequence[NDArray[np.int64]],
    indices: NDArray[np.int64],
    identities: Identities,
) -> list[Piece]:
    """Divide what is lacking into pieces of up to 256 images that are lacking in the same spaces.

    Processes with the same images divide them in the same way whenever they begin, as only whole pieces get done.
    """
    lacks = np.zeros((len(spaces), len(indices)), dtype=bool)
    for number, positions in enumerate(lacking):
        lacks[number, positions] = True
    pieces = []
    for pattern in np.unique(lacks, axis=1).T:
        if pattern.any():
            positions = np.flatnonzero((lacks == pattern[:, None]).all(axis=0))
            these = tuple(spaces[number] for number in np.flatnonzero(pattern).tolist())
            parts = [positions[part] for part in iterate_slices(len(positions), shard_files.IMAGES_PER_SHARD)]
            pieces += [Piece(these, indices[part], identities[part]) for part in parts]
    return pieces


def _compute_free(
    pieces: Sequence[Piece], images: ImageSource, batch_size: int, on_begun: Callable[[int], None]
) -> int:
    """Compute the pieces that no other process is computing, and return their number."""
    computed = begun = 0
    wanted = sum(len(piece.indices) for piece in pieces)
    with ExitStack() as locks, open_readers(images, wanted) as pool:
        claims = _claim(pieces, locks, cache(_share_passes))
        for claim, crops in _read_batches(claims, pool, images, batch_size):
            begun += claim.embed(crops, _size_batch(claim.piece, batch_size))
            on_begun(begun)
            if claim.is_whole:
                claim.write(images)
                computed += 1
    return computed


def _size_batch(piece: Piece, batch_size: int) -> int:
    """Return the number of images in a batch: on a GPU as many as in a whole file."""
    whole = shard_files.IMAGES_PER_SHARD
    return whole if piece.spaces[0].backbone.device == "cuda" else min(batch_size, whole)


@dataclass(eq=False)
class _Claim:
    """A piece that this process has locked in order to compute it.

    Attributes:
        piece: the images, and the spaces that lack them.
        locks: the locks on the files, released when they are written.
        passes: the networks to compute, each with the spaces that its embeddings belong to.
        parts: for each space the batches of embeddings so far, (batch, dimension) float32, on the backbone's device.
    """

    piece: Piece
    locks: ExitStack
    passes: Sequence[tuple[Backbone, Sequence[EmbeddingSpace]]]
    parts: dict[EmbeddingSpace, list[torch.Tensor]]

    @property
    def preprocessings(self) -> list[Preprocessing]:
        """How the images are cropped for the networks."""
        return list(dict.fromkeys(network.preprocessing for network, _ in self.passes))

    @property
    def is_whole(self) -> bool:
        """Whether every image has passed through every backbone."""
        return sum(map(len, self.parts[self.piece.spaces[-1]])) == len(self.piece.indices)

    def embed(self, crops: Mapping[Preprocessing, Pixels], size: int) -> int:
        """Embed images with every backbone, padded to a whole batch; return the number of embeddings.

        On a GPU the computation is only launched.

        Args:
            crops: the same images, (n, crop, crop, 3) uint8, for each preprocessing.
            size: number of images in a whole batch.
        """
        number = len(next(iter(crops.values())))
        whole = {
            one: np.concatenate([some, np.repeat(some[-1:], size - number, axis=0)]) for one, some in crops.items()
        }
        for network, spaces in self.passes:
            started = time.perf_counter()
            for space, embeddings in zip(spaces, network.launch_each(whole[network.preprocessing]), strict=True):
                self.parts[space].append(embeddings[:number])
            for space in spaces:
                space.seconds += (time.perf_counter() - started) / len(spaces)
        return number * len(self.parts)

    def write(self, images: ImageSource) -> None:
        """Write the files and release their locks.

        Raises:
            DataError: an image was changed meanwhile.
        """
        changed = self.piece.identities != identify_images(images, self.piece.indices.tolist())
        if changed.any():
            index = self.piece.indices[changed][0]
            raise DataError(f"image {index} was changed meanwhile: run the same command again")
        for space, parts in self.parts.items():
            started = time.perf_counter()
            rows = fetch(torch.cat(parts))
            space.seconds += time.perf_counter() - started
            space.computed += len(rows)
            space.write(self.piece.file_in(space), self.piece.identities, rows)
        self.locks.close()


def _share_passes(spaces: tuple[EmbeddingSpace, ...]) -> list[tuple[Backbone, Sequence[EmbeddingSpace]]]:
    """Return the networks that compute the embeddings of some spaces: one for all cuts of a network, where possible."""
    groups: dict[tuple[object, ...], list[EmbeddingSpace]] = {}
    for space in spaces:
        one = space.backbone
        # The compiler gives a network other bits if it computes several cuts.
        alone = (space.folder.name,) if FORMATS[one.number_format].compiled else ()
        key = (one.name, one.weights, one.preprocessing, one.number_format, one.device, *alone)
        groups.setdefault(key, []).append(space)
    passes: list[tuple[Backbone, Sequence[EmbeddingSpace]]] = []
    for group in groups.values():
        joint = join([space.backbone for space in group])
        passes += [(joint, group)] if joint else [(space.backbone, [space]) for space in group]
    return passes


def _claim(
    pieces: Sequence[Piece],
    locks: ExitStack,
    share_passes: Callable[[tuple[EmbeddingSpace, ...]], Sequence[tuple[Backbone, Sequence[EmbeddingSpace]]]],
) -> Iterator[_Claim]:
    """Lock and yield the pieces that nobody else is computing.

    A piece is locked only when it is reached, so that concurrent processes divide the work.
    """
    for piece in pieces:
        held = locks.enter_context(ExitStack())
        claimed: list[EmbeddingSpace] = []
        for space in piece.spaces:
            file = piece.file_in(space)
            # Another process may have finished the file just before it was locked here.
            if held.enter_context(try_lock(file)) and not space.verify(file):
                claimed.append(space)
        if claimed:
            spaces = tuple(claimed)
            yield _Claim(replace(piece, spaces=spaces), held, share_passes(spaces), {space: [] for space in spaces})
        else:
            held.close()


def _read_batches(
    claims: Iterable[_Claim], pool: Executor, images: ImageSource, batch_size: int
) -> Iterator[tuple[_Claim, dict[Preprocessing, Pixels]]]:
    """Yield each claim's batches, cropped for each preprocessing, while the following images are read in advance."""

    def read(item: tuple[_Claim, int]) -> Future[list[Pixels]]:
        claim, index = item
        return pool.submit(crop_each, images.locate(index), claim.preprocessings)

    wanted = ((claim, index) for claim in claims for index in claim.piece.indices.tolist())
    ahead = max(AHEAD * count_cores(), batch_size)
    for claim, read_ahead in groupby(map_ahead(read, wanted, ahead), key=lambda pair: pair[0][0]):
        size = _size_batch(claim.piece, batch_size)
        while batch := [crops for _, crops in islice(read_ahead, size)]:
            columns = zip(*batch, strict=True)
            yield claim, {one: np.stack(crops) for one, crops in zip(claim.preprocessings, columns, strict=True)}


def compute_embeddings(
    backbone: Backbone, images: ImageSource, indices: Iterable[int], batch_size: int
) -> Iterator[Embeddings]:
    """Yield the embeddings of images batch by batch, (batch, dimension) float32, while images are read in advance.

    Args:
        backbone: the frozen backbone.
        images: the raw images.
        indices: which of them, in this order.
        batch_size: images per batch.
    """
    wanted = list(indices)
    with open_readers(images, len(wanted)) as pool:
        crops = map_ahead(
            lambda index: pool.submit(crop_image, images.locate(index), backbone.preprocessing),
            wanted,
            ahead=max(AHEAD * count_cores(), batch_size),
        )
        while batch := [crop for _, crop in islice(crops, batch_size)]:
            yield backbone.embed_crops(np.stack(batch))


@dataclass(frozen=True)
class LiveEmbeddings:
    """Embeddings that are computed again at every access, as in a usual training loop, instead of being stored.

    Attributes:
        backbone: the frozen backbone.
        images: the raw images.
        indices: (n,) int64, the image of each row.
        batch_size: images per batch.
    """

    backbone: Backbone
    images: ImageSource
    indices: NDArray[np.int64]
    batch_size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and length of an embedding."""
        return len(self.indices), self.backbone.dimension

    def select(self, rows: NDArray[np.int64]) -> LiveEmbeddings:
        """Return a subset of the rows, given (k,) int64; nothing is computed yet."""
        return replace(self, indices=self.indices[rows])

    def __getitem__(self, rows: Any) -> Embeddings:
        """Compute and return the embeddings of some rows, (len(rows), dimension) float32."""
        wanted = self.indices[rows].tolist()
        return np.concatenate(list(compute_embeddings(self.backbone, self.images, wanted, self.batch_size)))
