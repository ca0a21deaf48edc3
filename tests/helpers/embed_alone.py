"""Embeds random images in processes of their own.

Everything is imported once; then each line on standard input, a `Job` as JSON, starts a process that writes its
progress to the job's pipe.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from triptych.data.shards import files as shard_files
from triptych.images.preprocessing import Preprocessing
from triptych.images.sources import ArrayImages
from triptych.networks.backbones import Backbone
from triptych.transfer.embed import store_embeddings
from triptych.transfer.weights import load_backbone


@dataclass(frozen=True)
class Job:
    """The work of a process.

    Attributes:
        pipe: a named pipe that it writes lines to: its process id, its progress, and last its results as JSON.
        cache: its cache home.
        images: how many to embed.
        images_per_shard: how many in a file.
        side: of the images and of the network's inputs, pixels.
        batch_size: how many at once.
    """

    pipe: str
    cache: str
    images: int
    images_per_shard: int
    side: int = 32
    batch_size: int = 4


def embed(job: Job, full: Backbone) -> None:
    """Embed the images, and write how many were computed and the paths of the files."""
    os.environ["TRIPTYCH_CACHE_HOME"] = job.cache
    shard_files.IMAGES_PER_SHARD = job.images_per_shard
    pixels = np.random.default_rng(0).integers(0, 256, size=(job.images, job.side, job.side, 3), dtype=np.uint8)
    preprocessing = Preprocessing(job.side, job.side, (0.5,) * 3, (0.25,) * 3, "bilinear")
    with Path(job.pipe).open("w", encoding="utf-8", buffering=1) as pipe:
        write_line(pipe, str(os.getpid()))
        [record] = store_embeddings(
            [replace(full, preprocessing=preprocessing)],
            ArrayImages(pixels),
            batch_size=job.batch_size,
            threads=1,
            on_images=lambda done, total: write_line(pipe, f"{done} of {total}"),
        )
        shards = [str(shard) for shard in record.shards]
        write_line(pipe, json.dumps({"computed": record.computed_images, "shards": shards}))


def write_line(pipe: IO[str], line: str) -> None:
    """Write a line, so long that few of them fill the pipe: the writer is never far ahead of the reader."""
    pipe.write(f"{line:<1000}\n")


def main() -> None:
    """Start a process for each line, until there is no more."""
    full = load_backbone("shufflenet_v2_x0_5", "bundled")
    for line in sys.stdin:
        if not os.fork():
            with suppress(BrokenPipeError):  # the reader is gone
                embed(Job(**json.loads(line)), full)
            os._exit(0)
        while _reap_one():
            pass


def _reap_one() -> bool:
    """Reap one process that has ended; return whether there was one."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


if __name__ == "__main__":
    main()
