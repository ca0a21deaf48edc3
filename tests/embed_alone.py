"""Embeds random images in a process of its own, beside another: python embed_alone.py IMAGES IMAGES_PER_SHARD."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np

from triptych import embedding_record
from triptych.backbones import load_backbone
from triptych.embeddings import store_embeddings
from triptych.images import ArrayImages
from triptych.preprocessing import Preprocessing


def main() -> None:
    """Say that everything is imported, wait for a line, embed, and print what was computed and where it lies."""
    images, embedding_record.IMAGES_PER_SHARD = (int(argument) for argument in sys.argv[1:])
    pixels = np.random.default_rng(0).integers(0, 256, size=(images, 40, 50, 3), dtype=np.uint8)
    full = load_backbone("shufflenet_v2_x0_5", "bundled")
    backbone = replace(full, preprocessing=Preprocessing(40, 32, (0.5,) * 3, (0.25,) * 3, "bilinear"))
    print("ready", flush=True)
    sys.stdin.readline()

    def say_done(done: int, total: int) -> None:
        print(f"{done} of {total}", flush=True)

    [record] = store_embeddings([backbone], ArrayImages(pixels), batch_size=4, threads=1, on_images=say_done)
    shards = [str(shard) for shard in record.shards]
    print(json.dumps({"computed": record.computed_images, "shards": shards}), flush=True)


if __name__ == "__main__":
    main()
